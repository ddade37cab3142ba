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
    """Ask for ever, telling `hear` every answer and every miss. `ask` raises only what is to end the asking.

    The first question is put off by a random part of the rhythm, so that many askers do not ask as one.
    """
    await clock.sleep(rhythm.every * chance.random())
    async with asyncio.TaskGroup() as group:
        while True:
            began = clock.now()
            await _ask_once(group.create_task(_as_coroutine(ask)), hear, began=began, rhythm=rhythm, clock=clock)
            missed_turns = (clock.now() - began) // rhythm.every
            await clock.sleep(began + (missed_turns + 1) * rhythm.every - clock.now())


async def _ask_once(
    asking: asyncio.Task[T],
    hear: Callable[[Answered[T] | Missed], None],
    *,
    began: timedelta,
    rhythm: Rhythm,
    clock: Clock,
) -> None:
    """Wait until a question has ended, in whatever way, and tell what became of it."""
    misses = 0
    while True:
        limit = began + rhythm.within + misses * rhythm.every - clock.now()
        await asyncio.wait({asking}, timeout=max(limit.total_seconds(), 0))
        if asking.done():
            if misses == 0:
                hear(Answered(asking.result(), clock.now() - began))
            elif not asking.cancelled():
                asking.result()
            return
        misses += 1
        hear(Missed(clock.now() - began))
        if misses == rhythm.patience + 1:
            asking.cancel()


async def _as_coroutine(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
