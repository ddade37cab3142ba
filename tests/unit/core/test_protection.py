"""Who leaves the set that must acknowledge, who comes back, and when nobody asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.deciding import decide
from evac.core.decision import CallPerson, Decision, Flaps, Hold, Move, Rejoin, Tries, View
from evac.core.errors import UnsafePlan
from evac.core.estate import RegionId, ReplicationMode, WhenAlone
from evac.core.observation import MemberRole, MemberState
from evac.core.plan import Placement, RunKind, SyncSet, Term
from evac.core.protection import NOBODY, Alone, Protect, alone, degrading, plan_protect, say_set, shrinks
from evac.core.run import RunId
from evac.core.upkeep import waiting_alone
from evac.core.verdict import Diagnosis
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, WEST, placed, shop
from fakes.estates import seconds
from fakes.watch import ESTATE, Watch

WEST_ONLY = SyncSet(acks=1, standbys=(WEST,))
BOTH = SyncSet(acks=1, standbys=(WEST, EUROPE))


def with_set(*sets: SyncSet) -> Placement:
    return replace(placed(ESTATE), sync={ORDERS_DB: sets} if sets else {})


def test_while_all_stream_nothing_is_changed() -> None:
    assert Watch().upto(30).protects() is None


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"stream_silence": timedelta(seconds=30), "streaming": True}, "nothing comes over its stream"),
        ({"streaming": False}, "nothing comes over its stream"),
        ({"upstream": WEST}, "it follows us-west-2"),
        ({"role": MemberRole.STOPPED, "streaming": False}, "it is stopped"),
    ],
)
def test_a_standby_that_stays_away_leaves(about: dict[str, object], why: str) -> None:
    watch = Watch().upto(15)
    watch.about[EUROPE] = about
    watch.upto(24.5)
    assert watch.protects() is None
    decision = watch.upto(26).decided()
    assert isinstance(decision, Protect)
    assert (decision.region, decision.component, decision.sync) == (EAST, ORDERS_DB, WEST_ONLY)
    assert decision.reasons[0] == "orders-db in us-east-1 waits for any 1 of us-west-2"
    assert why in decision.reasons[1]


def test_one_that_does_not_answer_or_whose_agent_is_silent_is_away() -> None:
    watch = Watch().upto(15)
    watch.dead = {EUROPE}
    decision = watch.upto(26).decided()
    assert isinstance(decision, Protect)
    assert "it does not answer (no answer)" in decision.reasons[1]
    watch = Watch().upto(15)
    watch.silent = {EUROPE}
    decision = watch.upto(26).decided()
    assert isinstance(decision, Protect)
    assert "its agent is silent" in decision.reasons[1]


def test_one_that_was_never_seen_is_away_once_the_primary_was_watched_for_long_enough() -> None:
    watch = Watch(silent={EUROPE})
    assert watch.upto(9).protects() is None
    assert watch.upto(11).protects() == WEST_ONLY


def test_a_short_absence_does_not_count() -> None:
    watch = Watch().upto(15)
    watch.dead = {EUROPE}
    watch.upto(23)
    watch.dead = set()
    assert watch.upto(40).protects() is None


def test_nobody_is_judged_unless_the_primary_is_known_to_be_well() -> None:
    watch = Watch().upto(15)
    watch.dead = {EUROPE}
    watch.upto(30)
    assert watch.protects() == WEST_ONLY
    assert watch.protects(paused="lunch") is None
    assert watch.protects(active={GROUP: RunId("7")}) is None
    assert watch.protects(heard_since={}) is None
    assert watch.protects(heard_since={EAST: seconds(25)}) is None
    view = watch.view()
    blind = replace(view.assessment, voiceless={EAST: "sees 2 of 2 other regions down: the fault is its own"})
    assert watch.protects(assessment=blind) is None
    watch.dead = {EUROPE, EAST}
    assert watch.upto(31).protects() is None
    watch.dead, watch.about = {EUROPE}, {EAST: {"role": MemberRole.STANDBY}}
    assert watch.upto(32).protects() is None


def test_who_was_away_while_a_run_went_on_is_given_time_anew() -> None:
    watch = Watch().upto(15)
    watch.dead = {EUROPE}
    watch.upto(30)
    assert watch.protects(settled_at={GROUP: seconds(21)}) is None
    assert watch.protects(settled_at={GROUP: seconds(20)}) == WEST_ONLY


def test_while_another_one_is_about_to_leave_too_nothing_is_changed_yet() -> None:
    watch = Watch().upto(15)
    watch.dead = {EUROPE}
    watch.upto(21)
    watch.dead = {EUROPE, WEST}
    assert watch.upto(27).protects() is None


def test_one_that_streams_again_comes_back_after_a_while() -> None:
    watch = Watch(placement=with_set(WEST_ONLY), dead={EUROPE}).upto(15)
    watch.dead = set()
    assert watch.upto(20).protects() is None
    assert watch.upto(21).protects() == BOTH


def test_one_that_lags_or_waits_to_be_rebuilt_does_not_come_back() -> None:
    watch = Watch(placement=with_set(WEST_ONLY)).upto(30)
    assert watch.protects() == BOTH
    watch.about[EUROPE] = {"lag": timedelta(seconds=4)}
    assert watch.upto(31).protects() is None
    watch.about[EUROPE] = {"lag": None}
    assert watch.upto(32).protects() == BOTH
    watch.placement = replace(watch.placement, awaiting_rejoin=(EUROPE,))
    assert watch.protects(rejoin_tries={GROUP: Tries(count=1, at=seconds(32))}) is None


def test_the_more_often_a_set_shrank_the_longer_a_return_takes() -> None:
    watch = Watch(placement=with_set(WEST_ONLY), dead={EUROPE}).upto(15)
    watch.dead = set()
    restless = {GROUP: Flaps(points=3000.0, at=seconds(15))}
    assert watch.upto(30).protects(leavings=restless) is None
    assert watch.upto(36).protects(leavings=restless) == BOTH


def test_a_change_that_did_not_complete_is_tried_again_later_each_time() -> None:
    watch = Watch(placement=with_set(WEST_ONLY)).upto(50)
    assert watch.protects(protect_tries={GROUP: Tries(count=1, at=seconds(45))}) is None
    assert watch.protects(protect_tries={GROUP: Tries(count=1, at=seconds(39))}) == BOTH
    assert watch.protects(protect_tries={GROUP: Tries(count=3, at=seconds(20))}) is None
    assert isinstance(watch.decided(protect_tries={GROUP: Tries(count=3, at=seconds(20))}), Hold)


def test_a_set_that_an_interrupted_change_left_open_is_made_clear() -> None:
    watch = Watch(placement=with_set(BOTH, WEST_ONLY)).upto(20)
    decision = watch.decided()
    assert isinstance(decision, Protect)
    assert decision.sync == BOTH
    assert "an earlier change was left half done" in decision.reasons


def test_as_many_acknowledgements_as_are_left_are_asked_for() -> None:
    estate = shop(acks=2)
    watch = Watch(estate=estate, placement=placed(estate)).upto(15)
    watch.dead = {EUROPE}
    assert watch.upto(26).protects() == WEST_ONLY


def test_an_asynchronous_component_is_left_alone() -> None:
    component = replace(ESTATE.components[ORDERS_DB], replication=ESTATE.components[CARTS_CACHE].replication)
    assert component.replication is not None
    assert component.replication.mode is ReplicationMode.ASYNC
    estate = replace(ESTATE, components={**ESTATE.components, ORDERS_DB: component})
    watch = Watch(estate=estate).upto(15)
    watch.dead = {EUROPE}
    assert watch.upto(30).protects() is None


def test_with_nobody_left_writes_wait_and_a_person_is_told_what_to_type() -> None:
    watch = Watch().upto(15)
    watch.dead = {WEST, EUROPE}
    decision = watch.upto(26).decided()
    assert isinstance(decision, CallPerson)
    assert decision.reasons[0] == "orders-db: no standby is left to acknowledge, so its writes wait"
    assert decision.reasons[-1].endswith("evac degrade us-east-1")
    assert isinstance(watch.decided(paused="lunch"), CallPerson)
    (found,) = waiting_alone(watch.view(), GROUP, now=seconds(watch.now))
    change = degrading(found, GROUP, EAST, why="asked for by alice", by="alice")
    assert (change.sync, change.decided_by) == (NOBODY, "alice")
    assert change.reasons[:2] == ("orders-db in us-east-1 waits for nobody", "asked for by alice")
    assert waiting_alone(replace(watch.view(), heard_since={}), GROUP, now=seconds(watch.now)) == ()


def test_an_estate_may_rather_go_on_and_that_ends_when_one_streams() -> None:
    estate = shop(when_alone=WhenAlone.DEGRADE)
    watch = Watch(estate=estate).upto(15)
    watch.dead = {WEST, EUROPE}
    assert watch.upto(26).protects() == NOBODY
    watch.placement = with_set()
    decision = watch.decided()
    assert isinstance(decision, Hold)
    assert decision.watching
    assert "the promise to lose nothing is off" in decision.reasons[0]
    assert waiting_alone(watch.view(), GROUP, now=seconds(watch.now)) == ()
    watch.dead = {EUROPE}
    assert watch.upto(33).protects() == WEST_ONLY


def test_writes_that_wait_are_told_of_also_while_a_rebuild_waits_for_its_source() -> None:
    watch = Watch().upto(15)
    watch.dead = {WEST, EUROPE}
    watch.placement = replace(watch.placement, awaiting_rejoin=(WEST,))
    members = dict(watch.upto(26).view().members)
    cache = members[CARTS_CACHE, EAST]
    members[CARTS_CACHE, EAST] = replace(cache, state=MemberState(role=MemberRole.STOPPED, writable=False))
    decision = watch.decided(members=members)
    assert isinstance(decision, CallPerson)
    assert decision.reasons[0] == "orders-db: no standby is left to acknowledge, so its writes wait"
    tired = watch.decided(members=members, rejoin_tries={GROUP: Tries(count=3, at=seconds(20))})
    assert isinstance(tired, CallPerson)
    assert "orders-db: no standby is left to acknowledge, so its writes wait" in tired.reasons
    assert tired.reasons[0] != decision.reasons[0]


def sick(watch: Watch) -> View:
    """The database in the primary's region fails for whoever writes, because writes wait; it answers evac."""
    view = watch.view()
    verdict = replace(
        view.assessment.verdicts[EAST],
        diagnosis=Diagnosis.SERVICE_DOWN,
        services=(ORDERS,),
        down_inside=(ORDERS,),
        since=seconds(0),
    )
    return replace(view, assessment=replace(view.assessment, verdicts={**view.assessment.verdicts, EAST: verdict}))


