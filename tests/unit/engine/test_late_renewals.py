"""A renewal that the store held up is known to be old: others wait from when it was sent. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.estate import RegionId
from evac.core.lease import Leader
from evac.core.observation import Instant
from evac.engine.codec import decode, encode
from evac.engine.election import DRIFTED_MAX, LEADING, OF_LATE, SENT, Candidate, Sent
from evac.ports import Change, Store
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.lines import Line

FIRST, NEXT = "a", "b"


class HeldBack(Line):
    """A store as one process reaches it, whose watches tell nothing while news is held back, as without a leader."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.free = asyncio.Event()
        self.free.set()

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        async with aclosing(self.store.watch(prefix, after=after)) as changes:
            async for change in changes:
                await self.free.wait()
                yield change


def succession(*, held_back: timedelta, rates: tuple[float, float] = (1.0, 1.0)) -> tuple[Instant, Instant, Instant]:
    """Return when the first leader's last renewal was sent, when it stopped leading, and when the next one began, all
    by one clock. What it renewed last is heard of that much later.
    """

    async def tell() -> tuple[Instant, Instant, Instant]:
        true = time.VirtualClock()
        store = MemoryStore()
        lines: dict[str, Line] = {FIRST: Line(store), NEXT: HeldBack(store)}
        began: dict[str, Instant] = {}
        ended: dict[str, Instant] = {}

        async def lead(mine: Leader) -> None:
            began[mine.name] = true.now()
            try:
                await asyncio.Event().wait()
            finally:
                ended[mine.name] = true.now()

        def stand(name: str, rate: float) -> Candidate:
            clock, line = time.VirtualClock(rate=rate), lines[name]
            seen: Store = line
            return Candidate(name=name, region=RegionId(name), store=seen, clock=clock, chance=random.Random(name))

        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(stand(FIRST, rates[0]).stand(lead))
            await true.sleep(timedelta(seconds=1))
            following = tasks.create_task(stand(NEXT, rates[1]).stand(lead))
            await true.sleep(timedelta(seconds=20))
            late = lines[NEXT]
            assert isinstance(late, HeldBack)
            late.free.clear()
            late.cut = True
            before = lines[FIRST].renewed_at
            while lines[FIRST].renewed_at == before:
                await true.sleep(timedelta(milliseconds=1))
            lines[FIRST].cut = True
            renewed_at = lines[FIRST].renewed_at
            await true.sleep(held_back)
            late.cut = False
            late.free.set()
            await true.sleep(timedelta(seconds=10))
            first.cancel()
            following.cancel()
        assert renewed_at is not None
        return renewed_at, ended[FIRST], began[NEXT]

    return time.run(tell())


@pytest.mark.parametrize("held_back_s", [0.0, 0.5, 1.0, 1.5, 1.9])
def test_the_wait_begins_when_the_last_renewal_was_sent(held_back_s: float) -> None:
    sent_at, _, led_at = succession(held_back=timedelta(seconds=held_back_s))
    assert led_at - sent_at <= max(LEADING.wait + DRIFTED_MAX, timedelta(seconds=held_back_s)) + LEADING.renew


@pytest.mark.parametrize("held_back_s", [0.0, 0.5, 1.5, 1.9, 3.0])
@pytest.mark.parametrize("rates", [(0.98, 1.02), (1.02, 0.98), (1.0, 1.0)])
def test_two_never_lead_at_once_though_their_clocks_go_wrong(held_back_s: float, rates: tuple[float, float]) -> None:
    _, ended, led_at = succession(held_back=timedelta(seconds=held_back_s), rates=rates)
    assert ended <= led_at


def test_a_time_of_no_version_that_was_heard_of_says_nothing() -> None:
    async def tell() -> list[str]:
        clock, store = time.VirtualClock(), MemoryStore()
        began: list[str] = []

        async def lead(mine: Leader) -> None:
            began.append(mine.name)
            await asyncio.Event().wait()

        async with asyncio.TaskGroup() as tasks:
            standing = []
            for name in (FIRST, NEXT):
                line: Store = Line(store)
                one = Candidate(name=name, region=RegionId(name), store=line, clock=clock, chance=random.Random(name))
                standing.append(tasks.create_task(one.stand(lead)))
                await clock.sleep(timedelta(seconds=10))
            record = await store.get(SENT)
            assert record is not None
            known = decode(record.value, Sent)
            for life in ("another", known.life):
                for _ in range(20):
                    await store.commit(expect={}, put={SENT: encode(replace(known, life=life, at=timedelta()))})
                    await clock.sleep(timedelta(seconds=0.1))
            await clock.sleep(timedelta(seconds=10))
            for task in standing:
                task.cancel()
        return began

    assert time.run(tell()) == [FIRST]


def test_what_is_known_of_a_clock_is_forgotten_before_it_has_drifted_further() -> None:
    """Held back for longer than anything is remembered, a renewal is as new as it seems."""
    held_back = 2 * OF_LATE + timedelta(seconds=1)
    sent_at, _, led_at = succession(held_back=held_back)
    assert led_at - sent_at >= held_back
