"""An agent in every region: its leader dies with its region, alone, or is frozen for a while; what it began goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from evac.core.run import Outcome
from evac.lab.bench.cases import HOME, select
from evac.lab.bench.stage import Stage, serves_well, stage
from evac.lab.bench.trial import perform
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind, Target
from evac.lab.judge import judge

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

WAIT_S = 120.0


async def test_a_region_dies_with_the_leader_in_it(tmp_path: Path) -> None:
    (case,) = select("rto/sync/power/distributed")
    async with stage(tmp_path, mode="sync", form="distributed") as on:
        trial = (await perform(case.scenario, on))["orders"]
        after = await on.estate.health()
    assert (trial.outcome, trial.rejoined) == ("completed", True), trial
    assert trial.verdict.kept, trial.verdict
    assert after.leader is not None
    assert after.leader.region != HOME
    assert after.leader.reign > 1  # 2, or more where the cluster's own election took longer than a lease lasts


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="on")
async def _on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One lab and one group of clients for all that is done to leaders; their record is judged in the end."""
    async with stage(tmp_path_factory.mktemp("distributed"), mode="sync", form="distributed") as on:
        await _settled(on)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            yield on
            primary = await _settled(on)
        verdict = judge([clients], rows=await on.rows(clients, primary=primary, also=()))["orders"]
        assert verdict.kept, verdict
        assert verdict.acknowledged > 0


@pytest.mark.parametrize(("fault", "entries"), [(FaultKind.KILL, 4), (FaultKind.KILL, 20), (FaultKind.FREEZE, 12)])
async def test_a_leader_lost_in_the_middle_of_a_run_is_followed_by_one_that_ends_it(
    on: Stage, fault: FaultKind, entries: int
) -> None:
    at = await _settled(on)
    leader = (await on.estate.health()).leader
    assert leader is not None
    before = len(await on.estate.runs())
    moving = asyncio.create_task(on.estate.switchover(reason="test"))
    assert await on.until_written(before=before, entries=entries, within_s=WAIT_S)
    await on.lab.fault(fault, leader.region, what=Target.AGENT)
    assert await on.until(lambda s: s.leader is not None and s.leader.reign > leader.reign, within_s=WAIT_S)
    await on.lab.heal()  # as an init system starts it again, or the machine goes on
    run = await moving
    assert run.settled is not None
    assert run.settled.outcome is Outcome.COMPLETED, run.settled
    assert await _settled(on) == run.plan.target != at
    assert [resumed.by == leader.name for resumed in run.resumed] == [False]


async def _settled(on: Stage) -> str:
    """Return where the group is, once all is well there."""
    while True:
        async with asyncio.timeout(WAIT_S):
            for region in on.layout.regions:
                if await on.until(partial(serves_well, region=region), within_s=0.5):
                    return region
