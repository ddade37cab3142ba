"""How the network between sites should be: a base of round trips, and the faults that are on at this moment.

Intuition: the state of every direction is a fold of the faults over the base, made anew whenever a fault begins or
ends. So a heal needs no memory of what was before, and faults that overlap come apart cleanly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from evac.lab.faults import Fault, FaultKind

Direction = tuple[str, str]
"""(from, to), names of sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction between two sites. `loss`: share of wire packets; `jitter_s`: width of a uniform addition."""

    delay_s: float
    jitter_s: float = 0.0
    loss: float = 0.0
    blocked: bool = False


def base(round_trips_s: Mapping[Direction, float], *, sites: Iterable[str], jitter_s: float) -> dict[Direction, Link]:
    """Return the links of a day on which all is well. A round trip is written once, in either order."""
    links = {}
    for one, other in itertools.permutations(sites, 2):
        round_trip = round_trips_s.get((one, other), round_trips_s.get((other, one)))
        assert round_trip is not None, f"the layout gives every round trip, also {one} to {other}"
        links[one, other] = Link(delay_s=round_trip / 2, jitter_s=jitter_s)
    return links


def with_faults(links: Mapping[Direction, Link], faults: Iterable[Fault]) -> dict[Direction, Link]:
    """Return the links as these faults make them. Losses combine as independent causes; delays add up."""
    result = dict(links)
    for fault in faults:
        for direction in _touched(fault, result):
            result[direction] = _worse(result[direction], fault)
    return result


def _touched(fault: Fault, links: Iterable[Direction]) -> list[Direction]:
    """Return the directions a fault lies on: those that leave its region, those that enter it, or both."""
    region, to, kind = fault.region, fault.to, fault.kind
    leaving = [(a, b) for a, b in links if a == region and to in (None, b)]
    entering = [(a, b) for a, b in links if b == region and to in (None, a)]
    match kind:
        case FaultKind.POWER | FaultKind.CUT | FaultKind.DELAY | FaultKind.LOSS:
            return leaving + entering
        case FaultKind.CUT_OUT:
            return leaving
        case FaultKind.CUT_IN:
            return entering
        case FaultKind.KILL | FaultKind.FREEZE | FaultKind.DISK_FULL:
            return []


def _worse(link: Link, fault: Fault) -> Link:
    match fault.kind:
        case FaultKind.POWER | FaultKind.CUT | FaultKind.CUT_OUT | FaultKind.CUT_IN:
            return replace(link, blocked=True)
        case FaultKind.DELAY:
            return replace(link, delay_s=link.delay_s + fault.value / 2)
        case FaultKind.LOSS:
            return replace(link, loss=1 - (1 - link.loss) * (1 - fault.value))
        case FaultKind.KILL | FaultKind.FREEZE | FaultKind.DISK_FULL:
            return link
