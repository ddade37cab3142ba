"""What evac keeps inside a server: the highest term, the state it put the server in, and what to go back to.

Intuition: a replica takes no writes, so a key cannot hold this, and a file would need a way to the host. Users are a
server's own, are not replicated, and CONFIG REWRITE writes them to the configuration file. So the notes are the key
patterns of a user that is off and may run nothing: `~evac:term:7`. Nobody can log in as it, and only evac reads it.

What this is not: a compare-and-set. The region's one agent writes it, which refuses lower terms itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

USER = "evac.notes"
_PREFIX = "~evac:"

State: TypeAlias = Literal["", "refusing", "lending", "stopped"]
"""refusing: a replica turned away from its primary; lending: such a one, made a guarded primary for a while so that
another can copy the rest from it; stopped: a primary that refuses writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The notes. `was_min_replicas` and `was_ping_s` are the settings a stop replaced."""

    term: int | None = None
    state: State = ""
    was_min_replicas: int | None = None
    was_ping_s: int | None = None


def rules(notes: Notes) -> tuple[str, ...]:
    """Return the notes as rules of an ACL user."""
    facts = {
        "term": notes.term,
        "state": notes.state or None,
        "was-min-replicas": notes.was_min_replicas,
        "was-ping": notes.was_ping_s,
    }
    return tuple(f"{_PREFIX}{name}:{value}" for name, value in facts.items() if value is not None)


def parsed(user: Mapping[str, Any] | None) -> Notes:
    """Return the notes from what ACL GETUSER says; empty if there is no such user."""
    keys = (user or {}).get("keys", ())
    patterns = keys.split() if isinstance(keys, str) else list(keys)
    facts = dict(p.removeprefix(_PREFIX).partition(":")[::2] for p in patterns if p.startswith(_PREFIX))
    state = facts.get("state", "")
    return Notes(
        term=_number(facts.get("term")),
        state=next((known for known in get_args(State) if known == state), ""),
        was_min_replicas=_number(facts.get("was-min-replicas")),
        was_ping_s=_number(facts.get("was-ping")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
