"""The shop and its clients against real servers: every ending is told as what it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from evac.lab.ledger import rows_at
from evac.lab.servers import postgresql, process, valkey
from evac.lab.servers.process import Process

PRIMARY = "us-east-1"
STANDBY = "us-west-2"


@dataclass(frozen=True)
class Store:
    """A primary, one synchronous standby, a Valkey, and a shop at each of the two PostgreSQL servers."""

    members: dict[str, postgresql.Member]
    carts: dict[str, valkey.Member]
    shops: dict[str, str]
    http: httpx.AsyncClient

    async def order(self, id: str, *, at: str = PRIMARY) -> httpx.Response:
        return await self.http.post(f"{self.shops[at]}/orders", json={"id": id, "client": "t", "seq": 1})

    async def primary(self, statement: str) -> None:
        async with await postgresql.connect(self.members[PRIMARY]) as connection:
            await connection.execute(statement)


@asynccontextmanager
async def _shop(folder: Path, region: str, pg: str, cache: str) -> AsyncIterator[str]:
    (port,) = process.free_ports(1)
    running = Process(
        name=f"shop {region}",
        argv=(
            sys.executable, "-m", "evac.lab.shop", "--region", region, "--listen", f"127.0.0.1:{port}",
            "--pg", pg, "--valkey", cache, "--sessions", "4",
        ),
        log=folder / "shop.log",
    )  # fmt: skip
    try:
        await running.start(ready=lambda pid: process.listening(pid, port))
        yield f"http://127.0.0.1:{port}"
    finally:
        await running.kill()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with (
        postgresql.cluster(tmp_path / "pg", regions=(PRIMARY, STANDBY), acks=1) as members,
        valkey.cluster(tmp_path / "vk", regions=(PRIMARY, STANDBY)) as carts,
        _shop(tmp_path / PRIMARY, PRIMARY, members[PRIMARY].conninfo(), _url(carts[PRIMARY])) as first,
        _shop(tmp_path / STANDBY, STANDBY, members[STANDBY].conninfo(), _url(carts[PRIMARY])) as second,
        httpx.AsyncClient(timeout=10, trust_env=False) as http,
    ):
        yield Store(members=members, carts=carts, shops={PRIMARY: first, STANDBY: second}, http=http)


def _url(member: valkey.Member) -> str:
    return f"valkey://:{member.password}@127.0.0.1:{member.port}/0"


async def _until_order(store: Store, at: str, prefix: str) -> httpx.Response:
    """Send new orders until one is taken."""
    async with asyncio.timeout(30):
        for i in range(1000):
            reply = await store.order(f"{prefix}{i}", at=at)
            if reply.status_code == httpx.codes.OK:
                return reply
            await asyncio.sleep(0.05)
    raise AssertionError("a thousand orders, and none was taken")


async def test_order_names_who_took_it_and_is_there(store: Store) -> None:
    reply = await store.order("a")

    assert reply.status_code == httpx.codes.OK
    assert reply.json() == {"id": "a", "timeline": 1, "node": PRIMARY, "address": "127.0.0.1"}
    assert await rows_at(store.members[PRIMARY].conninfo()) == ("a",)


async def test_standby_refuses_orders_and_still_is_well(store: Store) -> None:
    await store.order("a")

    refused = await store.order("b", at=STANDBY)
    canary = await store.http.get(f"{store.shops[STANDBY]}/canary")

    assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert refused.json()["reason"].startswith("25006")
    assert canary.json()["role"] == "standby"
    assert (await store.http.get(f"{store.shops[STANDBY]}/health")).status_code == httpx.codes.OK


async def test_promoted_standby_is_noticed(store: Store) -> None:
    await store.order("a", at=STANDBY)
    await store.members[PRIMARY].kill()
    async with await psycopg.AsyncConnection.connect(store.members[STANDBY].conninfo(), autocommit=True) as connection:
        await connection.execute("select pg_promote()")
        await connection.execute("alter system set synchronous_standby_names = ''")
        await connection.execute("select pg_reload_conf()")

    reply = await _until_order(store, STANDBY, "b")

    assert (reply.json()["node"], reply.json()["timeline"]) == (STANDBY, 2)
    assert (await store.order("c")).status_code == httpx.codes.SERVICE_UNAVAILABLE


async def test_write_that_waits_for_a_lost_standby_is_unknown(store: Store) -> None:
    await store.order("a")
    await store.members[STANDBY].kill()

    late = await store.order("b")
    health = await store.http.get(f"{store.shops[PRIMARY]}/health")
    canary = await store.http.get(f"{store.shops[PRIMARY]}/canary")

    assert late.status_code == httpx.codes.ACCEPTED
    assert health.status_code == httpx.codes.OK
    assert canary.status_code == httpx.codes.SERVICE_UNAVAILABLE


async def test_all_sessions_waiting_is_a_certain_no(store: Store) -> None:
    await store.order("a")
    await store.members[STANDBY].kill()

    waiting = await asyncio.gather(*(store.order(f"b{i}") for i in range(4)))
    refused = await store.order("c")
    health = await store.http.get(f"{store.shops[PRIMARY]}/health")
    await store.members[STANDBY].start()
    await _until_order(store, PRIMARY, "d")

    assert {reply.status_code for reply in waiting} == {httpx.codes.ACCEPTED}
    assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert health.status_code == httpx.codes.OK
    rows = await rows_at(store.members[PRIMARY].conninfo())
    assert {"b0", "b1", "b2", "b3"} < set(rows)
    assert "c" not in rows


async def test_cancelled_wait_for_a_standby_is_no_yes(store: Store) -> None:
    await store.order("a")
    await store.members[STANDBY].kill()
    order = asyncio.create_task(store.order("b"))
    async with asyncio.timeout(10):
        while not await _cancel_waiting(store):
            await asyncio.sleep(0.02)

    reply = await order

    assert reply.status_code == httpx.codes.ACCEPTED
    assert "canceling wait for synchronous replication" in reply.json()["reason"]


async def _cancel_waiting(store: Store) -> bool:
    """Cancel whoever waits for a standby, as an impatient administrator would."""
    async with await postgresql.connect(store.members[PRIMARY]) as connection:
        found = await connection.execute(
            "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"
        )
        return bool(await found.fetchall())


async def test_server_killed_under_a_waiting_write_is_no_yes_and_it_comes_back(store: Store) -> None:
    await store.order("a")
    await store.members[STANDBY].kill()
    order = asyncio.create_task(store.order("b"))
    async with asyncio.timeout(10):
        while (await store.http.get(f"{store.shops[PRIMARY]}/canary")).status_code == httpx.codes.OK:
            await asyncio.sleep(0.02)
    await store.members[PRIMARY].kill()

    reply = await order
    down = await store.order("c")
    await store.members[PRIMARY].start()
    await store.members[STANDBY].start()

    assert reply.status_code == httpx.codes.ACCEPTED
    assert down.status_code in (httpx.codes.ACCEPTED, httpx.codes.SERVICE_UNAVAILABLE)
    assert (await _until_order(store, PRIMARY, "d")).json()["node"] == PRIMARY


async def test_cart_counts(store: Store) -> None:
    async with asyncio.timeout(20):
        while (reply := await _cart(store)).status_code != httpx.codes.OK:  # until the replica has synchronised
            await asyncio.sleep(0.1)

    assert (await _cart(store)).json()["count"] == reply.json()["count"] + 1
    await store.carts[PRIMARY].kill()
    assert (await _cart(store)).status_code == httpx.codes.ACCEPTED
    assert (await store.http.get(f"{store.shops[PRIMARY]}/health")).status_code == httpx.codes.SERVICE_UNAVAILABLE


async def _cart(store: Store) -> httpx.Response:
    return await store.http.post(f"{store.shops[PRIMARY]}/carts", json={"client": "t"})


async def test_nonsense_is_refused(store: Store) -> None:
    shop = store.shops[PRIMARY]

    assert (await store.http.post(f"{shop}/orders", json={"id": "a"})).status_code == httpx.codes.BAD_REQUEST
    assert (await store.http.post(f"{shop}/orders", content=b"[")).status_code == httpx.codes.BAD_REQUEST
    assert (await store.http.get(f"{shop}/nothing")).status_code == httpx.codes.NOT_FOUND
