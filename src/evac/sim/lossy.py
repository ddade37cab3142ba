"""Packet loss against the real core: how often does it move a healthy group, and how soon a sick one?

Intuition: a probe's outcome on a lossy link is a matter of TCP's patience (`tcp`, `probing`), and what those outcomes
add up to is a matter of the core alone. So only the network is a model here: every answer is folded by
`core.detector`, judged by `core.assessment` and decided on by `core.deciding`, with the settings as shipped. Loss is
per packet and way, independent, on every link of one region, or on all links.

Months must pass in minutes. So an answer that repeats what its cell already holds (up, and up again) is only noted,
and folded when it matters; and nothing is assessed while `calm` says that nothing could come of it. Neither changes
a decision, and by little its moment: `plain` does without either, and the test that compares them draws the same fates.

Beside loss it plays what is refused at once: a database that was killed, or is only started anew.

What this is not: bursts, congestion, or one-way loss; or the command that plays it (`loss`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from heapq import heappop, heappush
from math import inf
from random import Random

from evac.core.assessment import assess, calm
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Move, View
from evac.core.detector import Detector, fold
from evac.core.estate import ComponentId, Estate, Purpose, RegionId, ServiceId
from evac.core.observation import Heartbeat, MemberRole, MemberSeen, MemberState, Probed
from evac.core.policy import Detection
from evac.core.sights import Sight
from evac.core.traffic import Shift
from evac.core.verdict import Assessment, Diagnosis
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS, SHOP, WEST, placed, shop
from evac.sim.probing import Place, Target
from evac.sim.tcp import Link

ROUND_TRIPS: Mapping[frozenset[str], float] = {
    frozenset((EAST, WEST)): 0.062,
    frozenset((EAST, EUROPE)): 0.076,
    frozenset((WEST, EUROPE)): 0.132,
    frozenset(("ops", EAST)): 0.024,
    frozenset(("ops", WEST)): 0.048,
    frozenset(("ops", EUROPE)): 0.090,
}
"""Seconds, between the sites of the lab."""
TICK = 0.1
"""How often the controller looks again when nothing new was seen, in seconds."""
SLOT = 0.5
"""Questions are asked in slots of so many seconds."""
EPISODE = 60.0
"""A verdict or move of the same kind within so many seconds of the last one is the same episode."""


@dataclass(slots=True)
class Tally:
    """What came of a run, in episodes."""

    moves: list[float] = field(default_factory=list)
    shifts: int = 0
    """Of traffic alone."""
    verdicts: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    assessments: int = 0
    questions: int = 0


@dataclass(slots=True)
class World:
    """Three regions, their places and probes, and the controller's memory of them."""

    estate: Estate
    random: Random
    plain: bool = False
    links: dict[frozenset[str], Link] = field(init=False)
    places: dict[RegionId, Place] = field(init=False)
    targets: list[Target] = field(init=False)
    detector: Detector = field(init=False)
    tally: Tally = field(default_factory=Tally)
    _notes: dict[Sight, deque[float]] = field(default_factory=dict)
    """When a target answered well, of which the detector has not been told yet."""
    _beats: dict[RegionId, float] = field(default_factory=dict)
    _restless: set[Sight] = field(default_factory=set)
    _open: list[tuple[float, int, Sight | RegionId, float, bool]] = field(default_factory=list)
    _said: dict[str, float] = field(default_factory=dict)
    _count: int = 0
    _awake: bool = False
    _pace: float = TICK

    def __post_init__(self) -> None:
        policy = self.estate.detection
        interval, timeout = policy.interval.total_seconds(), policy.timeout.total_seconds()
        phase = self.random.random
        self.links = {pair: Link(round_trip=rtt) for pair, rtt in ROUND_TRIPS.items()}
        self.places = {
            r: Place(r, self.links[frozenset(("ops", r))], interval, timeout, phase() * interval, self.random)
            for r in self.estate.regions
        }
        self.targets = [self._target(v, s) for v in self.estate.regions for s in self._sights(v)]
        self.targets.sort(key=lambda t: t.next_ask)
        seen = tuple(Heartbeat(at=timedelta(), region=r) for r in self.estate.regions)
        self.detector = fold(Detector(policy=policy), *seen, *_members(self.estate))
        self._beats = dict.fromkeys(self.estate.regions, 0.0)
        self._restless = {t.sight for t in self.targets}
        kept = int(policy.gray_window.total_seconds() / interval) + 2
        self._notes = {t.sight: deque(maxlen=kept) for t in self.targets}
        self._awake = self.plain

    def _sights(self, vantage: RegionId) -> Iterator[Sight]:
        for probe in self.estate.probes:
            if not probe.as_client or probe.region != vantage:
                yield Sight(vantage, probe.service, probe.region, probe.as_client)

    def _target(self, vantage: RegionId, sight: Sight) -> Target:
        policy = self.estate.detection
        inside = sight.region == vantage
        interval = policy.client_interval if sight.as_client else policy.interval
        timeout = policy.client_timeout if sight.as_client else policy.timeout
        return Target(
            sight=sight,
            place=self.places[vantage],
            link=Link(round_trip=0.0) if inside else self.links[frozenset((vantage, sight.region))],
            interval=interval.total_seconds(),
            timeout=timeout.total_seconds(),
            fresh=sight.as_client,
            next_ask=self.random.random() * interval.total_seconds(),
            random=self.random,
        )

    def lose(self, loss: float, *, around: RegionId | None) -> None:
        """From now on lose packets on every link of a region, or with None on all links."""
        for pair, link in self.links.items():
            if around is None or around in pair:
                link.loss = loss

    def kill(self, *, services: Collection[ServiceId], until: float = inf) -> None:
        """Nothing listens for these services at home any more; then they are there again."""
        home = self.estate.home[GROUP]
        for target in self.targets:
            if target.sight.region == home and target.sight.service in services:
                target.refused_until = until

    def run(self, *, begin: float, end: float, stop_at_move: bool = False) -> None:
        """Let time pass from `begin` to `end`, both multiples of a slot."""
        now = begin
        while now < end:
            upto = now + SLOT
            for place in self.places.values():
                while place.next_ping < upto:
                    if (heard := place.ping()) is not None:
                        self._beat(place.region, heard)
            for target in self.targets:
                while target.next_ask < upto:
                    self._ask(target)
            self._digest(now, upto)
            now = upto
            if stop_at_move and self.tally.moves:
                return

    def _beat(self, region: RegionId, heard: float) -> None:
        """A heartbeat waits for its time; while all is calm, and it leaves no gap, it is only noted."""
        no_gap = heard - self._beats[region] <= self.estate.detection.heartbeat_stale.total_seconds()
        self._beats[region] = heard
        if self._awake or not no_gap:
            self._later(heard, heard, region, ok=True)

    def _ask(self, target: Target) -> None:
        """Ask. An answer waits for its time; while all is calm, one that repeats "up" is only noted."""
        self.tally.questions += 1
        at, sight = target.next_ask, target.sight
        resting = not self._awake and sight not in self._restless
        if at < target.refused_until:
            begun, ended, ok = target.be_refused()
        else:
            begun, ended, ok = target.ask_quickly() if target.quick(at) else target.ask()
        if resting and ok:
            if not target.place.was_deaf(begun, ended):
                self._notes[sight].append(ended)
        else:
            self._restless.add(sight)
            self._later(ended, begun, sight, ok=ok)

    def _later(self, ended: float, begun: float, what: Sight | RegionId, *, ok: bool) -> None:
        self._count += 1
        heappush(self._open, (ended, self._count, what, begun, ok))

    def _digest(self, begin: float, end: float) -> None:
        """Fold what ended in this slot, and look at it as the controller would."""
        look_at = begin + self._pace
        while self._open and self._open[0][0] < end:
            ended, _, what, begun, ok = heappop(self._open)
            while self._awake and look_at < ended:
                self._look(look_at)
                look_at += self._pace
            if isinstance(what, Sight):
                if not self.places[what.vantage].was_deaf(begun, ended) and self._take(what, begun, ended, ok=ok):
                    self._look(ended)
            elif ended > self.detector.heartbeats[what].total_seconds():
                self.detector = fold(self.detector, Heartbeat(at=timedelta(seconds=ended), region=what))
        while self._awake and look_at < end:
            self._look(look_at)
            look_at += self._pace
        if self._awake and not self.plain and calm(self.detector, estate=self.estate):
            self._awake = False

    def _take(self, sight: Sight, begun: float, ended: float, *, ok: bool) -> bool:
        """Fold an answer. Returns whether it could change a verdict."""
        before = self.detector.cells.get(sight)
        if not self._awake:
            self._settle(sight)
        self.detector = fold(self.detector, _probed(sight, ended, ended - begun, ok=ok))
        cell = self.detector.cells[sight]
        if cell.up and cell.successes >= self.estate.detection.successes:
            self._restless.discard(sight)
        if not self._awake and not calm(self.detector, estate=self.estate):
            self._wake()
        return self._awake and (self.plain or before is None or before.up is not cell.up or sight.as_client)

    def _settle(self, sight: Sight) -> None:
        """Fold what was only noted of a sight."""
        notes = self._notes[sight]
        self.detector = fold(self.detector, *(_probed(sight, at, 0.0, ok=True) for at in notes))
        notes.clear()

    def _wake(self) -> None:
        """From now on everything is folded in its time. Notes of this very slot count as past."""
        self._awake = True
        for sight in self._notes:
            self._settle(sight)
        self.detector = fold(
            self.detector, *(Heartbeat(at=timedelta(seconds=at), region=r) for r, at in self._beats.items())
        )

    def _look(self, now: float) -> None:
        """Assess and decide, as the controller does."""
        self.tally.assessments += 1
        assessment = assess(self.detector, now=timedelta(seconds=now), estate=self.estate)
        harmless = True
        for region, verdict in assessment.verdicts.items():
            if verdict.diagnosis in (Diagnosis.WELL, Diagnosis.UNKNOWN, Diagnosis.LINK_CUT):
                continue
            harmless = False
            if self._is_new(f"{region} {verdict.diagnosis}", now):
                self.tally.verdicts[verdict.diagnosis] += 1
        self._pace = SLOT / 2 if harmless and not self.plain else TICK
        for decision in decide(self._view(assessment), now=assessment.at):
            if isinstance(decision, Move) and self._is_new("move", now):
                self.tally.moves.append(now)
                self.tally.verdicts[f"moved: {assessment.verdicts[decision.source].diagnosis}"] += 1
            elif isinstance(decision, Shift) and self._is_new("shift", now):
                self.tally.shifts += 1
            elif isinstance(decision, Ask | CallPerson) and self._is_new("call", now):
                self.tally.calls += 1

    def _is_new(self, what: str, now: float) -> bool:
        last = self._said.get(what, -EPISODE)
        self._said[what] = now
        return now - last >= EPISODE

    def _view(self, assessment: Assessment) -> View:
        return View(
            estate=self.estate,
            assessment=assessment,
            members=self.detector.members,
            placements={GROUP: placed(self.estate)},
        )


