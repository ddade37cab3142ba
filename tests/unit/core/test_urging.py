"""What is made of a trigger that fires: what evac would do anyway comes first, and every rule for a move holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move, Rejoin, Tries, View
from evac.core.estate import Automation, Estate, GroupId, RegionId
from evac.core.plan import RunKind
from evac.core.run import RunId
from evac.core.targets import Members
from evac.core.traffic import Shift
from evac.core.trigger import Action, Severity
from evac.core.triggers import Standing
from evac.core.what_if import what_if
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS_DB, SHOP_DNS, WEST, placed, shop
from fakes import triggers
from fakes.estates import all_well, changed, dead, members, seconds, view, watched
from fakes.triggers import SIGHTS

ESTATE = shop()
WELL = all_well(ESTATE)
NOW = WELL.at


def standing(action: Action = Action.FAILOVER, **changes: Any) -> Standing:
    return triggers.standing(action, at=NOW, **changes)


def knows(*standings: Standing, estate: Estate = ESTATE, told: Members | None = None) -> View:
    here = replace(view(estate, WELL), triggers={GROUP: standings})
    return here if told is None else replace(here, members=told)


def decided(here: View) -> Decision:
    (decision,) = decide(here, now=here.assessment.at)
    return decision


OVER = standing(true=False, held=seconds(0), true_at=None, fired=False, since=NOW - seconds(1))


def test_the_primaries_move_as_planned_where_they_can_be_asked_to() -> None:
    move = decided(knows(standing()))
    assert isinstance(move, Move)
    assert (move.kind, move.source, move.target, move.decided_by) == (RunKind.SWITCHOVER, EAST, WEST, "evac")
    assert (move.evidence, move.symptom_at) == (SIGHTS, NOW - seconds(120))
    assert move.trigger == standing().as_fired()
    assert move.reasons[:3] == (
        "trigger half-down (warning): region.availability < 0.5, for 120 s",
        "half of it is down",
        "seen from us-west-2: region.availability 0.4; from eu-west-1: region.availability 0.4",
    )


@pytest.mark.parametrize(
    "changes", [{"true": None}, {"true": False}, {"held": seconds(119)}, {"region": WEST}], ids=str
)
def test_only_one_that_is_true_now_for_long_enough_and_where_the_primaries_are(changes: dict[str, Any]) -> None:
    assert isinstance(decided(knows(standing(**changes))), Hold)


def test_a_primary_that_does_not_answer_is_left_as_in_any_failover() -> None:
    told = changed(members(ESTATE), ORDERS_DB, EAST, state=None)
    move = decided(knows(standing(), told=told))
    assert isinstance(move, Move)
    assert move.kind is RunKind.FAILOVER
    unseen = {where: seen for where, seen in members(ESTATE).items() if where != (CARTS_CACHE, EAST)}
    move = decided(knows(standing(), told=unseen))
    assert isinstance(move, Move)
    assert move.kind is RunKind.FAILOVER, "nobody has asked one of them yet"


def silent_source(estate: Estate = ESTATE) -> View:
    """A view in which the primary's agent is not heard, and nothing else is wrong."""
    verdicts = {**WELL.verdicts, EAST: replace(WELL.verdicts[EAST], heartbeat_age=seconds(5))}
    here = knows(standing(), estate=estate)
    return replace(here, assessment=replace(WELL, verdicts=verdicts))


def test_nothing_moves_whose_old_primary_cannot_be_fenced() -> None:
    move = decided(silent_source())
    assert isinstance(move, Move)
    assert move.kind is RunKind.FAILOVER
    gone = {where: seen for where, seen in members(ESTATE).items() if where != (ORDERS_DB, EUROPE)}
    call = decided(replace(silent_source(), members=gone))
    assert isinstance(call, CallPerson)
    assert call.reasons[-2:] == (
        "orders-db: 2 of us-west-2, eu-west-1 must refuse the old primary, 1 can be reached",
        "if you are sure that it writes no more: evac failover us-east-1 --to us-west-2 --accept-loss",
    )


def test_where_nobody_can_take_over_a_person_is_called_and_upkeep_goes_on() -> None:
    told = members(ESTATE)
    for region in (WEST, EUROPE):
        told = changed(told, ORDERS_DB, region, lag=seconds(60))
    call = decided(knows(standing(), told=told))
    assert isinstance(call, CallPerson)
    assert "no region can take over:" in call.reasons
    assert {r.region for r in call.rejected} == {WEST, EUROPE}


