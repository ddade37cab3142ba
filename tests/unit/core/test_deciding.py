from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move, Rejoin, Tries, View
from evac.core.detector import Detector, fold
from evac.core.estate import Automation, GroupId, RegionId, Replication, ReplicationMode, ServiceId
from evac.core.fencing import is_standby, unfenceable, unstarvable
from evac.core.observation import MemberRole, MemberState
from evac.core.plan import Placement, RunKind, SyncSet, Term
from evac.core.policy import Guard
from evac.core.run import RunId
from evac.core.timing import Holding, LeaseTiming
from evac.core.verdict import Assessment, Diagnosis
from evac.sim.estates import CARTS, CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, SHOP, WEST, placed, shop
from fakes.estates import changed, dead, everywhere, judged, members, seconds, sweep, view, watched

ESTATE = shop()
HERE = placed(ESTATE)
DEAD = dead(ESTATE, EAST)


def decided(knows: View, *, after: float = 0.0) -> Decision:
    (decision,) = decide(knows, now=knows.assessment.at + seconds(after))
    return decision


def with_diagnosis(said: Assessment, diagnosis: Diagnosis, *services: ServiceId) -> Assessment:
    inside = services if diagnosis is Diagnosis.SERVICE_DOWN else ()
    verdict = replace(said.verdicts[EAST], diagnosis=diagnosis, services=services, down_inside=inside)
    return replace(said, verdicts={**said.verdicts, EAST: verdict})


def test_all_well_is_a_hold() -> None:
    decision = decided(view(ESTATE, judged(ESTATE)))
    assert decision == Hold(group=GROUP, reasons=("us-east-1 is well",))


def test_a_dead_region_is_moved_away_from() -> None:
    decision = decided(view(ESTATE, DEAD))
    assert isinstance(decision, Move)
    assert (decision.source, decision.target, decision.kind) == (EAST, WEST, RunKind.FAILOVER)
    assert decision.symptom_at == DEAD.verdicts[EAST].symptom_at
    assert [r.region for r in decision.rejected] == [EUROPE]


def test_the_same_view_leads_to_the_same_decision() -> None:
    assert decided(view(ESTATE, DEAD)) == decided(view(ESTATE, DEAD))


def test_a_verdict_is_watched_for_the_dwell() -> None:
    verdict = replace(DEAD.verdicts[EAST], since=DEAD.at)
    decision = decided(view(ESTATE, replace(DEAD, verdicts={**DEAD.verdicts, EAST: verdict})), after=0.1)
    assert isinstance(decision, Hold)
    assert decision.watching


@pytest.mark.parametrize(
    ("answered", "waiting", "services", "moved"),
    [
        (1.0, 5, (ORDERS, SHOP), False),  # it answers, and its writes wait for standbys: so does what rests on it
        (1.0, 0, (ORDERS, SHOP), True),  # it answers, and waits for nobody
        (-0.1, 5, (ORDERS, SHOP), True),  # it has not answered since: it may be frozen
        (1.0, 5, (ORDERS, CARTS), True),  # what fails too does not rest on it
    ],
)
def test_a_primary_that_answers_and_waits_for_standbys_is_watched_for_longer(
    answered: float, waiting: int, services: tuple[ServiceId, ...], moved: bool
) -> None:
    down = everywhere(ESTATE, EAST, services=services, inside=True)
    said = judged(ESTATE, down=down)
    verdict = said.verdicts[EAST]
    knows = view(ESTATE, said)
    seen = changed(knows.members, ORDERS_DB, EAST, waiting=waiting)
    at = verdict.symptom_at + seconds(answered)
    seen[ORDERS_DB, EAST] = replace(seen[ORDERS_DB, EAST], at=at)
    knows = replace(knows, members=seen)
    assert isinstance(decided(knows, after=1.0), Move) is moved
    gray = replace(verdict, services=(CARTS, *verdict.services))
    beside = replace(knows, assessment=replace(said, verdicts={**said.verdicts, EAST: gray}))
    assert isinstance(decided(beside, after=1.0), Move) is moved, "clients of the cache fail, too: it says nothing more"
    longest = (verdict.since + ESTATE.detection.ingress_dwell - said.at).total_seconds()
    assert isinstance(decided(knows, after=longest), Move)


