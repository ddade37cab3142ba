"""Whom each primary waits for, whom it should, and what changed that last."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.core.plan import SyncSet, Term
from evac.core.protection import Protect, plan_protect
from evac.core.run import Opened, Outcome, Progress, Receipt, Run, RunId, Settled
from evac.core.standing import changes_of, standings
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS_DB, WEST, placed, shop

ESTATE = shop()
WALL = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = timedelta()
WEST_ONLY = SyncSet(acks=1, standbys=(WEST,))


def changed(*, done: bool = True, sync: SyncSet = WEST_ONLY, told: object = ("eu-west-1 has been away",)) -> Run:
    """A settled run that was to change the set."""
    change = Protect(group=GROUP, component=ORDERS_DB, region=EAST, sync=sync, reasons=())
    plan = plan_protect(change, placed(ESTATE), term=Term(2))
    opened = Opened(
        run=RunId("3"),
        at=ZERO,
        wall=WALL,
        plan=plan,
        plan_hash="",
        decided_by="evac",
        symptom_at=ZERO,
        decision={"reasons": told},  # type: ignore[dict-item]
    )
    progress = Progress(attempt=1, term=Term(2), started_at=ZERO, receipt=Receipt(kind="protect") if done else None)
    settled = Settled(at=ZERO, wall=WALL, outcome=Outcome.COMPLETED)
    return Run(opened=opened, term=Term(2), does={plan.steps[0].id: progress}, settled=settled)


def test_a_set_as_declared_is_whole() -> None:
    (standing,) = standings(ESTATE, [placed(ESTATE)], {})
    assert (standing.component, standing.missing, standing.changed) == (ORDERS_DB, (), None)
    assert standing.whole
    assert not standing.alone


def test_one_that_is_smaller_says_who_is_missing_and_why() -> None:
    (change,) = changes_of(changed())
    assert (change.run, change.reasons, change.wall) == (RunId("3"), ("eu-west-1 has been away",), WALL)
    (standing,) = standings(ESTATE, [replace(placed(ESTATE), sync={ORDERS_DB: (WEST_ONLY,)})], {ORDERS_DB: change})
    assert standing.missing == (EUROPE,)
    assert standing.changed == change
    assert not standing.whole
    assert not standing.alone


def test_nobody_waited_for_and_fewer_than_declared_are_not_whole() -> None:
    (standing,) = standings(ESTATE, [replace(placed(ESTATE), sync={})], {})
    assert standing.alone
    assert not standing.whole
    estate = shop(acks=2)
    fewer = replace(placed(estate), sync={ORDERS_DB: (SyncSet(acks=1, standbys=(WEST, EUROPE)),)})
    (standing,) = standings(estate, [fewer], {})
    assert not standing.whole


def test_what_was_not_done_or_changed_nothing_is_no_change() -> None:
    assert changes_of(changed(done=False)) == ()
    assert changes_of(changed(sync=SyncSet(acks=1, standbys=(WEST, EUROPE)))) == ()
    (change,) = changes_of(changed(told=None))
    assert change.reasons == ()
