from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.decision import Rejoin
from evac.core.errors import UnsafePlan
from evac.core.estate import Estate, RegionId
from evac.core.fence import unfenced
from evac.core.fencing import unfenceable
from evac.core.plan import Phase, Plan, RunKind, StepId, SyncSet, Term, Verb
from evac.core.planning import plan_move
from evac.core.protection import set_of
from evac.core.rejoining import plan_rejoin
from evac.core.steps import Situation
from evac.core.timing import Holding, LeaseTiming
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, SHOP, SHOP_LB, WEST, placed, shop
from fakes.estates import changed, dead, everywhere, judged, members, move, seconds, situation
from fakes.waiting import waits

ESTATE = shop()
TERM = Term(2)
HELD = Holding(
    timing=LeaseTiming(
        renew=seconds(1), hold=seconds(6), demote=seconds(1), watchdog=seconds(6), reset=seconds(1),
        freeze=seconds(1), wait=seconds(9),
    )
)  # fmt: skip


def failover(here: Situation | None = None, *, accept_loss: bool = False) -> Plan:
    return plan_move(
        move(EAST, WEST, accept_loss=accept_loss), here or situation(ESTATE, dead(ESTATE, EAST)), term=TERM
    )


def verbs(plan: Plan, verb: Verb) -> list[StepId]:
    return [s.id for s in plan.steps if s.action.verb is verb]


def test_a_plan_has_the_steps_it_names_and_no_others() -> None:
    plan = failover()
    assert [plan.step(step.id) for step in plan.steps] == list(plan.steps)
    with pytest.raises(KeyError):
        plan.step(StepId("dance"))


def test_a_failover_starves_the_old_primary_before_it_promotes() -> None:
    plan = failover()
    promote = plan.step(StepId("promote:orders-db@us-west-2"))
    assert {"refuse:orders-db@us-west-2", "refuse:orders-db@eu-west-1"} <= set(promote.needs)
    assert promote.pivot
    assert not verbs(plan, Verb.STOP)


def test_a_failover_shifts_clients_once_what_they_need_is_promoted() -> None:
    shift = failover().step(StepId("shift:shop-lb@us-west-2"))
    assert waits(failover(), shift.id) == {"promote:orders-db@us-west-2"}
    assert shift.action.args["weights"] == {"us-east-1": 0, "us-west-2": 100, "eu-west-1": 0}


def test_routers_that_cannot_be_reached_are_named() -> None:
    plan = failover()
    assert "shop-lb in us-east-1 cannot be reached: it is mended when the region answers" in plan.notes
    assert len(verbs(plan, Verb.SHIFT)) == 4


def test_after_a_failover_the_old_region_waits_to_be_rebuilt() -> None:
    plan = failover()
    assert (plan.after.primary, plan.after.term, plan.after.awaiting_rejoin) == (WEST, TERM, (EAST,))
    assert plan.after.sync[ORDERS_DB] == (SyncSet(acks=1, standbys=(EUROPE,)),)


def test_a_source_that_answers_is_stopped_too() -> None:
    plan = failover(situation(ESTATE, judged(ESTATE)))
    stop = plan.step(StepId("stop:orders-db@us-east-1"))
    assert stop.optional
    assert plan.step(StepId("shift:shop-lb@us-east-1")).optional is False


def test_an_asynchronous_source_that_answers_must_be_stopped() -> None:
    estate = shop(acks=0, cache_acks=0)
    plan = plan_move(move(EAST, WEST), situation(estate, judged(estate)), term=TERM)
    stop = StepId("stop:orders-db@us-east-1")
    assert not plan.step(stop).optional
    assert stop in plan.step(StepId("promote:orders-db@us-west-2")).needs
    assert plan.after.sync == {}


def test_an_asynchronous_source_out_of_reach_needs_a_persons_word() -> None:
    estate = shop(acks=0, cache_acks=0)
    here = situation(estate, dead(estate, EAST))
    with pytest.raises(UnsafePlan, match="nothing proves it stopped"):
        failover(here)
    forced = failover(here, accept_loss=True)
    assert forced.step(StepId("promote:orders-db@us-west-2")).action.args["word"] == "evac"


def test_an_asynchronous_source_out_of_reach_is_waited_for_where_it_is_held_under_a_lease() -> None:
    estate = shop(held=HELD)
    plan = failover(situation(estate, dead(estate, EAST)))
    expire = plan.step(StepId("expire:orders-db@us-west-2"))
    assert expire.timeout > HELD.timing.wait
    assert not expire.undoable
    assert {expire.id} <= set(plan.step(StepId("promote:orders-db@us-west-2")).needs)
    assert any("promoted 9 s after us-east-1's last renewal" in note for note in plan.notes)
    assert any("a machine paused for more than 1 s" in note for note in plan.notes)


