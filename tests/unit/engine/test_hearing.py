"""A controller at ease: it looks once a second while all is well, and at once when anything else is said or overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from evac.core.detector import Detector, fold
from evac.core.observation import Heartbeat
from evac.core.verdict import Diagnosis
from evac.engine.hearing import A_MOMENT, AT_EASE_EVERY, EVALUATE_EVERY, Hearing
from evac.engine.views import encode_view, view_key
from evac.sim import time
from evac.sim.estates import EAST, EUROPE, WEST, shop
from evac.stores.memory import MemoryStore
from fakes.embedded import Embedded, World, calm, embedded

Play = Callable[[Embedded, list[float]], Awaitable[None]]


def played(play: Play) -> None:
    """Let a world be calm for a while, then play in it, with the moments at which its controller has evaluated."""

    async def whole() -> None:
        async with embedded(World()) as on:
            await on.until(calm)
            await asyncio.sleep(120.0)
            moments: list[float] = []
            evaluate = on.controller.evaluate

            async def counted() -> None:
                moments.append(time.seconds())
                await evaluate()

            on.controller.evaluate = counted  # type: ignore[method-assign]  # to look on, not to change anything
            await play(on, moments)

    time.run(whole())


def apart(moments: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(moments)]


def test_where_all_is_well_it_looks_once_a_second() -> None:
    async def play(on: Embedded, moments: list[float]) -> None:
        await asyncio.sleep(10.0)
        assert on.controller.known.decisions
        assert len(moments) in (9, 10, 11)
        assert max(apart(moments)) < AT_EASE_EVERY.total_seconds() + 0.01

    played(play)


def test_a_service_that_fails_is_looked_at_at_once_and_then_all_the_time() -> None:
    async def play(on: Embedded, moments: list[float]) -> None:
        on.world.ill.add((WEST, EAST))
        await on.until(lambda s: any(v.diagnosis is Diagnosis.LINK_CUT for v in s.verdicts), looking_each=0.01)
        assert time.seconds() - moments[-1] <= 0.01
        moments.clear()
        await asyncio.sleep(5.0)
        assert max(apart(moments)) < EVALUATE_EVERY.total_seconds() + 0.01

    played(play)


def test_a_heartbeat_that_stays_away_is_noticed_at_its_moment() -> None:
    async def play(on: Embedded, moments: list[float]) -> None:
        on.world.places[EUROPE].trouble = "no route to host"
        await on.until(lambda s: EUROPE in s.voiceless, looking_each=0.001)
        last = on.controller.known.detector.heartbeats[EUROPE] + on.world.estate.detection.heartbeat_stale
        assert [m for m in moments if abs(m - (last + A_MOMENT).total_seconds()) < 0.0005]

    played(play)


def test_views_wait_unfolded_for_whoever_asks_and_no_more_than_so_many() -> None:
    """An agent that does not lead need not work out what it hears; what it knows is the same."""

    async def hear(unfolded_max: int) -> tuple[Detector, Detector]:
        store, clock = MemoryStore(), time.VirtualClock()
        hearing = Hearing(Detector(policy=shop().detection), store=store, clock=clock, unfolded_max=unfolded_max)
        listening = asyncio.create_task(hearing.listen())
        for _ in range(3):
            await asyncio.sleep(0.5)
            record = encode_view(WEST, (), now=clock.now(), life="a life")
            await store.commit(expect={}, put={view_key(WEST): record})
        await asyncio.sleep(0.1)
        listening.cancel()
        before = hearing._known.detector
        return before, hearing.known.detector

    expected = fold(Detector(policy=shop().detection), Heartbeat(at=timedelta(seconds=1.5), region=WEST))
    for unfolded_max, folded in ((0, 1.5), (1, 1.0), (9, None)):
        before, after = time.run(hear(unfolded_max))
        assert after.heartbeats == expected.heartbeats
        assert before.heartbeats.get(WEST) == (None if folded is None else timedelta(seconds=folded))


@pytest.mark.parametrize("said", [b'{"format": 999}', b"not a view"])
def test_a_view_that_cannot_be_read_is_left_out_and_nothing_ends(said: bytes) -> None:
    async def play(on: Embedded, moments: list[float]) -> None:
        for _ in range(3):
            await on.world.store.commit(expect={}, put={view_key(EAST): said})
            await asyncio.sleep(1.0)
        await on.until(lambda seen: calm(seen) and moments)

    played(play)
