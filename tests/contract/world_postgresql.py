"""PostgreSQL in the driver contract: three real members, and each verb where a plan would have it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from driver_world import Scene, Stage, Story
from postgresql_members import EAST, EU, PASSWORD, WEST, Cluster, order, raised
from pydantic import SecretStr

from evac.core.estate import RegionId
from evac.core.observation import Json
from evac.core.plan import Action, Verb
from evac.drivers.postgresql import KIND
from evac.drivers.settings import Secret
from evac.ports import Driver, DriverKind

SYNC: dict[str, Json] = {"acks": 1, "standbys": [EU]}
SETTINGS = """SELECT name, setting FROM pg_file_settings
    WHERE name IN ('primary_conninfo', 'synchronous_standby_names') AND applied ORDER BY name"""


def looking(cluster: Cluster, region: RegionId) -> Callable[[], Awaitable[object]]:
    """What verbs change of a member: its role, and whom it follows or waits for."""

    async def look() -> object:
        if not cluster.servers[region].pids():
            return "down"
        return (
            await cluster.sql(region, "SELECT pg_is_in_recovery()"),
            await cluster.sql(region, "SELECT application_name FROM pg_stat_replication ORDER BY 1"),
            await waits_and_upstream(cluster, region),
        )

    return look


async def waits_and_upstream(cluster: Cluster, region: RegionId) -> object:
    """A standby is told here by the port it follows; the names it carries for later are not its effect."""
    found = await cluster.sql(region, "SELECT current_setting('primary_conninfo'), pg_is_in_recovery()")
    conninfo, standby = str(found[0][0]), found[0][1]
    if standby:
        return next((r for r, server in cluster.servers.items() if f"port={server.port}" in conninfo), None)
    return await cluster.sql(region, "SELECT current_setting('synchronous_standby_names')")


def scene(*orders: tuple[Driver, Action]) -> Scene:
    """The steps that come first, in a plan's order; each is given the receipts of those before it."""

    async def play() -> None:
        receipts: dict[str, Json] = {}
        for driver, action in orders:
            receipt = await driver.do(replace(action, args={**action.args, "receipts": dict(receipts)}))
            receipts[f"{action.verb}@{action.region}"] = dict(receipt.facts)

    return play


class PostgresqlWorld:
    """Regions us-east-1 (primary), us-west-2 and eu-west-1; orders of term 5."""

    kind: DriverKind = KIND
    stories: Sequence[str] = (
        "prepare",
        "stop kill",
        "stop clean",
        "refuse",
        "catch-up",
        "promote",
        "follow",
        "protect",
        "verify",
        "rejoin",
    )
    refusals: Sequence[str] = ("wrong password", "not a standby", "no such mode", "sibling")

    @asynccontextmanager
    async def raised(self, folder: Path) -> AsyncIterator[Stage]:
        async with raised(folder) as cluster:
            east, west, eu = [await cluster.driver(region) for region in (EAST, WEST, EU)]
            refuse_west, refuse_eu = order(Verb.REFUSE, WEST, old=EAST), order(Verb.REFUSE, EU, old=EAST)
            catch_up, promote = order(Verb.CATCH_UP, WEST), order(Verb.PROMOTE, WEST, sync=SYNC)
            stop, follow = order(Verb.STOP, EAST, mode="kill"), order(Verb.FOLLOW, EU, primary=WEST)
            for_west, for_eu, for_east = looking(cluster, WEST), looking(cluster, EU), looking(cluster, EAST)
            fenced = ((west, refuse_west), (eu, refuse_eu), (west, catch_up))
            stories = {
                "prepare": Story(
                    driver=east, action=order(Verb.PREPARE, EAST, target=WEST), look=for_east, settled=True
                ),
                "stop kill": Story(driver=east, action=stop, look=upright(cluster, EAST)),
                "stop clean": Story(
                    driver=east, action=order(Verb.STOP, EAST, mode="clean"), look=upright(cluster, EAST)
                ),
                "refuse": Story(driver=west, action=refuse_west, look=for_west),
                "catch-up": Story(driver=west, action=catch_up, look=for_west, settled=True),
                "promote": Story(driver=west, action=promote, look=primary_of(cluster, WEST), before=scene(*fenced)),
                "follow": Story(driver=eu, action=follow, look=for_eu, before=scene(*fenced, (west, promote))),
                "protect": Story(
                    driver=east, action=order(Verb.PROTECT, EAST, acks=2, standbys=[WEST, EU]), look=for_east
                ),
                "verify": Story(driver=east, action=order(Verb.VERIFY, EAST, write=True), look=for_east, settled=True),
                "rejoin": Story(
                    driver=east,
                    action=order(Verb.REJOIN, EAST, primary=WEST),
                    look=for_east,
                    before=scene(*fenced, (west, promote), (eu, follow), (east, stop)),
                ),
            }
            wrong = await cluster.driver(WEST, password=Secret(value=SecretStr("not-the-secret")))
            yield Stage(
                observed=(east, west, eu),
                stories=stories,
                silent=await cluster.driver(WEST, port=1, connect_timeout=timedelta(seconds=1)),
                silent_action=refuse_west,
                refused={
                    "wrong password": (wrong, refuse_west, "password authentication failed"),
                    "not a standby": (east, order(Verb.REFUSE, EAST, old=WEST), "it is not a standby"),
                    "no such mode": (east, order(Verb.STOP, EAST, mode="gently"), "clean or kill"),
                    "sibling": (west, order(Verb.REFUSE, WEST, old="mars"), "another member"),
                },
                secrets=(PASSWORD, "not-the-secret"),
            )


def upright(cluster: Cluster, region: RegionId) -> Callable[[], Awaitable[object]]:
    """Whether a member runs, as a primary."""

    async def look() -> object:
        return bool(cluster.servers[region].pids()) and await cluster.sql(region, "SELECT pg_is_in_recovery()")

    return look


def primary_of(cluster: Cluster, region: RegionId) -> Callable[[], Awaitable[object]]:
    """Whether a member is a primary, on which timeline, and for whom it keeps slots."""

    async def look() -> object:
        return (
            await cluster.sql(region, "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names')"),
            await cluster.sql(region, "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical'"),
        )

    return look


WORLD = PostgresqlWorld()