def _probed(sight: Sight, at: float, took: float, *, ok: bool) -> Probed:
    return Probed(
        at=timedelta(seconds=at),
        vantage=sight.vantage,
        service=sight.service,
        region=sight.region,
        ok=ok,
        took=timedelta(seconds=took),
        reason="" if ok else "no answer in time",
        as_client=sight.as_client,
    )


def _members(estate: Estate) -> Iterator[MemberSeen]:
    """Everybody in the role that the placement says."""
    home = estate.home[GROUP]
    for component in estate.group_components(GROUP, Purpose.STATE):
        for region in component.members:
            role = MemberRole.PRIMARY if region == home else MemberRole.STANDBY
            yield _member(component.id, region, role, upstream=None if region == home else home)


def _member(component: ComponentId, region: RegionId, role: MemberRole, *, upstream: RegionId | None) -> MemberSeen:
    state = MemberState(role=role, writable=role is MemberRole.PRIMARY, position=0, upstream=upstream, streaming=True)
    return MemberSeen(at=timedelta(), component=component, region=region, state=state)


def healthy(
    *, seconds: float, loss: float, around: RegionId | None, seed: int, detection: Detection | None = None
) -> Tally:
    """Return what the core says of a healthy estate that loses packets for so long."""
    world = World(estate=shop(detection=detection), random=Random(seed))
    world.lose(loss, around=around)
    world.run(begin=0.0, end=seconds)
    return world.tally


