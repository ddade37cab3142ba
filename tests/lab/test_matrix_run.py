"""One run of the matrix, from a fresh lab to what is written down of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.lab.matrix.rows import select
from evac.lab.matrix.series import Labs, one

pytestmark = pytest.mark.lab


async def test_a_killed_region_is_left_and_no_promise_broken(tmp_path: Path) -> None:
    (row,) = select("kill/sync/embedded")
    labs = Labs(folder=tmp_path / "lab")
    try:
        run = await one(row, 1, labs, version="test", evidence=tmp_path / "evidence")
    finally:
        await labs.drop()

    assert (run["outcome"], run["violations"], run["note"]) == ("completed", [], ""), run
    assert run["acknowledged"] > 0
    assert run["whole"]
    assert not (tmp_path / "evidence").exists()
