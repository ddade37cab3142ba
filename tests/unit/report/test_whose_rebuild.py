"""Whose report tells of what a rebuild saved: of the last run that left the region, and of no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from evac.core.plan import Plan, RunKind
from evac.core.run import Outcome, RunId
from evac.engine.archive import Archived
from evac.engine.clock import BootClock
from evac.engine.codec import encode
from evac.records import rebuilt_after
from evac.sim.estates import EAST, GROUP, WEST
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.shapes import shapes

PLANS = {shape.name: shape.plan for shape in shapes()}
LEAVES, REBUILDS = PLANS["failover"], PLANS["rejoin"]


async def stored(*plans: Plan) -> MemoryStore:
    """A store with a run of each of these plans, in their order."""
    store, clock = MemoryStore(), BootClock()
    for plan in plans:
        await store.commit(
            expect={},
            put={f"placement/{plan.group}": encode(plan.before)},
            delete=(f"active/{GROUP}", f"terms/{GROUP}"),
        )
        await open_run(plan, store=store, clock=clock, decided_by="alice", symptom_at=clock.now(), decision={})
    return store


async def test_the_run_that_left_a_region_has_its_rebuild() -> None:
    assert await rebuilt_after(RunId("1"), LEAVES, store=await stored(LEAVES, REBUILDS)) == "2"


@pytest.mark.parametrize("name", ["protect-shrinks", "shift", "rejoin"])
async def test_a_run_that_leaves_no_region_has_none(name: str) -> None:
    plan = PLANS[name]
    assert plan.source == EAST
    assert await rebuilt_after(RunId("1"), plan, store=await stored(plan, LEAVES, REBUILDS)) is None


async def test_of_two_runs_that_leave_a_region_the_later_one_has_it() -> None:
    store = await stored(LEAVES, LEAVES, REBUILDS)
    assert await rebuilt_after(RunId("1"), LEAVES, store=store) is None
    assert await rebuilt_after(RunId("2"), LEAVES, store=store) == "3"


async def test_another_regions_rebuild_is_passed_over() -> None:
    other = replace(REBUILDS, source=WEST)
    store = await stored(LEAVES, other, REBUILDS)
    assert await rebuilt_after(RunId("1"), LEAVES, store=store) == "3"
    assert await rebuilt_after(RunId("1"), LEAVES, store=await stored(LEAVES, other)) is None


@pytest.mark.parametrize(("kind", "whose"), [(RunKind.REJOIN, "2"), (RunKind.SWITCHOVER, None), (RunKind.SHIFT, "3")])
async def test_runs_that_were_archived_count_as_well(kind: RunKind, whose: str | None) -> None:
    store = await stored(LEAVES, LEAVES, REBUILDS)
    gone = Archived(
        run=RunId("2"), group=GROUP, kind=kind, source=EAST, target=WEST, opened=datetime.now(UTC),
        outcome=Outcome.COMPLETED, file="run-2.jsonl", sha256="", by="alice", wall=datetime.now(UTC),
    )  # fmt: skip
    entries = [record.key for record in await store.list("runs/2/")]
    await store.commit(expect={}, put={"archived/2": encode(gone)}, delete=entries)
    assert await rebuilt_after(RunId("1"), LEAVES, store=store) == whose
