"""A standby stands still, leaves the set that must acknowledge, and then the primary's region dies: nobody is called.

Without the change two refusals would be needed and one could be had. In the end everybody is back and waited for.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from evac.core.estate import RegionId
from evac.core.plan import RunKind, SyncSet
from evac.core.run import Outcome
from evac.core.snapshot import Snapshot
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import Stage, serves_well, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind
from evac.lab.judge import judge

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

OTHER, STANDS_STILL = "us-west-2", "eu-west-1"
WAIT_S = 120.0


async def test_a_region_is_left_by_itself_although_a_standby_was_lost_before(tmp_path: Path) -> None:
    async with stage(tmp_path, mode="sync") as on:
        assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            await on.lab.fault(FaultKind.FREEZE, STANDS_STILL)
            assert await on.until(lambda s: _waits_for(s, OTHER), within_s=WAIT_S)

            await on.lab.fault(FaultKind.POWER, HOME)
            assert await on.until(lambda s: _settled_in(s, OTHER), within_s=WAIT_S)

            await on.lab.heal()
            assert await on.until(lambda s: _follow(s, OTHER), within_s=WAIT_S)
        verdict = judge([clients], rows=await on.rows(clients, primary=OTHER, also=()))["orders"]
        assert verdict.kept, verdict
        assert verdict.acknowledged > 0
        await _nobody_was_needed(on)


def _waits_for(snapshot: Snapshot, region: str) -> bool:
    only = SyncSet(acks=1, standbys=(RegionId(region),))
    return bool(snapshot.sets) and all(standing.sets == (only,) for standing in snapshot.sets)


def _settled_in(snapshot: Snapshot, region: str) -> bool:
    return not snapshot.active and all(p.primary == region for p in snapshot.placements)


def _follow(snapshot: Snapshot, region: str) -> bool:
    """Whether all is well there, both other databases are waited for, and follow it closely."""
    states = [m.state for m in snapshot.members if m.component == "orders-db" and m.region != region]
    close = [s for s in states if s and s.upstream == region and s.lag is not None and s.lag < timedelta(seconds=5)]
    return serves_well(snapshot, region) and len(close) == 2


async def _nobody_was_needed(on: Stage) -> None:
    """Every run was evac's own, ended well, and the failover proved that nothing was lost."""
    runs = await on.estate.runs()
    assert {run.opened.decided_by for run in runs} == {"evac"}
    ends = [(run.plan.kind, run.settled.outcome if run.settled else None) for run in runs]
    assert ends[:2] == [(RunKind.PROTECT, Outcome.COMPLETED), (RunKind.FAILOVER, Outcome.COMPLETED)]
    assert {outcome for _, outcome in ends} == {Outcome.COMPLETED}, ends
    report = await on.estate.report(runs[1].id)
    assert next(m.value for m in report.measures if m.name == "RPO") == "0 writes"
