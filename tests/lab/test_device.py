"""A device on real servers: an asynchronous primary that is cut off, which nothing else can fence, is switched off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from evac.core.plan import Verb
from evac.lab.bench.cases import HOME, Scenario
from evac.lab.bench.stage import stage
from evac.lab.bench.trial import perform
from evac.lab.faults import Fault, FaultKind
from evac.lab.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

SWITCH = """
import asyncio, pathlib, sys
from evac.lab.faults import FaultKind
from evac.lab.world import at

async def main(order, folder, region):
    lab = at(pathlib.Path(folder))
    if order == "off":
        await lab.fault(FaultKind.POWER, region)
    else:
        faults = (await lab.status())["faults"]
        print("off" if any((f["kind"], f["region"]) == ("power", region) for f in faults) else "on")

asyncio.run(main(*sys.argv[1:]))
"""


def with_device(lab: Lab) -> None:
    """Have the lab's power switch be the device of the home region's database."""
    script = lab.folder / "switch.py"
    script.write_text(SWITCH)
    words = {each: [sys.executable, str(script), each, str(lab.folder), HOME] for each in ("off", "state")}
    device = {HOME: {"command": {**words, "timeout": "30s"}, "within": "60s"}}
    text = lab.estate.read_text()
    before = "        members:\n"
    assert "orders-db:" in text.split(before)[0]
    lab.estate.write_text(text.replace(before, f"        devices: {json.dumps(device)}\n{before}", 1))


async def test_a_primary_that_is_cut_off_is_switched_off_and_left(tmp_path: Path) -> None:
    """Clients inside go on writing to it until its power is gone: a second owner would be seen."""
    scenario = Scenario(mode="async", form="embedded", fault=Fault(kind=FaultKind.CUT, region=HOME), inside=True)
    async with stage(tmp_path, mode="async", amend=with_device) as on:
        trial = (await perform(scenario, on))["orders"]
        runs = await on.estate.runs()
    print(f"RTO {trial.rto_s:.1f} s, {len(trial.verdict.lost)} lost, {trial.orphans_reported} reported")
    assert (trial.outcome, trial.rejoined) == ("completed", True), trial
    assert trial.verdict.kept
    run = next(r for r in runs if any(s.action.verb is Verb.SWITCH_OFF for s in r.plan.steps))
    assert run.opened.decided_by == "evac"
    fence = next(s for s in run.plan.steps if s.action.verb is Verb.SWITCH_OFF)
    receipt = run.receipt(fence.id)
    assert receipt is not None
    assert receipt.facts["switched_off"] == HOME
