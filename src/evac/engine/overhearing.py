"""Overhearing: what all agents tell within some seconds, for somebody who only wants to look.

Intuition: agents tell what they saw to the store, and whoever leads reads it there. Anybody else who may read the store
can read along: nothing is asked of anybody, nothing is written, and the looks are the very ones that decisions rest on,
each by itself and not yet folded into one.

What this is not: a controller's ear (`hearing`), which hears without end and keeps only what matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from evac.core.observation import Instant, Observation
from evac.engine.clock_filter import ClockFilter
from evac.engine.views import PREFIX, decode_view
from evac.ports import Clock, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheard:
    """What was told from `since` until `until`, in the order in which it came, on the clock of whoever listened."""

    since: Instant
    until: Instant
    wall: datetime
    """The wall clock's `until`."""
    seen: tuple[Observation, ...]

    @property
    def lasted(self) -> timedelta:
        """Return for how long it was listened."""
        return self.until - self.since

    def wall_of(self, at: Instant) -> datetime:
        """Return a moment as people say it."""
        return self.wall - (self.until - at)


async def overhear(
    store: Store, *, clock: Clock, wanted: Callable[[Observation], bool], lasting: timedelta
) -> Overheard:
    """Listen for so long, and return what is `wanted` of all that was told meanwhile.

    Raises `StoreUnavailable`, and `EvacError` for what an evac of another version tells.
    """
    clocks, seen = ClockFilter(), list[Observation]()
    after = await store.revision()
    since = clock.now()
    try:
        async with (
            asyncio.timeout(lasting.total_seconds()) as limit,
            aclosing(store.watch(PREFIX, after=after)) as changes,
        ):
            async for change in changes:
                if change.record is not None:
                    told = decode_view(change.record.value, now=clock.now(), clocks=clocks)
                    seen += filter(wanted, told)
    except TimeoutError:
        if not limit.expired():
            raise  # the store's own: who listened for less than was asked must not take silence for an answer
    return Overheard(since=since, until=clock.now(), wall=clock.wall(), seen=tuple(seen))