@pytest.mark.parametrize(("ago", "moved"), [(1.0, False), (4.5, False), (4.6, True)])
def test_a_primary_that_waited_a_moment_ago_is_watched_until_clients_can_have_seen_that(
    ago: float, moved: bool
) -> None:
    """A standby is back: writes wait no more, and probes that failed meanwhile have not been good often enough yet."""
    said = judged(ESTATE, down=everywhere(ESTATE, EAST, services=(ORDERS, SHOP), inside=True))
    knows = view(ESTATE, said)
    seen = changed(knows.members, ORDERS_DB, EAST, waiting=5)
    waited = replace(seen[ORDERS_DB, EAST], at=said.verdicts[EAST].symptom_at + seconds(1))
    over = changed({(ORDERS_DB, EAST): waited}, ORDERS_DB, EAST, waiting=0)[ORDERS_DB, EAST]
    after = replace(over, at=waited.at + seconds(ago))
    detector = fold(Detector(policy=ESTATE.detection), waited, after)
    knows = replace(knows, members={**seen, **detector.members}, streams=detector.streams)
    assert isinstance(decided(knows, after=6.0), Move) is moved


@pytest.mark.parametrize(("answering", "easing"), [((WEST, EUROPE), True), ((WEST,), True), ((), False)])
def test_what_answers_again_is_not_left_in_a_hurry(answering: tuple[RegionId, ...], easing: bool) -> None:
    """The wait for a stream that lost packets is over: its end must not be what lets the move begin."""
    down = everywhere(ESTATE, EAST, services=(ORDERS,), inside=True)
    detector, now = watched(ESTATE, rounds=8, down=down)
    newest = {sight for sight in down if sight[0] not in answering}
    said = assess(fold(detector, *sweep(ESTATE, now + 0.5, down=newest)), now=seconds(now + 0.5), estate=ESTATE)
    assert said.verdicts[EAST].easing is easing
    knows = view(ESTATE, said)
    assert isinstance(decided(knows), Hold if easing else Move)
    longest = (said.verdicts[EAST].since + ESTATE.detection.ingress_dwell - said.at).total_seconds()
    assert isinstance(decided(knows, after=longest), Move)


def test_what_is_merely_wanted_and_down_inside_makes_nobody_hurry_for_the_rest() -> None:
    """Seen in the lab: a region had just come back, its cache waited for its replicas, and its database was left."""
    said = judged(ESTATE, down=everywhere(ESTATE, EAST) | {(EAST, EAST, CARTS)})
    verdict = said.verdicts[EAST]
    assert verdict.diagnosis is Diagnosis.SERVICE_DOWN
    dwell = ESTATE.detection.ingress_dwell
    (early,) = decide(view(ESTATE, said), now=verdict.since + dwell - seconds(0.1))
    (late,) = decide(view(ESTATE, said), now=verdict.since + dwell)
    assert isinstance(early, Hold)
    assert early.reasons[0].startswith("orders, shop in us-east-1 well inside, not reachable from outside")
    assert isinstance(late, Move)
    needed = judged(ESTATE, down=everywhere(ESTATE, EAST) | {(EAST, EAST, ORDERS)})
    (hurried,) = decide(view(ESTATE, needed), now=needed.verdicts[EAST].since + ESTATE.detection.dwell)
    assert isinstance(hurried, Move)
    assert hurried.reasons[0].startswith("orders in us-east-1 down, seen from outside and from inside")


