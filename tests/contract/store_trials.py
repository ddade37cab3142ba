"""What the trials of every store that regions share need: watches that are read on, writes that come through, and a
wire that loses answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from evac.core.errors import StoreUnavailable
from evac.ports import Change, Store


class Watcher:
    """Reads a watch to whatever end, in a task of its own."""

    def __init__(self, store: Store, prefix: str, *, after: int) -> None:
        self.seen: list[Change] = []
        self.task = asyncio.create_task(self._read(store, prefix, after))
        self._came = asyncio.Event()

    async def _read(self, store: Store, prefix: str, after: int) -> None:
        try:
            async with aclosing(store.watch(prefix, after=after)) as changes:
                async for change in changes:
                    self.seen.append(change)
                    self._came.set()
        finally:
            self._came.set()

    async def until(self, count: int) -> None:
        """Wait until so many changes have come; a watch that ended before says why."""
        async with asyncio.timeout(20):
            while len(self.seen) < count:
                if self.task.done():
                    await self.task
                self._came.clear()
                await self._came.wait()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def write(store: Store, number: int) -> int:
    """Write one more key, again and again until it is known that it is written."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await store.commit(expect={f"n/{number:03d}": 0}, put={f"n/{number:03d}": b"x"})
            except StoreUnavailable:
                continue


async def is_another_life(store: Store, beside: AbstractAsyncContextManager[Store], *, born: str, old: int) -> None:
    """See that a store is another one than `born`, for others too, and goes on from what `a` was at version `old`."""
    now = await store.incarnation()
    assert now != born
    async with beside as other:
        assert await other.incarnation() == now
    record = await store.get("a")
    assert record is not None
    assert record.version == old
    await store.commit(expect={"a": old}, put={"a": b"2"})


async def outlives(store: Store, restart: Callable[[], Awaitable[object]]) -> None:
    """See that what was acknowledged, the store's life and a watch are there after a restart of all."""
    born = await store.incarnation()
    revision = await store.commit(expect={}, put={"a": b"1"})
    watcher = Watcher(store, "", after=revision)
    await store.commit(expect={}, put={"b": b""})
    await watcher.until(1)
    await restart()
    assert await store.incarnation() == born
    record = await store.get("a")
    assert record is not None
    assert record.version == revision
    await store.commit(expect={"a": revision}, put={"a": b"2"})
    await watcher.until(2)
    await watcher.end()


@asynccontextmanager
async def losing_replies(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Give a port that leads to another one; once told to, it passes questions on and drops the answers."""
    lose = asyncio.Event()
    carrying: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        while (data := await reader.read(65536)) and not (back and lose.is_set()):
            writer.write(data)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        onward, away = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, away, back=False), pump(onward, writer, back=True))
        finally:
            for each in (writer, away):
                each.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], lose
    finally:
        server.close()
        await asyncio.gather(*carrying, return_exceptions=True)
