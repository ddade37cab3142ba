"""Who is told to end, ends, also when a child of it fails in the same moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from evac.core.errors import StoreUnavailable
from evac.core.estate import RegionId
from evac.core.lease import Leader
from evac.engine.cancelling import apart
from evac.engine.election import LEADING, Candidate
from evac.sim import time
from evac.sim.time import VirtualClock
from evac.stores.memory import MemoryStore


def test_a_candidate_whose_lead_fails_as_it_is_cancelled_leads_no_more() -> None:
    async def main() -> None:
        leads = asyncio.Event()
        count = 0

        async def lead(_: Leader) -> None:
            nonlocal count
            count += 1
            leads.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise StoreUnavailable("gone while it is ended")

        candidate = Candidate(
            name="one", region=RegionId("a"), store=MemoryStore(), clock=VirtualClock(), timing=LEADING
        )
        standing = asyncio.create_task(candidate.stand(lead))
        await leads.wait()
        standing.cancel()
        await asyncio.wait([standing], timeout=timedelta(minutes=5).total_seconds())
        assert standing.cancelled()
        assert count == 1

    time.run(main())


def test_a_part_that_fails_or_ends_tells_what_came_of_it() -> None:
    async def fails() -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(_refused())
        return 0

    async def ends() -> int:
        return 3

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            await apart(fails())
        await asyncio.sleep(0)  # nothing is left that would be told here
        assert await apart(ends()) == 3

    asyncio.run(main())


def test_who_is_cancelled_ends_its_part_and_waits_for_that() -> None:
    ended = []

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async def main() -> None:
        whole = asyncio.create_task(apart(part()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole

    asyncio.run(main())
    assert ended


async def _refused() -> None:
    raise StoreUnavailable("no answer")
