"""What the loss of a region would come to is decided and planned as in earnest, from what is seen now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.decision import Ask, CallPerson, Move, Tries, View
from evac.core.errors import UnsafePlan
from evac.core.estate import Automation, Estate, ReplicationMode
from evac.core.plan import Plan, RunKind, Verb
from evac.core.run import RunId
from evac.core.sights import sights
from evac.core.traffic import Shift
from evac.core.what_if import what_if
from evac.engine.planner import plan_of
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS_DB, WEST, placed, shop
from fakes.estates import all_well, seconds, situation
from fakes.thoughts import seen, thought


def asynchronous(estate: Estate) -> Estate:
    """The same estate, its database asynchronous, and nothing that fences it from afar."""
    orders = estate.components[ORDERS_DB]
    assert orders.replication is not None
    loose = replace(orders, replication=replace(orders.replication, mode=ReplicationMode.ASYNC, acks=0))
    return replace(estate, components={**estate.components, ORDERS_DB: loose})


def test_the_primarys_region_is_moved_out_of_as_if_it_were_dead() -> None:
    found = thought()
    assert isinstance(found.decision, Move)
    assert (found.serves, found.decision.target, found.blocks) == (True, WEST, ())
    assert found.plan is not None
    assert found.forecast is not None
    assert not [s for s in found.plan.steps if s.action.region == EAST], "nobody is left there to be asked"
    assert [s for s in found.plan.steps if s.action.verb is Verb.REFUSE]
    assert found.forecast.rto > timedelta()
    assert {loss.component for loss in found.losses} >= {ORDERS_DB}


def test_it_is_the_same_from_the_same() -> None:
    assert thought() == thought()


def test_a_primary_that_nobody_can_fence_blocks_although_all_is_well_now() -> None:
    found = thought(estate=asynchronous(shop()))
    assert isinstance(found.decision, CallPerson)
    assert (found.plan, found.forecast) == (None, None)
    assert any("orders-db is asynchronous" in reason for reason in found.blocks)


def test_a_standbys_region_that_dies_moves_nothing_and_blocks_nothing() -> None:
    found = thought(EUROPE)
    assert (found.serves, found.plan, found.blocks, found.losses) == (False, None, (), ())


def test_whom_evac_has_to_ask_it_would_ask_with_the_plan_at_hand() -> None:
    found = thought(estate=shop(automation=Automation.SEMI_AUTOMATIC))
    assert isinstance(found.decision, Ask)
    assert found.plan is not None


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"active": {GROUP: RunId("7")}}, "run 7 is under way"),
        ({"stuck": {GROUP: RunId("7")}}, "run 7 is stuck"),
        ({"paused": "lunch"}, "lunch"),
    ],
)
def test_what_would_hold_evac_back_then_is_said_now(known: dict[str, object], said: str) -> None:
    found = thought(**known)  # type: ignore[arg-type]
    assert found.stays
    assert any(said in reason for reason in found.blocks)
    assert found.plan is not None, "a person can still do it by hand"
    assert found.forecast is not None


def test_with_one_standby_gone_already_the_other_cannot_prove_that_nothing_is_lost() -> None:
    found = thought(without=EUROPE)
    assert found.plan is None
    assert found.blocks


def test_a_door_that_dies_with_a_standby_whose_primary_is_elsewhere_is_left_as_planned() -> None:
    """One standby of two could not starve the primary; it is well, and stops by itself."""
    there = replace(placed(shop()), entry=WEST)
    found = thought(WEST, placement=there)
    assert isinstance(found.decision, Move)
    assert (found.decision.kind, found.decision.target) == (RunKind.SWITCHOVER, EUROPE)
    assert (found.serves, found.blocks) == (False, ())
    again = thought(WEST, placement=there, tries={GROUP: Tries(count=1, at=seconds(-5))})
    assert isinstance(again.decision, CallPerson)
    assert again.blocks == again.decision.reasons


def test_a_shift_of_traffic_is_planned_as_one() -> None:
    estate = shop()
    shift = Shift(group=GROUP, source=EAST, target=WEST, reasons=("said so",))
    assert plan_of(shift, situation(estate, all_well(estate))).kind is RunKind.SHIFT


def refuse(move: object, situation: object) -> Plan:
    """Stands for a plan that cannot be made."""
    raise UnsafePlan(("the moon is full",))


def test_what_no_plan_can_do_safely_blocks() -> None:
    found = thought(planner=refuse)
    assert (found.plan, found.forecast, found.blocks) == (None, None, ("the moon is full",))


def test_what_was_never_seen_or_heard_stays_so() -> None:
    """A region that was silent before is no more alive for it, and a cell without a view gets none."""
    found = thought(EUROPE, without=WEST)
    assert not found.serves
    estate = shop()
    detector, now = seen(estate)
    sight = next(s for s in detector.cells if s.region == WEST)
    blank = replace(detector, cells=sights({**detector.cells, sight: replace(detector.cells[sight], up=None)}))
    live = View(
        estate=estate,
        assessment=assess(blank, now=now, estate=estate),
        members=blank.members,
        placements={GROUP: placed(estate)},
    )
    *_, also = what_if(EAST, detector=blank, view=live, now=now, durations={}, planner=plan_of)
    assert also is not None
    assert isinstance(also.decision, Move)


def test_a_group_that_has_nobody_in_a_region_is_nothing_to_its_loss() -> None:
    estate = shop()
    detector, now = seen(estate)
    elsewhere = {
        i: replace(c, members={r: m for r, m in c.members.items() if r != EUROPE}) for i, c in estate.components.items()
    }
    live = View(
        estate=replace(estate, components=elsewhere),
        assessment=assess(detector, now=now, estate=estate),
        members=detector.members,
        placements={GROUP: placed(estate)},
    )
    said = list(what_if(EUROPE, detector=detector, view=live, now=now, durations={}, planner=plan_of))
    assert set(said) == {None}


def test_where_there_is_nobody_to_move_to_no_hand_helps_either() -> None:
    estate = shop()
    alone = replace(estate, services={i: replace(s, regions=(EAST,)) for i, s in estate.services.items()})
    found = thought(estate=alone)
    assert (found.stays, found.plan, found.forecast) == (True, None, None)
    assert found.blocks
