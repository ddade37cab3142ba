"""Who is told to end, ends, also when a child of it fails in the same moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from evac.core.errors import StoreUnavailable
from evac.core.estate import RegionId
from evac.core.lease import Leader
from evac.engine.cancelling import heed_cancellation
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


def test_a_task_that_nobody_has_cancelled_goes_on() -> None:
    async def main() -> None:
        heed_cancellation()
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            heed_cancellation()
        task.uncancel()

    with pytest.raises(asyncio.CancelledError):  # the one that was asked for above, and is told at the end
        asyncio.run(main())
