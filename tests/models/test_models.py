"""The models in `models/` hold in every state, and each planted bug is found by the same search."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.spin import Case, Search, lacking, search

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "all is there")

SYNCHRONOUS, ASYNCHRONOUS = "ACKS=1", "ACKS=0"
RIGHT = (
    Case(model="lease"),
    Case(model="lease", macros=("WATCHDOG",)),
    Case(model="lease", macros=("LIVENESS",), liveness=True),
    Case(model="run", macros=(SYNCHRONOUS,)),
    Case(model="run", macros=(ASYNCHRONOUS,)),
)
PLANTED = (
    *(Case(model="lease", bug=b) for b in ("FROM_REPLY", "EQUAL", "FROM_ASKING", "WRAPS", "SLEEPS_ON", "AGE_STANDS")),
    *(Case(model="lease", macros=("WATCHDOG",), bug=b) for b in ("FROM_REPLY", "EQUAL", "NO_WATCHDOG")),
    *(Case(model="run", macros=(SYNCHRONOUS,), bug=b) for b in ("MINORITY", "UNPROVEN", "DOUBLED", "LOOK_PROVES")),
    *(Case(model="run", macros=(ASYNCHRONOUS,), bug=b) for b in ("NO_FENCING", "TORN", "LOOK_PROVES")),
)


@pytest.mark.parametrize("case", RIGHT, ids=lambda c: c.name)
def test_what_must_hold_holds_in_every_state(case: Case, tmp_path: Path, searched: list[tuple[Case, Search]]) -> None:
    found = search(case, tmp_path)
    searched.append((case, found))
    assert found.errors == 0, found.said
    assert found.complete, found.said


@pytest.mark.parametrize("case", PLANTED, ids=lambda c: c.name)
def test_a_planted_bug_is_found(case: Case, tmp_path: Path, searched: list[tuple[Case, Search]]) -> None:
    found = search(case, tmp_path)
    searched.append((case, found))
    assert found.errors >= 1, found.said
    assert found.steps is not None, found.said
