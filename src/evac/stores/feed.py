"""The newest changes of a store, in order, and a bell that rings at each: what a watch reads from.

Intuition: watchers come at their own pace, but they all read the same short list, which is kept once. Whoever falls
further behind than the list reaches must read the store anew, and is told so.

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
        self._bell = asyncio.Event()
        self._ended = ""
        """Why every watch has ended; empty while they go on."""

    def reaches(self, after: int) -> bool:
        """Return whether every change after a revision is kept."""
        return after >= self._from

    def publish(self, changes: Sequence[Change], *, revision: int) -> None:
        """Add the changes up to a revision; what is known already is left out."""
        if revision <= self.revision:
            return
        for change in (c for c in changes if c.revision > self.revision):
            if len(self._changes) == KEPT_MAX:
                self._from = self._changes[0].revision
            self._changes.append(change)
        self.revision = revision
        self._ring()

    def skip(self, revision: int) -> None:
        """Go on from a revision, leaving out what came before: watchers that needed it are told so."""
        self._changes.clear()
        self.revision = self._from = revision
        self._ring()

    def close(self, why: str = "the store is closed") -> None:
        """End every watch with `StoreUnavailable`, which says why; what was said first holds."""
        self._ended = self._ended or why
        self._ring()

    async def follow(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        """Yield every change under a prefix after a revision, without end.

        Raises `StoreUnavailable` when the feed is closed, or no longer reaches back that far.
        """
        while True:
            if self._ended:
                raise StoreUnavailable(self._ended)
            if not self.reaches(after):
                raise StoreUnavailable(no_longer_kept(after))
            bell = self._bell
            upto = self.revision
            for change in self._since(after):
                if change.key.startswith(prefix):
                    yield change
            after = max(after, upto)
            await bell.wait()

    def _since(self, after: int) -> list[Change]:
        """The kept changes after a revision, the newest looked at first: watchers are rarely far behind."""
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= after:
                break
            found.append(change)
        found.reverse()
        return found

    def _ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()
