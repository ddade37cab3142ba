"""Listening to what agents tell: as long as it was meant, what is wanted only, and nothing is written."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from evac.core.observation import Heartbeat, Observation
from evac.engine.overhearing import Overheard, overhear
from evac.engine.views import encode_view, view_key
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