def test_what_is_detected_without_a_trigger_comes_first() -> None:
    gone = dead(ESTATE, EAST)
    here = replace(view(ESTATE, gone), triggers={GROUP: (standing(),)})
    move = decided(here)
    assert isinstance(move, Move)
    assert move.trigger is None
    assert "unreachable" in move.reasons[0]


@pytest.mark.parametrize("action", [Action.FAILOVER, Action.SHIFT])
def test_one_that_is_not_automatic_asks_first(action: Action) -> None:
    ask = decided(knows(standing(action, automatic=False)))
    assert isinstance(ask, Ask)
    assert isinstance(ask.move, Move if action is Action.FAILOVER else Shift)
    assert ask.reasons[-1] == "trigger half-down asks before it acts"


def test_whatever_holds_automation_back_holds_back_triggers() -> None:
    here = knows(standing())
    paused = decided(replace(here, paused="a release"))
    assert isinstance(paused, CallPerson)
    assert paused.reasons[-2:] == ("automation is paused: a release", "by hand: evac switchover us-west-2")
    assert isinstance(decided(replace(here, quiet={GROUP: "work on the disks"})), Hold)
    assert isinstance(decided(replace(here, last_move_at={GROUP: NOW - seconds(60)})), CallPerson)
    manual = shop(automation=Automation.MANUAL)
    assert isinstance(decided(knows(standing(), estate=manual)), CallPerson)
    assert isinstance(decided(replace(here, stuck={GROUP: RunId("r-1")})), Hold)
    assert isinstance(decided(replace(here, tries={GROUP: Tries(count=1, at=NOW)})), Hold)
    restless = Flaps(points=5000, at=NOW)
    assert isinstance(decided(replace(here, flaps={GROUP: restless})), CallPerson)


def test_after_a_move_that_a_trigger_asked_for_only_triggers_wait() -> None:
    moved = {GROUP: NOW - seconds(60)}
    call = decided(replace(knows(standing()), urged_at=moved))
    assert isinstance(call, CallPerson)
    assert call.reasons[-2] == "moved 60 s ago; nothing that a trigger asks for for another 1740 s"
    gone = dead(ESTATE, EAST)
    assert isinstance(decided(replace(view(ESTATE, gone), urged_at=moved)), Move)


def test_moves_of_triggers_that_fail_are_tried_again_apart_from_all_others() -> None:
    soon = replace(knows(standing()), urge_tries={GROUP: Tries(count=1, at=NOW - seconds(4))})
    hold = decided(soon)
    assert isinstance(hold, Hold)
    assert hold.reasons[-1] == "the last run did not complete; tried again in 6 s"
    assert isinstance(decided(replace(soon, urge_tries={GROUP: Tries(count=1, at=NOW - seconds(11))})), Move)
    thrice = {GROUP: Tries(count=3, at=NOW - timedelta(hours=1))}
    call = decided(replace(soon, urge_tries=thrice))
    assert isinstance(call, CallPerson)
    assert "3 runs in a row did not complete" in call.reasons
    gone = dead(ESTATE, EAST)
    lost = replace(view(ESTATE, gone), triggers={GROUP: (standing(),)}, urge_tries=thrice)
    assert isinstance(decided(lost), Move), "a region that is lost is left all the same"


def test_a_run_that_gives_way_gives_way_to_it_and_no_other_does() -> None:
    here = replace(knows(standing()), active={GROUP: RunId("r-1")})
    assert isinstance(decided(here), Hold)
    assert isinstance(decided(replace(here, giving_way=frozenset({GROUP}))), Move)


def test_clients_come_in_by_another_door() -> None:
    shift = decided(knows(standing(Action.SHIFT)))
    assert isinstance(shift, Shift)
    assert (shift.source, shift.target, shift.trigger) == (EAST, WEST, standing().as_fired())
    assert (shift.evidence, shift.symptom_at) == (SIGHTS, NOW - seconds(120))


