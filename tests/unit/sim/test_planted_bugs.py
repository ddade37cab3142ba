"""Every planted bug is found: a rule that is taken away is missed by the simulator, within so many seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.estate import RegionId, ReplicationMode
from evac.core.lease import Again, Held, Leader, Tenure
from evac.core.plan import Action, Term
from evac.core.policy import Detection
from evac.core.timing import LeaseTiming
from evac.engine.election import LEADING, Candidate
from evac.engine.holding import Keeper
from evac.sim import campaign
from evac.sim.estates import EAST, EUROPE, WEST
from evac.sim.faults import Fault, Kind, Script
from evac.sim.obedience import Obedience
from evac.sim.setting import HOLDING, Result, Rules, Setup
from evac.sim.simulation import simulate

TRIES_MAX = 12


class CountsFromTheReply(Candidate):
    """A lease that begins when the store's answer is there, instead of when it was asked."""

    async def _write(self, mine: Leader, version: int, *, anew: bool = False) -> Held:
        return replace(await super()._write(mine, version, anew=anew), sent_at=self._clock.now())


class KeepsFromTheReply(Keeper):
    """Likewise the lease of a primary."""

    async def _write(self, tenure: Tenure, version: int, *, also: Mapping[str, int] | None = None) -> Held:
        return replace(await super()._write(tenure, version, also=also), sent_at=self._clock.now())


class StartsPrimaries(Keeper):
    """What dies under its lease is started as a primary, whether or not it was one."""

    def _stop(self, term: Term, *, again: Again = Again.AS_IT_WAS) -> Action:
        return replace(super()._stop(term, again=again), args={"mode": "kill"})


class NoLongerThanTheHolder(LeaseTiming):
    """G = A: whoever waits, waits as long as the holder holds, and nobody checks that."""

    def problems(self) -> tuple[str, ...]:
        return ()


class Unenforced(NoLongerThanTheHolder):
    """A bound that takes a watchdog for granted which never kills."""

    @property
    def age_max(self) -> timedelta:
        return HOLDING.age_max


G_IS_A = NoLongerThanTheHolder(renew=LEADING.renew, hold=LEADING.hold, wait=LEADING.hold)
G_IS_A_OF_PRIMARIES = NoLongerThanTheHolder(
    renew=HOLDING.renew,
    hold=HOLDING.hold,
    wait=HOLDING.age_max,
    watchdog=HOLDING.watchdog,
    reset=HOLDING.reset,
    drift=HOLDING.drift,
)
NO_WATCHDOG = Unenforced(
    renew=HOLDING.renew, hold=HOLDING.hold, wait=HOLDING.wait, watchdog=timedelta(hours=1), drift=HOLDING.drift
)


def fault(
    kind: Kind, begins: float, lasts: float, *, region: RegionId | None = None, other: RegionId | None = None
) -> Fault:
    return Fault(kind=kind, region=region, begins=begins, ends=begins + lasts, other=other)