def test_what_takes_its_lease_back_has_time_to_wait_for_it() -> None:
    held, plain = (plan_move(move(EAST, WEST), situation(e, judged(e)), term=TERM) for e in (shop(held=HELD), ESTATE))
    stop = StepId("stop:orders-db@us-east-1")
    assert held.step(stop).undo_timeout == held.step(stop).timeout + HELD.timing.wait
    assert plain.step(stop).undo_timeout is None


def test_a_lease_is_waited_for_only_where_nothing_quicker_proves_it() -> None:
    estate = shop(held=HELD)
    answering = plan_move(move(EAST, WEST), situation(estate, judged(estate)), term=TERM)
    assert not verbs(answering, Verb.EXPIRE)
    assert StepId("stop:orders-db@us-east-1") in verbs(answering, Verb.STOP)
    assert not verbs(failover(situation(estate, dead(estate, EAST)), accept_loss=True), Verb.EXPIRE)
    assert not verbs(failover(), Verb.EXPIRE), "a synchronous one is starved"


def test_a_lease_that_ran_out_opens_the_promotion_and_that_of_another_region_does_not() -> None:
    estate = shop(held=HELD)
    plan = failover(situation(estate, dead(estate, EAST)))
    expire, promote = plan.step(StepId("expire:orders-db@us-west-2")), plan.step(StepId("promote:orders-db@us-west-2"))
    assert "nothing proves" in unfenced(plan, promote, {})
    assert unfenced(plan, promote, {expire.id: "expired"}) == ""
    others = replace(expire, action=replace(expire.action, args={"old": EUROPE}))
    strange = replace(plan, steps=tuple(others if s.id == expire.id else s for s in plan.steps))
    assert "nothing proves" in unfenced(strange, promote, {expire.id: "expired"})


def test_an_asynchronous_source_out_of_reach_is_switched_off_where_a_device_can() -> None:
    estate = switchable(shop(acks=0))
    plan = failover(situation(estate, dead(estate, EAST)))
    off, promote = plan.step(StepId("switch-off:orders-db@us-west-2")), plan.step(StepId("promote:orders-db@us-west-2"))
    assert off.action.args == {"old": EAST}
    assert off.id in promote.needs
    assert unfenced(plan, promote, {off.id: "device"}) == ""
    assert any("a device says that its host in us-east-1 is off" in note for note in plan.notes)
    answering = plan_move(move(EAST, WEST), situation(estate, judged(estate)), term=TERM)
    assert not verbs(answering, Verb.SWITCH_OFF)
    assert unfenceable(estate, dead(estate, EAST), placed(estate), members(estate)) == ""
    elsewhere = replace(placed(estate), primary=WEST)
    assert unfenceable(estate, dead(estate, WEST), elsewhere, members(estate)) != "", "no device is there"


def test_a_device_does_not_prove_that_nothing_synchronous_is_lost() -> None:
    estate = switchable(shop())
    assert not verbs(failover(situation(estate, dead(estate, EAST))), Verb.SWITCH_OFF)
    seen = {at: state for at, state in members(estate).items() if at != (ORDERS_DB, EUROPE)}
    with pytest.raises(UnsafePlan, match="must refuse the old primary"):
        failover(replace(situation(estate, dead(estate, EAST)), members=seen))


def switchable(estate: Estate) -> Estate:
    """The estate with a device for the home of orders-db."""
    database = replace(estate.components[ORDERS_DB], devices={EAST: "a plug"})
    return replace(estate, components={**estate.components, ORDERS_DB: database})


def test_what_is_merely_wanted_and_cannot_be_fenced_stays_behind() -> None:
    estate = shop(cache_acks=0)
    plan = failover(situation(estate, dead(estate, EAST)))
    assert not [s for s in plan.steps if s.action.component == CARTS_CACHE]
    assert any(note.startswith("carts-cache stays where it is") for note in plan.notes)
    assert CARTS_CACHE not in plan.after.sync


def test_what_stays_behind_keeps_whom_it_waits_for() -> None:
    here = situation(ESTATE, dead(ESTATE, EAST))
    known = changed(here.members, CARTS_CACHE, EUROPE, state=None)
    plan = failover(replace(here, members=known))
    assert plan.after.sync[CARTS_CACHE] == here.placement.sync[CARTS_CACHE]