def test_where_no_door_is_open_or_it_did_not_work_a_person_is_called_and_nothing_is_moved() -> None:
    no_dns = replace(ESTATE, components={c: made for c, made in ESTATE.components.items() if c != SHOP_DNS})
    call = decided(knows(standing(Action.SHIFT), estate=no_dns))
    assert isinstance(call, CallPerson)
    assert call.reasons[-1] == "traffic cannot be shifted: no router of shop chooses where clients enter"
    tried = replace(knows(standing(Action.SHIFT)), shift_tries={GROUP: Tries(count=1, at=NOW - seconds(30))})
    call = decided(tried)
    assert isinstance(call, CallPerson)
    assert call.reasons[-1] == "sending clients in by another door did not work 30 s ago"
    later = replace(tried, shift_tries={GROUP: Tries(count=1, at=NOW - timedelta(hours=1))})
    assert isinstance(decided(later), Shift)


def round_about(*standings: Standing) -> View:
    return replace(view(ESTATE, WELL, replace(placed(ESTATE), entry=WEST)), triggers={GROUP: standings})


@pytest.mark.parametrize(
    ("shifts", "why"),
    [
        (standing(Action.SHIFT), "trigger half-down is not over; now: evac failback"),
        (standing(Action.SHIFT, true=None), "trigger half-down is not over; now: evac failback"),
        (replace(OVER, action=Action.SHIFT), "trigger half-down has been over for 1 s only; now: evac failback"),
    ],
    ids=["true", "unknown since it fired", "just over"],
)
def test_clients_stay_away_as_long_as_what_sent_them_there_is_not_over(shifts: Standing, why: str) -> None:
    hold = decided(round_about(shifts))
    assert isinstance(hold, Hold)
    assert hold.reasons == ("clients enter by us-west-2, which carries them on to us-east-1", why)


def test_they_come_back_once_it_is_over_and_nothing_else_keeps_them() -> None:
    over = replace(OVER, action=Action.SHIFT, since=NOW - seconds(60))
    never = standing(Action.SHIFT, true=None, fired=False)
    other = standing(Action.CALL, true=False)
    hold = decided(round_about(over, never, other))
    assert isinstance(hold, Hold)
    assert "door is open again; they come back" in hold.reasons[1]


def test_a_person_is_called_when_nothing_else_is_to_be_done() -> None:
    call = decided(knows(standing(Action.CALL)))
    assert isinstance(call, CallPerson)
    assert call.reasons[1] == "half of it is down"
    plain = decided(knows(standing(Action.CALL, says="")))
    assert isinstance(plain, CallPerson)
    assert len(plain.reasons) == 2
    waits = decided(round_about(standing(Action.CALL), standing(Action.SHIFT)))
    assert isinstance(waits, CallPerson)
    assert waits.reasons[-1] == "trigger half-down is not over; now: evac failback", "what is waited for is still said"


def test_what_evac_owes_a_group_goes_before_whoever_is_asked_or_called() -> None:
    told = members(ESTATE)
    away = replace(placed(ESTATE), awaiting_rejoin=(EUROPE,))
    for waits in (standing(Action.CALL), standing(automatic=False)):
        here = replace(view(ESTATE, WELL, away), triggers={GROUP: (waits,)}, members=told)
        here = replace(here, heard_since=dict.fromkeys(ESTATE.regions, seconds(-60)))
        assert isinstance(decided(here), Rejoin)


def test_the_more_severe_is_heard_first() -> None:
    mild = standing(Action.SHIFT, trigger="mild", severity=Severity.INFO)
    dire = standing(trigger="dire", severity=Severity.CRITICAL)
    move = decided(knows(mild, dire))
    assert isinstance(move, Move)
    calls = decided(knows(standing(Action.CALL, trigger="mild", severity=Severity.INFO), standing(Action.CALL)))
    assert isinstance(calls, CallPerson)
    assert calls.reasons[0].startswith("trigger half-down")


def test_who_is_called_is_told_before_who_may_wait() -> None:
    here = replace(knows(standing(severity=Severity.CRITICAL), standing(Action.CALL)), quiet={GROUP: "work"})
    assert isinstance(decided(here), CallPerson)


def test_another_groups_trigger_changes_nothing() -> None:
    here = replace(view(ESTATE, WELL), triggers={GroupId("other"): (standing(),)})
    assert isinstance(decided(here), Hold)


def test_what_if_asks_no_trigger() -> None:
    detector, now = watched(ESTATE)
    here = replace(knows(standing()), assessment=WELL)
    found = what_if(
        RegionId(EUROPE),
        detector=detector,
        view=here,
        now=seconds(now),
        durations={},
        planner=lambda move, _: 1 / 0,  # type: ignore[arg-type, return-value]
    )
    assert [isinstance(each.decision, Hold) for each in found if each is not None] == [True]
