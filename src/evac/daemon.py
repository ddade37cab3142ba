"""The one place where things are wired: the embedded form, a controller and every region's agent in one process, and
the distributed one, an agent a region that leads when it is elected.

Intuition: an estate comes in, running tasks come out, and when the context ends they have ended too. Nothing here
decides anything; nothing elsewhere knows which store, clock or driver it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from evac.config import Loaded
from evac.core.errors import Conflict, EstateError, StoreUnavailable
from evac.core.estate import Component, ComponentId, RegionId
from evac.core.lease import Leader
from evac.core.news import Announce
from evac.devices import DeviceSettings, open_device
from evac.drivers import driver_kinds, observer_kinds, probe_kinds
from evac.engine import snapshots
from evac.engine.agent import Agent
from evac.engine.cancelling import apart
from evac.engine.clock import BootClock
from evac.engine.controller import Controller
from evac.engine.election import Candidate
from evac.engine.holding import Keeper
from evac.engine.keys import open_signer
from evac.engine.last_known import keep_last_known
from evac.engine.leadership import lead
from evac.engine.lease_record import lease_key
from evac.engine.leased import LeasedMember
from evac.engine.orders import obey
from evac.engine.recency import Recency
from evac.engine.reigning import reign, reign_if_one_can
from evac.engine.signing import Signer, make_known
from evac.engine.switching import Switch, SwitchingMember
from evac.engine.watchdog import WatchdogLine
from evac.places import open_place
from evac.ports import Clock, Driver, Place, Store, Surroundings, Watchable
from evac.stores.etcd import EtcdStore, keep_leader_near
from evac.stores.opening import StoreAddress, keeping_small, nearness, open_at
from evac.stores.sqlite import SqliteStore

_log = structlog.get_logger(__name__)

STORE_AGAIN = timedelta(seconds=1)
"""How long until a store that did not answer is tried again."""
DATABASE = "evac.db"
KEEP = "kept"
"""The folder for what must not be lost: orphaned writes, saved before an old primary is rebuilt."""
SIGNING_KEY = "signing.key"
"""What receipts are signed with, in the state folder; of a region's agent `signing-<region>.key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the parts are wired to: one estate's places, members, store and clock. What runs here signs as `signer`;
    where nothing is done, as in a check, there is none.
    """

    loaded: Loaded
    state: Path
    store: Store
    clock: Clock
    places: Mapping[RegionId, Place]
    members: Mapping[RegionId, Mapping[ComponentId, Driver]]
    signer: Signer | None = None


@asynccontextmanager
async def open_store(state: Path, address: StoreAddress | None = None) -> AsyncIterator[Store]:
    """Open the estate's store: at an address, or the file in its state folder, which is made if it is not there.

    Raises `StoreUnavailable`, saying what to look at.
    """
    if address is None:
        await _make(state)
    store = await SqliteStore.open(state / DATABASE) if address is None else open_at(address, state=state)
    try:
        yield store
    finally:
        await store.close()


async def _make(state: Path) -> None:
    """Make the state folder if it is not there. Raises `StoreUnavailable`."""
    try:
        await asyncio.to_thread(state.mkdir, parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreUnavailable(
            f"the state folder {state} cannot be made ({error.strerror}): mend that, or name another with --state"
        ) from error


@asynccontextmanager
async def open_world(loaded: Loaded, *, state: Path, only: RegionId | None = None) -> AsyncIterator[World]:
    """Open every place and member of an estate. Changes nothing anywhere; nothing needs to answer yet.

    With `only`, those of this region, whose place then is this host.
    """
    async with AsyncExitStack() as stack:
        await _make(state)
        store = await stack.enter_async_context(open_store(state, loaded.store))
        clock = BootClock()
        stands = loaded.places if only is None else {only: None}
        places = {r: await stack.enter_async_context(open_place(s)) for r, s in stands.items()}
        members: dict[RegionId, dict[ComponentId, Driver]] = {r: {} for r in places}
        for component in loaded.estate.components.values():
            for region in places.keys() & component.members.keys():
                driver = await _open_member(component, region, places[region], clock, state / KEEP)
                stack.push_async_callback(driver.close)
                members[region][component.id] = driver
        yield World(loaded=loaded, state=state, store=store, clock=clock, places=places, members=members)


async def _open_member(component: Component, region: RegionId, place: Place, clock: Clock, keep: Path) -> Driver:
    """Open a member; with the devices of its peers around it, if there are any."""
    kind = driver_kinds()[component.driver]
    surroundings = Surroundings(
        component=component, region=region, place=place, clock=clock, keep=keep, peers=component.members
    )
    member = await kind.open(component.members[region], surroundings)
    switches = _switches(component, region, place)
    return SwitchingMember(member, switches=switches, clock=clock) if switches else member


@asynccontextmanager
async def _signing_world(loaded: Loaded, *, state: Path, only: RegionId | None = None) -> AsyncIterator[World]:
    """Open a world in which what is done is signed. Raises `EvacError` when its key cannot be used."""
    async with open_world(loaded, state=state, only=only) as world:
        file = loaded.signing_key or state / (SIGNING_KEY if only is None else f"signing-{only}.key")
        yield replace(world, signer=await asyncio.to_thread(open_signer, file, estate=loaded.estate.name))


@asynccontextmanager
async def running(
    loaded: Loaded, *, state: Path, announce: Announce, name: str, tells: bool = True
) -> AsyncIterator[Controller]:
    """Run the embedded form for as long as the context lives; without `tells` no view of it is written.

    No lease is held in this form: nobody in a region that is cut off could lay it down there.

    Raises `Conflict` when another process leads this estate from the same state folder, or through the same store, or
    when agents have held a primary of it under a lease.
    """
    held, loaded = loaded.estate.held, replace(loaded, estate=loaded.estate.without_leases())
    async with _signing_world(loaded, state=state) as world, lead(state, world.store):
        if loaded.store is not None and await snapshots.are_published(world.store):
            raise Conflict(f"another process leads this estate already, through {loaded.store}: stop it first")
        await _need_no_lease(held, world.store)
        controller = _controller(world, announce, name=name)
        agents = [_agent(world, region, {}).run() for region in world.places]
        parts = [*agents, controller.watch(), _reign_for_ever(world, controller, tells=tells), *_upkeep(world)]
        async with _side_by_side(parts):
            yield controller


async def _need_no_lease(held: Collection[ComponentId], store: Store) -> None:
    """Raise `Conflict` where a primary is held under a lease: a move without it would leave the record of a region that
    has no primary any more, and its agent would go on renewing that.
    """
    for component in held:
        if await store.get(lease_key(component)) is not None:
            agents = "start evac's agents (evac agent), or wait until one leads; or take the lease out of the estate"
            raise Conflict(
                f"{component} is held under a lease, which one process for all regions cannot keep: {agents}"
            )


@asynccontextmanager
async def _side_by_side(parts: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run all of them for as long as the context lives; it ends when one of them fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _upkeep(world: World) -> list[Coroutine[Any, Any, None]]:
    return [_make_signer_known(world), *keeping_small(world.store, clock=world.clock)]


async def _make_signer_known(world: World) -> None:
    """Write to the store whose key signs here, as soon as it answers."""
    assert world.signer is not None, "what runs for long signs"
    while True:
        try:
            return await make_known(world.signer, sorted(world.places), store=world.store, now=world.clock.wall())
        except StoreUnavailable as trouble:
            _log.warning("the store does not answer: it does not know this process's key yet", why=str(trouble))
            await world.clock.sleep(STORE_AGAIN)


def _controller(world: World, announce: Announce, *, name: str) -> Controller:
    return Controller(
        estate=world.loaded.estate,
        store=world.store,
        clock=world.clock,
        announce=announce,
        name=name,
        signer=world.signer,
    )


async def _reign(controller: Controller, *, store: Store, clock: Clock, tells: bool = True) -> None:
    """Lead, where the store is. Raises `StoreUnavailable` in a group."""
    beside = (
        [keep_leader_near(store, clock=clock, calm=lambda: not controller.known.active)]
        if isinstance(store, EtcdStore)
        else []
    )
    await reign(controller, store=store, clock=clock, tells=tells, beside=beside)


async def _reign_for_ever(world: World, controller: Controller, *, tells: bool) -> None:
    """Lead, again from what the store remembers whenever it has not answered: that stops decisions and nothing else."""
    while True:
        try:
            await apart(_reign(controller, store=world.store, clock=world.clock, tells=tells))
        except* StoreUnavailable as trouble:
            _log.warning("the store does not answer: nothing is decided until it does", why=str(trouble.exceptions[0]))
        await world.clock.sleep(STORE_AGAIN)


@asynccontextmanager
async def running_agent(
    loaded: Loaded,
    region: RegionId,
    *,
    state: Path,
    announce: Announce,
    elected: Callable[[Leader | None], None],
    name: str,
) -> AsyncIterator[None]:
    """Run one region's agent of the distributed form, on a host of that region, for as long as the context lives.

    It looks from this host, whatever place the estate names for its region, does what it is ordered to do there, and
    leads when it is elected: `elected` is told when that begins, and with None when it ends.

    Raises `EstateError` when it has no store that all regions share.
    """
    _need_shared_store(loaded)
    async with _signing_world(loaded, state=state, only=region) as world:
        keepers = _keepers(world, region)
        controller = _controller(world, announce, name=name)
        candidate = Candidate(
            name=name, region=region, store=world.store, clock=world.clock, favoured=nearness(world.store)
        )

        async def lead(mine: Leader) -> None:
            controller.led_by = mine
            elected(mine)
            try:
                reigning = _reign(controller, store=world.store, clock=world.clock)
                await reign_if_one_can(reigning, clock=world.clock)
            finally:
                elected(None)

        parts = [
            _agent(world, region, keepers).run(),
            *(keeper.keep() for keeper in keepers.values()),
            controller.watch(),
            candidate.stand(lead),
            keep_last_known(
                region,
                store=world.store,
                folder=world.state,
                clock=world.clock,
                guarded=lambda now: [g for k in keepers.values() if (g := k.guarded(now)) is not None],
            ),
            *_upkeep(world),
        ]
        async with _side_by_side(parts):
            yield


def _need_shared_store(loaded: Loaded) -> None:
    if loaded.store is None:
        where = "name it in the estate (store: etcd://…, zookeeper://… or consul://…) or behind --store"
        reason = f"agents need a store that all regions share: {where}; one process for all regions is evac serve"
        raise EstateError((reason,))


def _keepers(world: World, region: RegionId) -> Mapping[ComponentId, Keeper]:
    """The keepers of the leases that primaries in this region may be held under."""
    keepers = {}
    for component in world.loaded.estate.components.values():
        member, held = world.members[region].get(component.id), component.held
        if member is None or held is None:
            continue
        assert isinstance(member, Watchable), "a lease is declared only where there is something to watch"
        leash = WatchdogLine(
            folder=world.state,
            name=component.id,
            watched=member.watched(),
            holding=held,
            place=world.places[region],
        )
        keepers[component.id] = Keeper(
            component=component.id,
            group=world.loaded.estate.services[component.service].group,
            region=region,
            timing=held.timing,
            member=member,
            leash=leash,
            store=world.store,
            clock=world.clock,
        )
    return keepers


def _switches(component: Component, region: RegionId, place: Place) -> Mapping[RegionId, Switch]:
    """The devices by which an agent at a place can switch off a component's members in other regions."""
    switches = {}
    for other, said in component.devices.items():
        assert isinstance(said, DeviceSettings), "loading reads them"
        if other != region:
            switches[other] = Switch(device=open_device(said, place), poll=said.poll, within=said.within)
    return switches


def _agent(world: World, region: RegionId, keepers: Mapping[ComponentId, Keeper]) -> Agent:
    members = {
        component: LeasedMember(member, keepers[component]) if component in keepers else member
        for component, member in world.members[region].items()
    }

    recency = Recency()

    async def orders() -> None:
        await obey(region, members=members, store=world.store, clock=world.clock, signer=world.signer, recency=recency)

    return Agent(
        region,
        estate=world.loaded.estate,
        store=world.store,
        place=world.places[region],
        clock=world.clock,
        probe_kinds=probe_kinds(),
        observer_kinds=observer_kinds(),
        members=members,
        orders=orders,
        recency=recency,
    )
