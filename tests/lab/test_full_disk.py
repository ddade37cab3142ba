"""The primary's disk is full: it answers, but new rows find no room. evac leaves it, nothing acknowledged is lost, and
with room again it comes back as a standby.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import serves_well, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind
from evac.lab.judge import judge

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

TARGET = "us-west-2"
WAIT_S = 120.0


async def test_a_primary_with_a_full_disk_is_left_by_itself(tmp_path: Path) -> None:
    async with stage(tmp_path, mode="sync") as on:
        assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            await on.lab.fault(FaultKind.DISK_FULL, HOME)
            assert await on.until(lambda s: all(p.primary == TARGET for p in s.placements), within_s=WAIT_S)
            await on.lab.heal()
            assert await on.until(lambda s: serves_well(s, TARGET), within_s=WAIT_S)
        verdict = judge([clients], rows=await on.rows(clients, primary=TARGET, also=()))["orders"]
        assert verdict.kept, verdict
        assert verdict.acknowledged > 0
