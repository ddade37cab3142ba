"""The clients against a whole small region on loopback: DNS, HAProxy, the shop, PostgreSQL and Valkey.

The record they leave is judged by the checker: through a crash of the primary and a promotion, nothing may be wrong.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from valkey.asyncio import Connection

from evac.lab import checker, history, measures
from evac.lab.clients.appender import appended_at
from evac.lab.clients.record import SUMMARY, boot_time
from evac.lab.clients.workload import Workload
from evac.lab.judge import heard, judge
from evac.lab.servers import haproxy, knot, postgresql, process, valkey
from evac.lab.servers.process import Process

REGIONS = ("us-east-1", "us-west-2")
SECRET = base64.b64encode(b"clients-test").decode()


@asynccontextmanager
async def _shops(folder: Path, members: dict[str, postgresql.Member], cache: str) -> AsyncIterator[dict[str, int]]:
    """Run a shop for every member, and give their ports."""
    ports = dict(zip(REGIONS, process.free_ports(len(REGIONS)), strict=True))
    async with AsyncExitStack() as stack:
        for region, port in ports.items():
            shop = Process(
                name=f"shop {region}",
                argv=(
                    sys.executable, "-m", "evac.lab.shop", "--region", region, "--listen", f"127.0.0.1:{port}",
                    "--pg", members[region].conninfo(), "--valkey", cache,
                ),
                log=folder / f"{region}.log",
            )  # fmt: skip
            stack.push_async_callback(shop.kill)
            await shop.start(ready=lambda pid, port=port: process.listening(pid, port))  # type: ignore[misc]
        yield ports


@asynccontextmanager
async def _clients(folder: Path, workload: Workload) -> AsyncIterator[None]:
    """Run the clients, and let them end as they should."""
    workload.write(folder)
    clients = Process(
        name="clients",
        argv=(sys.executable, "-m", "evac.lab.clients", "--dir", str(folder)),
        log=folder / "clients.log",
    )
    try:
        await clients.start(ready=lambda _: (folder / SUMMARY).exists())
        yield
        await clients.stop()
    finally:
        await clients.kill()


async def _per_second(folder: Path, *, store: str, at_least: int) -> None:
    """Wait until so many writes a second are acknowledged."""
    async with asyncio.timeout(30):
        while True:
            summary = json.loads((folder / SUMMARY).read_text())
            if summary["stores"].get(store, {}).get("per_second", 0) >= at_least:
                return
            await asyncio.sleep(0.05)


@pytest.mark.skipif(knot.found() is None, reason="Knot is not installed")
async def test_record_of_a_failover_is_without_fault(tmp_path: Path) -> None:
    folder = tmp_path / "clients"
    async with AsyncExitStack() as stack:
        members = await stack.enter_async_context(postgresql.cluster(tmp_path / "pg", regions=REGIONS, acks=1))
        carts = await stack.enter_async_context(valkey.cluster(tmp_path / "vk", regions=REGIONS))
        cache = f"valkey://:{carts[REGIONS[0]].password}@127.0.0.1:{carts[REGIONS[0]].port}/0"
        ports = await stack.enter_async_context(_shops(tmp_path, members, cache))
        names = await stack.enter_async_context(
            knot.name_server(tmp_path / "knot", records=["api A 127.0.0.1"], secret=SECRET)
        )
        servers = {region: ("127.0.0.1", port) for region, port in ports.items()}
        # both have weight: an order that meets the standby is refused by it, and so is no phantom afterwards
        entry = await stack.enter_async_context(
            haproxy.balancer(tmp_path / "ha", servers=servers, weights=dict.fromkeys(REGIONS, 100))
        )
        workload = Workload(
            rate=80,
            append_rate=40,
            entries=(f"127.0.0.1:{entry.port}",),
            dns=(f"127.0.0.1:{names.port + 1}", f"127.0.0.1:{names.port}"),  # the first one is nobody
            postgresql={region: f"127.0.0.1:{member.port}" for region, member in members.items()},
            conninfo=f"dbname=shop user=evac password={members[REGIONS[0]].password}",
            valkey={region: f"127.0.0.1:{member.port}" for region, member in carts.items()},
            valkey_password=carts[REGIONS[0]].password,
        )
        async with _clients(folder, workload):
            await _per_second(folder, store="orders", at_least=20)
            await _per_second(folder, store="carts", at_least=20)
            fault_at = boot_time()
            await members[REGIONS[0]].kill()
            await _promote(members[REGIONS[1]])
            await _per_second(folder, store="orders", at_least=0)
            await asyncio.sleep(1)
            await _per_second(folder, store="orders", at_least=20)
        printed = await process.run(
            (sys.executable, "-m", "evac.lab.rows", "--dir", str(folder), "--orders", REGIONS[1], "--carts", REGIONS[0])
        )

    verdicts = judge([folder], rows=json.loads(printed))
    assert verdicts["orders"].kept, verdicts["orders"]
    assert verdicts["carts"].kept, verdicts["carts"]
    assert verdicts["carts"].acknowledged > 20
    orders = heard([folder], store="orders")
    assert {w.via for w in orders if w.acknowledged_at} == {"web", "direct"}
    assert {w.owner.node for w in orders if w.owner} == set(REGIONS)
    assert measures.recovered_after(orders, fault_at=fault_at) is not None


async def _promote(member: postgresql.Member) -> None:
    async with await psycopg.AsyncConnection.connect(member.conninfo(), autocommit=True) as connection:
        await connection.execute("alter system set synchronous_standby_names = ''")
        await connection.execute("select pg_promote()")
        await connection.execute("select pg_reload_conf()")


async def test_appender_follows_a_promotion_and_losses_show(tmp_path: Path) -> None:
    folder = tmp_path / "clients"
    async with valkey.cluster(tmp_path / "vk", regions=REGIONS) as carts:
        old, new = (carts[region] for region in REGIONS)
        workload = Workload(
            append_rate=100,
            valkey={region: f"127.0.0.1:{member.port}" for region, member in carts.items()},
            valkey_password=old.password,
        )
        async with _clients(folder, workload):
            await _per_second(folder, store="carts", at_least=50)
            await old.kill()
            await _command(new, "replicaof", "no", "one")
            await _command(new, "config", "set", "min-replicas-to-write", "0")
            await asyncio.sleep(1)
            await _per_second(folder, store="carts", at_least=50)
        appended = await appended_at(f"127.0.0.1:{new.port}", password=new.password, run=workload.run)

    appends = heard([folder], store="carts")
    assert len(checker.reigns(appends)) == 2
    assert not checker.find_two_owners(appends)
    kept = set(appended)
    missing = [w.id for w in appends if w.acknowledged_at is not None and w.id not in kept]
    assert list(checker.check(appends, rows=appended).lost) == missing


async def _command(member: valkey.Member, *words: str) -> None:
    connection = Connection(host="127.0.0.1", port=member.port, password=member.password)
    try:
        await connection.send_command(*words)
        await connection.read_response()
    finally:
        await connection.disconnect()


async def test_clients_without_anything_to_reach_end_by_themselves(tmp_path: Path) -> None:
    (port,) = process.free_ports(1)
    workload = Workload(
        rate=100,
        seconds_max=1.0,
        entries=(f"127.0.0.1:{port}",),
        postgresql={"us-east-1": f"127.0.0.1:{port}"},
        valkey={"us-east-1": f"127.0.0.1:{port}"},
    )
    workload.write(tmp_path)

    await process.run((sys.executable, "-m", "evac.lab.clients", "--dir", str(tmp_path)))

    orders = heard([tmp_path], store="orders")
    assert orders
    assert {w.ending for w in orders} == {history.Ending.FAIL}
