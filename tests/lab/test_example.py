"""The Python API's example moves a real group, with no other controller running."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evac.lab import world
from evac.lab.servers import process

pytestmark = pytest.mark.lab

EXAMPLE = Path(__file__).parents[2] / "examples" / "failover.py"


async def test_the_example_moves_the_group_and_tells_what_came_of_it(tmp_path: Path) -> None:
    async with world.lab(tmp_path / "lab") as lab:
        example = (sys.executable, str(EXAMPLE), str(lab.estate), "us-west-2")
        said = (await process.run(lab.command("ops", *example))).decode()
    assert "us-east-1: " in said
    assert "steps, RTO" in said
    assert "us-west-2" in said.splitlines()[-1]
