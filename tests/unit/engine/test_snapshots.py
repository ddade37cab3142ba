"""What the controller knows is written each moment, and whether anybody writes it can be heard."""

from __future__ import annotations

import asyncio

from evac.engine.snapshots import are_published
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.embedded import World, calm, embedded


def test_snapshots_are_heard_while_a_controller_leads() -> None:
    world = World()

    async def whole() -> tuple[bool, bool]:
        async with embedded(world) as on:
            await on.until(calm)
            while_led = await are_published(world.store)
        return while_led, await are_published(world.store)

    assert time.run(whole()) == (True, False)


def test_an_old_snapshot_is_nobodys_word() -> None:
    async def whole() -> bool:
        store = MemoryStore()
        await store.commit(expect={}, put={"snapshot": b"{}"})
        await asyncio.sleep(0)
        return await are_published(store)

    assert time.run(whole()) is False
