"""What the controller knows is written each moment, and whether anybody writes it can be heard."""

from __future__ import annotations

import asyncio

import pytest

from evac.core.errors import EvacError
from evac.engine.snapshots import KEY, are_published, read_snapshot
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


def test_a_snapshot_of_another_version_is_told_as_such() -> None:
    async def whole() -> None:
        store = MemoryStore()
        assert await read_snapshot(store) is None
        await store.commit(expect={}, put={KEY: b'{"entered_since": 1}'})
        with pytest.raises(EvacError, match="another version of evac; run one everywhere"):
            await read_snapshot(store)

    time.run(whole())
