"""A store that fails when told to: for finding out what a program does at each single write.

Intuition: a commit can be interrupted before it happened or after; whoever asked cannot tell. `Crash` stands for the
death of the process that asked, `StoreUnavailable` for a store that did not answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum

from evac.ports import Change, Record, Store


class Crash(BaseException):
    """The process died here. Nothing may catch it but whoever plays the operating system."""


class Moment(StrEnum):
    """On which side of a commit it is interrupted."""

    BEFORE = "before"
    AFTER = "after"


def _hears(prefix: str) -> None:
    """No watch ends."""


@dataclass(slots=True, kw_only=True)
class FailingStore:
    """Implements `evac.ports.Store` upon another one. `trouble` names the exception for a commit, by its number from
    1 on and the moment; None lets it pass. It may keep count of what is written in `commits`.
    """

    store: Store
    trouble: Callable[[int, Moment], BaseException | None]
    commits: list[Collection[str]] = field(default_factory=list)
    deaf: Callable[[str], BaseException | None] = _hears
    """Names the exception that ends a watch of a prefix at its next change; None lets it pass."""

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        return await self.store.get(key, near=near)

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
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
        self.commits.append(tuple(put))
        number = len(self.commits)
        self._maybe(number, Moment.BEFORE)
        revision = await self.store.commit(expect=expect, put=put, delete=delete, lasting=lasting, life=life)
        self._maybe(number, Moment.AFTER)
        return revision

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        async with aclosing(self.store.watch(prefix, after=after)) as changes:
            async for change in changes:
                if trouble := self.deaf(prefix):
                    raise trouble
                yield change

    async def revision(self) -> int:
        return await self.store.revision()

    async def incarnation(self) -> str:
        return await self.store.incarnation()

    async def close(self) -> None:
        await self.store.close()

    def _maybe(self, number: int, moment: Moment) -> None:
        if trouble := self.trouble(number, moment):
            raise trouble