def test_nor_does_it_before_the_rest_was_looked_at_there() -> None:
    """A look inside comes twice a second, and the dwell is shorter."""
    said = judged(ESTATE, down=everywhere(ESTATE, EAST) | {(EAST, EAST, CARTS)})
    verdict = replace(said.verdicts[EAST], shut_out=())
    knows = view(ESTATE, replace(said, verdicts={**said.verdicts, EAST: verdict}))
    (early,) = decide(knows, now=verdict.since + ESTATE.detection.ingress_dwell - seconds(0.1))
    assert isinstance(early, Hold)
    assert early.reasons[0].startswith("orders, shop in us-east-1 failing as seen from outside")
    (late,) = decide(knows, now=verdict.since + ESTATE.detection.ingress_dwell)
    assert isinstance(late, Move)
    assert late.kind is RunKind.FAILOVER


def test_of_a_silent_region_no_door_is_asked() -> None:
    """What its agent saw inside when it was last heard is no news."""
    verdict = replace(DEAD.verdicts[EAST], shut_out=DEAD.verdicts[EAST].services)
    decision = decided(view(ESTATE, replace(DEAD, verdicts={**DEAD.verdicts, EAST: verdict})))
    assert isinstance(decision, Move)
    assert decision.reasons == decided(view(ESTATE, DEAD)).reasons


def test_what_only_outside_views_say_is_watched_for_longer() -> None:
    said = judged(ESTATE, down=everywhere(ESTATE, EAST))
    since = said.verdicts[EAST].since
    dwell = ESTATE.detection.ingress_dwell
    (early,) = decide(view(ESTATE, said), now=since + dwell - seconds(0.1))
    (late,) = decide(view(ESTATE, said), now=since + dwell)
    assert isinstance(early, Hold)
    assert isinstance(late, Move)


def test_one_run_at_a_time() -> None:
    decision = decided(replace(view(ESTATE, DEAD), active={GROUP: RunId("r7")}))
    assert decision == Hold(group=GROUP, reasons=("run r7 is under way",))


def test_a_rebuild_under_way_gives_way_to_a_move_and_to_a_call_but_to_nothing_less() -> None:
    def meanwhile(said: Assessment, **more: object) -> Decision:
        busy = replace(view(ESTATE, said), active={GROUP: RunId("r7")}, giving_way=frozenset({GROUP}))
        return decided(replace(busy, **more))  # type: ignore[arg-type]

    under_way = Hold(group=GROUP, reasons=("run r7 is under way",))
    assert isinstance(meanwhile(DEAD), Move)
    assert isinstance(meanwhile(DEAD, paused="maintenance"), CallPerson)
    assert meanwhile(judged(ESTATE)) == under_way
    assert meanwhile(DEAD, stuck={GROUP: RunId("r6")}) == under_way


def test_a_stuck_run_waits_for_a_person() -> None:
    decision = decided(replace(view(ESTATE, DEAD), stuck={GROUP: RunId("r7")}))
    assert decision == Hold(group=GROUP, reasons=("run r7 is stuck and waits for a person: evac report r7",))


@pytest.mark.parametrize(("count", "ago", "kind"), [(1, 5, Hold), (1, 11, Move), (2, 15, Hold), (2, 21, Move)])
def test_a_run_that_did_not_complete_is_tried_again_later_each_time(count: int, ago: float, kind: type) -> None:
    tries = {GROUP: Tries(count=count, at=DEAD.at - seconds(ago))}
    assert isinstance(decided(replace(view(ESTATE, DEAD), tries=tries)), kind)


def test_what_a_move_had_stopped_that_turned_back_is_given_time_where_its_region_is_there() -> None:
    def after(ago: float, seen: Assessment) -> Decision:
        turned = {GROUP: seen.at + seconds(1 - ago)}
        return decided(replace(view(ESTATE, seen), turned_back_at=turned), after=1)

    there = with_diagnosis(judged(ESTATE), Diagnosis.SERVICES_DOWN)
    waits = after(4, there)
    assert isinstance(waits, Hold)
    assert waits.watching
    assert waits.reasons[-1] == "a move has just turned back, and what it had stopped may answer again: watched for 6 s"
    assert isinstance(after(10, there), Move)
    assert isinstance(after(4, DEAD), Move)


def test_and_not_for_ever() -> None:
    decision = decided(replace(view(ESTATE, DEAD), tries={GROUP: Tries(count=3, at=seconds(0))}))
    assert isinstance(decision, CallPerson)


