"""Asynchronous, an agent in every region: the primary's region or its agent is lost, and evac moves by itself once the
lease has run out; an agent that thaws before that has cost nothing.

A client inside the lost region writes to its own primary whatever happens around, so a second owner would be seen.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from evac.core.estate import ComponentId
from evac.core.plan import Verb
from evac.core.run import Run
from evac.core.timing import LeaseTiming
from evac.lab.bench.cases import HOME, Scenario
from evac.lab.bench.stage import Stage, serves_well, stage
from evac.lab.bench.trial import perform
from evac.lab.clients import at_lab
from evac.lab.faults import Fault, FaultKind, Target
from evac.lab.judge import heard, judge

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

DB = ComponentId("orders-db")
WAIT_S = 120.0
MORE = (
    Fault(kind=FaultKind.POWER, region=HOME),
    Fault(kind=FaultKind.KILL, region=HOME, what=Target.AGENT),
)
"""Tried with EVAC_FULL=1 only; the matrix has them as well."""
AWAY_S = 2.0
"""Less than a watchdog waits."""


FAULTS = [
    Fault(kind=FaultKind.CUT, region=HOME),
    Fault(kind=FaultKind.FREEZE, region=HOME, what=Target.AGENT),
    *(MORE if os.environ.get("EVAC_FULL") == "1" else ()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_an_asynchronous_primary_is_left_without_a_person(tmp_path: Path, fault: Fault) -> None:
    inside = fault.kind is not FaultKind.POWER
    scenario = Scenario(mode="async", form="distributed", fault=fault, inside=inside)
    async with stage(tmp_path, mode="async", form="distributed") as on:
        trial = (await perform(scenario, on))["orders"]
        runs = await on.estate.runs()
        folders = [on.lab.folder / f"clients-{site}" for site in ("clients", *((HOME,) if inside else ()))]
        acknowledged = {w.acknowledged_at for w in heard(folders, store="orders") if w.owner and w.owner.term == 1}
    assert (trial.outcome, trial.rejoined) == ("completed", True), trial
    assert trial.verdict.kept, "what is missing is reported as orphaned, and nobody acknowledged beside the new primary"
    run = next(r for r in runs if any(s.action.verb is Verb.EXPIRE for s in r.plan.steps))
    fence = _fence(run)
    timing = _timing(on)
    begun = run.opened.symptom_at.total_seconds() - trial.phases_s["notice"]
    last = max(at for at in acknowledged if at is not None) - begun
    print(
        f"{fault}: RTO {trial.rto_s:.2f} s, G {timing.wait.total_seconds():g} s, the old primary's last acknowledgement"
        f" {last:.2f} s after the fault, {len(trial.verdict.lost)} lost, {trial.orphans_reported} reported,"
        f" {trial.phases_s}"
    )
    assert run.opened.decided_by == "evac"
    assert fence >= timing.wait.total_seconds()
    assert last <= timing.age_max.total_seconds(), "without a valid lease nothing is acknowledged after A"


async def test_an_agent_that_is_back_in_time_costs_nothing(tmp_path: Path) -> None:
    """Frozen for a while, twice. One that is killed takes as long to start again as the machine pleases."""
    async with stage(tmp_path, mode="async", form="distributed") as on:
        assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            for _ in range(2):
                await on.lab.fault(FaultKind.FREEZE, HOME, what=Target.AGENT)
                await asyncio.sleep(AWAY_S)
                await on.lab.heal()
                assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
            await asyncio.sleep(_timing(on).wait.total_seconds())
        verdict = judge([clients], rows=await on.rows(clients, primary=HOME, also=()))["orders"]
        owners = {w.owner for w in heard([clients], store="orders") if w.owner}
        assert not await on.estate.runs()
        logs = [log.read_text(errors="replace") for log in on.lab.folder.rglob("agent.log")]
    assert verdict.kept
    assert verdict.lost == ()
    assert len(owners) == 1, "a healthy holder is not demoted"
    assert not any("its lease is renewed: started" in log for log in logs), "nor killed and started anew"


def _timing(on: Stage) -> LeaseTiming:
    replication = on.estate.loaded.estate.components[DB].replication
    assert replication is not None
    assert replication.held is not None
    return replication.held.timing


def _fence(run: Run) -> float:
    """Return how long the lease had not been renewed when its fence was there."""
    receipts = {s.action.verb: r for s in run.plan.steps if s.action.component == DB and (r := run.receipt(s.id))}
    assert receipts[Verb.EXPIRE].kind == "expired"
    waited = receipts[Verb.EXPIRE].facts["waited_s"]
    assert isinstance(waited, float)
    return waited
