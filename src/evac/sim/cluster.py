"""The store that all regions share, as each region reaches it: a cluster with a member in every region.

Intuition: what is committed is in one place, a `MemoryStore`, and linearizable. Each region has a copy that follows it
after a while, from which watches are served and near reads answered; a region that is cut off keeps reading its own
copy, as it was. Whoever asks for more than that asks the regions that see a majority (`Network.core`): his question
may be lost on the way there, then nothing happened, or the answer on the way back, then it did.

What this is not: consensus. How a cluster agrees is etcd's matter; what its clients may see is this module's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar, cast

from evac.core.errors import StoreUnavailable
from evac.core.estate import RegionId
from evac.ports import Change, Record
from evac.sim.network import INSIDE, Network
from evac.sim.time import outside, sleep
from evac.stores.feed import KEPT_MAX, Feed
from evac.stores.memory import MemoryStore, restored

T = TypeVar("T")

ANSWER_MAX = 2.0
"""How many seconds a client waits for an answer before it gives up."""
SILENCE_MAX = 3.0
"""For so many seconds a watch on a copy that is cut off goes on, before it fails."""
DISK = 0.002
"""Seconds a commit takes beside the ways of its messages."""


@dataclass(slots=True)
class _Copy:
    """One region's copy."""

    region: RegionId
    records: dict[str, Record] = field(default_factory=dict)
    feed: Feed = field(default_factory=lambda: Feed(revision=0))
    applied: int = 0
    """How many commits it has."""
    due: bool = False
    """Whether it is about to take over what is new."""
    cut_since: float | None = None

    def hang_up(self, why: str) -> None:
        """End every watch on it; who needs one watches again."""
        ended, self.feed = self.feed, Feed(revision=self.feed.revision)
        ended.close(why)


@dataclass(frozen=True, slots=True)
class _Commit:
    revision: int
    changes: tuple[Change, ...]


class Cluster:
    """The store itself, its copies, and what is wrong with it."""

    def __init__(self, network: Network, *, random: Random, committed: Callable[[tuple[Change, ...]], None]) -> None:
        """`committed` is told every commit at the moment it happens."""
        self.store = MemoryStore(incarnation="a simulation, life 1")
        self.revision = 0
        """The newest commit's."""
        self.out = False
        """Whether no member answers."""
        self.slow = 0.0
        """Seconds that every question takes longer."""
        self.replies_lost: dict[RegionId, float] = {}
        """Which part of the answers to a region is lost."""
        self.replies_late: dict[RegionId, float] = {}
        """Up to so many seconds later the answers to a region come."""
        self._network = network
        self._random = random
        self._committed = committed
        self._commits: list[_Commit] = []
        self._copies = {region: _Copy(region) for region in network.regions}
        self._core: tuple[int, frozenset[RegionId]] = (-1, frozenset())
        self._nearest: dict[tuple[RegionId, frozenset[RegionId]], float] = {}
        """Seconds to the nearest of some regions."""
        self.life = 1
        """Which life of the store this is: a restored one begins another."""
        self._backup: tuple[tuple[Record, ...], int] = ((), 0)
        self._context = outside()
        """Of the cluster itself: nobody's freeze holds it up."""

    def line(self, region: RegionId) -> Line:
        """Return the store as one process in a region reaches it."""
        return Line(self, region)

    def core(self) -> frozenset[RegionId]:
        """Return the regions whose members work; none while the store is out."""
        if self.out:
            return frozenset()
        if self._core[0] != self._network.changes:
            self._core = self._network.changes, self._network.core()
        return self._core[1]

    async def ask(self, region: RegionId, question: Callable[[], T]) -> T:
        """Carry a question to where it can be answered, and the answer back. Raises `StoreUnavailable`."""
        way, core = self._random, self.core()
        there = any(self._network.passes(region, member) for member in core)
        if not there:
            await sleep(ANSWER_MAX)
            raise StoreUnavailable("no answer in time")
        near = self._near(region, core)
        await sleep(self.slow / 2 + near * way.uniform(1.0, 1.5) + DISK)
        if not self.core():
            await sleep(ANSWER_MAX)
            raise StoreUnavailable("no answer in time")
        try:
            return question()
        finally:
            late = self.replies_late.get(region, 0.0) * way.random()
            await sleep(self.slow / 2 + near * way.uniform(1.0, 1.5) + late)
            back = any(self._network.passes(member, region) for member in self.core())
            if not back or way.random() < self.replies_lost.get(region, 0.0):
                await sleep(ANSWER_MAX)
                raise StoreUnavailable("no answer in time")

    def commit(
        self, expect: Mapping[str, int], put: Mapping[str, bytes], delete: Collection[str], life: str | None = None
    ) -> int:
        """Commit at this moment, and let the copies know in time. Raises `Conflict`."""
        there = [key for key in delete if self.now(key) is not None]
        revision = self._now(self.store.commit(expect=expect, put=put, delete=delete, life=life))
        if revision != self.revision:
            self.revision = revision
            changes = [
                *(Change(key=key, record=self.now(key), revision=revision) for key in put),
                *(Change(key=key, record=None, revision=revision) for key in there),
            ]
            self._commits.append(_Commit(revision, tuple(changes)))
            for copy in self._copies.values():
                self._follow(copy)
            self._committed(tuple(changes))
        return revision

    def back_up(self) -> None:
        """Keep what is in it at this moment."""
        self._backup = self.all(""), self.revision

    def restore(self) -> None:
        """Be as the backup is: another life of the store, in which revisions and versions are used once more."""
        records, self.revision = self._backup
        self.life += 1
        self.store = restored(records, revision=self.revision, incarnation=f"a simulation, life {self.life}")
        self._commits = []
        for copy in self._copies.values():
            copy.hang_up("the store has begun another life")
            copy.records = {record.key: record for record in records}
            copy.feed, copy.applied = Feed(revision=self.revision), 0

    def now(self, key: str) -> Record | None:
        """Return what a key holds at this moment."""
        return self._now(self.store.get(key))

    def incarnation(self) -> str:
        """Return who the store is."""
        return self._now(self.store.incarnation())

    def all(self, prefix: str) -> tuple[Record, ...]:
        """Return what is under a prefix at this moment."""
        return self._now(self.store.list(prefix))

    def copy(self, region: RegionId) -> _Copy:
        """Return a region's copy."""
        return self._copies[region]

    def _near(self, region: RegionId, members: frozenset[RegionId]) -> float:
        """Return how far the nearest member is."""
        if (near := self._nearest.get((region, members))) is None:
            ways = (INSIDE if region == m else self._network.one_way[frozenset((region, m))] for m in members)
            near = self._nearest[region, members] = min(ways, default=INSIDE)
        return near

    def _follow(self, copy: _Copy) -> None:
        """Let a copy take over what is new after the time a message takes; one that is cut off, when it is not."""
        if copy.due:
            return
        copy.due = True
        loop = asyncio.get_running_loop()
        core = self.core()
        cut = copy.region not in core
        if cut and copy.cut_since is None:
            copy.cut_since = loop.time()
            loop.call_later(SILENCE_MAX, self._silent, copy, context=self._context)
        delay = 0.2 if cut else self._near(copy.region, core - {copy.region}) * self._random.uniform(1.0, 2.0)
        loop.call_later(delay, self._take_over, copy, context=self._context)

    def _take_over(self, copy: _Copy) -> None:
        copy.due = False
        if copy.region not in self.core():
            return self._follow(copy)
        copy.cut_since = None
        for commit in self._commits[copy.applied :]:
            for change in commit.changes:
                if change.record is None:
                    copy.records.pop(change.key, None)
                else:
                    copy.records[change.key] = change.record
            copy.feed.publish(commit.changes, revision=commit.revision)
        copy.applied = len(self._commits)
        return None

    def _silent(self, copy: _Copy) -> None:
        """End the watches on a copy that has been cut off for too long."""
        if copy.cut_since is not None and asyncio.get_running_loop().time() - copy.cut_since >= SILENCE_MAX:
            copy.hang_up("the store has been silent for too long")

    def _now(self, asked: Coroutine[None, None, T]) -> T:
        """Return what a `MemoryStore` answers: it never waits."""
        try:
            asked.send(None)
        except StopIteration as answer:
            return cast(T, answer.value)
        raise AssertionError("a store in memory answers at once")


