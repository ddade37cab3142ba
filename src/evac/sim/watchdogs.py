"""The watchdog beside a modelled primary that is held under a lease, and the agent's line to it.

Intuition: the rule is the real one (`core.watchdog.Guard`), and so is who feeds it (`engine.holding`). A model is what
lies between: a process of its own on its region's clock, orders that wait while it is frozen, a kill that takes its
time, and a server that stays down from the moment it is held.

What this is not: finding and killing processes (`evac.watchdog`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from evac.core.observation import Instant
from evac.core.timing import LeaseTiming
from evac.core.watchdog import Arm, Feed, Guard, Look, Order, Release, Stance
from evac.engine.watchdog import ANSWER, Armed
from evac.sim.databases import Database
from evac.sim.network import INSIDE
from evac.sim.time import Process, VirtualClock, outside, sleep

STARTING = 0.1
"""Seconds until a new watchdog listens."""
KILLING = 0.03
"""Up to so many seconds a kill takes, most of the time."""
SLOWLY = 0.25
"""How often a kill takes up to the time that the lease allows for it."""


class Watchdog:
    """One member's watchdog, dead or alive, and the line to it (`engine.watchdog.Leash`)."""

    def __init__(
        self,
        node: Database,
        *,
        timing: LeaseTiming,
        clock: VirtualClock,
        random: Random,
        killed: Callable[[Database], None],
    ) -> None:
        self.node = node
        self.process: Process | None = None
        self._timing = timing
        self._clock = clock
        self._random = random
        self._killed = killed
        self._guard = Guard(within=timing.watchdog)
        self._told = asyncio.Event()

    def kill(self) -> None:
        """End its process, and with it all that it knew."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            self._guard = Guard(within=self._timing.watchdog)

    async def arm(self, sent_at: Instant, term: int) -> Armed | Stance | None:
        stance = await self._tell(Look())
        if stance is Stance.DOWN:
            return stance
        if stance is None:
            await self._replace()
        armed = await self._tell(Arm(sent_at=sent_at, term=term))
        if armed is not Stance.GUARDING:
            return armed if armed is Stance.DOWN else None
        return Armed(seen=int(self.node.process is not None), anew=stance is not Stance.GUARDING)

    async def ready(self) -> None:
        if await self._tell(Look()) is None:
            await self._replace()

    async def feed(self, sent_at: Instant) -> Stance | None:
        return await self._tell(Feed(sent_at=sent_at))

    async def release(self, now: Instant) -> None:
        await self._tell(Release(sent_at=now))
        self.kill()  # one that is silent is killed, and one that holds nothing ends by itself

    async def _replace(self) -> None:
        self.kill()
        await sleep(STARTING)
        self._told = asyncio.Event()
        self.process = Process(f"watchdog of {self.node.where}")
        self.process.start(self._watch())

    async def _tell(self, order: Order) -> Stance | None:
        """Give an order; return how it stands then, None where nobody answers in time."""
        if self.process is None:
            return None
        await sleep(INSIDE)
        process = self.process
        if process is None:
            return None
        answer: asyncio.Future[Stance] = asyncio.get_running_loop().create_future()
        process.start(self._obey(order, answer))
        try:
            async with asyncio.timeout(ANSWER.total_seconds()):
                return await answer
        except TimeoutError:
            return None

    async def _obey(self, order: Order, answer: asyncio.Future[Stance]) -> None:
        self._guard = self._guard.told(order, self._clock.now())
        if isinstance(order, Arm) and self._guard.stance is Stance.GUARDING:
            self.node.marked = True
        self._told.set()
        if not answer.done():
            answer.set_result(self._guard.stance)

    async def _watch(self) -> None:
        """Kill when it is time to, without end."""
        while True:
            newest = self._guard.newest
            if newest is None:
                self._told.clear()
                await self._told.wait()
                continue
            now = self._clock.now()
            if self._guard.due(now):
                self._guard = self._guard.killed()
                self._shoot()
            else:
                await self._clock.sleep(max(newest + self._guard.within - now, Instant(microseconds=1)))

    def _shoot(self) -> None:
        """The signal is sent; the end of the server comes when the machine has the time for it."""
        slowly = self._random.random() < SLOWLY
        after = self._timing.reset.total_seconds() if slowly else KILLING
        victim = self.node.process
        asyncio.get_running_loop().call_later(after * self._random.random(), self._dies, victim, context=outside())

    def _dies(self, victim: Process | None) -> None:
        if victim is not None and self.node.process is victim:
            self.node.kill()
            self._killed(self.node)
