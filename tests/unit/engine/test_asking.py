"""Questions are asked on time, never beside one another, and silence is counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from evac.engine.asking import Answered, Missed, Rhythm, keep_asking
from evac.engine.clock import BootClock

QUICK = Rhythm(every=timedelta(milliseconds=5), within=timedelta(milliseconds=400))
"""Asks often, and waits so long that a busy machine misses no answer."""


class _Enough(Exception):
    """The test has heard what it wanted."""


async def heard(ask: Callable[[], Awaitable[str]], *, rhythm: Rhythm, count: int) -> list[Answered[str] | Missed]:
    """Ask until so many answers and misses have been told."""
    told: list[Answered[str] | Missed] = []
    enough = asyncio.Event()

    def hear(one: Answered[str] | Missed) -> None:
        told.append(one)
        if len(told) >= count:
            enough.set()

    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_asking(ask, hear, rhythm=rhythm, clock=BootClock(), chance=random.Random(1)))
            await enough.wait()
            raise _Enough
    assert ended.group_contains(_Enough)
    return told


async def test_answers_are_told_one_by_one() -> None:
    count = 0

    async def ask() -> str:
        nonlocal count
        count += 1
        return str(count)

    told = await heard(ask, rhythm=QUICK, count=3)
    assert [t.value for t in told if isinstance(t, Answered)][:3] == ["1", "2", "3"]


async def test_silence_counts_every_interval_and_the_question_is_withdrawn_after_patience() -> None:
    withdrawn: list[int] = []
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            withdrawn.append(asked)
            raise
        return ""

    patient = Rhythm(every=QUICK.every, within=QUICK.within, patience=2)
    told = await heard(ask, rhythm=patient, count=7)
    assert all(isinstance(t, Missed) for t in told)
    assert withdrawn[:2] == [1, 2], "each question is withdrawn after three misses, before the next is asked"
    assert asked >= 3


async def test_a_question_that_resists_is_missed_on_and_not_asked_again() -> None:
    asked = 0
    release = asyncio.Event()

    async def ask() -> str:
        nonlocal asked
        asked += 1
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                if len(resisted) > 20:
                    raise
                resisted.append(asked)
        return "late"

    resisted: list[int] = []

    told: list[Answered[str] | Missed] = []

    def hear(one: Answered[str] | Missed) -> None:
        told.append(one)
        if len(told) == 6:
            release.set()
        if asked == 2:
            raise _Enough

    with pytest.raises(_Enough):
        await keep_asking(ask, hear, rhythm=QUICK, clock=BootClock(), chance=random.Random(1))
    assert asked == 2
    assert all(isinstance(t, Missed) for t in told[:6])
    assert resisted == [1], "cancelled once, then left alone"
    assert [t.value for t in told if isinstance(t, Answered)] == ["late"], "the first, late answer is not told"


async def test_what_the_question_raises_ends_the_asking() -> None:
    async def ask() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep_asking(ask, lambda _: None, rhythm=QUICK, clock=BootClock(), chance=random.Random(1))


async def test_what_hearing_of_a_miss_raises_ends_the_asking() -> None:
    async def ask() -> str:
        await asyncio.Event().wait()
        return ""

    def hear(one: Answered[str] | Missed) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep_asking(ask, hear, rhythm=QUICK, clock=BootClock(), chance=random.Random(1))


@pytest.mark.parametrize("withdrawn", [0, 1])
async def test_a_question_that_swallows_what_ends_the_asking_does_not_keep_it(withdrawn: int) -> None:
    asked = asyncio.Event()
    swallowed = 0

    async def ask() -> str:
        nonlocal swallowed
        asked.set()
        while swallowed <= withdrawn:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
            swallowed += 1
        return "late"

    rhythm = Rhythm(every=QUICK.every, within=QUICK.every if withdrawn else QUICK.within)
    asking = asyncio.create_task(
        keep_asking(ask, lambda _: None, rhythm=rhythm, clock=BootClock(), chance=random.Random(1))
    )
    await asked.wait()
    while swallowed < withdrawn:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
