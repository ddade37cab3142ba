"""Fault scripts that Hypothesis writes, and shrinks when one breaks a promise; and the seeds that once did."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evac.core.estate import ReplicationMode
from evac.sim import campaign
from evac.sim.estates import THREE
from evac.sim.faults import FIRST, HEAL, OF_ALL, OF_THE_LEADER, Fault, Kind, Script
from evac.sim.setting import Setup, setup
from evac.sim.simulation import simulate

KEPT = (383,)
"""Seeds that broke a promise once. What is added here stays."""


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(list(Kind)))
    begins = draw(st.integers(int(FIRST), int(HEAL) - 2))
    lasts = draw(st.integers(1, 30))
    nowhere = kind in OF_THE_LEADER | OF_ALL | {Kind.SWITCHOVER}
    region = None if nowhere else draw(st.sampled_from(THREE))
    linked = kind in (Kind.LINK_CUT, Kind.SWITCHOVER)
    other = draw(st.sampled_from([r for r in THREE if r != region])) if linked else None
    return Fault(kind=kind, region=region, begins=begins, ends=min(begins + lasts, HEAL), other=other)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(faults(), max_size=3), mode=st.sampled_from(list(ReplicationMode)), seed=st.integers(0, 99))
def test_whatever_goes_wrong_every_promise_is_kept(script: list[Fault], mode: ReplicationMode, seed: int) -> None:
    what = Setup(
        seed=seed,
        regions=3,
        mode=mode,
        acks=int(mode is ReplicationMode.SYNC),
        script=Script(faults=tuple(sorted(script, key=lambda f: f.begins)), rates=(1.0, 1.0, 1.0)),
    )
    with campaign.silence():
        assert simulate(what).violations == ()


@pytest.mark.parametrize("seed", KEPT)
def test_what_broke_a_promise_once_keeps_it_now(seed: int) -> None:
    with campaign.silence():
        assert simulate(setup(seed)).violations == ()