def test_a_dead_standby_is_not_asked_to_refuse() -> None:
    estate = shop(acks=2, cache_acks=2)
    known = changed(members(estate), ORDERS_DB, EUROPE, state=None)
    plan = failover(replace(situation(estate, dead(estate, EAST)), members=known))
    assert "refuse:orders-db@eu-west-1" not in verbs(plan, Verb.REFUSE)


def test_a_primary_that_nobody_stands_by_writes_alone_and_the_plan_says_so() -> None:
    two = shop((EAST, WEST))
    plan = failover(situation(two, dead(two, EAST)))
    assert any("no standby is left to acknowledge" in note for note in plan.notes)
    assert plan.step(StepId("promote:orders-db@us-west-2")).action.args["sync"] == {"acks": 0, "standbys": []}


def test_followers_without_whom_writes_wait_are_required() -> None:
    plan = failover()
    assert not plan.step(StepId("follow:orders-db@eu-west-1")).optional
    four = shop((EAST, WEST, EUROPE, RegionId("sa-east-1")))
    easy = failover(situation(four, dead(four, EAST)))
    assert easy.step(StepId("follow:orders-db@eu-west-1")).optional


def test_a_primary_that_can_be_stopped_is_not_stopped_for_a_promotion_that_could_not_be_opened() -> None:
    said = judged(ESTATE, down=everywhere(ESTATE, EAST, services=(ORDERS,), inside=True))
    alone = changed(members(ESTATE), ORDERS_DB, EUROPE, state=None)
    here = replace(situation(ESTATE, said), members=alone)
    with pytest.raises(UnsafePlan, match="2 of us-west-2, eu-west-1 must refuse the old primary, 1 can be reached"):
        failover(here)
    assert failover(here, accept_loss=True).step(StepId("promote:orders-db@us-west-2")).action.args["word"]


def test_where_a_standby_cannot_be_followed_it_is_not_before_it_leads() -> None:
    """A replica that follows early lends nothing any more, and loses what it has more than who it follows."""
    plan = failover()
    assert plan.step(StepId("follow:orders-db@eu-west-1")).needs == ("refuse:orders-db@eu-west-1",)
    assert "promote:carts-cache@us-west-2" in plan.step(StepId("follow:carts-cache@eu-west-1")).needs


def test_a_waiting_region_does_not_follow() -> None:
    four = shop((EAST, WEST, EUROPE, RegionId("sa-east-1")))
    where = replace(placed(four), awaiting_rejoin=(EUROPE,))
    plan = failover(situation(four, dead(four, EAST), where))
    assert "follow:orders-db@eu-west-1" not in verbs(plan, Verb.FOLLOW)
    assert plan.after.awaiting_rejoin == (EUROPE, EAST)


def switchover(here: Situation | None = None) -> Plan:
    wish = move(EAST, WEST, kind=RunKind.SWITCHOVER)
    return plan_move(wish, here or situation(ESTATE, judged(ESTATE)), term=TERM)


def test_a_switchover_promotes_nothing_before_all_is_stopped_and_caught_up() -> None:
    plan = switchover()
    for promote in (plan.step(s) for s in verbs(plan, Verb.PROMOTE)):
        assert {*verbs(plan, Verb.STOP), *verbs(plan, Verb.CATCH_UP)} <= waits(plan, promote.id)
    for stop in (plan.step(s) for s in verbs(plan, Verb.STOP)):
        assert set(verbs(plan, Verb.PREPARE)) <= waits(plan, stop.id)


def test_a_switchover_ends_with_the_old_primary_standing_by() -> None:
    plan = switchover()
    assert plan.steps[-1].phase is Phase.RESTORE
    assert plan.after.awaiting_rejoin == ()
    assert plan.after.sync[ORDERS_DB] == (SyncSet(acks=1, standbys=(EAST, EUROPE)),)


def test_a_planned_move_needs_a_source_that_answers() -> None:
    with pytest.raises(UnsafePlan, match="use evac failover"):
        switchover(situation(ESTATE, dead(ESTATE, EAST)))


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [(WEST, EUROPE, "are in us-east-1"), (EAST, EAST, "already holds"), (EAST, RegionId("mars"), "not a region")],
)
def test_what_is_no_move(source: RegionId, target: RegionId, reason: str) -> None:
    with pytest.raises(UnsafePlan, match=reason):
        plan_move(move(source, target), situation(ESTATE, judged(ESTATE)), term=TERM)


def test_a_move_raises_the_term() -> None:
    with pytest.raises(AssertionError):
        plan_move(move(EAST, WEST), situation(ESTATE, judged(ESTATE)), term=Term(1))