def of(view: View, watch: Watch) -> Decision:
    (decision,) = decide(view, now=seconds(watch.now))
    return decision


def test_writes_that_wait_with_nobody_left_are_no_reason_to_look_for_a_region() -> None:
    watch = Watch().upto(15)
    watch.dead = {WEST, EUROPE}
    watch.upto(20)
    decision = of(sick(watch), watch)
    assert isinstance(decision, CallPerson)
    assert "evac degrade" not in decision.reasons[-1]
    watch.upto(26)
    decision = of(sick(watch), watch)
    assert isinstance(decision, CallPerson)
    assert "no region can take over:" in decision.reasons
    assert decision.reasons[-1].endswith("evac degrade us-east-1")
    watch.estate = shop(when_alone=WhenAlone.DEGRADE)
    decision = of(sick(watch), watch)
    assert isinstance(decision, Protect)
    assert decision.sync == NOBODY


def test_a_primary_that_waits_while_others_stream_is_given_another_set_and_not_moved() -> None:
    estate = shop(acks=2)
    watch = Watch(estate=estate, placement=placed(estate)).upto(15)
    watch.dead = {EUROPE}
    watch.upto(20)
    decision = of(sick(watch), watch)
    assert isinstance(decision, Hold)
    assert decision.watching
    assert decision.reasons[1] == "orders-db waits for any 2 of us-west-2, eu-west-1, of which 1 stream"
    watch.upto(26)
    decision = of(sick(watch), watch)
    assert isinstance(decision, Protect)
    assert decision.sync == WEST_ONLY
    assert isinstance(of(replace(sick(watch), protect_tries={GROUP: Tries(count=2, at=seconds(20))}), watch), Move)
    assert isinstance(of(replace(sick(watch), paused="lunch"), watch), CallPerson)


