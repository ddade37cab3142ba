"""What a person is told who types in a region that is cut off, and in one that is not. Real servers and agents."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import EVAC, Stage, serves_well, stage
from evac.lab.faults import FaultKind

pytestmark = [pytest.mark.lab, pytest.mark.asyncio]

OTHER = "us-west-2"
WAIT_S = 120.0


async def test_each_side_of_a_cut_says_what_it_knows(tmp_path: Path) -> None:
    async with stage(tmp_path, mode="async", form="distributed") as on:
        assert await on.until(lambda s: serves_well(s, HOME), within_s=WAIT_S)
        await on.lab.fault(FaultKind.CUT, HOME)
        assert await on.until(lambda s: s.placements[0].primary == OTHER, within_s=WAIT_S)

        code, said = await _status(on, HOME, "--state", str(on.layout.region_folder(HOME) / "evac"))
        assert code == 4, said
        assert f"shop: the store cannot be reached from {HOME}" in said
        assert "orders-db: held under a lease" in said
        assert "fenced, its watchdog kill" in said
        assert f"primaries: shop in {HOME}, term 1" in said, "what it last knew, which is over elsewhere"

        code, said = await _status(on, OTHER)
        assert code == 1, said
        assert f"primaries: shop in {OTHER}, term 2" in said
        assert "store on etcd: 2 of 3 members answer" in said


async def _status(on: Stage, region: str, *words: str) -> tuple[int | None, str]:
    command = on.lab.command(region, EVAC, "status", "--estate", str(on.lab.estate), *words)
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await running.communicate()
    return running.returncode, " ".join(out.decode().split())
