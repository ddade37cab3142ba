"""Three real PostgreSQL members on loopback with a driver each: what the contract and the PostgreSQL tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from evac.core.estate import Component, ComponentId, Purpose, RegionId, Replication, ReplicationMode, ServiceId
from evac.core.observation import Json
from evac.core.plan import Action, Term, Verb
from evac.drivers.postgresql import KIND, PostgresqlSettings
from evac.drivers.settings import Secret
from evac.engine.clock import BootClock
from evac.lab.servers import postgresql
from evac.places.local import LocalPlace
from evac.ports import Driver, Place, Surroundings

EAST, WEST, EU = RegionId("us-east-1"), RegionId("us-west-2"), RegionId("eu-west-1")
COMPONENT = ComponentId("orders-db")
PASSWORD = "pg-secret"


def settings_of(member: postgresql.Member, **changes: object) -> PostgresqlSettings:
    """Return driver settings for a lab server."""
    given: dict[str, object] = {
        "host": member.address,
        "port": member.port,
        "dbname": postgresql.DATABASE,
        "user": postgresql.USER,
        "password": Secret(value=SecretStr(member.password)),
        "data_dir": str(member.data_dir),
        "bin_dir": str(postgresql.bin_dir()),
        "run_as": postgresql.as_owner(),
        "slot": member.slot,
        "stream_timeout": timedelta(seconds=20),
    }
    return PostgresqlSettings.model_validate({**given, **changes})


@dataclass(slots=True, kw_only=True)
class Cluster:
    """The servers, and how to open a driver for one."""

    servers: Mapping[RegionId, postgresql.Member]
    folder: Path
    component: Component
    opened: list[Driver] = field(default_factory=list)

    async def driver(self, region: RegionId, *, place: Place | None = None, **changes: object) -> Driver:
        """Open a member's driver, at this host unless told; its settings may differ from the truth."""
        peers = {r: settings_of(m) for r, m in self.servers.items()}
        own = settings_of(self.servers[region], **changes)
        surroundings = Surroundings(
            component=self.component,
            region=region,
            place=place or LocalPlace(),
            clock=BootClock(),
            keep=self.folder / "keep",
            peers={**peers, region: own},
        )
        driver = await KIND.open(own, surroundings)
        self.opened.append(driver)
        return driver

    async def sql(self, region: RegionId, query: str) -> list[tuple[object, ...]]:
        """Ask a member as an ordinary client."""
        async with await postgresql.connect(self.servers[region]) as connection:
            cursor = await connection.execute(query.encode())
            return await cursor.fetchall() if cursor.description else []


def order(verb: Verb, region: RegionId, *, term: int = 5, **args: Json) -> Action:
    return Action(component=COMPONENT, region=region, verb=verb, term=Term(term), args=args)


@asynccontextmanager
async def raised(folder: Path, *, acks: int = 1) -> AsyncIterator[Cluster]:
    """Run three members; with `acks` 0 they replicate asynchronously."""
    mode = ReplicationMode.SYNC if acks else ReplicationMode.ASYNC
    async with postgresql.cluster(folder, acks=acks) as servers:
        members = {RegionId(region): member for region, member in servers.items()}
        component = Component(
            id=COMPONENT,
            service=ServiceId("orders"),
            driver="postgresql",
            purpose=Purpose.STATE,
            members={region: settings_of(member) for region, member in members.items()},
            replication=Replication(mode=mode, acks=acks, lag_max=timedelta(seconds=10)),
        )
        cluster = Cluster(servers=members, folder=folder, component=component)
        try:
            await until_streaming(cluster, EAST, count=2)
            await cluster.sql(EAST, "CREATE TABLE orders (id bigint PRIMARY KEY, node text)")
            yield cluster
        finally:
            for driver in cluster.opened:
                await driver.close()


async def until_streaming(cluster: Cluster, region: RegionId, *, count: int) -> None:
    """Wait until so many standbys stream from a member."""
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    async with asyncio.timeout(20):
        while (await cluster.sql(region, query))[0][0] != count:
            await asyncio.sleep(0.02)