def test_who_streams_ends_a_wait_at_once() -> None:
    watch = Watch(placement=with_set(WEST_ONLY), dead={EUROPE}).upto(15)
    watch.dead = {WEST}
    watch.upto(26)
    watch.dead = {WEST, EUROPE}
    watch.upto(40)
    watch.dead = {WEST}
    watch.upto(41)
    decision = of(sick(watch), watch)
    assert isinstance(decision, Protect)
    assert decision.sync == SyncSet(acks=1, standbys=(EUROPE,))


def test_where_nobody_streams_it_may_be_the_primary_and_who_is_well_takes_over() -> None:
    watch = Watch().upto(15)
    watch.about = {WEST: {"stream_silence": seconds(9)}, EUROPE: {"stream_silence": seconds(9)}}
    assert isinstance(of(sick(watch.upto(26)), watch), Move)


def test_who_missed_a_move_is_turned_to_the_primary() -> None:
    moved = replace(with_set(SyncSet(acks=1, standbys=(EAST,))), primary=WEST)
    watch = Watch(placement=moved, about={EUROPE: {"upstream": EAST, "streaming": False}})
    decision = watch.upto(12).decided()
    assert isinstance(decision, Rejoin)
    assert (decision.region, decision.missed) == (EUROPE, (ORDERS_DB,))
    assert decision.reasons == ("orders-db in eu-west-1 missed the move: it follows us-east-1",)
    assert isinstance(watch.decided(paused="lunch"), Hold)
    tries = {GROUP: Tries(count=3, at=seconds(12))}
    assert isinstance(watch.decided(rejoin_tries=tries), CallPerson)