def returned(estate_members: dict[object, object] | None = None, *, cache_acks: int = 1) -> Plan:
    estate = shop(cache_acks=cache_acks)
    sync = {c: (SyncSet(acks=1, standbys=(EUROPE,)),) for c in placed(estate).sync}
    where = replace(placed(estate), primary=WEST, awaiting_rejoin=(EAST,), sync=sync)
    here = situation(estate, judged(estate), where)
    if estate_members is not None:
        here = replace(here, members={**here.members, **estate_members})  # type: ignore[dict-item]
    rejoin = Rejoin(group=GROUP, region=EAST, reasons=("is back",))
    return plan_rejoin(rejoin, here, term=TERM)


def test_a_returned_region_is_stopped_rebuilt_and_waited_for() -> None:
    plan = returned()
    assert plan.step(StepId("rejoin:orders-db@us-east-1")).needs == ("stop:orders-db@us-east-1",)
    assert plan.step(StepId("protect:orders-db@us-west-2")).action.args == {
        "acks": 1,
        "standbys": ["us-east-1", "eu-west-1"],
    }
    assert {s.action.region for s in plan.steps if s.action.verb is Verb.SHIFT} == {EAST}
    assert (plan.after.awaiting_rejoin, plan.after.primary) == ((), WEST)


def test_what_was_left_behind_is_switched_over_when_its_region_returns() -> None:
    estate = shop(cache_acks=0)
    old = {key: seen for key, seen in members(estate).items() if key[0] == CARTS_CACHE}
    plan = returned(dict(old), cache_acks=0)
    promote = plan.step(StepId("promote:carts-cache@us-west-2"))
    assert "stop:carts-cache@us-east-1" in promote.needs
    assert plan.step(StepId("stop:carts-cache@us-east-1")).action.args["mode"] == "clean"
    assert plan.step(StepId("follow:carts-cache@us-west-2")).action.args["primary"] == EAST, "it may refuse it still"
    assert "follow:carts-cache@us-west-2" in plan.step(StepId("prepare:carts-cache@us-east-1")).needs
    assert plan.step(StepId("rejoin:carts-cache@us-east-1")).needs == (promote.id,)
    assert CARTS_CACHE not in plan.after.sync


def test_a_component_that_never_was_there_is_not_rebuilt() -> None:
    elsewhere = replace(ESTATE.components[CARTS_CACHE], members=dict.fromkeys((WEST, EUROPE)))
    estate = replace(ESTATE, components={**ESTATE.components, CARTS_CACHE: elsewhere})
    where = replace(placed(estate), primary=WEST, awaiting_rejoin=(EAST,))
    plan = plan_rejoin(
        Rejoin(group=GROUP, region=EAST, reasons=()), situation(estate, judged(estate), where), term=TERM
    )
    assert not [s for s in plan.steps if s.action.component == CARTS_CACHE]


def test_as_many_acknowledge_as_are_declared_and_left() -> None:
    component = shop(acks=2).components[ORDERS_DB]
    assert set_of(component, [WEST, EUROPE]) == SyncSet(acks=2, standbys=(WEST, EUROPE))
    assert set_of(component, [WEST]) == SyncSet(acks=1, standbys=(WEST,))
    assert set_of(component, []) is None


def test_weights_reach_every_region_the_service_can_run_in() -> None:
    narrow = replace(ESTATE.components[SHOP_LB], members=dict.fromkeys((EUROPE,)))
    estate = replace(ESTATE, components={**ESTATE.components, SHOP_LB: narrow})
    plan = failover(situation(estate, dead(estate, EAST)))
    weights = plan.step(StepId("shift:shop-lb@eu-west-1")).action.args["weights"]
    assert weights == {"us-east-1": 0, "us-west-2": 100, "eu-west-1": 0}
    assert estate.services[SHOP].regions[0] == EAST


@pytest.mark.parametrize("estate", [ESTATE, shop(held=HELD)])
def test_what_is_merely_wanted_is_promoted_once_all_else_is_fenced(estate: Estate) -> None:
    """Before that the move can turn back, as it must when the lease is renewed after all."""
    plan = failover(situation(estate, dead(estate, EAST)))
    fences = {s.id for s in plan.steps if s.phase is Phase.FENCE and not s.optional}
    promote = plan.step(StepId("promote:carts-cache@us-west-2"))
    assert promote.optional
    assert fences <= waits(plan, promote.id)
    assert ("expire:orders-db@us-west-2" in fences) is (estate is not ESTATE)
