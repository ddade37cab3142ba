"""Asynchronous, an agent in every region: the primary's is lost, and evac moves by itself once the lease has run out.

A client inside the lost region writes to its own primary whatever happens around, so a second owner would be seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.core.estate import ComponentId
from evac.core.plan import Verb
from evac.lab.bench.cases import HOME, Scenario
from evac.lab.bench.stage import stage
from evac.lab.bench.trial import perform
from evac.lab.faults import Fault, FaultKind

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

DB = ComponentId("orders-db")


@pytest.mark.parametrize("kind", [FaultKind.CUT, FaultKind.POWER])
async def test_an_asynchronous_primary_is_left_without_a_person(tmp_path: Path, kind: FaultKind) -> None:
    scenario = Scenario(
        mode="async", form="distributed", fault=Fault(kind=kind, region=HOME), inside=kind is FaultKind.CUT
    )
    async with stage(tmp_path, mode="async", form="distributed") as on:
        trial = (await perform(scenario, on))["orders"]
        runs = await on.estate.runs()
    assert (trial.outcome, trial.rejoined) == ("completed", True), trial
    assert trial.verdict.kept, "what is missing is reported as orphaned, and nobody acknowledged beside the new primary"
    run = next(r for r in runs if any(s.action.verb is Verb.EXPIRE for s in r.plan.steps))
    receipts = {s.action.verb: r for s in run.plan.steps if s.action.component == DB and (r := run.receipt(s.id))}
    fence = receipts[Verb.EXPIRE]
    assert run.opened.decided_by == "evac"
    assert fence.kind == "expired"
    held = on.estate.loaded.estate.components[DB].replication
    assert held is not None
    assert held.held is not None
    bound = held.held.timing.wait.total_seconds()
    print(f"{kind}: RTO {trial.rto_s:.2f} s, bound G {bound:g} s, {len(trial.verdict.lost)} lost, {trial.phases_s}")
    waited = fence.facts["waited_s"]
    assert isinstance(waited, float)
    assert waited >= bound
