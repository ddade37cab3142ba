"""A store in memory: the port's rules in their shortest form. For tests, simulations and dry runs.

Intuition: one dictionary, one number; nothing is awaited inside a commit, so it is atomic.

What this is not: durable.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection, Mapping

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import Change, Record
from evac.stores.feed import Feed
from evac.stores.rules import check_commit, check_life


class MemoryStore:
    """Implements `evac.ports.Store`."""

    def __init__(self, *, incarnation: str = "") -> None:
        self._records: dict[str, Record] = {}
        self._feed = Feed(revision=0)
        self._incarnation = incarnation or uuid.uuid4().hex
        self._open = True

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        self._need_open()
        return self._records.get(key)

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        self._need_open()
        return tuple(self._records[key] for key in sorted(self._records) if key.startswith(prefix))

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        self._need_open()
        check_commit(expect=expect, put=put, delete=delete)
        check_life(life, self._incarnation)
        for key, version in expect.items():
            record = self._records.get(key)
            if (record.version if record else 0) != version:
                raise Conflict(f"{key} is at version {record.version if record else 0}, {version} was expected")
        if not put and not delete:
            return self._feed.revision
        revision = self._feed.revision + 1
        changes: list[Change] = []
        for key, value in put.items():
            self._records[key] = Record(key=key, value=bytes(value), version=revision)
            changes.append(Change(key=key, record=self._records[key], revision=revision))
        gone = [key for key in delete if self._records.pop(key, None) is not None]
        changes += [Change(key=key, record=None, revision=revision) for key in gone]
        self._feed.publish(changes, revision=revision)
        return revision

    def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        return self._feed.follow(prefix, after=after)

    async def revision(self) -> int:
        self._need_open()
        return self._feed.revision

    async def incarnation(self) -> str:
        self._need_open()
        return self._incarnation

    async def close(self) -> None:
        self._open = False
        self._feed.close()

    def _need_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")


def restored(records: Collection[Record], *, revision: int, incarnation: str) -> MemoryStore:
    """Return a store that holds what a backup held, at the revision it had then, with the life of its own it begins."""
    store = MemoryStore(incarnation=incarnation)
    store._records = {record.key: record for record in records}
    store._feed = Feed(revision=revision)
    return store
