"""What an agent keeps on its host for whoever asks there while the store cannot be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from evac.core.estate import ComponentId
from evac.engine.clock import BootClock
from evac.engine.codec import PACKED_ABOVE, encode, packed
from evac.engine.last_known import (
    EVERY,
    MORE_EVERY,
    Guarded,
    Here,
    keep_last_known,
    read_here,
    read_known,
)
from evac.ports import Record
from evac.sim.estates import EAST, WEST
from evac.stores.memory import MemoryStore

DB = ComponentId("orders-db")
HELD = Guarded(component=DB, age=timedelta(seconds=2), kills_at=timedelta(seconds=6), armed=True)


class Rounds(BootClock):
    """A clock on which a sleep lasts until the test wants another round of those who sleep so long."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = {pause: asyncio.Queue[None]() for pause in (EVERY, MORE_EVERY)}
        self._go = {pause: asyncio.Queue[None]() for pause in (EVERY, MORE_EVERY)}

    async def sleep(self, duration: timedelta) -> None:
        await self._ended[duration].put(None)
        await self._go[duration].get()

    async def ended(self, pause: timedelta = EVERY) -> None:
        """Wait for the end of a round."""
        await self._ended[pause].get()

    async def another(self, pause: timedelta = EVERY) -> None:
        await self._go[pause].put(None)
        await self.ended(pause)


@asynccontextmanager
async def keeping(store: MemoryStore, folder: Path) -> AsyncIterator[Rounds]:
    clock = Rounds()
    task = asyncio.create_task(
        keep_last_known(EAST, store=store, folder=folder, clock=clock, guarded=lambda now: [HELD])
    )
    await asyncio.gather(clock.ended(), clock.ended(MORE_EVERY))
    yield clock
    task.cancel()
    await asyncio.wait([task])


def stands(folder: Path) -> Here:
    here = read_here(folder)
    assert here is not None
    return here


async def test_what_the_store_had_last_is_kept_when_it_falls_silent(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.commit(expect={}, put={"status": b"{}", "what-if/us-east-1": b"[]", "runs/1/000001": b"{}"})
    async with keeping(store, tmp_path) as clock:
        known = read_known(tmp_path, EAST)
        assert known == {"status": b"{}", "what-if/us-east-1": b"[]"}
        before = stands(tmp_path)
        assert (before.region, before.guarded) == (EAST, (HELD,))
        await store.close()
        await clock.another()
        after = stands(tmp_path)
        assert after.answered == before.answered, "since when it is silent is told"
        assert after.wall > before.wall, "that the agent lives is told too"
        assert read_known(tmp_path, EAST) == known
        assert (tmp_path / "known-us-east-1.json").stat().st_mode & 0o077 == 0


async def test_what_is_thought_through_is_copied_on_its_own(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.commit(expect={}, put={"status": b"1", "outlook": b"1"})
    async with keeping(store, tmp_path) as clock:
        await store.commit(expect={}, put={"status": b"2", "outlook": b"2"})
        await clock.another()
        assert read_known(tmp_path, EAST) == {"status": b"2", "outlook": b"1"}
        await clock.another(MORE_EVERY)
        assert read_known(tmp_path, EAST) == {"status": b"2", "outlook": b"2"}


class Ample(MemoryStore):
    """A store of which the lists take for ever."""

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_a_view_is_kept_and_the_store_answers_however_long_the_rest_takes(tmp_path: Path) -> None:
    store = Ample()
    await store.commit(expect={}, put={"status": b"1"})
    clock = Rounds()
    task = asyncio.create_task(keep_last_known(EAST, store=store, folder=tmp_path, clock=clock, guarded=lambda now: []))
    await clock.ended()
    assert read_known(tmp_path, EAST) == {"status": b"1"}
    here = stands(tmp_path)
    assert here.reaches_the_store(here.wall)
    task.cancel()
    await asyncio.wait([task])


async def test_an_agent_that_never_reached_the_store_says_so(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.close()
    async with keeping(store, tmp_path):
        here = stands(tmp_path)
        assert here.answered is None
        assert here.silent_for(here.wall) is None
        assert read_known(tmp_path, EAST) == {}


async def test_a_disk_that_takes_nothing_leaves_what_was_there(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.commit(expect={}, put={"status": b"1"})
    async with keeping(store, tmp_path) as clock:
        before = stands(tmp_path)
        for name in ("known-us-east-1.new", "agent-us-east-1.new"):
            (tmp_path / name).mkdir()
        await clock.another()
        assert stands(tmp_path) == before


def test_of_several_agents_on_a_host_the_last_to_tell_is_heard(tmp_path: Path) -> None:
    assert read_here(tmp_path) is None
    wall = BootClock().wall()
    old = Here(region=EAST, wall=wall - timedelta(minutes=1), answered=None)
    new = replace(old, region=WEST, wall=wall, answered=wall - timedelta(seconds=9))
    for here in (old, new):
        (tmp_path / f"agent-{here.region}.json").write_bytes(encode(here))
    (tmp_path / "agent-torn.json").write_bytes(b"{")
    assert read_here(tmp_path) == new
    assert new.silent_for(wall) == timedelta(seconds=9)


async def test_what_is_packed_is_kept_as_it_is(tmp_path: Path) -> None:
    store = MemoryStore()
    large = packed(encode(["a name"] * PACKED_ABOVE))
    await store.commit(expect={}, put={"status": large, "known/00000": large})
    async with keeping(store, tmp_path):
        assert read_known(tmp_path, EAST) == {"status": large, "known/00000": large}
