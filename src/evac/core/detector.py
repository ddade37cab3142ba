"""The detector: from single observations to what each vantage point holds true of each target.

Intuition: one cell for each (vantage point, service, region). A cell turns down after so many failures in a row and
up after so many successes, so that one lost packet is not an outage and one lucky answer is not a recovery. Each cell
also keeps a window of answers: a link that loses 40 % rarely fails three times in a row, yet its clients suffer.

What this is not: a verdict on a region; that takes several vantage points (`assessment`).

Method: consecutive-failure thresholds both ways, as in health checks of HAProxy (`fall`, `rise`); why not
phi-accrual: `docs/design/safety.md` 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from evac.core.estate import ComponentId, RegionId, ServiceId
from evac.core.layered import updated
from evac.core.making import maker
from evac.core.observation import Carried, Heartbeat, Instant, MemberRole, MemberSeen, Observation, Probed
from evac.core.policy import Detection

STREAM_SILENCE_MAX = timedelta(seconds=5)
"""A stream over which nothing came for so long, or of which nothing was told for so long, does not flow on."""


Member: TypeAlias = tuple[ComponentId, RegionId]
Road: TypeAlias = tuple[RegionId, ServiceId, RegionId]
"""Which traffic is counted: by the load balancers at a vantage point, of a service, to a region."""


class Sight(NamedTuple):
    """Who looks at what: the key of a cell."""

    vantage: RegionId
    service: ServiceId
    region: RegionId
    as_client: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One vantage point's view of one target. `up` is None until a threshold has been passed once."""

    up: bool | None
    since: Instant
    """When `up` became what it is."""
    first_failure: Instant | None
    """The start of the present row of failures: the first symptom."""
    failures: int
    successes: int
    last: Instant
    took: timedelta
    reason: str
    recent: tuple[tuple[Instant, bool], ...] = ()
    """The answers within the gray window, oldest first."""
    failed: int = 0
    """How many of the recent answers failed."""

    def failing_share(self) -> float:
        """Return which part of the recent answers failed, 0 to 1; 0 with none."""
        return self.failed / len(self.recent) if self.recent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What one standby's stream has been like, by its own word."""

    upstream: RegionId | None
    behind: bool
    """Whether it is on an older timeline than a primary: it missed a promotion, or went past the point where the new
    timeline begins. Such a stream begins again and again, and brings nothing."""
    flows: bool
    since: Instant
    """Since when all this has been so, without a gap in what was told of it."""
    heard: Instant | None
    """When something came over it for the last time; None if nothing did since evac looks."""
    told: Instant
    """When the member spoke last, or was found silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """All cells, heartbeats and member states, as last seen."""

    policy: Detection
    cells: Mapping[Sight, Cell] = field(default_factory=dict)
    heartbeats: Mapping[RegionId, Instant] = field(default_factory=dict)
    fresh_since: Mapping[RegionId, Instant] = field(default_factory=dict)
    """Since when a region's heartbeat has come without a stale gap."""
    members: Mapping[Member, MemberSeen] = field(default_factory=dict)
    streams: Mapping[Member, Stream] = field(default_factory=dict)
    hosts: Mapping[ComponentId, tuple[RegionId, ...]] = field(default_factory=dict)
    """The regions of `members`, by component."""
    carried: Mapping[Road, tuple[Carried, ...]] = field(default_factory=dict)
    """What load balancers at a vantage point counted of a service in a region within the gray window, oldest first."""


_make_cell, _make_stream, _make_detector = maker(Cell), maker(Stream), maker(Detector)


def fold(detector: Detector, *observations: Observation) -> Detector:
    """Return the detector after these observations, in this order.

    An answer that is not newer than the last one of its cell changes nothing: a view that is delivered twice is not
    two failures. (Several probes of one target are one look, made by the agent: there is one answer.)
    """
    cells: dict[Sight, Cell] = {}
    told: list[MemberSeen] = []
    carried: dict[Road, tuple[Carried, ...]] = {}
    heartbeats, fresh_since = dict(detector.heartbeats), dict(detector.fresh_since)
    for seen in observations:
        match seen:
            case Probed():
                sight = Sight(seen.vantage, seen.service, seen.region, seen.as_client)
                cells[sight] = _look(cells.get(sight) or detector.cells.get(sight), seen, detector.policy)
            case Carried():
                road = seen.vantage, seen.service, seen.region
                before = carried.get(road) or detector.carried.get(road, ())
                carried[road] = _counted(before, seen, detector.policy)
            case Heartbeat():
                last = heartbeats.get(seen.region)
                if last is None or seen.at - last > detector.policy.heartbeat_stale:
                    fresh_since[seen.region] = seen.at
                heartbeats[seen.region] = seen.at if last is None else max(last, seen.at)
            case MemberSeen():  # pragma: no branch (the union is closed)
                told.append(seen)
    members, streams, hosts = _hear(detector, told)
    return _make_detector(
        policy=detector.policy,
        cells=updated(detector.cells, cells),
        heartbeats=heartbeats,
        fresh_since=fresh_since,
        members=updated(detector.members, members),
        streams=updated(detector.streams, streams),
        hosts=updated(detector.hosts, hosts),
        carried=updated(detector.carried, carried),
    )