@pytest.mark.parametrize(
    ("diagnosis", "services", "acts"),
    [
        (Diagnosis.SERVICE_DOWN, (ORDERS,), True),
        (Diagnosis.SERVICE_DOWN, (CARTS,), False),
        (Diagnosis.SERVICES_DOWN, (), True),
        (Diagnosis.INGRESS_FAILED, (SHOP,), True),
        (Diagnosis.INGRESS_FAILED, (CARTS,), False),
        (Diagnosis.GRAY, (SHOP,), True),
        (Diagnosis.GRAY, (ServiceId("mail"),), False),
        (Diagnosis.LINK_CUT, (), False),
        (Diagnosis.UNKNOWN, (ORDERS,), False),
    ],
)
def test_which_troubles_moving_cures(diagnosis: Diagnosis, services: tuple[ServiceId, ...], acts: bool) -> None:
    said = with_diagnosis(judged(ESTATE), diagnosis, *services)
    decision = decided(view(ESTATE, said), after=1)
    assert isinstance(decision, Move) is acts
    assert acts or isinstance(decision, Hold)


def test_nobody_can_judge_and_the_agent_is_silent() -> None:
    nobody = judged(ESTATE, silent=tuple(ESTATE.regions), rounds=30)
    decision = decided(view(ESTATE, nobody))
    assert isinstance(decision, CallPerson)
    assert "cannot be judged" in decision.reasons[0]


def test_no_target_calls_a_person_with_each_reason() -> None:
    known = changed(changed(members(ESTATE), ORDERS_DB, WEST, state=None), ORDERS_DB, EUROPE, state=None)
    decision = decided(replace(view(ESTATE, DEAD), members=known))
    assert isinstance(decision, CallPerson)
    assert len(decision.reasons) == 4


def test_an_asynchronous_primary_out_of_reach_calls_a_person() -> None:
    estate = shop(acks=0)
    decision = decided(view(estate, dead(estate, EAST)))
    assert isinstance(decision, CallPerson)
    assert decision.reasons[-1].endswith("evac failover us-east-1 --to us-west-2 --accept-loss")


def test_an_asynchronous_primary_under_a_lease_is_moved_without_a_person() -> None:
    second = timedelta(seconds=1)
    timing = LeaseTiming(
        renew=second, hold=6 * second, demote=second, watchdog=6 * second, reset=second, wait=9 * second
    )
    estate = shop(held=Holding(timing=timing))
    decision = decided(view(estate, dead(estate, EAST)))
    assert isinstance(decision, Move)
    assert decision.target == WEST
    assert isinstance(decided(view(estate.without_leases(), dead(estate, EAST))), CallPerson)


def test_a_silent_agent_is_not_asked_to_stop_anything() -> None:
    estate = shop(acks=0)
    said = with_diagnosis(judged(estate, silent=(EAST,)), Diagnosis.GRAY, SHOP)
    assert isinstance(decided(view(estate, said), after=1), CallPerson)


def test_paused() -> None:
    decision = decided(replace(view(ESTATE, DEAD), paused="maintenance"))
    assert isinstance(decision, CallPerson)
    assert decision.reasons[-2:] == (
        "automation is paused: maintenance",
        "by hand: evac failover us-east-1 --to us-west-2",
    )


@pytest.mark.parametrize(("automation", "kind"), [(Automation.MANUAL, CallPerson), (Automation.SEMI_AUTOMATIC, Ask)])
def test_who_may_start_it(automation: Automation, kind: type) -> None:
    estate = shop(automation=automation)
    assert isinstance(decided(view(estate, dead(estate, EAST))), kind)


def test_hold_down_after_a_move() -> None:
    knows = replace(view(ESTATE, DEAD), last_move_at={GROUP: DEAD.at})
    assert isinstance(decided(knows, after=60), CallPerson)
    assert isinstance(decided(knows, after=1800), Move)


