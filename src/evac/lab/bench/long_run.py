"""What a plan of thousands of steps costs, and the journal of its run as it is folded entry by entry.

Intuition: one group of nine regions, with as many services as make so many steps. Either its home is lost, or it is
moved while all is well. All goes well: each step is begun and has its receipt.

What this is not: a run. Nothing is executed, and nothing is written.
"""

from __future__ import annotations

import gc
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import chain

from evac.core.assessment import assess
from evac.core.decision import Move
from evac.core.detector import Detector, fold
from evac.core.effects import Do, effects
from evac.core.estate import Estate, RegionId
from evac.core.fold import apply
from evac.core.observation import Instant
from evac.core.plan import Plan, RunKind, Term, Verb
from evac.core.planning import plan_move
from evac.core.run import Done, Event, Opened, Receipt, Run, RunId, Started
from evac.core.steps import Situation
from evac.lab.bench.large import INTERVAL, estate_of, everything, placements_of

STEPS_A_CHAIN = {RunKind.FAILOVER: 18, RunKind.SWITCHOVER: 13}
"""A state in nine regions, its own lost: 8 refusals, a catch-up, a promotion, 7 that follow, a verification. Or moved:
a preparation, 7 that follow, a stop, a promotion, a verification, a rebuild, a protection.
"""
KINDS = {Verb.REFUSE: "starved", Verb.STOP: "stopped"}
"""What the receipts of fences are called; the others, as the verb."""
RUN_BUDGET_S = 10.0
"""So much processor time at most is spent on folding a run; what was folded by then is what is told."""
ROUNDS = 9
"""A plan is made so many times. The longest time is judged; how it grows is seen at the shortest, since whatever else
the machine does only adds to it.
"""
ROUNDS_OF_A_RUN = 3
"""And a run is folded so many times, of which the shortest is told."""
AT = timedelta(hours=1)
WALL = datetime(2026, 1, 1, tzinfo=UTC)


def measure_plan(steps: int, kind: RunKind) -> dict[str, float]:
    """Return the figures of a plan of about so many steps: one group of nine regions whose home is lost, or left."""
    services = max(1, round(steps / STEPS_A_CHAIN[kind]))
    estate = estate_of(9, services, group_size=services)
    source, target = list(estate.regions)[:2]
    detector, now = fold(Detector(policy=estate.detection), *everything(estate, AT - timedelta(seconds=1))), AT
    if kind is RunKind.FAILOVER:
        detector, now = _after_loss(estate, detector, source)
    assessment = assess(detector, now=now, estate=estate)
    (placement,) = placements_of(estate).values()
    here = Situation(estate=estate, assessment=assessment, members=detector.members, placement=placement)
    move = Move(group=placement.group, kind=kind, source=source, target=target, reasons=("measured",))
    planned = [_planning(move, here) for _ in range(ROUNDS)]
    plan = plan_move(move, here, term=Term(2))
    folded = [_fold_run(plan) for _ in range(ROUNDS_OF_A_RUN)]
    return {
        "steps": len(plan.steps),
        "waits": float(sum(len(s.needs) + len(s.before) + len(s.behind) for s in plan.steps)),
        "plan": max(planned),
        "plan_least": min(planned),
        "plan_calls": float(_calls(move, here)),
        "entry_ms": min(1000 * spent / entries for entries, spent, _ in folded),
        "whole": float(all(whole for _, _, whole in folded)),
    }


def _planning(move: Move, here: Situation) -> float:
    """The time a plan takes, but for the garbage collector's: its passes come at any moment, and cost by what there is
    in the process.
    """
    gc.disable()
    try:
        begun = time.process_time()
        plan_move(move, here, term=Term(2))
        return time.process_time() - begun
    finally:
        gc.enable()


def _calls(move: Move, here: Situation) -> int:
    """How many calls a plan takes, the interpreter's own functions included: whatever the machine does beside it."""
    count = 0

    def note(_: object, what: str, __: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(note)
    try:
        plan_move(move, here, term=Term(2))
    finally:
        sys.setprofile(None)
    return count


def _fold_run(plan: Plan) -> tuple[int, float, bool]:
    """Fold a run in which all goes well, as far as the budget goes: entries, processor seconds, whether to the end."""
    opened = Opened(
        run=RunId("bench"), at=AT, wall=WALL, plan=plan, plan_hash="", decided_by="bench", symptom_at=AT, decision={}
    )
    kinds = {s.id: KINDS.get(s.action.verb, str(s.action.verb)) for s in plan.steps}
    begun, entries = time.process_time(), 1
    run = apply(None, opened)
    while todo := [e for e in effects(run) if isinstance(e, Do)]:
        for event in chain.from_iterable(_done(run, effect, kinds[effect.step]) for effect in todo):
            run = apply(run, event)
            entries += 1
            if time.process_time() - begun > RUN_BUDGET_S:
                return entries, time.process_time() - begun, False
    return entries, time.process_time() - begun, True


def _done(run: Run, effect: Do, kind: str) -> tuple[Event, Event]:
    started = Started(at=AT, step=effect.step, attempt=effect.attempt, term=run.term)
    return started, Done(at=AT, step=effect.step, attempt=effect.attempt, receipt=Receipt(kind=kind))


def _after_loss(estate: Estate, detector: Detector, lost: RegionId) -> tuple[Detector, Instant]:
    """A region is lost: for three looks nothing of it answers, and its agent is silent; all others are well."""
    at = AT
    for _ in range(estate.detection.failures):
        at += INTERVAL
        detector = fold(detector, *everything(estate, at, lost=lost))
    return detector, at + timedelta(seconds=1)
