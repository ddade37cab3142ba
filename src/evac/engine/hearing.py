"""What a controller hears, folded into what it knows, and how long it may rest where nothing it hears is news.

Intuition: views come in all the time, and nearly all of them say that all is as it was. They are kept as they came
until somebody asks what is known; and where all was as it should be at the last look, only one that says something else
ends the rest, or the moment at which a heartbeat goes stale.

What this is not: what is made of it (`engine.controller`), or whether all is as it should be (`core.ease`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from evac.core.detector import Detector, fold
from evac.core.ease import stale_at, stirs
from evac.core.errors import EvacError, StoreUnavailable
from evac.core.observation import Instant, Observation
from evac.engine.clock_filter import ClockFilter
from evac.engine.knowledge import Knowledge
from evac.engine.views import PREFIX, decode_view
from evac.ports import Clock, Store

EVALUATE_EVERY = timedelta(milliseconds=100)
"""The longest that a verdict which only time brings about stays unnoticed where anything ails."""
AT_EASE_EVERY = timedelta(seconds=1)
"""And where nothing does, and nothing new is seen; a heartbeat going stale is noticed at its moment."""
A_MOMENT = timedelta(milliseconds=1)
"""Timers may be early by less than this."""
STORE_AGAIN = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


class Hearing:
    """The ear of one controller: it hears without end, and is asked what is known and when to look again."""

    def __init__(self, detector: Detector, *, store: Store, clock: Clock, unfolded_max: int) -> None:
        """So many views may wait to be folded while nobody asks what is known."""
        self.at_once = False
        """Whether views are folded as they come: where somebody rests until there is news."""
        self.at_ease: Instant | None = None
        """When the last evaluation found all as it should be; None where it did not."""
        self._known = Knowledge(detector=detector)
        self._unfolded: list[tuple[bytes, Instant]] = []
        """Views that were heard and not yet folded, and when."""
        self._unfolded_max = unfolded_max
        self._store = store
        self._clock = clock
        self._clocks = ClockFilter()
        self._changed = asyncio.Event()
        self._unreadable = ""
        """Why a view could not be read, as it was said last."""

    @property
    def known(self) -> Knowledge:
        """What is known, all that was heard included."""
        if self._unfolded:
            self._fold()
        return self._known

    def forget(self) -> None:
        """Keep of what is known only what was heard: the rest is what a store remembers, and is read from it anew."""
        self._known = Knowledge(detector=self.known.detector)

    async def listen(self) -> None:
        """Hear every view that an agent publishes, without end."""
        while True:
            try:
                await self._listen()
            except StoreUnavailable as trouble:
                _log.warning("the store does not answer: nothing is heard", why=str(trouble))
                await self._clock.sleep(STORE_AGAIN)

    def stir(self) -> None:
        """End the rest: there is something to look at."""
        self._changed.set()

    async def rest(self) -> None:
        """Return when there is something to look at, or when it is time to look again."""
        try:
            async with asyncio.timeout(self._longest().total_seconds()):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def _listen(self) -> None:
        after = await self._store.revision()
        async for change in self._store.watch(PREFIX, after=after):
            if change.record is not None:
                self._unfolded.append((change.record.value, self._clock.now()))
                if self.at_once or len(self._unfolded) > self._unfolded_max:
                    self._fold()

    def _fold(self) -> None:
        """Fold what has been heard, and note whether it is news."""
        heard, self._unfolded = self._unfolded, []
        seen = [each for record, now in heard for each in self._read(record, now)]
        if self.at_ease is None or stirs(self._known.detector, *seen):
            self.stir()
        self._known.detector = fold(self._known.detector, *seen)

    def _read(self, record: bytes, now: Instant) -> tuple[Observation, ...]:
        """What a record says; nothing where it cannot be read: such an agent is not heard of, and others are."""
        try:
            return decode_view(record, now=now, clocks=self._clocks)
        except EvacError as trouble:
            if str(trouble) != self._unreadable:
                self._unreadable = str(trouble)
                _log.error("not heard", why=str(trouble))
            return ()

    def _longest(self) -> timedelta:
        """How long nothing need be evaluated as long as nothing new is seen."""
        if self.at_ease is None:
            return EVALUATE_EVERY
        stale = stale_at(self.known.detector, now=self.at_ease)
        return AT_EASE_EVERY if stale is None else min(AT_EASE_EVERY, stale + A_MOMENT - self._clock.now())
