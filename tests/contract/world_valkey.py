"""Valkey's world for the driver contract, and Redis': a real primary and two replicas, caught up."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from driver_world import Stage, Story

from evac.core.estate import Component, ComponentId, Purpose, RegionId, Replication, ReplicationMode, ServiceId
from evac.core.observation import Json
from evac.core.plan import Action, Term, Verb
from evac.core.run import Receipt
from evac.drivers.valkey import KIND
from evac.drivers.valkey.session import Look, Session
from evac.drivers.valkey.settings import ValkeySettings
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.lab.servers.valkey import Member, cluster
from evac.places.local import LocalPlace
from evac.ports import Clock, Driver, Place, Surroundings

OLD, TARGET, OTHER = REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
PASSWORD = "vk-secret"
REDIS = "redis-server"
Facts = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """Three servers, a driver each, and the orders they are given."""

    servers: Mapping[str, Member]
    drivers: Mapping[str, Driver]
    sessions: Mapping[str, Session]
    settings: Mapping[str, ValkeySettings]
    keep: Path

    def action(self, verb: Verb, region: str, term: int = 7, /, **args: Json) -> Action:
        return Action(
            component=ComponentId("carts-cache"), region=RegionId(region), verb=verb, term=Term(term), args=args
        )

    async def do(self, verb: Verb, region: str, *, term: int = 7, **args: Json) -> Facts:
        return (await self.drivers[region].do(self.action(verb, region, term, **args))).facts

    async def look(self, region: str) -> Look:
        return await self.sessions[region].look()

    async def state(self, region: str) -> object:
        """All that a verb may change, but the term."""
        look = await self.look(region)
        return look.is_replica, look.primary, look.min_replicas, look.ping_s, look.notes.state, look.writable

    async def write(self, region: str, key: str, value: str = "1") -> None:
        await self.sessions[region].change(("SET", key, value))

    async def read(self, region: str, key: str) -> str | None:
        value: str | None = await self.sessions[region].ask("GET", key)
        return value

    async def fence(self, *, term: int = 7) -> dict[str, Json]:
        """Let both replicas refuse; return the receipts as a later step is given them."""
        both = await asyncio.gather(*(self.do(Verb.REFUSE, r, term=term, old=OLD) for r in (TARGET, OTHER)))
        return dict(zip(("refuse:a", "refuse:b"), map(dict, both), strict=True))

    async def promote(self, *, term: int = 7, receipts: Json = None) -> Facts:
        sync: Json = {"acks": 1, "standbys": [OTHER]}
        return await self.do(Verb.PROMOTE, TARGET, term=term, sync=sync, old=OLD, receipts=receipts or {})

    async def caught_up(self) -> None:
        """Wait until both replicas have all that the primary has."""
        await _until_synced(self)


async def opened(
    trio: dict[str, ValkeySettings],
    region: str,
    keep: Path,
    *,
    acks: int = 1,
    place: Place | None = None,
    clock: Clock | None = None,
) -> Driver:
    component = Component(
        id=ComponentId("carts-cache"),
        service=ServiceId("carts"),
        driver="valkey",
        purpose=Purpose.STATE,
        members={RegionId(r): s for r, s in trio.items()},
        replication=Replication(mode=ReplicationMode.SYNC, acks=acks, lag_max=timedelta(seconds=10)),
    )
    surroundings = Surroundings(
        component=component,
        region=RegionId(region),
        place=place or LocalPlace(),
        clock=clock or BootClock(),
        keep=keep,
        peers={RegionId(r): s for r, s in trio.items()},
    )
    return await KIND.open(trio[region], surroundings)


def settings(port: int, **more: object) -> ValkeySettings:
    return ValkeySettings.parse(
        {"host": "127.0.0.1", "port": port, "password": {"value": PASSWORD}, "replicas_lag_max": "2s", **more}
    )


def program(name: str) -> Path | None:
    """Return where a server is installed, None for the wheel's Valkey; skips where it is not."""
    if name != REDIS:
        return None
    found = shutil.which(REDIS)
    if found is None:
        pytest.skip("redis-server is not installed")
    return Path(found)


@asynccontextmanager
async def trio(folder: Path, system: str = "valkey") -> AsyncIterator[Trio]:
    async with cluster(folder / "valkey", regions=REGIONS, program=program(system)) as servers:
        known = {region: settings(server.port) for region, server in servers.items()}
        drivers = {region: await opened(known, region, folder / "keep") for region in REGIONS}
        sessions = {region: Session(place=LocalPlace(), settings=s) for region, s in known.items()}
        made = Trio(servers=servers, drivers=drivers, sessions=sessions, settings=known, keep=folder / "keep")
        try:
            await _until_synced(made)
            yield made
        finally:
            for driver in drivers.values():
                await driver.close()
            for session in sessions.values():
                await session.close()