def test_flaps_halve_suppress_and_are_free_again() -> None:
    guard, half = Guard(), timedelta(minutes=15)
    flaps = Flaps(points=2000, at=seconds(0))
    assert flaps.now(half, half) == 1000
    assert flaps.suppressed(half, guard)
    assert not flaps.suppressed(2 * half, guard)
    assert not Flaps(points=1999).suppressed(seconds(0), guard)
    decision = decided(replace(view(ESTATE, DEAD), flaps={GROUP: Flaps(points=2500, at=DEAD.at)}))
    assert isinstance(decision, CallPerson)
    assert "flapping" in decision.reasons[-2]


def test_the_worst_region_comes_first() -> None:
    other = Placement(group=GroupId("a"), primary=WEST, term=Term(1))
    shops = {s.id: s for s in ESTATE.services.values()}
    mail = replace(shops[ORDERS], id=ServiceId("mail"), group=GroupId("a"))
    estate = replace(ESTATE, services={**ESTATE.services, mail.id: mail})
    knows = replace(view(estate, dead(estate, EAST)), placements={other.group: other, GROUP: HERE})
    assert [d.group for d in decide(knows, now=knows.assessment.at)] == [GROUP, other.group]


def returned(estate_rejoins: bool = True, *, paused: str = "", since: float = -10.0) -> Decision:
    estate = replace(ESTATE, rejoin_automatic=estate_rejoins)
    said = judged(estate)
    where = replace(HERE, primary=WEST, awaiting_rejoin=(EAST,))
    knows = replace(view(estate, said, where), heard_since={EAST: said.at + seconds(since)}, paused=paused)
    return decided(knows)


def test_a_returned_region_is_rebuilt_once_it_has_answered_for_a_while() -> None:
    decision = returned()
    assert isinstance(decision, Rejoin)
    assert decision.region == EAST
    assert isinstance(returned(since=-1), Hold)


def test_unless_a_person_wants_otherwise() -> None:
    assert isinstance(returned(False), Hold)
    assert isinstance(returned(paused="wait"), Hold)


def test_a_rebuild_that_did_not_complete_waits_and_a_move_does_not() -> None:
    said = judged(ESTATE)
    where = replace(HERE, primary=WEST, awaiting_rejoin=(EAST,))
    tried = {GROUP: Tries(count=1, at=said.at)}
    knows = replace(view(ESTATE, said, where), heard_since={EAST: seconds(-10)}, rejoin_tries=tried)
    assert isinstance(decided(knows), Hold)
    assert isinstance(decided(knows, after=10), Rejoin)
    assert isinstance(decided(replace(view(ESTATE, DEAD), rejoin_tries=tried)), Move)


def test_a_rebuild_is_not_planned_on_what_a_new_primary_said_before_it_was_one() -> None:
    said = judged(ESTATE)
    where = replace(HERE, primary=WEST, awaiting_rejoin=(EAST,))
    before = replace(view(ESTATE, said, where), heard_since={EAST: seconds(-10)}, settled_at={GROUP: said.at})
    spoken = {key: replace(seen, at=said.at + seconds(1)) for key, seen in before.members.items()}
    assert isinstance(decided(before), Hold)
    assert isinstance(decided(replace(before, members=spoken)), Rejoin)
    assert isinstance(decided(before, after=ESTATE.guard.recover_for.total_seconds()), Rejoin)


def returned_to_west(said: Assessment, state: MemberState | None, *, heard_since: float = -10) -> Decision:
    """EAST is back and awaits its rebuild from WEST, whose members said this of themselves a second ago."""
    knows = view(ESTATE, said, replace(HERE, primary=WEST, awaiting_rejoin=(EAST,)))
    told = {
        key: replace(seen, at=said.at - seconds(1), state=state if key[1] == WEST else seen.state, reason="refused")
        for key, seen in knows.members.items()
    }
    settled = {GROUP: said.at - max(seconds(2), seconds(-heard_since))}
    return decided(replace(knows, members=told, heard_since={EAST: seconds(heard_since)}, settled_at=settled))


