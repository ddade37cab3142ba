"""Asking one question again and again, on time, whatever becomes of the answers.

Intuition: a heartbeat is a question asked every so often; what matters is *when no answer came*. So the time limit
ends the waiting, never the asking: at `within` the question counts as missed, and from then on every further `every`
of silence counts as missed once more, until after `patience` of those the question is withdrawn and asked anew. On a
connection that is kept open that is as many lost heartbeats as questions one by one would give, and it reaches N
misses after `within + (N - 1) * every` instead of `N * within`, without a new handshake.

A question is never asked beside its own predecessor. One that does not end even when cancelled goes on being missed
and is not asked again; it delays nobody else. An answer that comes after it was missed is dropped: it says only that
the next question may be asked.

What this is not: a judgement on what was missed (`core.detector`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from evac.ports import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often to ask, how long an answer may take, and how many further misses until a question is withdrawn."""

    every: timedelta
    within: timedelta
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The answer came in time."""

    value: T
    took: timedelta


@dataclass(frozen=True, slots=True)
class Missed:
    """No answer yet, `after` so long."""

    after: timedelta


async def keep_asking(
    ask: Callable[[], Awaitable[T]],
    hear: Callable[[Answered[T] | Missed], None],
    *,
    rhythm: Rhythm,
    clock: Clock,
    chance: random.Random,
) -> None:
    """Ask for ever, telling `hear` every answer and every miss. What `ask` or `hear` raises ends the asking.

    The first question is put off by a random part of the rhythm, so that many askers do not ask as one.
    """
    await clock.sleep(rhythm.every * chance.random())
    while True:
        began = clock.now()
        with _Patience(hear, began=began, rhythm=rhythm, clock=clock) as patience:
            answer = await ask()
            if not patience.misses:
                hear(Answered(answer, clock.now() - began))
        missed_turns = (clock.now() - began) // rhythm.every
        await clock.sleep(began + (missed_turns + 1) * rhythm.every - clock.now())


class _Patience:
    """Tells the misses of one question for as long as it is open, and withdraws it when there were enough of them.

    A question is asked in the asker's own task, and a timer counts beside it, since most questions are answered at once
    and there are many. Withdrawing is cancelling, as `asyncio.timeout` does it: what somebody else cancels meanwhile
    stays cancelled, even where the question swallowed it.
    """

    __slots__ = ("_began", "_broken", "_cancelling", "_clock", "_hear", "_rhythm", "_task", "_timer", "misses")

    def __init__(self, hear: Callable[[Missed], None], *, began: timedelta, rhythm: Rhythm, clock: Clock) -> None:
        self.misses = 0
        self._hear = hear
        self._began = began
        self._rhythm = rhythm
        self._clock = clock
        self._broken: Exception | None = None
        """What telling a miss has raised."""

    def __enter__(self) -> _Patience:
        task = asyncio.current_task()
        assert task is not None, "questions are asked in tasks"
        self._task = task
        self._cancelling = task.cancelling()
        self._wait(self._rhythm.within)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> bool:
        self._timer.cancel()
        if self._withdrawn:
            self._task.uncancel()
        if self._task.cancelling() > self._cancelling:
            if error is None:
                raise asyncio.CancelledError
            return False
        if self._broken is not None:
            raise self._broken
        return self._withdrawn and isinstance(error, asyncio.CancelledError)

    @property
    def _withdrawn(self) -> bool:
        return self._broken is not None or self.misses > self._rhythm.patience

    def _wait(self, how_long: timedelta) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(how_long.total_seconds(), 0.0), self._missed)

    def _missed(self) -> None:
        """Tell one more miss, and go on counting, whatever becomes of the question."""
        before, now = self._withdrawn, self._clock.now()
        self.misses += 1
        try:
            self._hear(Missed(now - self._began))
        except Exception as broken:  # raised where the asking ends, not in the event loop
            self._broken = self._broken or broken
        if self._withdrawn and not before:
            self._task.cancel()
        self._wait(self._began + self._rhythm.within + self.misses * self._rhythm.every - now)