class Failing(StrEnum):
    """How a home region fails."""

    LOSSY = "packets are lost"
    DATABASE_KILLED = "the database and what needs it refuse, the machines go on"
    SHUT_DOWN = "all refuse, and the agent is gone"


def time_to_move(
    *,
    loss: float = 0.0,
    seed: int,
    how: Failing = Failing.LOSSY,
    lasts: float = inf,
    detection: Detection | None = None,
    limit: float = 300.0,
) -> float:
    """Return how many seconds after the home region begins to lose packets (1.0: all), or fails otherwise, a move is
    decided on; `limit` if none is. A database that was killed is there again after so many seconds as it `lasts`.
    """
    world = World(estate=shop(detection=detection), random=Random(seed))
    onset = 30.0 + SLOT * world.random.randrange(8)
    world.run(begin=0.0, end=onset)
    match how:
        case Failing.LOSSY:
            world.lose(loss, around=EAST)
        case Failing.DATABASE_KILLED:
            world.kill(services=(ORDERS, SHOP), until=onset + lasts)
        case Failing.SHUT_DOWN:
            world.kill(services=tuple(world.estate.services))
            world.links[frozenset(("ops", EAST))].loss = 1.0
    world.run(begin=onset, end=onset + limit, stop_at_move=True)
    return world.tally.moves[0] - onset if world.tally.moves else limit
