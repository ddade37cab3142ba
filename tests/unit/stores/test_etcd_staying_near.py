"""When the member named first is asked again, in virtual time: soon, then ever more seldom, soon again once it stays.

Pauses are drawn, a fifth more or less; `DRAWN` allows for that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from evac.sim.time import run
from evac.stores.etcd.address import EtcdAddress
from evac.stores.etcd.members import Members, Patience

NEAR, FAR = "near:2379", "far:2379"
SOON, SELDOM = Patience().back_soon.total_seconds(), Patience().back.total_seconds()
DRAWN = 0.2


@dataclass(slots=True)
class Nearest:
    """The member named first, as it is whenever it is asked; and when that was, since `since`."""

    well: bool = False
    asked: list[float] = field(default_factory=list)
    since: float = 0.0
    needed: bool = True

    async def answer(self, member: str) -> bool:
        assert member == NEAR
        self.asked.append(asyncio.get_running_loop().time() - self.since)
        return self.well

    def begin(self) -> None:
        """Count anew."""
        self.since, self.asked = asyncio.get_running_loop().time(), []


@asynccontextmanager
async def staying(nearest: Nearest) -> AsyncIterator[Members]:
    """Give members that keep to the nearest."""
    address = EtcdAddress(endpoints=(NEAR, FAR), namespace="evac")
    members = Members(address, patience=Patience(), chance=random.Random(1))
    keeping = asyncio.create_task(members.stay_near(nearest.answer, needed=lambda: nearest.needed))
    try:
        yield members
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await members.close()


def drawn(pause: float) -> object:
    return pytest.approx(pause, rel=DRAWN)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(1000):
        while not holds():
            await asyncio.sleep(0.01)


def test_it_is_asked_soon_and_then_ever_more_seldom() -> None:
    async def story() -> None:
        nearest = Nearest()
        async with staying(nearest) as members:
            members.prefer(FAR)
            nearest.begin()
            await until(lambda: len(nearest.asked) == 9)
            pauses = [later - earlier for earlier, later in pairwise([0.0, *nearest.asked])]
            expected = [min(SOON * 2**n, SELDOM) for n in range(9)]
            assert expected[-1] == expected[-2] == SELDOM
            assert pauses == [drawn(pause) for pause in expected]
            assert members.current == FAR
            nearest.well = True
            await until(lambda: members.current == NEAR)

    run(story())


def test_one_that_is_well_and_soon_fails_again_is_gone_back_to_ever_more_seldom() -> None:
    async def story() -> None:
        nearest = Nearest(well=True)
        async with staying(nearest) as members:
            for _ in range(7):
                members.prefer(FAR)
                await until(lambda: members.current == NEAR)
                await asyncio.sleep(1.0)
            members.prefer(FAR)
            await until(lambda: members.current == NEAR)
            nearest.begin()
            members.prefer(FAR)
            await until(lambda: members.current == NEAR)
            assert nearest.asked == [drawn(SELDOM)]

    run(story())


def test_one_that_was_stayed_with_is_asked_soon_again() -> None:
    async def story() -> None:
        nearest = Nearest()
        async with staying(nearest) as members:
            members.prefer(FAR)
            await until(lambda: len(nearest.asked) == 8)
            nearest.well = True
            await until(lambda: members.current == NEAR)
            await asyncio.sleep(2 * SELDOM * (1 + DRAWN))
            nearest.begin()
            members.prefer(FAR)
            await until(lambda: members.current == NEAR)
            assert nearest.asked[0] <= SOON * (1 + DRAWN)

    run(story())


def test_nobody_is_asked_while_the_nearest_is_the_current_one_or_nothing_needs_it() -> None:
    async def story() -> None:
        nearest = Nearest(well=True)
        async with staying(nearest) as members:
            await asyncio.sleep(10 * SELDOM)
            assert nearest.asked == []
            nearest.needed = False
            members.prefer(FAR)
            await asyncio.sleep(10 * SELDOM)
            assert len(nearest.asked) <= 1, "it may have been about to ask"

    run(story())
