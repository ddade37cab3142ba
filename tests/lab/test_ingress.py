"""The way in to the primary's region freezes, and nothing else: clients come in by another door, and home again.

The primaries stay where they are all the while, and no write that clients had acknowledged is lost.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evac.core.plan import RunKind
from evac.core.run import Outcome
from evac.core.snapshot import Snapshot
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import EVAC, Stage, serves_well, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind, Target
from evac.lab.judge import heard, judge

pytestmark = pytest.mark.lab

DOOR = "us-west-2"
WAIT_S = 120.0
SERVED_MIN = 20
"""So many orders must come in by the other door before the first one is mended."""


async def test_clients_go_round_a_frozen_door_and_come_back(tmp_path: Path) -> None:
    async with stage(tmp_path / "lab", mode="sync") as on:
        if not on.dns:
            pytest.skip("Knot is not installed: nothing chooses where clients enter")
        assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            frozen_s = (await on.lab.fault(FaultKind.FREEZE, HOME, what=Target.ENTRY)).at_s
            assert frozen_s is not None
            assert await on.until(_goes_round, within_s=WAIT_S)
            async with asyncio.timeout(WAIT_S):
                while len(_by_the_web(clients, after=frozen_s)) < SERVED_MIN:
                    await asyncio.sleep(0.2)
            assert f"clients enter by {DOOR}, {HOME} serves" in await _status(on)
            healed = await on.lab.heal()
            assert await on.until(lambda s: serves_well(s, HOME) and not _goes_round(s), within_s=WAIT_S)
        assert set(_by_the_web(clients, after=frozen_s, before=healed.at_s)) == {HOME}
        runs = await on.estate.runs()
        assert [(r.plan.kind, r.plan.target) for r in runs] == [(RunKind.SHIFT, DOOR), (RunKind.SHIFT, HOME)]
        assert {r.settled.outcome for r in runs if r.settled} == {Outcome.COMPLETED}
        verdict = judge([clients], rows=await on.rows(clients, primary=HOME, also=()))["orders"]
        assert verdict.kept, verdict


def _goes_round(snapshot: Snapshot) -> bool:
    return not snapshot.active and any(p.entry == DOOR and p.primary == HOME for p in snapshot.placements)


def _by_the_web(clients: Path, *, after: float, before: float = float("inf")) -> list[str]:
    """Return who took the orders that came by name and door, and were sent and acknowledged within a time."""
    return [
        str(w.owner.node)
        for w in heard([clients], store="orders")
        if w.via == "web" and w.invoked > after and w.owner and w.acknowledged_at and w.acknowledged_at < before
    ]


async def _status(on: Stage) -> str:
    command = on.lab.command("ops", EVAC, "status", "--estate", str(on.lab.estate))
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await running.communicate()
    assert running.returncode == 1, "it is not as it should be"
    return out.decode()
