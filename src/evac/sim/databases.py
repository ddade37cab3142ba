"""Replicated databases as a model: logs that are streamed, sets that must acknowledge, and members that obey.

Intuition: a log is a row of entries, each with the timeline it was written on; a standby holds a beginning of its
upstream's log or it has gone astray. What is sent takes its time and may be lost; what a member is asked, it does in
its own process: one that is frozen does it when it is thawed, however long nobody waits any more. What is on disk
(log, role, upstream, set, term) survives the process.

It follows PostgreSQL as `evac.drivers.postgresql` drives it: what a verb refuses, waits for and answers is the same.

What this is not: speed, disks that fill, or slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from typing import Any, TypeVar, cast

from evac.core.errors import Indeterminate, Unavailable
from evac.core.estate import ComponentId, RegionId
from evac.core.observation import MemberRole
from evac.core.plan import SyncSet
from evac.sim.network import Network
from evac.sim.time import Process, sleep

T = TypeVar("T")

RETRY = 0.5
"""A standby without a stream asks for one again after so many seconds."""
SILENT_AFTER = 2.5
"""A stream over which nothing came for so many seconds is given up."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log: a client's write, or with an empty name the beginning of a timeline."""

    timeline: int
    name: str


@dataclass(frozen=True, slots=True)
class Yes:
    """An acknowledgement as the server gives it: in which term, and at which moment."""

    term: int
    at: float


@dataclass(slots=True)
class _Waiting:
    """A write that waits for acknowledgements."""

    position: int
    since: float
    done: asyncio.Future[None]


@dataclass(slots=True, kw_only=True)
class Saved:
    """The orphans that a rebuild kept before it overwrote them."""

    region: RegionId
    names: tuple[str, ...]


