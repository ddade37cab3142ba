"""What the agent that leads costs at one size of estate: processor time, memory, and what it writes to the store.

Intuition: what an agent sees comes to the leader as records of views, from each region, and that is how it comes here:
made as an agent makes them, read as a leader reads them. The leader is the real one (`engine.controller`), on a clock
that is set and a store that weighs what is written and keeps nothing. The whole program is loaded, as in an agent.

The estate's looks are an observer's (`core.estate.Observer`): so many are not probed (`asking`). What a leader asks in
its own region comes on top of it, and so does what the drivers of its members hold.

What this is not: a run. Of the groups that have to be moved every plan is made and held, and none is executed.
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from evac import daemon
from evac.core.deciding import decide
from evac.core.decision import Decision, Move
from evac.core.detector import fold
from evac.core.estate import Estate, RegionId
from evac.core.news import silent
from evac.core.observation import Instant, Observation
from evac.drivers import driver_kinds, observer_kinds, probe_kinds
from evac.engine.clock_filter import ClockFilter
from evac.engine.codec import encode, packed
from evac.engine.controller import Controller
from evac.engine.outlook import think
from evac.engine.snapshots import publish
from evac.engine.views import TOLD_AT_ONCE, decode_view, encode_view
from evac.lab.bench.large import INTERVAL, estate_of, placements_of, seen_from
from evac.stores.memory import MemoryStore

RATE = 10_000
"""Observations a second, from all agents together."""
VIEWS = 2
"""Views a second that each agent publishes."""
STEADY_S = 30
"""For so many snapshots what is written is weighed."""
TOLD_WITHIN_S = 300
"""So many snapshots at most, until all that has changed is written."""
DWELLED = timedelta(seconds=1)
"""Longer than a verdict is watched before anything acts on it."""
WALL = datetime(2026, 1, 1, tzinfo=UTC)
START = timedelta(hours=1)


class SetClock:
    """A clock that is set, and goes on by sleeping. `meanwhile` happens in each sleep, and says whether to wake up."""

    def __init__(self) -> None:
        self.at: Instant = START
        self.meanwhile: Callable[[], bool] = lambda: False

    def now(self) -> Instant:
        return self.at

    def wall(self) -> datetime:
        return WALL + self.at

    async def sleep(self, duration: timedelta) -> None:
        self.at += duration
        if not self.meanwhile():
            raise asyncio.CancelledError


class Scales(MemoryStore):
    """A store that weighs each commit, and keeps nothing but the weights of the newest values."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[int, int]] = []
        """Of each commit how many values it had, and their bytes."""
        self.held: dict[str, int] = {}

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        self.commits.append((len(put), sum(map(len, put.values()))))
        self.held |= {key: len(value) for key, value in put.items()}
        return len(self.commits)