def _hear(
    detector: Detector, told: Sequence[MemberSeen]
) -> tuple[dict[Member, MemberSeen], dict[Member, Stream], dict[ComponentId, tuple[RegionId, ...]]]:
    """Fold what members say of themselves, in this order: what has changed of members, streams and hosts."""
    members: dict[Member, MemberSeen] = {}
    streams: dict[Member, Stream] = {}
    hosts: dict[ComponentId, tuple[RegionId, ...]] = {}
    for seen in told:
        component, region = where = seen.component, seen.region
        known = members.get(where) or detector.members.get(where)
        if known is not None and known.at > seen.at:
            continue
        members[where] = seen
        regions = hosts.get(component) or detector.hosts.get(component, ())
        if region not in regions:
            regions = hosts[component] = (*regions, region)
        newest = _newest(members.get((component, r)) or detector.members.get((component, r)) for r in regions)
        streams[where] = _flow(streams.get(where) or detector.streams.get(where), seen, newest=newest)
    return members, streams, hosts


def _counted(before: tuple[Carried, ...], seen: Carried, policy: Detection) -> tuple[Carried, ...]:
    """Fold one count in; one that is not newer than the last changes nothing."""
    if before and seen.at <= before[-1].at:
        return before
    return (*(c for c in before if c.at > seen.at - policy.gray_window), seen)


def _newest(members: Iterable[MemberSeen | None]) -> int:
    """The newest timeline that a primary among a component's members is on; 0 where they do not say."""
    states = (seen.state for seen in members if seen is not None)
    return max((s.timeline or 0 for s in states if s is not None and s.role is MemberRole.PRIMARY), default=0)


def _flow(before: Stream | None, seen: MemberSeen, *, newest: int) -> Stream:
    """Fold what a member says of its stream; one that does not answer, or is no standby, has none that flows."""
    state = seen.state
    behind = state is not None and state.timeline is not None and state.timeline < newest
    silence = timedelta() if state is None or state.stream_silence is None else state.stream_silence
    streams = state is not None and state.role is MemberRole.STANDBY and state.streaming
    flows = streams and silence <= STREAM_SILENCE_MAX and not behind
    upstream = state.upstream if state is not None else None
    goes_on = (
        before is not None
        and (before.flows, before.upstream, before.behind) == (flows, upstream, behind)
        and seen.at - before.told <= STREAM_SILENCE_MAX
    )
    return _make_stream(
        upstream=upstream,
        behind=behind,
        flows=flows,
        since=before.since if before is not None and goes_on else seen.at,
        heard=seen.at - silence if flows else before.heard if before is not None else None,
        told=seen.at,
    )


def _look(cell: Cell | None, seen: Probed, policy: Detection) -> Cell:
    """Fold one answer into a cell."""
    if cell is None:
        cell = Cell(
            up=None, since=seen.at, first_failure=None, failures=0, successes=0, last=seen.at, took=seen.took, reason=""
        )
    elif seen.at <= cell.last:
        return cell
    failures = 0 if seen.ok else cell.failures + 1
    successes = cell.successes + 1 if seen.ok else 0
    up = cell.up
    if failures >= policy.failures:
        up = False
    elif successes >= policy.successes or (cell.up is None and successes > 0):
        up = True
    started = seen.at - seen.took
    drop = _dropped(cell.recent, seen.at - policy.gray_window)
    return _make_cell(
        up=up,
        since=cell.since if up is cell.up else seen.at,
        first_failure=None if seen.ok else (cell.first_failure if cell.failures else started),
        failures=failures,
        successes=successes,
        last=seen.at,
        took=seen.took,
        reason=seen.reason,
        recent=(*cell.recent[drop:], (seen.at, seen.ok)),
        failed=(cell.failed and cell.failed - sum(not ok for _, ok in cell.recent[:drop])) + (not seen.ok),
    )


def _dropped(recent: tuple[tuple[Instant, bool], ...], oldest: Instant) -> int:
    """How many of the answers, oldest first, are not younger than `oldest`."""
    for count, (at, _) in enumerate(recent):
        if at > oldest:
            return count
    return len(recent)