@pytest.mark.parametrize(
    "about",
    [
        {"upstream": None, "streaming": False},
        {"upstream": WEST, "streaming": False},
        {"upstream": EAST, "streaming": False, "role": MemberRole.STOPPED},
    ],
)
def test_who_follows_somebody_or_nobody_known_is_left_where_it_is(about: dict[str, object]) -> None:
    moved = replace(with_set(SyncSet(acks=1, standbys=(EAST,))), primary=WEST)
    assert not isinstance(Watch(placement=moved, about={EUROPE: about}).upto(9).decided(), Rejoin)


def test_who_was_left_refusing_is_brought_back() -> None:
    left: dict[RegionId, dict[str, object]] = {EUROPE: {"upstream": None, "streaming": False, "refuses": True}}
    decision = Watch(placement=with_set(SyncSet(acks=1, standbys=(WEST,))), about=left).upto(12).decided()
    assert isinstance(decision, Rejoin)
    assert (decision.region, decision.missed) == (EUROPE, (ORDERS_DB,))
    assert "it refuses everybody" in decision.reasons[0]


def test_who_went_on_where_the_primary_did_not_is_rebuilt() -> None:
    moved = replace(with_set(SyncSet(acks=1, standbys=(EAST,))), primary=WEST)
    watch = Watch(placement=moved, about={WEST: {"timeline": 2}, EAST: {"timeline": 2}})
    decision = watch.upto(12).decided()
    assert isinstance(decision, Rejoin)
    assert decision.reasons == (
        "orders-db in eu-west-1 missed the move: it went on by itself where the primary did not",
    )


def test_who_streams_from_another_standby_is_turned_only_if_it_is_to_acknowledge() -> None:
    moved = replace(with_set(SyncSet(acks=1, standbys=(EAST,))), primary=WEST)
    watch = Watch(placement=moved, about={EUROPE: {"upstream": EAST}})
    assert isinstance(watch.upto(12).decided(), Rejoin)
    component = replace(ESTATE.components[ORDERS_DB], replication=ESTATE.components[CARTS_CACHE].replication)
    estate = replace(ESTATE, components={**ESTATE.components, ORDERS_DB: component})
    watch = Watch(estate=estate, placement=moved, about={EUROPE: {"upstream": EAST}})
    assert isinstance(watch.upto(12).decided(), Hold)


def test_who_has_just_been_told_otherwise_is_given_time() -> None:
    moved = replace(with_set(SyncSet(acks=1, standbys=(EAST,))), primary=WEST)
    watch = Watch(placement=moved).upto(8)
    watch.about[EUROPE] = {"upstream": EAST, "streaming": False}
    assert not isinstance(watch.upto(9).decided(), Rejoin)
    watch.silent = {EUROPE}
    assert not isinstance(watch.upto(15).decided(), Rejoin)


def test_the_plan_is_one_step_and_says_what_holds_afterwards() -> None:
    change = Protect(group=GROUP, component=ORDERS_DB, region=EAST, sync=WEST_ONLY, reasons=("a test",))
    plan = plan_protect(change, placed(ESTATE), term=Term(2))
    (step,) = plan.steps
    assert (plan.kind, step.action.region, step.retries) == (RunKind.PROTECT, EAST, 0)
    assert step.action.args == {"acks": 1, "standbys": [WEST]}
    assert plan.after.sync[ORDERS_DB] == (WEST_ONLY,)
    assert plan.after.sync[CARTS_CACHE] == plan.before.sync[CARTS_CACHE]
    assert not plan.notes
    assert shrinks(plan)
    back = plan_protect(replace(change, sync=BOTH), plan.after, term=Term(3))
    assert not shrinks(back)


def test_a_plan_that_leaves_nobody_says_so() -> None:
    change = Protect(group=GROUP, component=ORDERS_DB, region=EAST, sync=NOBODY, reasons=("a test",))
    plan = plan_protect(change, placed(ESTATE), term=Term(2))
    assert ORDERS_DB not in plan.after.sync
    assert plan.notes == ("orders-db acknowledges alone: what it writes may be lost",)
    assert alone(ESTATE.components[ORDERS_DB], plan.after)
    assert say_set(NOBODY) == "nobody"


def test_a_change_for_a_primary_that_has_moved_is_refused() -> None:
    change = Protect(group=GROUP, component=ORDERS_DB, region=WEST, sync=WEST_ONLY, reasons=("a test",))
    with pytest.raises(UnsafePlan, match="not in us-west-2"):
        plan_protect(change, placed(ESTATE), term=Term(2))


def test_only_who_waits_can_be_let_go_on() -> None:
    found = Alone(component=ORDERS_DB, waits=False, reasons=("it is alone",))
    with pytest.raises(AssertionError, match="alone already"):
        degrading(found, GROUP, EAST, why="", by="alice")