class Leader:
    """A leader of a large estate, and what it hears."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.clock, self.store = SetClock(), Scales()
        self.controller = Controller(
            estate=estate, store=self.store, clock=self.clock, announce=silent, name="bench", signer=None
        )
        self.controller.known.placements = placements_of(estate)
        self._clocks = ClockFilter()

    def hear(self, *, lost: RegionId | None = None) -> list[int]:
        """Hear all agents tell what they see now; return how large their records were."""
        sizes: list[int] = []
        known = self.controller.known
        for region in self.estate.regions:
            if region != lost:
                for record in views(region, seen_from(self.estate, region, self.clock.at, lost=lost), at=self.clock.at):
                    sizes.append(len(record))
                    seen = decode_view(record, now=self.clock.at, clocks=self._clocks)
                    known.detector = fold(known.detector, *seen)
        return sizes

    def evaluate(self) -> tuple[Decision, ...]:
        """Assess and decide, as a controller does each time, as far as it is thought and not done."""
        assessment = self.controller.assess()
        decisions = decide(self.controller.view(assessment), now=assessment.at)
        for decision in decisions:
            if self.controller.known.is_news(decision):
                self.controller.known.decisions[decision.group] = decision
        return decisions

    def publish(self, story: Iterator[None]) -> None:
        """Write snapshots, once a second, for as long as the story goes on, which happens between them."""

        async def some() -> None:
            await asyncio.wait({asyncio.create_task(publish(self.controller, store=self.store, clock=self.clock))})

        self.clock.meanwhile = lambda: next(story, self) is None
        asyncio.run(some())

    def quietly(self) -> Iterator[None]:
        """Let snapshots be written until all that has changed is told."""
        for _ in range(TOLD_WITHIN_S):
            yield
            if self.store.commits[-1][0] == 1:
                return


def views(region: RegionId, seen: Iterable[Observation], *, at: Instant) -> Iterator[bytes]:
    """The records by which an agent tells what it saw."""
    rest = iter(seen)
    while some := list(islice(rest, TOLD_AT_ONCE)):
        yield encode_view(region, some, now=at, life="bench")


def measure(regions: int, services: int, rounds: int) -> dict[str, float]:
    """Return all figures of one size."""
    assert daemon is not None, "the whole program is loaded"
    for kinds in (driver_kinds, probe_kinds, observer_kinds):
        kinds()
    found = {"rss_bare": rss_mb()}
    leader = Leader(estate_of(regions, services))
    leader.publish(_story(leader, found, rounds))
    found["rss_peak"] = peak_mb()
    return found


def _story(leader: Leader, found: dict[str, float], rounds: int) -> Iterator[None]:
    """All is well; then a region is lost."""
    leader.hear()
    leader.clock.at += INTERVAL
    told = leader.hear()
    found |= {"view": float(max(told)), "views_rate": sum(told) / INTERVAL.total_seconds()}
    found["well"], found["well_least"] = spent(leader.evaluate, rounds)
    found["folding"] = folding(leader)
    yield from leader.quietly()
    yield from _steadily(leader, found)
    found["rss"] = rss_mb()
    yield from _lost(leader, found, rounds)


def _steadily(leader: Leader, found: dict[str, float]) -> Iterator[None]:
    """What is written while all is well and only figures change."""
    leader.hear()
    leader.store.commits.clear()
    begun = time.process_time()
    for _ in range(STEADY_S):
        yield
    found["publishing"] = (time.process_time() - begun) / STEADY_S
    found["status_rate"] = sum(size for _, size in leader.store.commits) / STEADY_S
    found["status"] = float(sum(leader.store.held.values()))


def _lost(leader: Leader, found: dict[str, float], rounds: int) -> Iterator[None]:
    """A region is lost: three looks find it so, its agent is silent, its groups are to be moved, and what the loss of
    each region would come to is thought through beside that.
    """
    lost, *_ = leader.estate.regions
    for _ in range(leader.estate.detection.failures):
        leader.clock.at += INTERVAL
        leader.hear(lost=lost)
    leader.clock.at += DWELLED
    found["lost"], found["lost_least"] = spent(leader.evaluate, rounds)
    assessment = leader.controller.assess()
    moves = [d for d in leader.evaluate() if isinstance(d, Move)]
    plans = [leader.controller.plan(move, assessment) for move in moves]
    found["steps"] = float(sum(len(plan.steps) for plan in plans))
    leader.store.commits.clear()
    yield from leader.quietly()
    found["told"] = float(len(leader.store.commits))
    found["commit"] = float(max(size for _, size in leader.store.commits))
    thinking: list[float] = []
    stretches: list[float] = []
    thoughts = 0
    for region in leader.estate.regions:
        begun = turn = time.process_time()
        for said in think(region, leader.controller, {}, wall=WALL):
            stretches.append(time.process_time() - turn)
            thoughts += len(packed(encode(said))) if said else 0
            turn = time.process_time()
        thinking.append(time.process_time() - begun)
    found |= {"think": max(thinking), "stretch": max(stretches), "thoughts": float(thoughts)}


def folding(leader: Leader) -> float:
    """The part of a core that reading and folding views takes at `RATE`, in views as small as that makes them."""
    detector, clocks = leader.controller.known.detector, ClockFilter()
    at = leader.clock.at + timedelta(seconds=1)
    size = max(1, RATE // (VIEWS * len(leader.estate.regions)))
    spent, count = 0.0, 0
    for region in leader.estate.regions:
        seen = seen_from(leader.estate, region, at)
        records = [encode_view(region, islice(seen, size), now=at, life="bench") for _ in range(3 * VIEWS)]
        begun = time.process_time()
        for record in records:
            told = decode_view(record, now=at, clocks=clocks)
            detector = fold(detector, *told)
            count += len(told) - 1
        spent += time.process_time() - begun
    return spent / count * RATE


def spent(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The p99 of the processor time of some rounds, by nearest rank, and the shortest."""
    each: list[float] = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        each.append(time.process_time() - begun)
    each.sort()
    return each[math.ceil(0.99 * rounds) - 1], each[0]


def rss_mb() -> float:
    """Memory, resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mb() -> float:
    """Memory, at its peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
