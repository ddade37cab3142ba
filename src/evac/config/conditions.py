"""Conditions: the expressions of triggers, in Google's Common Expression Language, read and type-checked.

Intuition: what a trigger reads is known when the estate is loaded, and so is the type of each fact. So a name that does
not exist, a number where a duration is due, or an expression that is neither true nor false is refused there, and not
found out at night. What is left for then are facts that are not known: CEL's `&&` and `||` look past them where the
other side decides, and else nobody can tell.

The library is some 14 MB of C++, loaded here and only for an estate that has triggers.

What this is not: the facts (`core.facts`), or whether a trigger is true (`core.triggers`).

Language: github.com/google/cel-spec. Library: cel-expr-python, the official binding of its C++ implementation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from evac.config.spelling import listed, meant
from evac.core.facts import Form, fact_of, facts_of
from evac.core.trigger import Named, Scope, Value

SHOWN_MAX = 12
"""So many names are listed where one is wrong."""
_TOKEN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_TEXT = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([\w.]+)'")
_OVERLOAD = re.compile(r"found no matching overload for '(.+)' applied to '\((.*)\)'")
_ABSENT = re.compile(r'No value with name "([\w.]+)"')
_CODE = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]\s*$")
_DURATION = re.compile(r"""duration\(\s*(['"])(.*?)\1\s*\)""")
_NOT_PLAIN = {"in", "true", "false", "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The names that an estate gives its parts, by what facts are of."""

    parts: Mapping[Scope, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What is wrong with an expression, each with what to do."""

    reasons: tuple[str, ...]


class CelCondition:
    """An expression that was found in order; a `Condition`."""

    __slots__ = ("_boolean", "_expression")

    def __init__(self, expression: Any, *, boolean: Any) -> None:
        self._expression = expression
        self._boolean = boolean

    def __call__(self, facts: Mapping[str, Value]) -> bool | str:
        try:
            found = self._expression.eval(data=dict(facts))
            value, kind = found.value(), found.type()
        except (
            Exception
        ) as error:  # a budget that was exceeded, or whatever else: nobody can tell, and the leader goes on
            return _plainly(str(error))
        return bool(value) if kind == self._boolean else _plainly(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An expression in order, and the facts that it names."""

    condition: CelCondition
    reads: tuple[Named, ...]


def compiled(text: str, declared: Declared) -> Compiled | Refused:
    """Return an expression that can be asked, or all that is wrong with it."""
    from cel_expr_python import cel  # here: it takes its time and 14 MB, and most estates have no triggers

    forms = {
        Form.TRUTH: cel.Type.BOOL,
        Form.SHARE: cel.Type.DOUBLE,
        Form.COUNT: cel.Type.INT,
        Form.SPAN: cel.Type.DURATION,
    }
    named = {n.written: n for token in _tokens(text) if isinstance(n := resolved(token, declared), Named)}
    variables = {written: forms[fact_of(n.scope, n.fact).form] for written, n in named.items()}
    try:
        expression = cel.NewEnv(variables=variables).compile(text)
    except RuntimeError as error:
        return Refused(reasons=tuple(_refusals(str(error), text, declared)))
    if wrong := [spelled for _, spelled in _DURATION.findall(text) if _duration(cel, spelled) is None]:
        said = f'{listed(wrong)} is no duration; write it as duration("5s"), "1m30s" or "250ms"'
        return Refused(reasons=(said,))
    if expression.return_type() != cel.Type.BOOL:
        kind = _type(expression.return_type().name())
        return Refused(reasons=(f"is {kind}, where true or false is due; compare it with something",))
    if not named:
        return Refused(reasons=(f"reads no fact, so it never changes; facts begin with {listed(Scope)}",))
    condition = CelCondition(expression, boolean=cel.Type.BOOL)
    return Compiled(condition=condition, reads=tuple(named.values()))


def identifier(name: str) -> str:
    """Return a name of the estate as expressions write it: with `_` for `-`, and before what is no identifier."""
    plain = name.replace("-", "_")
    return f"_{plain}" if plain[0].isdigit() or plain in _NOT_PLAIN else plain


def _tokens(text: str) -> Iterator[str]:
    """What may be a name: dotted words that are not quoted, and what they begin with, where a method follows."""
    for token in _TOKEN.findall(_TEXT.sub("''", text)):
        parts = token.split(".")
        for length in (2, 3):
            if len(parts) >= length:
                yield ".".join(parts[:length])


def resolved(token: str, declared: Declared) -> Named | str:
    """Return the fact that a dotted name means, or why it means none."""
    scope, *rest = token.split(".")
    if scope not in set(Scope):
        return f"{token} is not a fact{meant(scope, Scope)}; facts begin with {listed(Scope)}"
    kind = Scope(scope)
    if kind is Scope.REGION:
        return _of("", rest, kind, token)
    names = {identifier(name): name for name in declared.parts[kind]}
    if not rest:
        return f"{scope} is no fact by itself; there are {_some(names)} in it"
    if rest[0] not in names:
        return f"{rest[0]} is not in {scope}{meant(rest[0], names)}; there are {_some(names)}"
    return _of(names[rest[0]], rest[1:], kind, token)


def _of(name: str, rest: list[str], scope: Scope, token: str) -> Named | str:
    known = facts_of(scope)
    if not rest:
        return f"{token} is no fact by itself; there are {listed(known)} of it"
    said = ".".join(rest)
    if said not in known:
        of = token.removesuffix(f".{said}")
        return f"{said} is not a fact of {of}{meant(said, known)}; there are {listed(known)}"
    return Named(scope=scope, of=name, fact=said, written=token)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    return listed(found[:SHOWN_MAX]) + more


def _refusals(error: str, text: str, declared: Declared) -> Iterator[str]:
    """What the library refused, in words that help."""
    found = _ERROR.findall(error)
    if not found:
        yield _plainly(error)
    for line, column, message in found:
        at = f" (character {column}{f' of line {line}' if chr(10) in text else ''})"
        if undeclared := _UNDECLARED.search(message):
            why = resolved(undeclared[1], declared)
            yield (why if isinstance(why, str) else f"{undeclared[1]} must be written without spaces") + at
        elif overload := _OVERLOAD.search(message):
            yield _mismatch(overload[1], overload[2]) + at
        else:
            yield f"is not an expression: {_CODE.sub('', message).strip()}{at}"


def _mismatch(operator: str, types: str) -> str:
    """What two things cannot be put together."""
    given = types.split(", ")
    hint = ""
    if set(given) == {"double", "int"}:
        hint = "; write numbers with a point, as 5.0"
    elif any("Duration" in t or t == "duration" for t in given):
        hint = '; write durations as duration("5s")'
    return f"{operator.strip('_').replace('_', ' ')} does not go with {' and '.join(map(_type, given))}{hint}"


def _type(name: str) -> str:
    """A type of the language in our words."""
    words = {"double": "a number", "int": "a whole number", "bool": "true or false", "string": "text"}
    return "a duration" if "duration" in name.lower() else words.get(name.lower(), f"of type {name.lower()}")


def durations(text: str) -> tuple[timedelta, ...]:
    """Return the durations that an expression writes out, of those that are in order."""
    from cel_expr_python import cel

    found = (_duration(cel, spelled) for _, spelled in _DURATION.findall(text))
    return tuple(d for d in found if d is not None)


def _duration(cel: Any, text: str) -> timedelta | None:
    try:
        value = cel.NewEnv().compile(f"duration({text!r})").eval(data={}).value()
    except RuntimeError:  # not even text
        return None
    return value if isinstance(value, timedelta) else None


def _plainly(message: str) -> str:
    """Why nobody can tell."""
    absent = _ABSENT.search(message)
    return f"{absent[1]} is not known" if absent else _CODE.sub("", _CODE.sub("", message))
