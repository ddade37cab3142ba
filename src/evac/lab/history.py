"""What clients asked for and what they were told: the evidence a drill is judged by.

Intuition: a client writes a line before it sends a write, and another when it knows how that ended. `ok` was
acknowledged and must survive; `fail` certainly did not happen; `info` may have happened (a time-out is one). A write
with no second line ends as `info`: the client died first.

All times are seconds of the machine's boot clock, which every process of one lab shares. Nothing here judges: that is
`checker`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

Term: TypeAlias = "int | str"
"""Whose reign an acknowledgement belongs to. Numbers are ordered by value (a PostgreSQL timeline); words only by when
they are first heard of (a Valkey replication id)."""


class Ending(StrEnum):
    """How a write ended, as far as its client knows."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who acknowledged: a node, in a reign."""

    node: str
    term: Term
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write's whole story. `owner` is set when it was acknowledged; `ended` is None when nothing was heard."""

    id: str
    client: str
    store: str
    """What kind of data it went to: "orders" or "carts"; each is checked by itself."""
    via: str
    """How it went there: "web", "direct", "inside" or "append"."""
    invoked: float
    ended: float | None = None
    ending: Ending = Ending.INFO
    owner: Owner | None = None
    reason: str = ""

    @property
    def acknowledged_at(self) -> float | None:
        """Return when the client was told yes; None if it was not."""
        return self.ended if self.ending is Ending.OK else None


def invocation(*, id: str, client: str, store: str, via: str, at: float) -> str:
    """Return the line to write before a write is sent."""
    return json.dumps({"event": "invoke", "id": id, "client": client, "store": store, "via": via, "at": at})


def ending(*, id: str, at: float, how: Ending, owner: Owner | None = None, reason: str = "") -> str:
    """Return the line to write when a write's end is known."""
    assert (how is Ending.OK) == (owner is not None), "an acknowledgement names its owner, and nothing else does"
    line: dict[str, Any] = {"event": how.value, "id": id, "at": at}
    if owner:
        line |= {"node": owner.node, "term": owner.term, "address": owner.address}
    if reason:
        line["reason"] = reason
    return json.dumps(line)


def read(lines: Iterable[str]) -> tuple[Write, ...]:
    """Fold a history's lines into writes, in the order they were invoked.

    A last line cut short by a kill is left out; an id that is used twice, or that ends without having been invoked,
    is a broken history: ValueError.
    """
    begun: dict[str, Mapping[str, Any]] = {}
    ended: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        if not line.endswith("}\n") and not line.endswith("}"):
            continue
        entry = json.loads(line)
        where = begun if entry["event"] == "invoke" else ended
        if entry["id"] in where or (where is ended and entry["id"] not in begun):
            raise ValueError(f"history: write {entry['id']} is told twice, or ends before it was invoked")
        where[entry["id"]] = entry
    writes = [_write(entry, ended.get(id)) for id, entry in begun.items()]
    return tuple(sorted(writes, key=lambda w: w.invoked))


def _write(begun: Mapping[str, Any], ended: Mapping[str, Any] | None) -> Write:
    """Join a write's two lines."""
    how = Ending(ended["event"]) if ended else Ending.INFO
    owner = None
    if ended and how is Ending.OK:
        owner = Owner(node=ended["node"], term=ended["term"], address=ended.get("address", ""))
    return Write(
        id=begun["id"],
        client=begun["client"],
        store=begun["store"],
        via=begun["via"],
        invoked=begun["at"],
        ended=ended["at"] if ended else None,
        ending=how,
        owner=owner,
        reason=ended.get("reason", "") if ended else "the client stopped before it heard",
    )
