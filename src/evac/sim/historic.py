"""What has happened to others, as scripts: each is one simulation that is always the same.

Intuition: outages that became known are patterns, not accidents: a partition of some tens of seconds with clients on
both sides, after which two histories cannot be joined; a plan that was made before somebody else's and is applied
after it; a control plane that lives where the failure is. A seed may hit them or not; these scripts always do.

What this is not: what should come of them. That is asserted where they are played (`tests/unit/sim/test_historic.py`),
and every promise is watched as in any simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evac.core.estate import ReplicationMode
from evac.sim.estates import EAST, WEST
from evac.sim.faults import HEAL, Fault, Kind, Script
from evac.sim.setting import Setup

PARTITION = 43.0
"""Seconds that a partition lasted which took a day to mend (GitHub, 21 October 2018)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One pattern: its name, what it is, and the simulation that plays it."""

    name: str
    about: str
    setup: Setup


def _scenario(
    name: str, about: str, *faults: Fault, seed: int = 1, mode: ReplicationMode = ReplicationMode.SYNC
) -> Scenario:
    script = Script(faults=faults, rates=(1.0, 1.0, 1.0))
    acks = int(mode is ReplicationMode.SYNC)
    return Scenario(name=name, about=about, setup=Setup(seed=seed, regions=3, mode=mode, acks=acks, script=script))


_CUT = Fault(kind=Kind.CUT, region=EAST, begins=HEAL - PARTITION, ends=HEAL)
_ALL = (
    _scenario(
        "partition-sync",
        "the primary's region is cut off for 43 s while clients write on both sides, writes held by a quorum",
        _CUT,
    ),
    _scenario(
        "partition-async",
        "the same, and the primary acknowledges alone: nobody can fence it",
        _CUT,
        mode=ReplicationMode.ASYNC,
    ),
    _scenario(
        "late-plan",
        "the target's agent freezes with its orders, who leads is killed, others go on at a later term; then it thaws",
        Fault(kind=Kind.SWITCHOVER, region=None, begins=12.0, ends=12.5, other=WEST),
        Fault(kind=Kind.FREEZE_AGENT, region=WEST, begins=12.2, ends=30.0),
        Fault(kind=Kind.KILL_LEADER, region=None, begins=12.4, ends=40.0),
    ),
    _scenario(
        "control-plane-dies-too",
        "the region dies that holds the primary and whoever leads",
        Fault(kind=Kind.REGION_DEATH, region=EAST, begins=15.0, ends=45.0),
        seed=1,
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
