"""Keeping a log short, and saying how large it is.

Intuition: every process that runs for long looks now and then how much the log has grown since the newest snapshot. Who
finds it long enough writes the next one, and names it as the newest if nobody was faster. What a snapshot has made
needless goes once this process has known that snapshot for `HISTORY`: so whoever reads the log more slowly than others
has that long, no clock but one's own decides, and whoever is slower still reads the snapshot.

What this is not: a bound on the ground's own logs and snapshots; those are settings of its servers.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from evac.core.errors import Conflict, StoreUnavailable
from evac.core.observation import Instant
from evac.ports import Clock
from evac.stores.logged import snapshots
from evac.stores.logged.snapshots import FOLDER, NEWEST, Saved
from evac.stores.logged.store import LoggedStore

LOOK_EVERY = timedelta(seconds=10)
HISTORY = timedelta(minutes=1)
"""For how long at least an entry is kept after a snapshot has made it needless."""
ENTRIES_MAX = 1024
BYTES_MAX = 8 * 1024 * 1024
"""A log that has grown by so much since the newest snapshot gets another one."""
LARGE_BYTES = 64 * 1024 * 1024
"""A state of this size is told: every process that opens the store keeps it in memory."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the store holds, what the log has grown since the newest snapshot, and how many members answered."""

    keys: int
    state_bytes: int
    entries: int
    answered: int
    members: int


async def size(store: LoggedStore) -> Size:
    """Return how large the store is. Raises `StoreUnavailable` when it cannot be read."""
    await store.catch_up()
    saved, (answered, members) = await asyncio.gather(snapshots.newest(store.ground), store.ground.answering())
    return Size(
        keys=len(store.replica.records),
        state_bytes=_held(store),
        entries=store.replica.count - saved.count,
        answered=answered,
        members=members,
    )


async def keep_small(store: LoggedStore, *, clock: Clock) -> None:
    """Keep the log short, again and again, without end."""
    upkeep = Upkeep(store=store)
    while True:
        try:
            await upkeep.look(clock.now())
            await asyncio.to_thread(store.note)
            if (held := _held(store)) > LARGE_BYTES:
                _log.warning("the store is large: every process keeps it in memory", megabytes=held // 1024**2)
        except StoreUnavailable as trouble:
            _log.warning("the store could not be kept small: tried again later", why=str(trouble))
        await clock.sleep(LOOK_EVERY * store.chance.uniform(1.0, 1.2))


def _held(store: LoggedStore) -> int:
    return sum(len(record.key) + len(record.value) for record in store.replica.records.values())


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """What one process knows of a log's snapshots."""

    store: LoggedStore
    history: timedelta = HISTORY
    entries_max: int = ENTRIES_MAX
    bytes_max: int = BYTES_MAX
    _known: dict[int, tuple[Instant, int]] = field(default_factory=dict)
    """The versions of the newest snapshot's record that were seen: since when, and the segment each goes on in."""
    _left: dict[str, Instant] = field(default_factory=dict)
    """What lies beside the newest snapshot: since when that is known."""
    _before: int = 1
    """The segments before this one are forgotten already."""
    _bytes_then: int = 0
    """How much had been read when the newest snapshot was first seen."""

    async def look(self, now: Instant) -> None:
        """Write a snapshot if it is time for one, and forget what is needless. Raises `StoreUnavailable`."""
        await self.store.catch_up()
        saved, replica = await snapshots.newest(self.store.ground), self.store.replica
        if saved.version not in self._known:
            self._known[saved.version] = now, saved.segment
            self._bytes_then = replica.bytes_read if len(self._known) > 1 else 0
        grown, bytes_grown = replica.count - saved.count, replica.bytes_read - self._bytes_then
        if grown >= self.entries_max or (grown > 0 and bytes_grown >= self.bytes_max):
            await self._save(saved)
        await self._forget_segments(now)
        await self._forget_snapshots(now, saved)

    async def _save(self, instead_of: Saved) -> None:
        """Write a snapshot, well before another process could take what it consists of for left behind."""
        with suppress(Conflict, TimeoutError):  # another process was faster; or else the next look tries again
            async with asyncio.timeout((self.history / 2).total_seconds()):
                await snapshots.save(self.store.ground, self.store.replica, instead_of=instead_of)

    async def _forget_segments(self, now: Instant) -> None:
        """Forget the segments before those snapshots that have been known for long enough."""
        old = [version for version, (since, _) in self._known.items() if now - since >= self.history]
        if not old:
            return
        before = max(self._known[version][1] for version in old)
        if before > self._before:
            await self.store.ground.forget(before=before)
            self._before = before
        for version in old[:-1]:
            del self._known[version]

    async def _forget_snapshots(self, now: Instant, saved: Saved) -> None:
        """Forget what lies beside the newest snapshot and has been known for long enough."""
        names = await self.store.ground.names(FOLDER)
        beside = [name for name in names if name != NEWEST and name.partition(".")[0] != saved.name]
        self._left = {name: self._left.get(name, now) for name in beside}
        old = [name for name, since in self._left.items() if now - since >= self.history]
        if old:
            await self.store.ground.delete(FOLDER, old)