class Line:
    """Implements `evac.ports.Store`: the cluster as one process in a region reaches it."""

    def __init__(self, cluster: Cluster, region: RegionId) -> None:
        self._cluster = cluster
        self._region = region
        self._told = 0
        """The newest revision that this process has heard of."""
        self._life = cluster.life
        self._closed = False

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        if near and (copy := await self._near()) is not None:
            return copy.records.get(key)
        return await self._ask(lambda: self._cluster.now(key))

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        if near and (copy := await self._near()) is not None:
            return tuple(copy.records[key] for key in sorted(copy.records) if key.startswith(prefix))
        return await self._ask(lambda: self._cluster.all(prefix))

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        return await self._ask(lambda: self._cluster.commit(expect, put, delete, life))

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        self._need_open()
        feed = self._cluster.copy(self._region).feed
        async for change in feed.follow(prefix, after=after):
            self._told = max(self._told, change.revision)
            yield change

    async def revision(self) -> int:
        return await self._ask(lambda: self._cluster.revision)

    async def incarnation(self) -> str:
        return await self._ask(self._cluster.incarnation)

    async def close(self) -> None:
        self._closed = True
        self._cluster.copy(self._region).hang_up("the store is closed")

    def forget(self) -> None:
        """Let the copy here keep no changes from before: a watch that needs one is told so."""
        feed = self._cluster.copy(self._region).feed
        feed.skip(feed.revision + KEPT_MAX + 1)

    def _need_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    async def _ask(self, question: Callable[[], T]) -> T:
        self._need_open()

        def asked() -> tuple[T, int]:
            self._need_the_same_life()
            answer = question()
            return answer, self._cluster.revision

        answer, revision = await self._cluster.ask(self._region, asked)
        self._told = max(self._told, revision)
        return answer

    def _need_the_same_life(self) -> None:
        """Refuse what rests on a former life, once (as the birth record does, `stores.etcd.life`)."""
        if self._life != self._cluster.life:
            self._life, self._told = self._cluster.life, 0
            raise StoreUnavailable("the store has begun another life: what was known of it is void")

    async def _near(self) -> _Copy | None:
        """Return the copy here, if it is as new as anything this process was told."""
        self._need_open()
        await sleep(INSIDE)
        self._need_the_same_life()
        copy = self._cluster.copy(self._region)
        if self._cluster.out or copy.feed.revision < self._told:
            return None
        self._told = copy.feed.revision
        return copy
