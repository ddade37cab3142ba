"""Who may open runs: what a leader sent before it was followed, or before it looked what became of it, opens none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from evac.core.errors import Conflict, StoreUnavailable
from evac.core.quiet import Pause
from evac.engine import opener
from evac.engine.controller import Controller
from evac.engine.journal import read_runs
from evac.sim import time
from evac.sim.estates import EAST
from evac.stores.memory import MemoryStore
from fakes.embedded import Embedded, World, calm, embedded


class Held(MemoryStore):
    """A store to which the next commit that opens a run is still on its way when its sender gives it up."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[str, Any] | None = None
        self.followed_by: bytes | None = None
        """Who may open runs by the time that it is given up."""
        self.given_up = asyncio.Event()
        self.as_it_is_given_up: Callable[[], None] = lambda: None

    async def commit(self, **told: Any) -> int:
        if self.late is None and any(key.startswith("active/") for key in told["put"]):
            self.late = told
            if self.followed_by is not None:
                await opener.claim(self, self.followed_by)
            self.as_it_is_given_up()
            self.given_up.set()
            raise StoreUnavailable("no answer")
        return await super().commit(**told)

    async def deliver(self) -> int:
        """What was on its way arrives. Raises `Conflict` where it is not taken."""
        assert self.late is not None, "a run was to be opened"
        return await super().commit(**self.late)


async def _given_up(on: Embedded, store: Held) -> None:
    """Have the leader send what opens a run, and give it up; by then it may begin nothing more by itself."""

    def begin_nothing() -> None:
        on.controller.known.pause = Pause(reason="work", by="alice", since=on.world.clock.wall())

    store.as_it_is_given_up = begin_nothing
    await on.until(calm)
    on.world.lose(EAST)
    await store.given_up.wait()


def test_what_a_former_leader_sent_opens_no_run() -> None:
    store = Held()

    async def tell() -> None:
        async with embedded(World(store=store)) as on:
            await _given_up(on, store)
            world = on.world
            following = Controller(
                estate=world.estate, store=store, clock=world.clock, announce=world.hear, name="the next leader"
            )
            leading = asyncio.ensure_future(following.lead())
            await following.recalled.wait()
            with pytest.raises(Conflict):
                await store.deliver()
            leading.cancel()

    time.run(tell())


def test_what_a_leader_sent_opens_no_run_once_it_has_looked() -> None:
    store = Held()

    async def tell() -> None:
        async with embedded(World(store=store)) as on:
            await _given_up(on, store)
            await asyncio.sleep(5)
            with pytest.raises(Conflict):
                await store.deliver()
            assert await read_runs(store) == ()

    time.run(tell())


def test_who_was_followed_looks_for_no_run_of_its_own() -> None:
    store = Held()

    async def tell() -> None:
        async with embedded(World(store=store)) as on:
            store.followed_by = b"another"
            await _given_up(on, store)
            await asyncio.sleep(5)
            assert not on.controller.known.active
            record = await store.get(opener.KEY)
            assert record is not None
            assert record.value == b"another"

    time.run(tell())


class Changing(MemoryStore):
    """A store in which everything has just been written anew, by whoever."""

    async def commit(self, **told: Any) -> int:
        if told["expect"]:
            raise Conflict("written since")
        return await super().commit(**told)


def test_what_another_may_open_by_now_is_not_barred() -> None:
    async def tell() -> None:
        store = MemoryStore()
        assert not await opener.bar(store, b"nobody said so")
        await opener.claim(store, b"first")
        before = await store.get(opener.KEY)
        assert await opener.bar(store, b"first")
        after = await store.get(opener.KEY)
        assert before is not None
        assert after is not None
        assert after.version > before.version
        changing = Changing()
        await opener.claim(changing, b"first")
        assert not await opener.bar(changing, b"first")
        await opener.claim(store, b"second")
        assert not await opener.bar(store, b"first")
        with pytest.raises(Conflict, match="another process leads"):
            opener.look(await store.get(opener.KEY), b"first")

    time.run(tell())
