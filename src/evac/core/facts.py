"""Facts: what the expression of a trigger may read, and where each of them comes from.

Intuition: a fact is what one vantage point sees of the region that holds a group's primaries, or what an agent or a
member there said of itself. The first kind is never mixed: each vantage point has its own, and each answers the
trigger's question for itself (`triggers`). Whatever is old, or was never told, is not there at all.

What this is not: a verdict (`assessment`), or what is shown of a service's health (`health`), which mix what many saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from evac.core.detector import Cell, Detector
from evac.core.estate import ComponentId, Estate, GroupId, RegionId, ServiceId
from evac.core.gray import carried_share
from evac.core.health import THROUGHPUT
from evac.core.observation import Instant, MemberRole, MemberSeen, MemberState
from evac.core.scene import heartbeat_age, stale_after
from evac.core.sights import Line, Sight
from evac.core.trigger import Named, Scope, Value

SAID_WITHIN = timedelta(seconds=3)
"""What a member said longer ago is not known any more."""
TIMES_WINDOW = timedelta(seconds=60)
"""Response times are those of so long."""
TIMES_MIN = 20
"""Of fewer answers no percentile is told."""

Times: TypeAlias = Mapping[Sight, tuple[tuple[Instant, timedelta], ...]]
"""When each good answer of the last `TIMES_WINDOW` came, and how long it took, oldest first."""


Availability: TypeAlias = Mapping[tuple[RegionId, RegionId], float]
"""Which part of a region's services is up, as a vantage point (the first of the two) sees it."""


class Form(StrEnum):
    """What a fact's value is, in words."""

    TRUTH = "true or false"
    SHARE = "number"
    COUNT = "whole number"
    SPAN = "duration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the facts of one group are read from at one moment: `region` holds its primaries."""

    detector: Detector
    estate: Estate
    now: Instant
    oldest: Instant
    """What was seen before that is no view any more."""
    group: GroupId
    region: RegionId
    times: Times
    available: Availability


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact: `read` returns it as a vantage point sees it, of what its scope names; None where it is not known.

    One that is not `seen` is what somebody there said of itself, and the same whoever asks.
    """

    scope: Scope
    name: str
    form: Form
    seen: bool
    meaning: str
    read: Callable[[Ground, RegionId, str], Value | None]


def read(named: Named, ground: Ground, vantage: RegionId) -> Value | None:
    """Return a fact as a vantage point sees it; None where it is not known."""
    fact = fact_of(named.scope, named.fact)
    if named.scope is not Scope.KIND:
        return fact.read(ground, vantage, named.of)
    mine = [s.id for s in ground.estate.group_services(ground.group) if s.kind == named.of]
    return _worst([fact.read(ground, vantage, service) for service in mine])


def fact_of(scope: Scope, name: str) -> Fact:
    """Return a fact; those of kinds are those of services, as a vantage point sees them."""
    return FACTS[Scope.SERVICE if scope is Scope.KIND else scope, name]


def facts_of(scope: Scope) -> tuple[str, ...]:
    """Return the names of the facts that there are of something."""
    if scope is Scope.KIND:
        return tuple(fact.name for fact in FACTS.values() if fact.scope is Scope.SERVICE and fact.seen)
    return tuple(fact.name for fact in FACTS.values() if fact.scope is scope)


def _worst(values: Iterable[Value | None]) -> Value | None:
    """The worst of what services are like: one that is not reachable, or the highest figure; unknown if one is."""
    found = list(values)
    if False in [v for v in found if isinstance(v, bool)]:
        return False
    known = [v for v in found if v is not None]
    if not known or len(known) < len(found):
        return None
    return True if isinstance(known[0], bool) else max(known)


def _fresh(ground: Ground, vantage: RegionId, service: str, *, as_client: bool) -> Cell | None:
    """What a vantage point sees of a service, if it has looked lately."""
    cell = ground.detector.cells.along(Line(vantage, ground.region, as_client)).get(ServiceId(service))
    return cell if cell is not None and cell.last >= ground.oldest else None


def _both(ground: Ground, vantage: RegionId, service: str) -> list[Cell]:
    """What it sees over connections that are kept open, and as a client."""
    cells = (_fresh(ground, vantage, service, as_client=as_client) for as_client in (False, True))
    return [cell for cell in cells if cell is not None]


def _reachable(ground: Ground, vantage: RegionId, service: str) -> bool | None:
    """Kept-open probes are asked first: a door for clients that is shut is another fact."""
    return next((cell.up for cell in _both(ground, vantage, service)), None)


def _error_rate(ground: Ground, vantage: RegionId, service: str) -> float | None:
    cells = _both(ground, vantage, service)
    answers = sum(len(cell.recent) for cell in cells)
    return sum(cell.failed for cell in cells) / answers if answers else None


def _p95(ground: Ground, vantage: RegionId, service: str) -> timedelta | None:
    """The nearest-rank percentile of what good answers took, from so many that it means something."""
    if not _both(ground, vantage, service):
        return None
    sights = (Sight(vantage, ServiceId(service), ground.region, as_client) for as_client in (False, True))
    took = sorted(span for sight in sights for _, span in ground.times.get(sight, ()))
    return took[math.ceil(0.95 * len(took)) - 1] if len(took) >= TIMES_MIN else None


def _clients_failing(ground: Ground, vantage: RegionId, service: str) -> float | None:
    counts = ground.detector.carried.get((vantage, ServiceId(service), ground.region), ())
    return carried_share(counts, ground.detector.policy, ground.now)


def _availability(ground: Ground, vantage: RegionId, _: str) -> float | None:
    return ground.available.get((vantage, ground.region))


def _heartbeat(ground: Ground, _: RegionId, __: str) -> timedelta | None:
    return heartbeat_age(ground.detector, ground.region, ground.now)


def _said(ground: Ground, component: str, region: RegionId) -> MemberSeen | None:
    """What a member's agent told of it lately."""
    seen = ground.detector.members.get((ComponentId(component), region))
    return seen if seen is not None and ground.now - seen.at <= SAID_WITHIN else None


