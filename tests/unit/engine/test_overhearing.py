"""Listening to what agents tell: as long as it was meant, what is wanted only, and nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from evac.core.observation import Heartbeat, Observation
from evac.engine.overhearing import Overheard, overhear
from evac.engine.views import encode_view, view_key
from evac.ports import Change
from evac.sim import time
from evac.sim.estates import EAST, ORDERS, WEST
from evac.stores.memory import MemoryStore
from fakes.estates import probed


def test_it_hears_what_is_told_meanwhile_and_keeps_what_is_wanted() -> None:
    async def play() -> tuple[Overheard, int, int]:
        store, clock = MemoryStore(), time.VirtualClock()

        async def tell(at: float) -> None:
            seen = probed(at - 0.2, WEST, EAST, ORDERS)
            await store.commit(
                expect={}, put={view_key(WEST): encode_view(WEST, (seen,), now=clock.now(), life="a life")}
            )

        def wanted(seen: Observation) -> bool:
            return not isinstance(seen, Heartbeat)

        await asyncio.sleep(1.0)
        await tell(1.0)  # before anybody listens
        listening = asyncio.create_task(overhear(store, clock=clock, wanted=wanted, lasting=timedelta(seconds=3)))
        await asyncio.sleep(1.0)
        await tell(2.0)
        await store.commit(expect={}, put={}, delete=(view_key(WEST),))
        before = await store.revision()
        heard = await listening
        return heard, before, await store.revision()

    heard, before, after = time.run(play())
    assert before == after
    assert (heard.since, heard.until, heard.lasted) == (
        timedelta(seconds=1),
        timedelta(seconds=4),
        timedelta(seconds=3),
    )
    assert [each.at for each in heard.seen] == [timedelta(seconds=1.8)]
    assert heard.wall - heard.wall_of(timedelta(seconds=1.8)) == timedelta(seconds=2.2)


class Impatient(MemoryStore):
    """A store whose own time runs out while it is watched."""

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        await asyncio.sleep(1)
        raise TimeoutError
        yield


def test_a_store_whose_own_time_runs_out_is_not_taken_for_the_end_of_listening() -> None:
    """Silence would be told of agents that were not heard."""
    listening = overhear(Impatient(), clock=time.VirtualClock(), wanted=bool, lasting=timedelta(seconds=3))
    with pytest.raises(TimeoutError):
        time.run(listening)
