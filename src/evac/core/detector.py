"""The detector: from single observations to what each vantage point holds true of each target.

Intuition: one cell for each (vantage point, service, region). A cell turns down after so many failures in a row and
up after so many successes, so that one lost packet is not an outage and one lucky answer is not a recovery. Each cell
also keeps a window of answers: a link that loses 40 % rarely fails three times in a row, yet its clients suffer.

What this is not: a verdict on a region; that takes several vantage points (`assessment`).

Method: consecutive-failure thresholds both ways, as in health checks of HAProxy (`fall`, `rise`); why not
phi-accrual: `docs/design/safety.md` 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from evac.core.estate import ComponentId, RegionId, ServiceId
from evac.core.layered import updated
from evac.core.making import maker
from evac.core.observation import Carried, Heartbeat, Instant, MemberRole, MemberSeen, Observation, Probed
from evac.core.policy import Detection
from evac.core.sights import Line, Sights

STREAM_SILENCE_MAX = timedelta(seconds=5)
"""A stream over which nothing came for so long, or of which nothing was told for so long, does not flow on."""


Member: TypeAlias = tuple[ComponentId, RegionId]
Road: TypeAlias = tuple[RegionId, ServiceId, RegionId]
"""Which traffic is counted: by the load balancers at a vantage point, of a service, to a region."""


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
    recent: tuple[Instant, ...] = ()
    """When answers came within the gray window, oldest first."""
    bad: tuple[Instant, ...] = ()
    """Which of those failed: hardly any, mostly, so nothing is kept beside an answer that was well."""
    answered: int = 0
    """How many of the present row of failures, counted from the newest back, were answered, though badly."""

    @property
    def failed(self) -> int:
        """Return how many of the recent answers failed."""
        return len(self.bad)

    def failing_share(self) -> float:
        """Return which part of the recent answers failed, 0 to 1; 0 with none."""
        return len(self.bad) / len(self.recent) if self.recent else 0.0


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
    waited: Instant | None = None
    """When it was a primary last at which writes waited for standbys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """All cells, heartbeats and member states, as last seen."""

    policy: Detection
    cells: Sights[Cell] = field(default_factory=Sights)
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
_make_probed = maker(Probed)


def fold(detector: Detector, *observations: Observation) -> Detector:
    """Return the detector after these observations, in this order.

    An answer that is not newer than the last one of its cell changes nothing: a view that is delivered twice is not
    two failures. (Several probes of one target are one look, made by the agent: there is one answer.)
    """
    cells: dict[Line, dict[ServiceId, Cell]] = {}
    windows = _Windows(detector.policy)
    told: list[MemberSeen] = []
    carried: dict[Road, tuple[Carried, ...]] = {}
    heartbeats, fresh_since = dict(detector.heartbeats), dict(detector.fresh_since)
    for seen in observations:
        match seen:
            case Probed():
                line = Line(seen.vantage, seen.region, seen.as_client)
                along = cells.setdefault(line, {})
                cell = along.get(seen.service) or detector.cells.along(line).get(seen.service)
                along[seen.service] = _look(cell, seen, windows)
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
        cells=detector.cells.after(cells) if cells else detector.cells,
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
    waits = state is not None and state.role is MemberRole.PRIMARY and state.waiting > 0
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
        heard=(seen.at - silence if silence else seen.at) if flows else before.heard if before is not None else None,
        told=seen.at,
        waited=seen.at if waits else before.waited if before is not None else None,
    )


class _Windows:
    """The answers within the gray window, after more have come. Cells that were answered at the same moments, as those
    that one observer tells of, share one tuple: there are hundreds of thousands of them.
    """

    def __init__(self, policy: Detection) -> None:
        self.policy = policy
        self._last: tuple[tuple[Instant, ...], Sequence[Instant], tuple[Instant, ...]] = (), (), ()

    def after(self, recent: tuple[Instant, ...], at: Sequence[Instant]) -> tuple[Instant, ...]:
        """Return what is within the window of the last of these moments."""
        before, moments, found = self._last
        if before is recent and moments == at:
            return found
        found = (*self.within(recent, at[-1]), *self.within(at, at[-1]))
        self._last = recent, at, found
        return found

    def within(self, recent: Sequence[Instant], at: Instant) -> Sequence[Instant]:
        """Return those, oldest first, that are within the window at a moment."""
        oldest = at - self.policy.gray_window
        for count, one in enumerate(recent):
            if one > oldest:
                return recent[count:] if count else recent
        return ()


def _look(cell: Cell | None, seen: Probed, windows: _Windows) -> Cell:
    """Fold one answer into a cell."""
    policy = windows.policy
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
    bad = tuple(windows.within(cell.bad, seen.at)) if cell.bad else ()
    return _make_cell(
        up=up,
        since=cell.since if up is cell.up else seen.at,
        first_failure=None if seen.ok else (cell.first_failure if cell.failures else started),
        failures=failures,
        successes=successes,
        last=seen.at,
        took=seen.took,
        reason=seen.reason,
        recent=windows.after(cell.recent, (seen.at,)),
        bad=bad if seen.ok else (*bad, seen.at),
        answered=cell.answered + 1 if seen.answered and not seen.ok else 0,
    )


class Again(NamedTuple):
    """What every one of the next looks finds."""

    ok: bool
    took: timedelta
    reason: str
    answered: bool = False


def go_on(
    line: Line,
    known: Mapping[ServiceId, Cell],
    *,
    finding: Callable[[Line, Cell], Again | None],
    at: Sequence[Instant],
    policy: Detection,
) -> Mapping[ServiceId, Cell]:
    """Return the cells along a line after looks at these moments which all have the same answer, each cell its own;
    None: nobody looks.

    It is what folding these answers one by one would make of them, in one piece and at once.
    """
    windows = _Windows(policy)

    def later(service: ServiceId, cell: Cell) -> Cell:
        found = finding(line, cell)
        if found is None:
            return cell
        if found.ok and cell.up and cell.last < at[0]:
            return _goes_on(cell, found, at, windows)
        for moment in at:
            seen = _make_probed(at=moment, **line.at(service)._asdict(), **found._asdict())
            cell = _look(cell, seen, windows)
        return cell

    return {service: later(service, cell) for service, cell in known.items()}


def _goes_on(cell: Cell, found: Again, at: Sequence[Instant], windows: _Windows) -> Cell:
    """What is up and is found well is as it was, and has been answered so many times more."""
    return _make_cell(
        up=True,
        since=cell.since,
        first_failure=None,
        failures=0,
        successes=cell.successes + len(at),
        last=at[-1],
        took=found.took,
        reason=found.reason,
        recent=windows.after(cell.recent, at),
        bad=tuple(windows.within(cell.bad, at[-1])),
    )
