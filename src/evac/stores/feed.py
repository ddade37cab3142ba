"""The newest changes of a store, in order, and who waits for which: what a watch reads from.

Intuition: watchers come at their own pace, but they all read the same short list, which is kept once. Whoever falls
further behind than the list reaches must read the store anew, and is told so. Whoever waits is woken only by a change
that he watches for; past all others he is carried asleep.

What this is not: durable, or shared between processes; a store fills it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from evac.core.errors import StoreUnavailable
from evac.ports import Change

KEPT_MAX = 4096
"""How many changes are kept for watchers that are behind."""


def no_longer_kept(after: int) -> str:
    """Return what a watch is told that begins too far back."""
    return f"the changes after revision {after} are no longer kept: list, then watch again"


class Feed:
    """Changes after `revision`, the newest `KEPT_MAX` of them."""

    def __init__(self, *, revision: int) -> None:
        self.revision = revision
        self._changes: deque[Change] = deque(maxlen=KEPT_MAX)
        self._from = revision
        """Every change after this revision is kept."""
        self._asleep: dict[_Watch, None] = {}
        self._ended = ""
        """Why every watch has ended; empty while they go on."""

    def reaches(self, after: int) -> bool:
        """Return whether every change after a revision is kept."""
        return after >= self._from

    def publish(self, changes: Sequence[Change], *, revision: int) -> None:
        """Add the changes up to a revision; what is known already is left out."""
        if revision <= self.revision:
            return
        new = [c for c in changes if c.revision > self.revision]
        for change in new:
            if len(self._changes) == KEPT_MAX:
                self._from = self._changes[0].revision
            self._changes.append(change)
        self.revision = revision
        keys = [change.key for change in new]
        for watch in tuple(self._asleep):
            for key in keys:
                if key.startswith(watch.prefix):
                    self._wake(watch)
                    break
            else:
                watch.after = max(watch.after, revision)

    def skip(self, revision: int) -> None:
        """Go on from a revision, leaving out what came before: watchers that needed it are told so."""
        self._changes.clear()
        self.revision = self._from = revision
        self._wake_all()

    def close(self, why: str = "the store is closed") -> None:
        """End every watch with `StoreUnavailable`, which says why; what was said first holds."""
        self._ended = self._ended or why
        self._wake_all()

    async def follow(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        """Yield every change under a prefix after a revision, without end.

        Raises `StoreUnavailable` when the feed is closed, or no longer reaches back that far.
        """
        watch = _Watch(prefix, after)
        while True:
            if self._ended:
                raise StoreUnavailable(self._ended)
            if not self.reaches(watch.after):
                raise StoreUnavailable(no_longer_kept(watch.after))
            upto = self.revision
            ended = self._ended
            for change in self._since(watch.after):
                if change.key.startswith(prefix):
                    yield change
            watch.after = max(watch.after, upto)
            if (upto, ended) == (self.revision, self._ended):
                await self._sleep(watch)

    async def _sleep(self, watch: _Watch) -> None:
        watch.woken = asyncio.get_running_loop().create_future()
        self._asleep[watch] = None
        try:
            await watch.woken
        finally:
            self._asleep.pop(watch, None)

    def _since(self, after: int) -> list[Change]:
        """The kept changes after a revision, the newest looked at first: watchers are rarely far behind."""
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= after:
                break
            found.append(change)
        found.reverse()
        return found

    def _wake_all(self) -> None:
        for watch in tuple(self._asleep):
            self._wake(watch)

    def _wake(self, watch: _Watch) -> None:
        del self._asleep[watch]
        if not watch.woken.done():  # what was cancelled needs no waking
            watch.woken.set_result(None)


class _Watch:
    """One watcher: what it watches for, after which revision, and how it is woken."""

    __slots__ = ("after", "prefix", "woken")

    woken: asyncio.Future[None]

    def __init__(self, prefix: str, after: int) -> None:
        self.prefix = prefix
        self.after = after
