"""The lab's client of Valkey on real servers: it finds the primary, leaves it when refused, and finds the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from valkey.asyncio import Valkey
from world_valkey import OLD, OTHER, PASSWORD, TARGET, trio

from evac.core.plan import Verb
from evac.lab.clients.appender import Appender, appended_at
from evac.lab.history import Ending


async def test_it_goes_from_a_primary_that_refuses_to_the_next_one_over_one_connection_each(tmp_path: Path) -> None:
    async with trio(tmp_path) as made:
        addresses = {region: f"127.0.0.1:{server.port}" for region, server in made.servers.items()}
        before = await _connections(made.servers[OLD].port)
        client = Appender(addresses, password=PASSWORD, limit=1.0, wait=1)
        assert await client.connected()
        how, owner, reason = await client.append(key="appended:t:a", id="1")
        assert (how, owner and owner.node, reason) == (Ending.OK, OLD, "")
        assert len(await _connections(made.servers[OLD].port) - before) == 1
        await made.do(Verb.PREPARE, OLD, target=TARGET)
        stopped = dict(await made.do(Verb.STOP, OLD, mode="clean", target=TARGET))
        await made.promote(receipts={"stop": stopped})
        await made.do(Verb.FOLLOW, OTHER, primary=TARGET)
        how, _, _ = await client.append(key="appended:t:a", id="2")
        assert how is Ending.FAIL
        for attempt in range(100):
            assert await client.connected()
            how, owner, reason = await client.append(key="appended:t:a", id=f"3.{attempt}")
            if how is Ending.OK:
                break
            await asyncio.sleep(0.05)  # a promotion drops the replicas, and they come back
        assert (how, owner and owner.node) == (Ending.OK, TARGET), reason
        await client.close()
        held = await appended_at(addresses[TARGET], password=PASSWORD, run="t")
        assert held == ("1", f"3.{attempt}")


async def test_a_server_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    async with trio(tmp_path) as made:
        addresses = {region: f"127.0.0.1:{server.port}" for region, server in made.servers.items()}
        client = Appender(addresses, password=PASSWORD, limit=30.0, wait=0)
        frozen = made.servers[TARGET]
        frozen.freeze()
        try:
            assert await client.connected()
            how, owner, _ = await client.append(key="appended:t:a", id="1")
            assert (how, owner and owner.node) == (Ending.OK, OLD)
            await client.close()
        finally:
            frozen.thaw()


async def _connections(port: int) -> set[str]:
    """Return the addresses that clients come from, but not the one that asks."""
    asking = Valkey(host="127.0.0.1", port=port, password=PASSWORD, decode_responses=True)
    try:
        own = await asking.client_id()
        return {row["addr"] for row in await asking.client_list(_type="normal") if row["id"] != str(own)}
    finally:
        await asking.aclose()