def _throughput(ground: Ground, _: RegionId, service: str) -> float | None:
    told = [
        seen.state.detail.get(THROUGHPUT)
        for component in ground.estate.service_components(ServiceId(service))
        if (seen := _said(ground, component.id, ground.region)) is not None and seen.state is not None
    ]
    rates = [float(rate) for rate in told if isinstance(rate, int | float)]
    return sum(rates) if rates else None


def _primary(ground: Ground, component: str) -> MemberState | None:
    seen = _said(ground, component, ground.region)
    return seen.state if seen is not None else None


def _answers(ground: Ground, _: RegionId, component: str) -> bool | None:
    seen = _said(ground, component, ground.region)
    return None if seen is None else seen.state is not None


def _writable(ground: Ground, _: RegionId, component: str) -> bool | None:
    state = _primary(ground, component)
    return None if state is None else state.writable


def _free_disk(ground: Ground, _: RegionId, component: str) -> float | None:
    state = _primary(ground, component)
    return None if state is None else state.free_disk


def _standbys(ground: Ground, component: str) -> list[MemberSeen | None]:
    """What each standby said lately; None for one that did not."""
    members = ground.estate.components[ComponentId(component)].members
    return [_said(ground, component, region) for region in members if region != ground.region]


def _lag(ground: Ground, _: RegionId, component: str) -> timedelta | None:
    states = [seen.state for seen in _standbys(ground, component) if seen is not None]
    lags = [s.lag for s in states if s is not None and s.role is MemberRole.STANDBY and s.lag is not None]
    return max(lags, default=None)


def _streaming(ground: Ground, _: RegionId, component: str) -> int | None:
    """How many are known to stream: None as long as it might be more."""
    told = _standbys(ground, component)
    if None in told:
        return None
    return sum(seen is not None and seen.state is not None and seen.state.streaming for seen in told)


