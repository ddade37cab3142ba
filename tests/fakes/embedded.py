"""The embedded form whole, controller, agents, ear and mouth, on modelled systems and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from evac.core.estate import Estate, Probe, RegionId, Replication
from evac.core.news import News
from evac.core.observation import MemberRole
from evac.core.plan import SyncSet
from evac.core.snapshot import Reply, Request, Snapshot, Wish
from evac.engine import outlook, requests, snapshots
from evac.engine.agent import Agent
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.orders import obey
from evac.ports import Place, Prober, Store
from evac.sim import time
from evac.sim.estates import EAST, shop
from evac.sim.systems import Node, Systems
from evac.stores.memory import MemoryStore
from fakes.standing import ScriptedPlace

LONGEST = timedelta(minutes=20)
"""So long in virtual time a test waits for something to come true."""


@dataclass(slots=True, kw_only=True)
class World:
    """An estate's modelled systems, and what is wrong with its regions. Regions that are `dark` give no sign at all."""

    estate: Estate = field(default_factory=shop)
    primary: RegionId = EAST
    systems: Systems = field(init=False)
    places: dict[RegionId, ScriptedPlace] = field(init=False)
    ill: set[tuple[RegionId, RegionId]] = field(default_factory=set)
    """Pairs of a vantage point and a region whose services it finds failing."""
    store: Store = field(default_factory=lambda: MemoryStore(incarnation="a world"))
    clock: time.VirtualClock = field(default_factory=time.VirtualClock)
    told: list[News] = field(default_factory=list)

    def hear(self, news: News) -> None:
        """Note a piece of news."""
        self.told.append(news)

    def __post_init__(self) -> None:
        nodes = {
            (component.id, region): self._node(region, component.replication)
            for component in self.estate.components.values()
            for region in component.members
        }
        self.systems = Systems(nodes=nodes)
        self.places = {region: ScriptedPlace() for region in self.estate.regions}

    def _node(self, region: RegionId, replication: Replication | None) -> Node:
        here = region == self.primary
        if replication is None:
            return Node(role=MemberRole.PRIMARY, weights={r: 100 * (r == self.primary) for r in self.estate.regions})
        others = tuple(r for r in self.estate.regions if r != region)
        return Node(
            role=MemberRole.PRIMARY if here else MemberRole.STANDBY,
            writable=here,
            position=100,
            upstream=None if here else self.primary,
            sync=SyncSet(acks=replication.acks, standbys=others) if here and replication.acks else None,
        )

    def lose(self, region: RegionId) -> None:
        """Let a region go dark: nobody reaches its services, and its agent can do nothing there."""
        self.ill |= {(vantage, region) for vantage in self.estate.regions}
        self.places[region].trouble = "no route to host"

    def find(self, region: RegionId) -> None:
        """Let a region come back, as it was when it went."""
        self.ill = {(vantage, lost) for vantage, lost in self.ill if lost != region}
        self.places[region].trouble = ""


@dataclass(slots=True)
class _Probes:
    """A kind of probe that finds what the world says."""

    world: World
    vantage: RegionId
    name: str = "http"
    settings: type = object

    async def open(self, probe: Probe, place: Place) -> Prober:
        return _Prober(self.world, self.vantage, probe.region)


@dataclass(frozen=True, slots=True)
class _Prober:
    world: World
    vantage: RegionId
    region: RegionId

    async def ask(self) -> str:
        return "connection refused" if (self.vantage, self.region) in self.world.ill else ""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running controller, and how a test speaks with it."""

    world: World
    controller: Controller

    async def ask(self, wish: Wish, **more: object) -> Reply:
        """Ask as a person would, and return the reply."""
        store = self.world.store
        request = Request(id="r", wish=wish, by="alice", wall=self.world.clock.wall(), **more)  # type: ignore[arg-type]
        after = await store.revision()
        await store.commit(expect={}, put={"requests/r": encode(request)})
        async for change in store.watch("replies/r", after=after):
            if change.record is not None:
                await store.commit(expect={}, put={}, delete=("replies/r",))
                return decode(change.record.value, Reply)
        raise AssertionError("a watch has no end")

    async def until(self, holds: Callable[[Snapshot], object], *, looking_each: float = 0.05) -> Snapshot:
        """Wait until the controller's view, looked at each so many seconds, holds something, and return it."""
        async with asyncio.timeout(LONGEST.total_seconds()):
            while not holds(seen := snapshots.take(self.controller, clock=self.world.clock)):
                await asyncio.sleep(looking_each)
        return seen


def calm(snapshot: Snapshot) -> bool:
    """Whether every group is placed and nothing is under way."""
    return bool(snapshot.placements) and not snapshot.active and all(v.diagnosis == "well" for v in snapshot.verdicts)


@asynccontextmanager
async def embedded(world: World, *, name: str = "a life") -> AsyncIterator[Embedded]:
    """Run it for as long as the context lives."""
    controller = Controller(estate=world.estate, store=world.store, clock=world.clock, announce=world.hear, name=name)
    parts = [
        *(_agent(world, region).run() for region in world.estate.regions),
        controller.run(),
        requests.attend(controller, store=world.store, clock=world.clock),
        snapshots.publish(controller, store=world.store, clock=world.clock),
        outlook.keep_outlook(controller, store=world.store, clock=world.clock),
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part) for part in parts]
        try:
            yield Embedded(world, controller)
        finally:
            for task in running:
                task.cancel()


def _agent(world: World, region: RegionId) -> Agent:
    members = world.systems.members(region)
    chance = random.Random(region)

    async def orders() -> None:
        await obey(region, store=world.store, members=members, clock=world.clock, chance=chance)

    return Agent(
        region,
        estate=world.estate,
        store=world.store,
        place=world.places[region],
        clock=world.clock,
        probe_kinds={"http": _Probes(world, region)},
        members=members,
        orders=orders,
        chance=chance,
    )
