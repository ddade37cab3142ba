"""Faults that Hypothesis writes, and shrinks where a promise breaks; and every simulation that broke one once.

A script that breaks a promise is shown as a line of JSON: once it is mended, the line is kept in `kept.jsonl`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from evac.core.estate import RegionId, ReplicationMode
from evac.engine.codec import from_plain, to_plain
from evac.sim import campaign
from evac.sim.estates import THREE
from evac.sim.faults import (
    FIRST,
    HEAL,
    HELD_ONLY,
    MACHINE_FROZEN_MAX,
    OF_ALL,
    OF_THE_LEADER,
    Fault,
    Kind,
    Script,
    covered,
)
from evac.sim.setting import Setup
from evac.sim.simulation import simulate

SCRIPTS = int(os.environ.get("EVAC_SIM_SCRIPTS", "0"))
"""So many scripts are written by chance; without it the same few each time."""
IN_CI = 30
KEPT = [json.loads(line) for line in (Path(__file__).parent / "kept.jsonl").read_text().splitlines()]
ALONE = frozenset({Kind.STORE_RESTORED})
"""What is played by a scenario of its own: after it another history begins."""
TENTH = 10


def tenths(first: float, last: float) -> st.SearchStrategy[float]:
    """Moments and spans that a person can read, and that shrink to the first."""
    return st.integers(round(first * TENTH), round(last * TENTH)).map(lambda tenth: tenth / TENTH)


@st.composite
def faults(draw: st.DrawFn, *, held: bool) -> Fault:
    kinds = [kind for kind in Kind if kind not in ALONE and (held or kind not in HELD_ONLY)]
    kind, begins = draw(st.sampled_from(kinds)), draw(tenths(FIRST, HEAL - 5.0))
    nowhere = kind in OF_THE_LEADER | OF_ALL | {Kind.SWITCHOVER, Kind.LATE_ORDERS, Kind.BLANK_ESTATE}
    region: RegionId | None = None if nowhere else draw(st.sampled_from(THREE))
    other = None
    if kind in (Kind.LINK_CUT, Kind.SWITCHOVER):
        other = draw(st.sampled_from([r for r in THREE if r != region]))
    lasts = draw(tenths(0.2, MACHINE_FROZEN_MAX if kind is Kind.FREEZE_MACHINE else 25.0))
    return Fault(kind=kind, region=region, begins=begins, ends=min(begins + lasts, HEAL), other=other)


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    mode = draw(st.sampled_from(ReplicationMode))
    held = mode is ReplicationMode.ASYNC and draw(st.booleans())
    written = sorted(draw(st.lists(faults(held=held), max_size=5)), key=lambda f: f.begins)
    rates = draw(st.tuples(*[st.sampled_from((1.0, 0.98, 1.02))] * len(THREE)))
    return Setup(
        seed=draw(st.integers(0, 99)),
        regions=len(THREE),
        mode=mode,
        acks=int(mode is ReplicationMode.SYNC),
        held=held,
        script=Script(faults=covered(written), rates=rates),
    )


@settings(max_examples=SCRIPTS or IN_CI, deadline=None, derandomize=not SCRIPTS, print_blob=True)
@given(setups())
def test_whatever_a_script_lets_go_wrong_every_promise_is_kept(what: Setup) -> None:
    note(json.dumps({"why": "", "setup": to_plain(what)}))
    with campaign.silence():
        assert simulate(what).violations == ()


@pytest.mark.parametrize("kept", KEPT, ids=[kept["why"] for kept in KEPT])
def test_what_broke_a_promise_once_breaks_none(kept: dict[str, object]) -> None:
    what = from_plain(kept["setup"], Setup)
    with campaign.silence():
        assert simulate(what).violations == ()
