"""A store as one process reaches it, in virtual time: it can be cut off, be slow, and lose replies after the deed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import Conflict, StoreUnavailable
from evac.core.observation import Instant
from evac.ports import Change, Record
from evac.sim import time
from evac.stores.memory import MemoryStore

CLOCK = time.VirtualClock()


@dataclass(slots=True)
class Line:
    """A store as one process reaches it: it can be cut, and replies can be lost after the deed."""

    store: MemoryStore
    cut: bool = False
    replies_lost: int = 0
    slow: timedelta = timedelta()
    renewed_at: Instant | None = None
    """When the newest commit that succeeded was sent."""
    behind: Record | None = None
    """What the nearest copy still says of this record."""
    unheard: int = 0
    """So many commits do not reach the store."""
    conflicts: int = 0
    """So many commits find that somebody else was quicker."""

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        await self._reach()
        if near and self.behind is not None and self.behind.key == key:
            return self.behind
        return await self.store.get(key, near=near)

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        await self._reach()
        return await self.store.list(prefix, near=near)

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        sent_at = CLOCK.now()
        await self._reach()
        if self.unheard:
            self.unheard -= 1
            raise StoreUnavailable("it was not reached")
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("somebody was quicker")
        revision = await self.store.commit(expect=expect, put=put, delete=delete, lasting=lasting, life=life)
        self.renewed_at = sent_at
        if self.replies_lost:
            self.replies_lost -= 1
            raise StoreUnavailable("the reply was lost")
        return revision

    def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        return self._watched(prefix, after=after)

    async def _watched(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        """Break off when it is cut; `slow` is not for it, which the nearest copy tells."""
        self._uncut()
        async with aclosing(self.store.watch(prefix, after=after)) as changes:
            async for change in changes:
                self._uncut()
                yield change

    async def revision(self) -> int:
        self._uncut()
        return await self.store.revision()

    async def incarnation(self) -> str:
        await self._reach()
        return await self.store.incarnation()

    async def close(self) -> None:
        await self.store.close()

    async def _reach(self) -> None:
        await CLOCK.sleep(self.slow)
        self._uncut()

    def _uncut(self) -> None:
        if self.cut:
            raise StoreUnavailable("cut off")
