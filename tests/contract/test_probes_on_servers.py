"""The SQL and Valkey probes on real servers: a canary where there is a primary, a reading where there is a standby."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from world_valkey import OLD, PASSWORD, TARGET, trio

from evac.core.estate import Probe, RegionId, ServiceId
from evac.drivers.probes import SQL, VALKEY
from evac.drivers.probes.sql import SqlSettings
from evac.drivers.probes.valkey import ValkeySettings
from evac.lab.servers import postgresql, process
from evac.places.local import LocalPlace
from evac.ports import BadAnswer, Prober


def probe(kind: str, settings: object) -> Probe:
    return Probe(kind=kind, service=ServiceId("shop"), region=RegionId("here"), settings=settings)


async def sql(member: postgresql.Member, *, password: str | None = None, dbname: str = "shop") -> Prober:
    settings = SqlSettings.parse(
        {
            "host": member.address,
            "port": member.port,
            "dbname": dbname,
            "user": postgresql.USER,
            "password": {"value": password or member.password},
            "write": True,
        }
    )
    return await SQL.open(probe("sql", settings), LocalPlace())


async def give_up(prober: Prober, after_s: float = 0.2) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after_s):
            await prober.ask()


async def rows(member: postgresql.Member) -> int:
    count = await one(member, "select count(*) from evac.canary")
    assert isinstance(count, int)
    return count


async def test_sql_writes_on_a_primary_reads_on_a_standby_and_outlives_silence(tmp_path: Path) -> None:
    async with postgresql.cluster(tmp_path, regions=("us-east-1", "us-west-2"), acks=0) as members:
        primary, standby = members.values()
        first, second = await sql(primary), await sql(standby)
        assert [await first.ask(), await first.ask(), await second.ask()] == ["", "", ""]
        assert await rows(primary) == 1

        primary.freeze()
        await give_up(first)
        primary.thaw()
        assert [await first.ask(), await first.ask()] == ["", ""]
        assert await rows(primary) == 1, "the connection was kept"

        async with await postgresql.connect(primary) as connection:
            await connection.execute("alter system set default_transaction_read_only = on")
            await connection.execute("select pg_reload_conf()")
        stranger = await sql(primary)
        assert (await stranger.ask()).startswith("a primary, but it refuses writes")

        wrong = await sql(primary, password="wrong")
        said = await wrong.ask()
        assert "password authentication failed" in said
        assert isinstance(said, BadAnswer)
        await wrong.close()
        nowhere = await sql(primary, dbname="nosuch")
        assert 'database "nosuch" does not exist' in await nowhere.ask()
        await nowhere.close()

        assert isinstance(await stranger.ask(), BadAnswer)
        await stranger.close()

        await primary.kill()
        assert isinstance(await first.ask(), BadAnswer)
        assert await first.ask() == "connection refused"
        for prober in (first, second):
            await prober.close()


async def test_sql_says_that_nobody_acknowledges(tmp_path: Path) -> None:
    async with postgresql.cluster(tmp_path, regions=("us-east-1", "us-west-2"), acks=1) as members:
        primary, standby = members.values()
        prober = await sql(primary)
        assert await prober.ask() == ""
        standby.freeze()
        await give_up(prober)
        standby.thaw()
        async with asyncio.timeout(20):
            assert await prober.ask() == ""
        await prober.close()


async def test_sql_takes_room_on_the_disk_where_nobody_is_told_of_it_and_it_may(tmp_path: Path) -> None:
    async with postgresql.cluster(tmp_path, regions=("us-east-1",), acks=0) as members:
        (primary,) = members.values()
        for setting in ("log_temp_files = 0", "log_temp_files = 40", "log_temp_files = -1", "temp_file_limit = 16"):
            await configure(primary, setting)
            before = await temporary_files(primary)
            prober = await sql(primary)
            assert await prober.ask() == ""
            await prober.close()
            assert await rows(primary) > 0
            async with asyncio.timeout(20):
                while setting == "log_temp_files = -1" and await temporary_files(primary) == before:
                    await asyncio.sleep(0.05)
        assert "temporary file:" not in (primary.folder / "postgresql.log").read_text()


async def test_sql_takes_room_now_and_then_and_after_a_refusal(tmp_path: Path) -> None:
    async with postgresql.cluster(tmp_path, regions=("us-east-1",), acks=0) as members:
        (primary,) = members.values()
        prober = await sql(primary)
        assert [await prober.ask() for _ in range(5)] == [""] * 5, "the first and the fifth take room"
        await configure(primary, "default_transaction_read_only = on")
        await until(prober, refused=True)
        await configure(primary, "default_transaction_read_only = off")
        await until(prober, refused=False)
        await prober.close()
        async with asyncio.timeout(20):
            while not (taken := await temporary_files(primary)):
                await asyncio.sleep(0.05)
        assert taken == 3


async def until(prober: Prober, *, refused: bool) -> None:
    async with asyncio.timeout(20):
        while bool(await prober.ask()) is not refused:
            await asyncio.sleep(0.05)


async def configure(member: postgresql.Member, setting: str) -> None:
    async with await postgresql.connect(member) as connection:
        await connection.set_autocommit(True)
        await connection.execute(f"alter system set {setting}".encode())
        await connection.execute("select pg_reload_conf()")
    async with asyncio.timeout(20):
        name, _, value = setting.partition(" = ")
        while await one(member, f"select setting from pg_settings where name = '{name}'") != value:
            await asyncio.sleep(0.05)


async def temporary_files(member: postgresql.Member) -> object:
    return await one(member, "select temp_files from pg_stat_database where datname = current_database()")


async def one(member: postgresql.Member, query: str) -> object:
    async with await postgresql.connect(member) as connection:
        (value,) = await (await connection.execute(query.encode())).fetchone() or (None,)
    return value


async def test_valkey_sets_on_a_primary_gets_on_a_replica_and_names_a_refusal(tmp_path: Path) -> None:
    async with trio(tmp_path) as made:

        async def valkey(region: str, password: str = PASSWORD) -> Prober:
            settings = ValkeySettings.parse(
                {
                    "host": "127.0.0.1",
                    "port": made.servers[region].port,
                    "password": {"value": password},
                    "write": True,
                }
            )
            return await VALKEY.open(probe("valkey", settings), LocalPlace())

        primary, replica, wrong = await valkey(OLD), await valkey(TARGET), await valkey(OLD, "wrong")
        assert [await primary.ask(), await primary.ask(), await replica.ask()] == ["", "", ""]
        said = await wrong.ask()
        assert "password is refused" in said
        assert isinstance(said, BadAnswer)
        clients = {client["id"] for client in await made.sessions[OLD].ask("CLIENT LIST")}

        process.send(made.servers[OLD].pids(), signal.SIGSTOP)
        await give_up(primary)
        await give_up(primary)
        process.send(made.servers[OLD].pids(), signal.SIGCONT)
        assert await primary.ask() == ""
        now = {client["id"] for client in await made.sessions[OLD].ask("CLIENT LIST")}
        assert now <= clients, "the connection was kept"

        await made.sessions[OLD].change(("CONFIG", "SET", "min-replicas-to-write", 9))
        said = await primary.ask()
        assert "NOREPLICAS" in said
        assert isinstance(said, BadAnswer)
        await made.servers[OLD].kill()
        assert await primary.ask() in ("connection refused", "connection closed by the other end")
        assert isinstance(await primary.ask(), BadAnswer)
        for prober in (primary, replica, wrong):
            await prober.close()