def test_nothing_is_rebuilt_from_a_primary_that_does_not_run() -> None:
    """Seed 30060: the old region was rebuilt from a primary that had died, three times, and each time in vain."""
    ailing = judged(ESTATE, down={(EUROPE, WEST, ORDERS)})
    decision = returned_to_west(ailing, None)
    assert isinstance(decision, Hold)
    assert decision.watching
    assert "orders-db in us-west-2 cannot be asked, so nothing is rebuilt from it: refused" in decision.reasons
    decision = returned_to_west(ailing, MemberState(role=MemberRole.STOPPED, writable=False))
    assert isinstance(decision, Hold)
    assert "orders-db in us-west-2 does not run, so nothing is rebuilt from it: refused" in decision.reasons
    assert isinstance(returned_to_west(ailing, MemberState(role=MemberRole.PRIMARY, writable=True)), Rejoin)


def test_one_that_is_seen_well_is_rebuilt_from_though_its_agent_may_not_ask_it() -> None:
    """What the rebuild itself needs of it, it finds out: after three tries a person is called."""
    assert isinstance(returned_to_west(judged(ESTATE), None), Rejoin)


def ailing(since: float, *, silent: tuple[RegionId, ...] = ()) -> Assessment:
    """A minority has seen one service of WEST down since then."""
    said = judged(ESTATE, down={(EUROPE, WEST, ORDERS)}, silent=silent)
    return replace(said, verdicts={**said.verdicts, WEST: replace(said.verdicts[WEST], since=seconds(since))})


STOPPED = MemberState(role=MemberRole.STOPPED, writable=False)


def test_a_person_is_called_where_a_primary_stays_so_while_a_region_waits_for_it() -> None:
    decision = returned_to_west(ailing(-300), STOPPED, heard_since=-300)
    assert isinstance(decision, CallPerson)
    advice = "mend it, then us-east-1 is rebuilt; or leave us-west-2: evac failover us-west-2"
    assert decision.reasons[-1] == advice
    assert isinstance(returned_to_west(ailing(-300), STOPPED, heard_since=-280), Hold)
    assert isinstance(returned_to_west(ailing(-1), STOPPED, heard_since=-86400), Hold), "it may just be restarted"
    assert isinstance(returned_to_west(judged(ESTATE), STOPPED, heard_since=-86400), Hold), "nothing ails its clients"


def waiting_for_west(said: Assessment, **heard_since: float) -> Decision:
    """Regions wait to be rebuilt from WEST, which has been stopped; nothing is known of when a run was settled."""
    regions = {"east": EAST, "europe": EUROPE}
    knows = view(ESTATE, said, replace(HERE, primary=WEST, awaiting_rejoin=tuple(regions[r] for r in heard_since)))
    told = {key: replace(seen, state=STOPPED) for key, seen in knows.members.items()}
    heard = {regions[r]: seconds(since) for r, since in heard_since.items()}
    (decision,) = decide(replace(knows, members=told, heard_since=heard, settled_at={}), now=said.at)
    return decision


def test_nobody_is_called_for_a_region_that_is_away() -> None:
    """It was heard of for days before it fell silent, or never."""
    away = ailing(-86400, silent=(EAST,))
    assert isinstance(waiting_for_west(away, east=-86400), Hold)
    knows = view(ESTATE, judged(ESTATE), replace(HERE, primary=WEST, awaiting_rejoin=(EAST,)))
    told = {key: replace(seen, state=STOPPED) for key, seen in knows.members.items()}
    (decision,) = decide(replace(knows, members=told, settled_at={}), now=seconds(86400 * 3))
    assert isinstance(decision, Hold)


def test_one_region_that_comes_and_goes_keeps_no_person_from_being_called() -> None:
    decision = waiting_for_west(ailing(-3600), east=-3600, europe=-30)
    assert isinstance(decision, CallPerson)
    assert decision.reasons[-1].startswith("mend it, then us-east-1, eu-west-1 are rebuilt;")