ANSWERS_COME_LATE = (
    *(fault(Kind.REPLIES_LATE, 9.0 + 4 * n, 2.5) for n in range(10)),
    *(fault(Kind.CUT_OUT, 10.5 + 4 * n, 2.0) for n in range(10)),
)
LEADERS_ARE_CUT_OFF = tuple(fault(Kind.CUT, 9.0 + 4 * n, 2.5) for n in range(10))
SLOW_WHILE_AGENTS_DIE = (
    fault(Kind.SLOW_DATABASE, 9.0, 24.0, region=WEST),
    fault(Kind.SWITCHOVER, 9.2, 0.1, other=WEST),
    *(fault(Kind.KILL_AGENT, 10.5 + 2 * n, 0.2, region=WEST) for n in range(8)),
    *(fault(Kind.KILL_LEADER, 11.0 + 3 * n, 0.2) for n in range(6)),
)
AN_OLD_PLAN_ARRIVES_AFTER_A_NEWER = (
    fault(Kind.SWITCHOVER, 9.0, 0.1, other=WEST),
    fault(Kind.SWITCHOVER, 22.0, 0.1, other=EUROPE),
    fault(Kind.LATE_ORDERS, 36.0, 1.0),
)
THE_PRIMARY_IS_CUT_OFF = (
    fault(Kind.CUT, 10.0, 30.0, region=EAST),
    fault(Kind.FREEZE_MACHINE, 15.2, 0.95, region=EAST),
)
ITS_ANSWERS_COME_LATE = (
    fault(Kind.REPLIES_LATE, 8.0, 6.0, region=EAST),
    fault(Kind.FREEZE_AGENT, 10.0, 4.0, region=EAST),
    fault(Kind.CUT, 14.05, 30.0, region=EAST),
)
IT_COMES_BACK_BEFORE_ITS_LEASE_IS_OVER = (
    fault(Kind.CUT, 12.0, 4.5, region=EAST),
    fault(Kind.CUT, 30.0, 5.0, region=EAST),
)
ITS_HEIR_IS_CUT_OFF_BEFORE_THE_PROMOTION = (
    fault(Kind.CUT, 10.0, 50.0, region=EAST),
    fault(Kind.SLOW_DATABASE, 17.0, 30.0, region=WEST),
    fault(Kind.CUT, 18.02, 8.0, region=WEST),
)
OF_HELD_PRIMARIES = (
    THE_PRIMARY_IS_CUT_OFF,
    ITS_ANSWERS_COME_LATE,
    IT_COMES_BACK_BEFORE_ITS_LEASE_IS_OVER,
    ITS_HEIR_IS_CUT_OFF_BEFORE_THE_PROMOTION,
)
ONE_SEES_IT_FAIL = (
    fault(Kind.FREEZE_AGENT, 9.0, 30.0, region=EAST),
    fault(Kind.LINK_CUT, 9.0, 30.0, region=EAST, other=WEST),
    *(fault(Kind.KILL_AGENT, 9.0 + 8 * n, 7.0, region=EUROPE) for n in range(4)),
)


@pytest.mark.parametrize(
    ("rules", "script", "rule"),
    [
        pytest.param(Rules(candidate=CountsFromTheReply), ANSWERS_COME_LATE, "S5", id="lease-from-the-reply"),
        pytest.param(Rules(timing=G_IS_A), LEADERS_ARE_CUT_OFF, "S5", id="g-is-a"),
        pytest.param(
            Rules(obedience=Obedience(looks_at_the_term=False)),
            AN_OLD_PLAN_ARRIVES_AFTER_A_NEWER,
            "S6",
            id="no-fence-at-the-target",
        ),
        pytest.param(Rules(detection=Detection(quorum=1)), ONE_SEES_IT_FAIL, "S11", id="minority-decides"),
        pytest.param(
            Rules(obedience=Obedience(knows_what_is_done=False)), SLOW_WHILE_AGENTS_DIE, "S7", id="doubled-step"
        ),
        pytest.param(Rules(holding=G_IS_A_OF_PRIMARIES), THE_PRIMARY_IS_CUT_OFF, "S5", id="g-is-a-of-primaries"),
        pytest.param(Rules(keeper=KeepsFromTheReply), ITS_ANSWERS_COME_LATE, "S5", id="primary-lease-from-the-reply"),
        pytest.param(
            Rules(obedience=Obedience(undoes=False)), IT_COMES_BACK_BEFORE_ITS_LEASE_IS_OVER, "S8", id="undone-by-name"
        ),
        pytest.param(
            Rules(keeper=StartsPrimaries),
            ITS_HEIR_IS_CUT_OFF_BEFORE_THE_PROMOTION,
            "S3",
            id="standby-opened-by-its-keeper",
        ),
        pytest.param(Rules(holding=NO_WATCHDOG), THE_PRIMARY_IS_CUT_OFF, "S5", id="no-watchdog"),
    ],
)
def test_a_planted_bug_is_found_and_without_it_nothing_is(rules: Rules, script: tuple[Fault, ...], rule: str) -> None:
    for seed in range(TRIES_MAX):
        found = played(seed, script, rules)
        if rule in {v.rule for v in found.violations}:
            assert played(seed, script, Rules()).violations == ()
            return
    raise AssertionError(f"not found in {TRIES_MAX} tries")


def played(seed: int, script: tuple[Fault, ...], rules: Rules) -> Result:
    """Play a script in three regions, with clocks as far apart as the lease's times allow."""
    held = script in OF_HELD_PRIMARIES
    what = Setup(
        seed=seed,
        regions=3,
        mode=ReplicationMode.ASYNC if held else ReplicationMode.SYNC,
        acks=int(not held),
        held=held,
        script=Script(faults=script, rates=(0.98, 1.02, 1.02)),
    )
    with campaign.silence():
        return simulate(what, rules=rules, stop_when_broken=True)