_TABLE = (
    Fact(
        scope=Scope.REGION,
        name="availability",
        form=Form.SHARE,
        seen=True,
        meaning="Which part of the services in the region is up, 0 to 1.",
        read=_availability,
    ),
    Fact(
        scope=Scope.REGION,
        name="heartbeat_age",
        form=Form.SPAN,
        seen=False,
        meaning="How long ago the region's agent was heard of.",
        read=_heartbeat,
    ),
    Fact(
        scope=Scope.SERVICE,
        name="reachable",
        form=Form.TRUTH,
        seen=True,
        meaning="Whether it does its job, by the thresholds of `detection`.",
        read=_reachable,
    ),
    Fact(
        scope=Scope.SERVICE,
        name="error_rate",
        form=Form.SHARE,
        seen=True,
        meaning="Which part of the probes within `detection.gray_window` failed, 0 to 1.",
        read=_error_rate,
    ),
    Fact(
        scope=Scope.SERVICE,
        name="p95",
        form=Form.SPAN,
        seen=True,
        meaning=(
            f"What 95 of 100 good answers of the last {TIMES_WINDOW.seconds} s did not exceed; known from {TIMES_MIN}"
            " of them on. What takes longer than a probe waits is no good answer, but a failure."
        ),
        read=_p95,
    ),
    Fact(
        scope=Scope.SERVICE,
        name="clients_failing",
        form=Form.SHARE,
        seen=True,
        meaning="Which part of real clients' requests fails, as load balancers (observers) count them, 0 to 1.",
        read=_clients_failing,
    ),
    Fact(
        scope=Scope.SERVICE,
        name="throughput",
        form=Form.SHARE,
        seen=False,
        meaning="Requests a second that the region's load balancers say they carry for it.",
        read=_throughput,
    ),
    Fact(
        scope=Scope.COMPONENT,
        name="answers",
        form=Form.TRUTH,
        seen=False,
        meaning="Whether the primary answered its region's agent.",
        read=_answers,
    ),
    Fact(
        scope=Scope.COMPONENT,
        name="writable",
        form=Form.TRUTH,
        seen=False,
        meaning="Whether the primary says that it takes writes.",
        read=_writable,
    ),
    Fact(
        scope=Scope.COMPONENT,
        name="free_disk",
        form=Form.SHARE,
        seen=False,
        meaning="The free part of the disk that the primary's data is on, 0 to 1.",
        read=_free_disk,
    ),
    Fact(
        scope=Scope.COMPONENT,
        name="lag",
        form=Form.SPAN,
        seen=False,
        meaning="How far the standby that is furthest behind is, of those that say so.",
        read=_lag,
    ),
    Fact(
        scope=Scope.COMPONENT,
        name="streaming",
        form=Form.COUNT,
        seen=False,
        meaning="How many standbys stream; known once all of them have said so or not.",
        read=_streaming,
    ),
)

FACTS: Mapping[tuple[Scope, str], Fact] = {(fact.scope, fact.name): fact for fact in _TABLE}


def availability(detector: Detector, *, now: Instant) -> Availability:
    """Return which part of each region's services is up, by who sees it: one look at all cells, for all who ask."""
    oldest = now - stale_after(detector)
    found: dict[tuple[RegionId, RegionId], float] = {}
    for (vantage, region, as_client), known in detector.cells.lines().items():
        if not as_client:
            ups = [cell.up for cell in known.values() if cell.up is not None and cell.last >= oldest]
            if ups:
                found[vantage, region] = sum(ups) / len(ups)
    return found


def sample(before: Times, detector: Detector, wanted: Iterable[Sight], *, now: Instant) -> Times:
    """Return the times of good answers with those that came since, of the sights that are `wanted`."""
    found: dict[Sight, tuple[tuple[Instant, timedelta], ...]] = {}
    for sight in wanted:
        cell = detector.cells.along(sight.line).get(sight.service)
        kept = tuple(t for t in before.get(sight, ()) if t[0] > now - TIMES_WINDOW)
        if cell is not None and cell.took and not cell.failures and (not kept or cell.last > kept[-1][0]):
            kept = (*kept, (cell.last, cell.took))
        if kept:
            found[sight] = kept
    return found