class Database:
    """One member: what is on its disk, and the process that runs on it."""

    def __init__(self, component: ComponentId, region: RegionId, world: Databases) -> None:
        self.component = component
        self.region = region
        self.log: list[Entry] = []
        self.timeline = 1
        self.term = 1
        self.role = MemberRole.STANDBY
        self.upstream: RegionId | None = None
        self.sync: SyncSet | None = None
        self.process: Process | None = None
        self.heard_at: float | None = None
        """When something came over its stream last; None before that."""
        self.astray = False
        """Whether its log is no beginning of its upstream's."""
        self.held: dict[RegionId, int] = {}
        """Up to where each standby said that it holds this log."""
        self.said_at: dict[RegionId, float] = {}
        """When each said so last."""
        self.marked = False
        """Whether only evac may start it: it is held under a lease, and what kills it keeps it down."""
        self.was = MemberRole.PRIMARY
        """What it was before it was stopped."""
        self.slow = 0.0
        """Up to so many seconds what it is asked waits before it begins, each question as long as it happens."""
        self._world = world
        self._waiting: list[_Waiting] = []

    @property
    def where(self) -> str:
        """The member, for people."""
        return f"{self.component}@{self.region}"

    @property
    def runs(self) -> bool:
        """Whether it answers, or would if it were thawed."""
        return self.process is not None and self.region not in self._world.network.dead

    @property
    def position(self) -> int:
        """How much is durable here."""
        return len(self.log)

    def start(self) -> None:
        """Start its process on what is on the disk; one that is kept down stays down."""
        if self.process is None and self.role is not MemberRole.STOPPED:
            self.process = Process(self.where)
            self.heard_at, self.held, self.said_at, self._waiting = None, {}, {}, []
            self.process.start(self._receive_for_ever())

    def kill(self) -> None:
        """End its process; writes that wait are neither acknowledged nor refused."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            if self.marked:
                self.stay_down()
            waiting, self._waiting = self._waiting, []
            for write in waiting:
                write.done.cancel()

    def stay_down(self) -> None:
        """Be stopped: only evac starts it again."""
        if self.role is not MemberRole.STOPPED:
            self.was, self.role = self.role, MemberRole.STOPPED

    async def asked(self, deed: Callable[[], Any], *, from_: RegionId) -> Any:
        """Have something done by its process and return the answer, over the network.

        Raises `Unavailable` when it cannot be reached or has ended, `Indeterminate` when it ended meanwhile; waits
        without end where nothing comes back.
        """
        world, loop = self._world, asyncio.get_running_loop()
        queued = self.slow * world.random.random() if self.slow else 0.0
        await sleep(world.network.delay(from_, self.region))
        if not world.network.passes(from_, self.region):
            await asyncio.Event().wait()
        if not self.runs:
            await self._answer(from_)
            raise Unavailable(f"{self.where}: connection refused")
        process = self.process
        assert process is not None, "it runs"
        answer: asyncio.Future[Any] = loop.create_future()
        process.start(_serve(deed, answer, after=queued))
        result = await answer
        await self._answer(from_)
        return result

    async def looked_at(self, look: Callable[[], T], *, from_: RegionId) -> T:
        """Have a question answered that changes nothing; otherwise as `asked`, and quicker."""
        process, network = self.process, self._world.network
        if process is None or process.frozen or self.slow or not network.passes(from_, self.region):
            return cast(T, await self.asked(look, from_=from_))
        await sleep(network.delay(from_, self.region) + network.delay(self.region, from_))
        return look()

    async def _answer(self, to: RegionId) -> None:
        network = self._world.network
        await sleep(network.delay(self.region, to))
        if not network.passes(self.region, to):
            await asyncio.Event().wait()

    # clients

    async def write(self, name: str) -> Yes:
        """Write an entry; return once it is acknowledged. Runs in its own process. Raises `Unavailable`."""
        if self.role is not MemberRole.PRIMARY:
            raise Unavailable(f"{self.where} is no primary")
        self.log.append(Entry(self.timeline, name))
        self.send_to_all()
        await self.acknowledged(self.position)
        return Yes(self.term, asyncio.get_running_loop().time())

    async def acknowledged(self, position: int) -> None:
        """Wait until the set that must acknowledge holds everything up to a position."""
        if self.enough(position):
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(position, loop.time(), loop.create_future())
        self._waiting.append(waiting)
        await waiting.done

    def enough(self, position: int) -> bool:
        """Return whether so many of the set hold everything up to a position as must."""
        if self.sync is None or not self.sync.acks:
            return True
        return sum(self.held.get(r, 0) >= position for r in self.sync.standbys) >= self.sync.acks

    def release(self) -> None:
        """Acknowledge whatever waits and need not any more."""
        still = []
        for write in self._waiting:
            if not self.enough(write.position):
                still.append(write)
            elif not write.done.done():
                write.done.set_result(None)
        self._waiting = still

    @property
    def waiting(self) -> int:
        """How many writes wait to be acknowledged."""
        return len(self._waiting)

    def stalls(self, now: float) -> bool:
        """Return whether a write has waited for a second: a client finds such a primary down."""
        return any(now - write.since > 1.0 for write in self._waiting)

    # streams

    def send_to_all(self) -> None:
        """Send what is new to every standby that streams from here."""
        for other in self._world.siblings(self):
            if other.upstream == self.region and other.heard_at is not None:
                self._send(other, other.position)

    def _send(self, standby: Database, start: int) -> None:
        """Send the log from a position on; it arrives later, or never."""
        network = self._world.network
        if standby.process is None or not network.passes(self.region, standby.region):
            return
        start = min(start, self.position)
        before = self.log[start - 1] if start else None
        asyncio.get_running_loop().call_later(
            network.delay(self.region, standby.region),
            standby.arrives,
            self,
            standby.process,
            start,
            before,
            self.log[start:],
            self.timeline,
            context=standby.process.context,
        )

    def arrives(
        self,
        upstream: Database,
        process: Process,
        start: int,
        before: Entry | None,
        entries: list[Entry],
        timeline: int,
    ) -> None:
        """Take a part of the stream; what it cannot go on from leaves it astray."""
        streams = self.process is process and self.upstream == upstream.region and self.role is MemberRole.STANDBY
        if not streams or not self.runs:
            return
        if start > self.position:
            return
        known = self.log[start:]
        both = min(len(known), len(entries))
        if (start and self.log[start - 1] != before) or known[:both] != entries[:both]:
            self.astray = True
            return
        if len(known) > len(entries):
            return  # an earlier message that was slower, or an upstream that has less: nothing to go on from
        self.astray = False
        self.heard_at = asyncio.get_running_loop().time()
        self.log += entries[len(known) :]
        self.timeline = max(self.timeline, timeline)
        self._acknowledge(upstream)
        if entries[len(known) :]:
            self.send_to_all()

    def _acknowledge(self, upstream: Database) -> None:
        network = self._world.network
        if upstream.process is not None and network.passes(self.region, upstream.region):
            asyncio.get_running_loop().call_later(
                network.delay(self.region, upstream.region),
                upstream.hears,
                self.region,
                self.position,
                upstream.process,
                context=upstream.process.context,
            )

    def hears(self, region: RegionId, position: int, process: Process) -> None:
        """Take a standby's word for how much it holds."""
        if self.process is process and self.runs:
            self.held[region] = max(self.held.get(region, 0), position)
            self.said_at[region] = asyncio.get_running_loop().time()
            self.release()

    def confirmed(self, standby: RegionId, position: int, *, since: float) -> bool:
        """Return whether a standby has said since a moment that it holds everything up to a position."""
        return self.said_at.get(standby, since) > since and self.held.get(standby, 0) >= position

    async def _receive_for_ever(self) -> None:
        """Ask the upstream for a stream, and again whenever nothing has come for a while."""
        network, loop = self._world.network, asyncio.get_running_loop()
        while True:
            if self.role is MemberRole.STANDBY and self.upstream is not None:
                if self.heard_at is not None and loop.time() - self.heard_at > SILENT_AFTER:
                    self.heard_at = None
                source = self._world.node(self.component, self.upstream)
                if source.process is not None and network.passes(self.region, source.region):
                    loop.call_later(
                        network.delay(self.region, source.region),
                        source.begins,
                        self,
                        self.position,
                        source.process,
                        context=source.process.context,
                    )
            await sleep(RETRY * self._world.random.uniform(0.8, 1.2))

    def begins(self, standby: Database, position: int, process: Process) -> None:
        """Take a standby's wish to be sent all that comes after a position: also how it knows that this one lives."""
        if self.process is process and self.runs and standby.upstream == self.region:
            self._send(standby, min(position, self.position))

    def turn_to(self, upstream: RegionId | None) -> None:
        """Stream from another one from now on, or from nobody."""
        self.upstream, self.heard_at, self.astray = upstream, None, False

    def streams_now(self) -> bool:
        """Return whether its stream is up and was heard of lately."""
        lately = self.heard_at is not None and asyncio.get_running_loop().time() - self.heard_at <= SILENT_AFTER
        return self.role is MemberRole.STANDBY and lately and not self.astray

    def promote(self) -> None:
        """Become a primary on a timeline of its own."""
        self.role = MemberRole.PRIMARY
        self.turn_to(None)
        self.timeline += 1
        self.log.append(Entry(self.timeline, ""))
        self.held = {}

    def rebuild_from(self, source: Database) -> tuple[str, ...]:
        """Overwrite its log with another one's, and return the names of the writes that only it had."""
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.log, source.log, strict=False)))
        orphans = tuple(entry.name for entry in self.log[common:] if entry.name)
        self.log, self.timeline = list(source.log), source.timeline
        return orphans


async def _serve(deed: Callable[[], Any], answer: asyncio.Future[Any], *, after: float) -> None:
    """Do what was asked, and answer if anybody still waits."""
    try:
        if after:
            await sleep(after)
        result = deed()
        if asyncio.iscoroutine(result):
            result = await result
    except asyncio.CancelledError:
        if not answer.done():
            answer.set_exception(Indeterminate("the connection was lost before an answer came"))
        raise
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)
    else:
        if not answer.done():
            answer.set_result(result)


@dataclass(slots=True, kw_only=True)
class Databases:
    """All members of all components."""

    network: Network
    random: Random
    nodes: dict[tuple[ComponentId, RegionId], Database] = field(default_factory=dict)
    saved: list[Saved] = field(default_factory=list)
    """The orphan reports, in their order."""

    def node(self, component: ComponentId, region: RegionId) -> Database:
        """Return one member."""
        return self.nodes[component, region]

    def siblings(self, node: Database) -> list[Database]:
        """Return the other members of a component."""
        return [n for (c, _), n in self.nodes.items() if c == node.component and n is not node]

    def in_region(self, region: RegionId) -> Mapping[ComponentId, Database]:
        """Return a region's members."""
        return {c: n for (c, r), n in self.nodes.items() if r == region}
