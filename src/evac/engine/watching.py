"""Asking an observer, again and again, and telling what it holds as what was seen from its vantage point.

Intuition: an observer has looked by itself, some time ago; what it tells is as old as that look, not as new as the
answer. An answer that does not come, or cannot be had, says nothing of any target: all of them are unknown, and none is
down. That is the difference to a probe, whose silence is the target's.

What this is not: the observers (`drivers`), or a judgement (`core`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from evac.core.errors import EvacError
from evac.core.estate import Observer
from evac.core.observation import Carried, Instant, Observation, Probed
from evac.engine.asking import Answered, Missed, Rhythm, keep_asking
from evac.ports import Clock, Counted, ObserverKind, Place, Sighted, Watching

TOLD_TO = timedelta(milliseconds=100)
"""Times are rounded down to this, so that what was seen at about the same time can be told together."""

_log = structlog.get_logger(__name__)


async def keep_watching(
    observer: Observer,
    *,
    kind: ObserverKind,
    place: Place,
    clock: Clock,
    chance: random.Random,
    seen: Callable[[Observation], None],
) -> None:
    """Ask until cancelled. `seen` must return at once."""
    one = _Asked(observer, kind=kind, place=place, clock=clock, seen=seen)
    rhythm = Rhythm(every=observer.every, within=observer.within)
    try:
        await keep_asking(one.ask, one.hear, rhythm=rhythm, clock=clock, chance=chance)
    finally:
        await one.close()


class _Asked:
    """An observer that is opened by its first question, so that what cannot be opened yet is tried again."""

    def __init__(
        self,
        observer: Observer,
        *,
        kind: ObserverKind,
        place: Place,
        clock: Clock,
        seen: Callable[[Observation], None],
    ) -> None:
        self._observer = observer
        self._kind = kind
        self._place = place
        self._clock = clock
        self._seen = seen
        self._watching: Watching | None = None
        self._asked: Instant = timedelta()
        self._blind = ""
        """Why nothing is known at present; empty when something is."""

    async def ask(self) -> Sequence[Sighted | Counted] | str:
        """Return what is new, or why nothing is known."""
        self._asked = self._clock.now()
        try:
            if self._watching is None:
                self._watching = await self._kind.open(self._observer, self._place)
            return await self._watching.ask()
        except (EvacError, OSError) as error:
            return str(error) or type(error).__name__
        except Exception as error:  # a bug in one observer must neither end the agent nor look like an outage
            _log.exception("observer broke: all it tells of is unknown", observer=self._observer.name)
            return f"the observer has a bug: {error!r}"

    def hear(self, heard: Answered[Sequence[Sighted | Counted] | str] | Missed) -> None:
        """Tell what was answered. What was true at some age is taken to be that much older than the question."""
        if isinstance(heard, Missed):
            return self._know_nothing(f"no answer in {heard.after.total_seconds():.1f} s")
        if isinstance(heard.value, str):
            return self._know_nothing(heard.value)
        self._blind = ""
        for told in heard.value:
            self._seen(self._carried(told) if isinstance(told, Counted) else self._probed(told))
        return None

    def _probed(self, sighted: Sighted) -> Probed:
        at = self._asked - sighted.age
        return Probed(
            at=at - at % TOLD_TO,
            vantage=self._observer.vantage,
            service=sighted.service,
            region=sighted.region,
            ok=sighted.ok,
            took=timedelta(),
            reason=sighted.reason,
            as_client=self._observer.as_client,
        )

    def _carried(self, counted: Counted) -> Carried:
        return Carried(
            at=self._asked,
            vantage=self._observer.vantage,
            service=counted.service,
            region=counted.region,
            window=counted.window,
            requests=counted.requests,
            failed=counted.failed,
        )

    def _know_nothing(self, why: str) -> None:
        if why != self._blind:
            self._blind = why
            name, vantage = self._observer.name, self._observer.vantage
            _log.warning("observer cannot be asked: all it tells of is unknown", observer=name, at=vantage, why=why)

    async def close(self) -> None:
        if self._watching is not None:
            await self._watching.close()
