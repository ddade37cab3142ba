"""The reference of triggers, docs/reference/triggers.md, from the facts and the triggers that ship.

What this is not: how to use them; docs/how-to/triggers.md is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evac.config.shipped import SHIPPED
from evac.core.facts import FACTS, Fact, Form, facts_of
from evac.core.kinds import ServiceKind
from evac.core.trigger import Scope
from evac.drivers.settings import format_duration

PAGE = Path("docs/reference/triggers.md")
_INTRODUCTION = """# Triggers: facts, language, and those that ship

<!-- Written by `python -m evac.config.reference` from the code; do not edit. -->

How to use them is in [how-to/triggers.md](../how-to/triggers.md), the keys of a trigger in [estate.md](estate.md).

## The language

[CEL](https://github.com/google/cel-spec): `<`, `<=`, `==`, `!=`, `>=`, `>`, `&&`, `||`, `!`, `+`, `-`, `*`, `/`,
`? :`, brackets. Types are checked when the estate is loaded: a number is compared with `0.5` or `5.0`, a whole number
with `5`, a duration with `duration("5s")` (`"1m30s"`, `"250ms"`). What is known only in part decides as far as it can:
`a && b` is false as soon as one of them is, `a || b` true; else nobody can tell, and the trigger is *unknown*. So it is
where an expression breaks, as by a division by zero.
"""
_FACTS = """## Facts

All are of the region where the group's primaries are. What **each vantage point** sees for itself is never mixed with
what others see: each answers the whole expression, and as many must find it true as a verdict takes
(`detection.quorum`, by default a majority of those outside). What somebody there **said** of itself is the same for
all; what a member said is known for 3 s.

Names are written as identifiers: `-` is `_` (`orders-db` is `components.orders_db`), and one that begins with a digit
has `_` before it.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    kinds = ", ".join(f"`{kind}`" for kind in ServiceKind)
    of_kinds = ", ".join(f"`{name}`" for name in facts_of(Scope.KIND))
    parts = [_INTRODUCTION, _FACTS]
    parts += _table("region", Scope.REGION)
    parts += _table("services.NAME", Scope.SERVICE)
    parts.append(
        f"### kinds.KIND\n\nThe worst of the group's services of a kind ({kinds}):\n{of_kinds}."
        " One that is not reachable is enough; of figures it is the highest, once all are known.\n"
    )
    parts += _table("components.NAME", Scope.COMPONENT)
    parts += _shipped()
    return "\n".join(parts)


def _table(title: str, scope: Scope) -> Iterator[str]:
    yield f"### {title}\n"
    yield from _rows(fact for fact in FACTS.values() if fact.scope is scope)


def _rows(facts: Iterable[Fact]) -> Iterator[str]:
    yield "| fact | type | from | meaning |\n| --- | --- | --- | --- |"
    for fact in facts:
        whose = "each vantage point" if fact.seen else "what was said"
        kind = "number" if fact.form is Form.SHARE else fact.form
        yield f"| `{fact.name}` | {kind} | {whose} | {fact.meaning} |"
    yield ""


def _shipped() -> Iterator[str]:
    yield "## Those that ship\n"
    yield "An estate names those it wants, `api-failing: {}`, and may change a part of one: `api-failing: {for: 2m}`.\n"
    yield "| name | when | for | severity | action | automatic | rto |\n| --- | --- | --- | --- | --- | --- | --- |"
    for name, section in SHIPPED.items():
        assert section.lasting, "a shipped trigger is whole"
        assert section.rto, "a shipped trigger is whole"
        when = (section.when or "").replace("|", "\\|")
        automatic = "yes" if section.automatic else "no"
        yield (
            f"| `{name}` | `{when}` | {format_duration(section.lasting)} | {section.severity} | {section.action} |"
            f" {automatic} | {format_duration(section.rto)} |"
        )
    yield ""
