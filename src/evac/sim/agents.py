"""An agent of the distributed form, as a process in virtual time: wired as `evac.daemon` wires it, on models.

What this is not: anything of an agent's own. Election, controller, executor, eyes and orders are the engine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from evac.core.errors import Unavailable
from evac.core.estate import ComponentId, Estate, Probe, RegionId
from evac.core.lease import Leader
from evac.core.news import News
from evac.core.observation import MemberRole
from evac.core.timing import LeaseTiming
from evac.engine.agent import Agent
from evac.engine.controller import Controller
from evac.engine.election import LEADING, Candidate
from evac.engine.holding import Keeper
from evac.engine.leased import LeasedMember
from evac.engine.orders import obey
from evac.engine.recency import Recency
from evac.engine.reigning import reign
from evac.ports import BadAnswer, Completed, Driver, Place, Prober, Store
from evac.sim.databases import Database, Databases
from evac.sim.network import INSIDE
from evac.sim.time import Process, VirtualClock, sleep
from evac.sim.watchdogs import Watchdog

UNFOLDED_MAX = 5000
"""So many views an agent that does not lead keeps as they came: what they come to is worked out when it does."""


@dataclass(frozen=True, slots=True)
class Here:
    """The place of an agent that runs in its region."""

    async def ping(self) -> int:
        return 1

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        raise Unavailable(f"nothing runs in a model, not even {argv[0]}")

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        yield host, port

    async def close(self) -> None: ...


@dataclass(slots=True)
class Canaries:
    """A kind of probe that asks a modelled database, from one region, whether it does its job."""

    vantage: RegionId
    component: ComponentId
    world: Databases
    name: str = "model"
    settings: type = object

    async def open(self, probe: Probe, place: Place) -> Prober:
        return _Canary(self.vantage, self.world.node(self.component, probe.region), self.world)


@dataclass(frozen=True, slots=True)
class _Canary:
    vantage: RegionId
    node: Database
    world: Databases

    async def ask(self) -> str:
        """One answer over a connection that is kept open; silence where nothing comes back, or where writes wait."""
        node, network, loop = self.node, self.world.network, asyncio.get_running_loop()
        there, back = network.passes(self.vantage, node.region), network.passes(node.region, self.vantage)
        if there and back:
            await sleep(
                network.delay(self.vantage, node.region) + network.delay(node.region, self.vantage)
                if self.vantage != node.region
                else 2 * INSIDE
            )
            if node.role is MemberRole.STOPPED or node.process is None:
                return BadAnswer("connection refused")
            if not node.process.frozen and not node.stalls(loop.time()):
                return ""
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What every agent is made of. A planted bug puts another candidate or other times here."""

    estate: Estate
    databases: Databases
    members: Callable[[RegionId], Mapping[ComponentId, Driver]]
    line: Callable[[RegionId], Store]
    candidate: type[Candidate] = Candidate
    timing: LeaseTiming = LEADING
    keeper: type[Keeper] = Keeper
    watchdogs: Mapping[RegionId, Watchdog] = field(default_factory=dict)
    """Of the primaries that are held under a lease."""
    kept: Callable[[RegionId], Mapping[ComponentId, Driver]] = field(default=lambda region: {})
    """A region's members, as the keeper of a lease takes them down and up."""


class AgentProcess:
    """One region's agent: started, killed and started again, always under a new name."""

    def __init__(
        self,
        region: RegionId,
        *,
        wiring: Wiring,
        chance: Random,
        rate: float,
        told: Callable[[str, News], None],
        elected: Callable[[AgentProcess, Leader | None], None],
    ) -> None:
        self.region = region
        self.process: Process | None = None
        self.leads = False
        self.controller: Controller | None = None
        self._wiring = wiring
        self._chance = chance
        self._clock = VirtualClock(rate=rate)
        self._told = told
        self._elected = elected
        self._lives = 0

    @property
    def name(self) -> str:
        """Who it is in this life."""
        return f"{self.region}#{self._lives}"

    def start(self) -> None:
        """Begin a new life, unless it lives."""
        if self.process is None:
            self._lives += 1
            self.process = Process(f"agent {self.name}")
            self.process.start(self._live())

    def kill(self) -> None:
        """End its life."""
        if self.process is not None:
            process, self.process = self.process, None
            self.leads, self.controller = False, None
            process.kill()

    async def _live(self) -> None:
        wiring, region, clock = self._wiring, self.region, self._clock
        store, name = wiring.line(region), self.name
        keepers = self._keepers(store)
        members: Mapping[ComponentId, Driver] = {
            c: LeasedMember(member, keepers[c]) if c in keepers else member
            for c, member in wiring.members(region).items()
        }
        controller = Controller(
            estate=wiring.estate,
            store=store,
            clock=clock,
            announce=lambda news: self._told(name, news),
            name=name,
            unfolded_max=UNFOLDED_MAX,
        )
        candidate = wiring.candidate(
            name=name, region=region, store=store, clock=clock, timing=wiring.timing, chance=self._chance
        )
        process, recency = self.process, Recency()

        async def lead(mine: Leader) -> None:
            controller.led_by = mine
            self.leads = True
            self._elected(self, mine)
            try:
                await reign(controller, store=store, clock=clock)
            finally:
                if self.process is process:
                    self.leads = False
                    self._elected(self, None)

        async def orders() -> None:
            await obey(region, store=store, members=members, clock=clock, chance=self._chance, recency=recency)

        agent = self._agent(store, members, orders, recency)
        self.controller = controller
        async with asyncio.TaskGroup() as tasks:
            for part in _all(agent, controller, candidate, keepers.values(), lead):
                tasks.create_task(part)

    def _agent(
        self,
        store: Store,
        members: Mapping[ComponentId, Driver],
        orders: Callable[[], Awaitable[None]],
        recency: Recency,
    ) -> Agent:
        wiring = self._wiring
        (component,) = (c.id for c in wiring.estate.components.values() if c.replication)
        return Agent(
            self.region,
            estate=wiring.estate,
            store=store,
            place=Here(),
            clock=self._clock,
            probe_kinds={"model": Canaries(self.region, component, wiring.databases)},
            members=members,
            orders=orders,
            recency=recency,
            chance=self._chance,
        )

    def _keepers(self, store: Store) -> dict[ComponentId, Keeper]:
        """The keepers of the leases that primaries in this region are held under."""
        wiring, region, keepers = self._wiring, self.region, {}
        for component in wiring.estate.components.values():
            if (held := component.held) is not None:
                keepers[component.id] = wiring.keeper(
                    component=component.id,
                    group=wiring.estate.services[component.service].group,
                    region=region,
                    timing=held.timing,
                    member=wiring.kept(region)[component.id],
                    leash=wiring.watchdogs[region],
                    store=store,
                    clock=self._clock,
                    chance=self._chance,
                )
        return keepers


def _all(
    agent: Agent, controller: Controller, candidate: Candidate, keepers: Collection[Keeper], lead: Any
) -> list[Any]:
    return [agent.run(), *(keeper.keep() for keeper in keepers), controller.watch(), candidate.stand(lead)]
