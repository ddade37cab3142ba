"""The record of where a group is, through promotions, protections, failures and ways back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.core.fold import apply
from evac.core.placement import advance
from evac.core.plan import Placement, Plan, Step, StepId, SyncSet, Verb
from evac.core.run import (
    LOOKS_MAX,
    Done,
    Event,
    Failed,
    Failure,
    Opened,
    Outcome,
    Receipt,
    Run,
    RunId,
    Settled,
    Started,
)
from evac.sim.estates import EAST, EUROPE, ORDERS_DB, WEST
from fakes.shapes import shapes

SHAPES = {s.name: s for s in shapes()}
FAILOVER, SWITCHOVER, REJOIN, SHIFT, BACK = (
    SHAPES[name] for name in ("failover", "switchover", "rejoin", "shift", "shift-back")
)
NOW = timedelta()
WALL = datetime(2026, 1, 1, tzinfo=UTC)
WIDE = SyncSet(acks=1, standbys=(EAST, EUROPE))
NARROW = SyncSet(acks=1, standbys=(EUROPE,))


def opened(plan: Plan, *steps: Step) -> Run:
    plan = replace(plan, steps=steps)
    event = Opened(
        run=RunId("1"), at=NOW, wall=WALL, plan=plan, plan_hash="", decided_by="", symptom_at=NOW, decision={}
    )
    return apply(None, event)


def walk(run: Run, placement: Placement, *events: Event) -> tuple[Run, Placement]:
    for event in events:
        run = apply(run, event)
        placement = advance(placement, run, event)
    return run, placement


def started(run: Run, step: Step, *, undo: bool = False, attempt: int = 1) -> Started:
    return Started(at=NOW, step=step.id, attempt=attempt, term=run.term, undo=undo)


def done(step: Step, *, undo: bool = False, attempt: int = 1) -> Done:
    return Done(at=NOW, step=step.id, attempt=attempt, receipt=Receipt(kind="stopped"), undo=undo)


def failed(step: Step, failure: Failure, *, undo: bool = False, attempt: int = 1) -> Failed:
    return Failed(at=NOW, step=step.id, attempt=attempt, failure=failure, reason="", undo=undo)


def protect() -> Step:
    step = REJOIN.plan.step(StepId(f"protect:{ORDERS_DB}@{WEST}"))
    return replace(step, needs=())


def test_a_region_whose_rebuild_was_begun_and_left_waits_for_another() -> None:
    before = replace(REJOIN.plan.before, awaiting_rejoin=())
    rebuild = next(s for s in REJOIN.plan.steps if s.action.verb is Verb.REJOIN and s.action.component == ORDERS_DB)
    rebuild = replace(rebuild, needs=())
    run = opened(REJOIN.plan, rebuild)
    gave_way = Settled(at=NOW, wall=WALL, outcome=Outcome.GAVE_WAY)
    assert walk(run, before, gave_way)[1] == before, "not begun"
    run, placement = walk(run, before, started(run, rebuild))
    assert walk(run, placement, gave_way)[1].awaiting_rejoin == (rebuild.action.region,)
    assert walk(run, placement, done(rebuild), gave_way)[1].awaiting_rejoin == ()


def test_both_sets_count_while_a_change_runs_and_the_new_one_afterwards() -> None:
    step = protect()
    run = opened(REJOIN.plan, step)
    before = REJOIN.plan.before
    run, placement = walk(run, before, started(run, step))
    assert placement.sync[ORDERS_DB] == (NARROW, WIDE)
    run, placement = walk(run, placement, done(step))
    assert placement.sync[ORDERS_DB] == (WIDE,)


def test_both_sets_count_when_a_change_without_an_answer_gives_way() -> None:
    step = protect()
    run = opened(REJOIN.plan, step)
    run, placement = walk(run, REJOIN.plan.before, started(run, step))
    assert walk(run, placement, Settled(at=NOW, wall=WALL, outcome=Outcome.GAVE_WAY))[1].sync[ORDERS_DB] == (
        NARROW,
        WIDE,
    )


def test_a_change_that_may_have_happened_keeps_both_one_that_did_not_keeps_the_old() -> None:
    step = protect()
    run = opened(REJOIN.plan, step)
    run, placement = walk(run, REJOIN.plan.before, started(run, step))
    _, unknown = walk(run, placement, failed(step, Failure.INDETERMINATE))
    assert unknown.sync[ORDERS_DB] == (NARROW, WIDE)
    _, refused = walk(run, placement, failed(step, Failure.REJECTED))
    assert refused.sync[ORDERS_DB] == (NARROW,)


def test_an_undone_protection_leaves_the_set_from_before() -> None:
    step, last = protect(), replace(protect(), id=StepId("last"), needs=(protect().id,))
    verb = replace(last.action, verb=Verb.SHIFT)
    last = replace(last, action=verb)
    run = opened(REJOIN.plan, step, last)
    run, placement = walk(run, REJOIN.plan.before, started(run, step), done(step))
    run, placement = walk(run, placement, started(run, last), failed(last, Failure.REJECTED))
    run, placement = walk(run, placement, started(run, step, undo=True))
    assert placement.sync[ORDERS_DB] == (WIDE, NARROW)
    run, placement = walk(run, placement, failed(step, Failure.UNAVAILABLE, undo=True))
    assert placement.sync[ORDERS_DB] == (WIDE, NARROW)
    run, placement = walk(run, placement, started(run, step, undo=True, attempt=2), done(step, undo=True, attempt=2))
    assert placement == REJOIN.plan.before


def test_an_undone_step_that_sets_nobody_leaves_the_record() -> None:
    shift = replace(FAILOVER.plan.steps[0], needs=())
    last = replace(shift, id=StepId("last"), needs=(shift.id,))
    run = opened(FAILOVER.plan, shift, last)
    run, placement = walk(run, FAILOVER.plan.before, started(run, shift), done(shift))
    run, placement = walk(run, placement, started(run, last), failed(last, Failure.REJECTED))
    run, placement = walk(run, placement, started(run, shift, undo=True), done(shift, undo=True))
    assert placement == FAILOVER.plan.before


def test_a_protection_by_nobody_is_recorded_as_none() -> None:
    step = protect()
    step = replace(step, action=replace(step.action, args={"acks": 0, "standbys": []}))
    run = opened(REJOIN.plan, step)
    run, placement = walk(run, REJOIN.plan.before, started(run, step))
    assert placement.sync[ORDERS_DB][1].refusals_needed > 0
    _, placement = walk(run, placement, done(step))
    assert ORDERS_DB not in placement.sync


def test_a_failed_protection_after_a_promotion_falls_back_to_the_promotions_set() -> None:
    stop = replace(SWITCHOVER.plan.step(StepId(f"stop:{ORDERS_DB}@{EAST}")), needs=())
    promote = replace(SWITCHOVER.plan.step(StepId(f"promote:{ORDERS_DB}@{WEST}")), needs=(stop.id,))
    last = replace(protect(), needs=(promote.id,))
    run = opened(SWITCHOVER.plan, stop, promote, last)
    run, placement = walk(run, SWITCHOVER.plan.before, started(run, stop), done(stop))
    run, placement = walk(run, placement, started(run, promote), done(promote))
    assert (placement.primary, placement.awaiting_rejoin) == (WEST, (EAST,))
    run, placement = walk(run, placement, started(run, last), failed(last, Failure.REJECTED))
    assert placement.sync[ORDERS_DB] == (NARROW,)


def test_a_group_without_state_moves_when_its_run_completes() -> None:
    shift = next(s for s in FAILOVER.plan.steps if s.action.verb is Verb.SHIFT)
    shift = replace(shift, needs=())
    run = opened(FAILOVER.plan, shift)
    run, placement = walk(run, FAILOVER.plan.before, started(run, shift), done(shift))
    assert placement.primary == EAST
    _, placement = walk(run, placement, Settled(at=NOW, wall=WALL, outcome=Outcome.COMPLETED))
    assert placement.primary == WEST


def test_another_door_is_in_the_record_from_the_first_order_until_all_are_back() -> None:
    out = replace(SHIFT.plan.step(StepId("shift:shop-dns@us-west-2")), needs=())
    run, placement = walk(opened(SHIFT.plan, out), SHIFT.plan.before, started(opened(SHIFT.plan, out), out))
    assert placement.entry == WEST
    run, stuck = walk(run, placement, *[failed(out, Failure.REJECTED)])
    assert stuck.entry == WEST
    _, turned = walk(run, stuck, Settled(at=NOW, wall=WALL, outcome=Outcome.ROLLED_BACK))
    assert turned == SHIFT.plan.before
    back = replace(BACK.plan.step(StepId("shift:shop-dns@us-west-2")), needs=())
    run, placement = walk(opened(BACK.plan, back), BACK.plan.before, started(opened(BACK.plan, back), back))
    assert placement.entry == WEST
    run, placement = walk(run, placement, done(back), Settled(at=NOW, wall=WALL, outcome=Outcome.COMPLETED))
    assert (placement.entry, placement.term) == (None, BACK.plan.term)


def test_a_stuck_shift_leaves_the_door_in_the_record() -> None:
    out = replace(SHIFT.plan.step(StepId("shift:shop-dns@us-west-2")), needs=(), retries=0)
    run = opened(SHIFT.plan, out)
    placement = SHIFT.plan.before
    for attempt in range(1, 2 + LOOKS_MAX):
        run, placement = walk(run, placement, started(run, out, attempt=attempt))
        run, placement = walk(run, placement, failed(out, Failure.INDETERMINATE, attempt=attempt))
    _, placement = walk(run, placement, Settled(at=NOW, wall=WALL, outcome=Outcome.STUCK))
    assert placement.entry == WEST


def test_a_primary_that_waited_for_nobody_counts_as_alone_until_the_receipt() -> None:
    step = protect()
    lonely = replace(REJOIN.plan.before, sync={})
    plan = replace(REJOIN.plan, before=lonely)
    run = opened(plan, step)
    run, placement = walk(run, lonely, started(run, step))
    assert ORDERS_DB not in placement.sync
    _, unknown = walk(run, placement, failed(step, Failure.INDETERMINATE))
    assert ORDERS_DB not in unknown.sync
    _, placement = walk(run, placement, done(step))
    assert placement.sync[ORDERS_DB] == (WIDE,)