async def _until_synced(made: Trio) -> None:
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        primary, *replicas = [await made.look(region) for region in REGIONS]
        if primary.writable and primary.offset > 1 and all(r.link_up and r.offset >= primary.offset for r in replicas):
            return
        assert asyncio.get_running_loop().time() < deadline, (primary, replicas)
        await asyncio.sleep(0.05)


class ValkeyWorld:
    """Three servers of one system: `valkey`, the wheel's, or `redis-server`, the distribution's."""

    kind = KIND
    stories = ("prepare", "stop clean", "stop kill", "refuse", "catch-up", "promote", "follow", "protect", "verify",
               "rejoin")  # fmt: skip
    refusals = ("refuse a primary", "follow as a primary", "lagging target", "no acknowledgements", "wrong password")

    def __init__(self, system: str = "valkey") -> None:
        self._system = system

    @asynccontextmanager
    async def raised(self, folder: Path) -> AsyncIterator[Stage]:
        (dead,) = process.free_ports(1)
        async with trio(folder, self._system) as made:
            gone = {**made.settings, OLD: settings(dead)}
            silent = await opened(gone, OLD, folder / "silent")
            try:
                yield Stage(
                    observed=tuple(made.drivers.values()),
                    stories=_stories(made),
                    silent=silent,
                    silent_action=made.action(Verb.STOP, OLD, mode="clean"),
                    refused=await _refused(made, folder),
                    secrets=[PASSWORD],
                )
            finally:
                await silent.close()


def _stories(made: Trio) -> dict[str, Story]:
    async def fenced() -> None:
        await made.fence()

    async def promoted() -> None:
        await made.fence()
        await made.promote()

    async def stopped_and_left() -> None:
        await made.do(Verb.STOP, OLD, mode="kill")
        await promoted()

    def story(verb: Verb, region: str, **args: Json) -> Story:
        async def look() -> object:
            return await made.state(region)

        return Story(driver=made.drivers[region], action=made.action(verb, region, **args), look=look)

    def after(scene: Story, before: object, *, settled: bool = False) -> Story:
        assert callable(before)
        return Story(driver=scene.driver, action=scene.action, look=scene.look, before=before, settled=settled)

    async def at_once() -> None:
        """Nothing comes before."""

    sync: Json = {"acks": 1, "standbys": [OTHER]}
    facts: Json = {"refuse:b": {"region": OTHER, "position": 1}}
    return {
        "prepare": after(story(Verb.PREPARE, OLD, target=TARGET), at_once, settled=True),
        "stop clean": story(Verb.STOP, OLD, mode="clean", target=TARGET),
        "stop kill": story(Verb.STOP, OLD, mode="kill"),
        "refuse": story(Verb.REFUSE, TARGET, old=OLD),
        "catch-up": after(story(Verb.CATCH_UP, TARGET, receipts=facts), fenced, settled=True),
        "promote": after(story(Verb.PROMOTE, TARGET, sync=sync, old=OLD), fenced),
        "follow": after(story(Verb.FOLLOW, OTHER, primary=TARGET), promoted),
        "protect": story(Verb.PROTECT, OLD, acks=2, standbys=[TARGET, OTHER]),
        "verify": after(story(Verb.VERIFY, OLD, write=True), at_once, settled=True),
        "rejoin": after(story(Verb.REJOIN, OLD, primary=TARGET), stopped_and_left),
    }


async def _refused(made: Trio, folder: Path) -> dict[str, tuple[Driver, Action, str]]:
    careless = await opened(dict(made.settings), TARGET, folder / "careless", acks=0)
    wrong = ValkeySettings.parse({"host": "127.0.0.1", "port": made.servers[OLD].port, "password": {"value": "no"}})
    stranger = await opened({**made.settings, OLD: wrong}, OLD, folder / "stranger")
    nobody = made.action(Verb.PREPARE, OLD, target=OLD)
    return {
        "refuse a primary": (made.drivers[OLD], made.action(Verb.REFUSE, OLD, old=OLD), "only a replica can refuse"),
        "follow as a primary": (made.drivers[OLD], made.action(Verb.FOLLOW, OLD, primary=TARGET), "is a primary"),
        "lagging target": (made.drivers[OLD], nobody, "is no connected replica"),
        "no acknowledgements": (careless, made.action(Verb.REFUSE, TARGET, old=OLD), "min-replicas-to-write 1"),
        "wrong password": (stranger, made.action(Verb.STOP, OLD, mode="clean"), "correct `username` and `password`"),
    }


WORLD = ValkeyWorld()
__all__ = ["OLD", "OTHER", "REDIS", "TARGET", "WORLD", "Receipt", "Trio", "trio"]