def test_nor_from_one_that_cannot_be_asked_unless_it_is_seen_well() -> None:
    """Seed 40077: its region was frozen, and only a minority could say so yet."""
    there = MemberState(role=MemberRole.PRIMARY, writable=True)
    decision = returned_to_west(
        judged(ESTATE, down={(EUROPE, WEST, s) for s in ESTATE.services}, silent=(WEST,)), there
    )
    assert isinstance(decision, Hold)
    assert "the agent of us-west-2 does not answer, so nothing is rebuilt from there" in decision.reasons
    assert isinstance(returned_to_west(judged(ESTATE, silent=(WEST,)), there), Rejoin)


def test_a_region_that_is_still_away_is_not_rebuilt() -> None:
    where = replace(HERE, primary=WEST, awaiting_rejoin=(EAST,))
    assert isinstance(decided(view(ESTATE, DEAD, where)), Hold)


def starve(sets: tuple[SyncSet, ...], said: Assessment = DEAD, *, without: RegionId | None = None) -> str:
    known = members(ESTATE)
    if without is not None:
        known = changed(known, ORDERS_DB, without, state=None)
    where = replace(HERE, sync={ORDERS_DB: sets})
    return unstarvable(ESTATE.components[ORDERS_DB], ESTATE, said, where, known)


def test_enough_standbys_must_be_able_to_refuse() -> None:
    both = SyncSet(acks=1, standbys=(WEST, EUROPE))
    assert starve((both,)) == ""
    assert starve((both,), without=WEST).endswith("1 can be reached")
    assert starve((SyncSet(acks=2, standbys=(WEST, EUROPE)),), without=WEST) == ""
    assert starve((SyncSet(acks=2, standbys=(WEST, EUROPE)), both), without=WEST) != ""
    assert "acknowledges alone" in starve(())


def test_a_standby_whose_agent_is_silent_cannot_refuse() -> None:
    both = SyncSet(acks=1, standbys=(WEST, EUROPE))
    said = judged(ESTATE, silent=(EAST, WEST), down=everywhere(ESTATE, EAST))
    assert starve((both,), said).endswith("1 can be reached")


def test_an_agent_that_answers_can_stop_what_it_hosts() -> None:
    nobody = replace(HERE, sync={})
    assert unfenceable(ESTATE, judged(ESTATE), nobody, members(ESTATE)) == ""
    assert unfenceable(ESTATE, DEAD, nobody, members(ESTATE)) != ""


def test_a_primary_that_can_be_stopped_is_not_left_without_those_who_may_hold_more() -> None:
    down = everywhere(ESTATE, EAST, services=(ORDERS,), inside=True)
    said = judged(ESTATE, down=down)
    alone = changed(members(ESTATE), ORDERS_DB, EUROPE, state=None)
    decision = decided(replace(view(ESTATE, said), members=alone))
    assert isinstance(decision, CallPerson)
    assert decision.reasons[-2:] == (
        "orders-db: 2 of us-west-2, eu-west-1 must refuse the old primary, 1 can be reached",
        "to move without what only the others hold: evac failover us-east-1 --to us-west-2 --accept-loss",
    )
    first = replace(ESTATE.components[ORDERS_DB], replication=replace(_replication(), mode=ReplicationMode.ASYNC))
    asynchronous = replace(ESTATE, components={**ESTATE.components, ORDERS_DB: first})
    assert isinstance(decided(replace(view(asynchronous, said), members=alone)), Move), "it promised nothing"


def _replication() -> Replication:
    declared = ESTATE.components[ORDERS_DB].replication
    assert declared is not None
    return declared


def test_what_is_merely_wanted_needs_no_fence() -> None:
    only_orders = replace(HERE, sync={ORDERS_DB: HERE.sync[ORDERS_DB]})
    assert unfenceable(ESTATE, DEAD, only_orders, members(ESTATE)) == ""


def test_who_is_a_standby() -> None:
    known = members(ESTATE)
    assert is_standby(known, ORDERS_DB, WEST)
    assert not is_standby(known, ORDERS_DB, EAST)
    assert not is_standby({}, ORDERS_DB, WEST)
    assert not is_standby(changed(known, CARTS_CACHE, WEST, state=None), CARTS_CACHE, WEST)
