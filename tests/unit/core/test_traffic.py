"""Which door clients come in by: what makes one open, what is held against one, and who says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move, Rejoin, Tries, View
from evac.core.detector import Detector, fold
from evac.core.errors import UnsafePlan
from evac.core.estate import Automation, Component, Directs, Estate, RegionId, ReplicationMode, ServiceId
from evac.core.observation import MemberRole, Observation
from evac.core.plan import Placement, RunKind, Term, Verb
from evac.core.planning import plan_move
from evac.core.rejoining import plan_rejoin
from evac.core.shifting import comes_home_alone, plan_shift, wished_shift
from evac.core.targets import Members
from evac.core.traffic import Shift, choose_door, door_trouble, obstacle
from evac.core.trying import AFRESH_AFTER, TRIES_MAX
from evac.core.verdict import Assessment, Diagnosis
from evac.sim.estates import (
    CARTS,
    EAST,
    EUROPE,
    GROUP,
    ORDERS,
    ORDERS_DB,
    SHOP,
    SHOP_DNS,
    SHOP_LB,
    WEST,
    placed,
    shop,
)
from fakes.estates import all_well, beat, changed, everywhere, judged, members, probed, seconds, situation, view
from fakes.waiting import waits

ESTATE = shop()
HERE = placed(ESTATE)
ROUND = replace(HERE, entry=WEST)
END = 30.0


def seen(
    *,
    shut: tuple[RegionId, ...] = (),
    lossy: tuple[RegionId, ...] = (),
    sick_inside: tuple[RegionId, ...] = (),
    silent: tuple[RegionId, ...] = (),
    mended_at: float = END,
    until: float = END,
    estate: Estate = ESTATE,
) -> Assessment:
    """Return what is made of client probes that fail at some doors from 10 s on, until they are mended."""
    detector = Detector(policy=estate.detection)
    for tick in range(int(2 * until) + 1):
        at = tick / 2
        sick = 10 <= at < mended_at
        told: list[Observation] = [*beat(at, *(r for r in estate.regions if r not in silent or at < 10))]
        for vantage in estate.regions:
            for region in estate.regions:
                loses = sick and region in lossy and vantage != region and tick % 3 == 0
                for service in (ORDERS, CARTS, SHOP):
                    ok = not loses and not (sick and vantage == region in sick_inside)
                    told.append(probed(at, vantage, region, service, ok=ok))
                if vantage != region:
                    told.append(probed(at, vantage, region, SHOP, ok=not (sick and region in shut), as_client=True))
        detector = fold(detector, *told)
    return assess(detector, now=seconds(until), estate=estate)


WELL = seen()
SHUT = seen(shut=(EAST,))


def decided(knows: View) -> Decision:
    (decision,) = decide(knows, now=knows.assessment.at)
    return decision


def test_every_door_is_seen_open_and_since_when() -> None:
    verdict = WELL.verdicts[EAST]
    assert verdict.entered == {SHOP: seconds(0)}
    assert SHUT.verdicts[EAST].entered == {}
    assert seen(shut=(EAST,), mended_at=20).verdicts[EAST].entered == {SHOP: seconds(20.5)}


def test_one_client_probe_is_no_quorum() -> None:
    said = seen(silent=(EUROPE,))
    assert said.verdicts[WEST].entered == {}
    assert obstacle(ESTATE, said, HERE, members(ESTATE), WEST).startswith("has no door to shop")


def test_only_the_way_in_is_broken() -> None:
    verdict = SHUT.verdicts[EAST]
    assert (verdict.diagnosis, verdict.services, verdict.ingress_only) == (Diagnosis.GRAY, (SHOP,), True)


@pytest.mark.parametrize("more", [{"lossy": (EAST,)}, {"sick_inside": (EAST,)}, {"silent": (EAST,)}])
def test_more_than_the_way_in_is_broken(more: dict[str, tuple[RegionId, ...]]) -> None:
    verdict = seen(shut=(EAST,), **more).verdicts[EAST]  # type: ignore[arg-type]
    assert verdict.diagnosis is Diagnosis.GRAY
    assert not verdict.ingress_only
    assert isinstance(decided(view(ESTATE, seen(shut=(EAST,), **more))), Move)  # type: ignore[arg-type]


def test_clients_are_let_in_by_the_nearest_other_door() -> None:
    decision = decided(view(ESTATE, SHUT))
    assert isinstance(decision, Shift)
    assert (decision.source, decision.target) == (EAST, WEST)
    assert [r.region for r in decision.rejected] == [EUROPE]
    assert decision.symptom_at == SHUT.verdicts[EAST].symptom_at
    assert decision.evidence == SHUT.verdicts[EAST].evidence


def _door(
    known: Members, *, estate: Estate = ESTATE, said: Assessment = SHUT, where: Placement = HERE
) -> tuple[RegionId | None, str]:
    doors = choose_door(estate, said, where, known)
    return doors.target, next((r.reason for r in doors.rejected if r.region == WEST), "")


def test_what_stands_in_the_way_of_a_door() -> None:
    known = members(ESTATE)
    assert _door(known)[0] == WEST
    assert _door(known, said=seen(shut=(EAST, WEST))) == (EUROPE, "is gray")
    assert _door(known, where=replace(HERE, awaiting_rejoin=(WEST,))) == (
        EUROPE,
        "was a primary and has not been rebuilt",
    )
    assert _door(known, said=seen(shut=(EAST,), silent=(WEST,)))[1].startswith("silent for")


@pytest.mark.parametrize(
    "changes", [{"state": None}, {"streaming": False}, {"upstream": EUROPE}], ids=["silent", "broken", "elsewhere"]
)
def test_a_door_behind_which_nothing_streams_may_be_cut_off(changes: dict[str, object]) -> None:
    target, why = _door(changed(members(ESTATE), ORDERS_DB, WEST, **changes))
    assert (target, why.startswith("orders-db there does not stream")) == (EUROPE, True)


def test_a_member_never_seen_does_not_stream() -> None:
    known = {key: seen for key, seen in members(ESTATE).items() if key != (ORDERS_DB, WEST)}
    assert _door(known)[0] == EUROPE


def _without(component: Component, *regions: RegionId) -> Component:
    return replace(component, members=dict.fromkeys(r for r in component.members if r not in regions))


def _estate(**changes: object) -> Estate:
    return replace(ESTATE, **changes)  # type: ignore[arg-type]


def test_a_door_needs_somebody_behind_it_who_carries_clients_on() -> None:
    lb = _without(ESTATE.components[SHOP_LB], WEST)
    estate = _estate(components={**ESTATE.components, SHOP_LB: lb})
    assert _door(members(estate), estate=estate) == (EUROPE, "has no router that carries clients on to us-east-1")


def test_a_door_is_one_of_the_services_regions_and_where_its_data_may_be() -> None:
    service = ESTATE.services[SHOP]
    elsewhere = _estate(services={**ESTATE.services, SHOP: replace(service, regions=(EAST, EUROPE))})
    assert _door(members(ESTATE), estate=elsewhere) == (EUROPE, "is no region of shop")
    at_home = _estate(
        services={**ESTATE.services, SHOP: replace(service, jurisdictions=(ESTATE.regions[EUROPE].jurisdiction,))}
    )
    assert _door(members(ESTATE), estate=at_home) == (EUROPE, "shop's data may not be in US, only in IE")


def test_without_a_router_of_doors_the_group_is_moved_and_the_reason_kept() -> None:
    estate = _estate(components={c: made for c, made in ESTATE.components.items() if c != SHOP_DNS})
    decision = decided(view(estate, SHUT))
    assert isinstance(decision, Move)
    assert "traffic alone cannot be shifted: no router of shop chooses where clients enter" in decision.reasons


def test_clients_who_come_by_no_door_are_not_helped_by_another() -> None:
    both = (ORDERS, SHOP)
    gray = replace(SHUT.verdicts[EAST], services=both, gray=both)
    beside = replace(
        gray, diagnosis=Diagnosis.SERVICE_DOWN, services=(CARTS, *both), down_inside=(CARTS,), shut_out=both
    )
    assert isinstance(decided(view(ESTATE, replace(SHUT, verdicts={**SHUT.verdicts, EAST: beside}))), Move)
    decision = decided(view(ESTATE, replace(SHUT, verdicts={**SHUT.verdicts, EAST: gray})))
    assert isinstance(decision, Move)
    assert any("no router chooses where clients of orders enter" in reason for reason in decision.reasons)


def test_a_shift_that_did_not_help_is_a_reason_to_move() -> None:
    tried = {GROUP: Tries(count=1, at=SHUT.at - seconds(1))}
    decision = decided(replace(view(ESTATE, SHUT), shift_tries=tried))
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.FAILOVER
    assert decision.reasons[1] == "traffic alone cannot be shifted: it did not help 1 s ago"
    long_ago = {GROUP: Tries(count=1, at=SHUT.at - ESTATE.guard.hold_down)}
    assert isinstance(decided(replace(view(ESTATE, SHUT), shift_tries=long_ago)), Shift)


DOORLESS = replace(ESTATE, components={c: made for c, made in ESTATE.components.items() if c != SHOP_DNS})
"""Nothing sends clients in by another door."""


def asynchronous(estate: Estate) -> Estate:
    """Return the same estate whose database waits for nobody."""
    database = estate.components[ORDERS_DB]
    assert database.replication is not None
    alone = replace(database.replication, mode=ReplicationMode.ASYNC, acks=0)
    return replace(estate, components={**estate.components, ORDERS_DB: replace(database, replication=alone)})


LOSING = asynchronous(DOORLESS)
"""A failover of it may lose the last writes."""


def test_a_failover_that_would_lose_the_last_writes_is_a_switchover_where_primaries_are_well() -> None:
    decision = decided(view(LOSING, SHUT))
    assert isinstance(decision, Move)
    assert (decision.kind, decision.decided_by, decision.trigger) == (RunKind.SWITCHOVER, "evac", None)
    plan = plan_move(decision, situation(LOSING, SHUT, placed(LOSING)), term=Term(2))
    stops = [s.action.args["mode"] for s in plan.steps if s.action.verb is Verb.STOP]
    assert set(stops) == {"clean"}
    assert plan.after.awaiting_rejoin == ()


def shut_out(estate: Estate, *down_inside: ServiceId) -> Decision:
    """All of EAST has been down outside for the longest dwell, and some of it inside."""
    said = judged(estate, down=everywhere(estate, EAST) | {(EAST, EAST, service) for service in down_inside})
    (decision,) = decide(view(estate, said), now=said.verdicts[EAST].since + estate.detection.ingress_dwell)
    return decision


@pytest.mark.parametrize("wanted", [(), (CARTS,)], ids=["all well inside", "what is merely wanted is down inside"])
def test_primaries_that_are_well_behind_a_broken_way_in_are_asked_to_stop(wanted: tuple[ServiceId, ...]) -> None:
    decision = shut_out(LOSING, *wanted)
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.SWITCHOVER
    needed = shut_out(LOSING, *wanted, ORDERS)
    assert isinstance(needed, Move)
    assert needed.kind is RunKind.FAILOVER


@pytest.mark.parametrize("wanted", [(), (CARTS,)], ids=["all well inside", "what is merely wanted is down inside"])
def test_clients_who_go_round_a_broken_way_in_are_left_there(wanted: tuple[ServiceId, ...]) -> None:
    said = all_well(ESTATE)
    broken = judged(ESTATE, down=everywhere(ESTATE, EAST) | {(EAST, EAST, service) for service in wanted})
    east = broken.verdicts[EAST]
    said = replace(said, verdicts={**said.verdicts, EAST: replace(east, since=said.at - seconds(60))})
    assert isinstance(decided(view(ESTATE, said, ROUND)), Hold)
    assert not isinstance(decided(view(ESTATE, said, HERE)), Hold)


def test_a_failover_that_loses_nothing_stays_one() -> None:
    decision = decided(view(DOORLESS, SHUT))
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.FAILOVER
    assert not any("stop cleanly" in reason for reason in decision.reasons)


def test_a_path_that_loses_packets_is_failed_over_in_any_mode() -> None:
    decision = decided(view(LOSING, seen(lossy=(EAST,), shut=(EAST,))))
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.FAILOVER


def test_one_that_did_not_complete_lately_is_followed_by_a_failover() -> None:
    def after(age: float, *, count: int = 1) -> Decision:
        tries = {GROUP: Tries(count=count, at=SHUT.at - seconds(age))}
        return decided(replace(view(LOSING, SHUT), tries=tries))

    assert isinstance(after(5), Hold)
    for tried in (after(10), after(20, count=2), after(AFRESH_AFTER.total_seconds() - 1)):
        assert isinstance(tried, Move)
        assert tried.kind is RunKind.FAILOVER
        assert any("primaries are not asked to stop cleanly again" in reason for reason in tried.reasons)
    assert isinstance(after(20, count=TRIES_MAX), CallPerson)
    afresh = after(AFRESH_AFTER.total_seconds())
    assert isinstance(afresh, Move)
    assert afresh.kind is RunKind.SWITCHOVER


def test_who_stops_cleanly_needs_no_standbys_to_fence_it_and_who_does_not_then_does() -> None:
    there = {at: seen for at, seen in members(DOORLESS).items() if at != (ORDERS_DB, EUROPE)}
    knows = replace(view(DOORLESS, SHUT), members=there)
    decision = decided(knows)
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.SWITCHOVER
    again = decided(replace(knows, tries={GROUP: Tries(count=1, at=SHUT.at - seconds(10))}))
    assert isinstance(again, CallPerson)
    assert again.reasons[-1].endswith("evac failover us-east-1 --to us-west-2 --accept-loss")


@pytest.mark.parametrize("state", [{"role": MemberRole.STANDBY}, None], ids=["another role", "no answer"])
def test_a_primary_that_cannot_be_asked_to_stop_is_failed_over(state: dict[str, MemberRole] | None) -> None:
    if state:
        there = changed(members(LOSING), ORDERS_DB, EAST, **state)
    else:
        there = members(LOSING)
        there[ORDERS_DB, EAST] = replace(there[ORDERS_DB, EAST], state=None, reason="no answer")
    decision = decided(replace(view(LOSING, SHUT), members=there))
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.FAILOVER
    assert "not every primary in us-east-1 can be asked to stop cleanly" in decision.reasons


def test_what_stops_cleanly_waits_for_a_word_and_is_held_down_as_a_failover_is() -> None:
    knows, at, guard = view(LOSING, SHUT), SHUT.at, LOSING.guard
    restless = Flaps(points=guard.flap_suppress, at=at)
    held = (
        replace(knows, last_move_at={GROUP: at}),
        replace(knows, flaps={GROUP: restless}),
        replace(knows, paused="work on the lines"),
    )
    for decision in map(decided, held):
        assert isinstance(decision, CallPerson)
        assert decision.reasons[-1] == "by hand: evac switchover us-west-2"
    services = {s: replace(made, automation=Automation.SEMI_AUTOMATIC) for s, made in LOSING.services.items()}
    asks = decided(view(replace(LOSING, services=services), SHUT))
    assert isinstance(asks, Ask)
    assert isinstance(asks.move, Move)
    assert asks.move.kind is RunKind.SWITCHOVER


def test_clients_who_go_round_already_are_left_alone() -> None:
    decision = decided(view(ESTATE, SHUT, ROUND))
    assert isinstance(decision, Hold)
    assert decision.watching
    assert decision.reasons[0] == "clients enter by us-west-2, which carries them on to us-east-1"


@pytest.mark.parametrize("which", ["shift_tries", "return_tries"])
def test_a_shift_that_stopped_half_way_is_no_way_round(which: str) -> None:
    tried = {GROUP: Tries(count=1, at=SHUT.at)}
    decision = decided(replace(view(ESTATE, SHUT, ROUND), **{which: tried}))  # type: ignore[arg-type]
    assert isinstance(decision, Move if which == "shift_tries" else Shift)


def test_a_region_to_rebuild_is_rebuilt_while_clients_go_round() -> None:
    where = replace(ROUND, awaiting_rejoin=(EUROPE,))
    knows = replace(view(ESTATE, SHUT, where), heard_since={EUROPE: seconds(0)})
    decision = decided(knows)
    assert isinstance(decision, Rejoin)
    plan = plan_rejoin(decision, situation(ESTATE, SHUT, where), term=Term(2))
    goals = {s.action.component: s.action.args["weights"] for s in plan.steps if s.action.verb is Verb.SHIFT}
    assert goals[SHOP_DNS] == {EAST: 0, WEST: 100, EUROPE: 0}
    assert goals[SHOP_LB] == {EAST: 100, WEST: 0, EUROPE: 0}
    assert plan.after.entry == WEST


def test_a_door_that_shuts_is_left_for_home_or_another() -> None:
    home = decided(view(ESTATE, seen(shut=(WEST,)), ROUND))
    assert isinstance(home, Shift)
    assert (home.source, home.target) == (WEST, EAST)
    assert home.reasons[0] == "clients enter by us-west-2, which is gray"
    other = decided(view(ESTATE, seen(shut=(EAST, WEST)), ROUND))
    assert isinstance(other, Shift)
    assert (other.source, other.target) == (WEST, EUROPE)
    soon = replace(SHUT.verdicts[WEST], diagnosis=Diagnosis.SERVICES_DOWN, since=SHUT.at)
    watched = decided(view(ESTATE, replace(SHUT, verdicts={**SHUT.verdicts, WEST: soon}), ROUND))
    assert isinstance(watched, Hold)


def test_what_is_held_against_a_door() -> None:
    known = members(ESTATE)
    assert door_trouble(ESTATE, WELL, HERE, known) == ""
    assert door_trouble(ESTATE, WELL, ROUND, known) == ""
    carts = replace(WELL.verdicts[WEST], diagnosis=Diagnosis.GRAY, services=(CARTS,))
    assert door_trouble(ESTATE, replace(WELL, verdicts={**WELL.verdicts, WEST: carts}), ROUND, known) == ""
    assert door_trouble(ESTATE, WELL, ROUND, changed(known, ORDERS_DB, WEST, state=None)) == ""
    silence = {"streaming": False, "stream_silence": seconds(9)}
    assert door_trouble(ESTATE, WELL, ROUND, changed(known, ORDERS_DB, WEST, **silence)) == ""
    silence = {"streaming": False, "stream_silence": seconds(10)}
    said = door_trouble(ESTATE, WELL, ROUND, changed(known, ORDERS_DB, WEST, **silence))
    assert said == "clients enter by us-west-2, and orders-db there has heard nothing from us-east-1 for 10 s"


def test_a_door_that_is_lost_with_no_other_is_a_reason_to_move() -> None:
    two = shop((EAST, WEST))
    where = replace(placed(two), entry=WEST)
    gone = seen(shut=(EAST, WEST), estate=two)
    assert isinstance(decided(view(two, gone, where)), CallPerson)


def _back(**changes: object) -> Decision:
    return decided(replace(view(ESTATE, WELL, ROUND), **changes))  # type: ignore[arg-type]


def test_clients_come_back_once_the_door_has_been_open_for_a_while() -> None:
    decision = _back()
    assert isinstance(decision, Shift)
    assert (decision.source, decision.target, decision.symptom_at) == (WEST, EAST, WELL.at)
    early = seen(shut=(EAST,), mended_at=END - 4)
    assert isinstance(decided(view(ESTATE, early, ROUND)), Hold)


OF_ONE_SERVICE = (Diagnosis.GRAY, Diagnosis.SERVICE_DOWN, Diagnosis.INGRESS_FAILED)


def told(region: RegionId, diagnosis: Diagnosis, *services: ServiceId, ailing: tuple[ServiceId, ...]) -> Assessment:
    """All is well, but for what is said of one region."""
    sick = replace(WELL.verdicts[region], diagnosis=diagnosis, services=services, ailing=ailing)
    return replace(WELL, verdicts={**WELL.verdicts, region: sick})


@pytest.mark.parametrize("diagnosis", OF_ONE_SERVICE)
def test_what_is_merely_wanted_keeps_nobody_from_a_door(diagnosis: Diagnosis) -> None:
    for where, region in ((ROUND, EAST), (HERE, WEST)):
        for ailing, why in (((CARTS,), ""), ((ORDERS,), f"is {diagnosis}"), ((CARTS, ORDERS), f"is {diagnosis}")):
            known = told(region, diagnosis, *ailing[:1], ailing=ailing)
            assert obstacle(ESTATE, known, where, members(ESTATE), region) == why
    known = told(EAST, diagnosis, CARTS, ailing=(CARTS,))
    home = decided(view(ESTATE, known, ROUND))
    assert isinstance(home, Shift)
    plan = plan_shift(home, situation(ESTATE, known, ROUND), term=Term(2))
    assert not any(s.optional for s in plan.steps if s.action.region == EAST), "they are sent to where its names say"


@pytest.mark.parametrize("diagnosis", sorted(set(Diagnosis) - {*OF_ONE_SERVICE, Diagnosis.WELL}))
def test_what_is_said_of_a_region_shuts_its_door(diagnosis: Diagnosis) -> None:
    assert obstacle(ESTATE, told(EAST, diagnosis, ailing=()), ROUND, members(ESTATE), EAST) == f"is {diagnosis}"


def with_ills(
    until: float,
    *,
    region: RegionId,
    down: tuple[ServiceId, ...] = (),
    flaps: bool = False,
    shut: bool = False,
    lossy: bool = False,
    looked_at: tuple[ServiceId, ...] = (ORDERS, CARTS, SHOP),
    clients: bool = True,
) -> Assessment:
    """Return what is made of services that are down in a region, inside as well, from 10 s on; of clients who do not
    get in to shop there from 20 s on; and of a path there that loses a third of what is asked.
    """
    detector = Detector(policy=ESTATE.detection)
    for tick in range(int(2 * until) + 1):
        at = tick / 2
        heard: list[Observation] = [*beat(at, *ESTATE.regions)]
        for vantage in ESTATE.regions:
            for target in ESTATE.regions:
                here = target == region
                lost = lossy and here and vantage != region and at >= 20 and tick % 3 == 0
                gone = at >= 10 and not (flaps and tick % 6 < 2)
                for service in looked_at:
                    fails = lost or (here and gone and service in down)
                    heard.append(probed(at, vantage, target, service, ok=not fails))
                if vantage != target and clients:
                    ok = not lost and not (here and shut and at >= 20)
                    heard.append(probed(at, vantage, target, SHOP, ok=ok, as_client=True))
        detector = fold(detector, *heard)
    return assess(detector, now=seconds(until), estate=ESTATE)


def test_a_lossy_path_to_a_door_is_not_hidden_by_what_is_wanted() -> None:
    said = with_ills(60, region=WEST, down=(CARTS,), lossy=True)
    assert said.verdicts[WEST].diagnosis is Diagnosis.SERVICE_DOWN
    assert SHOP in said.verdicts[WEST].entered
    assert obstacle(ESTATE, said, HERE, members(ESTATE), WEST) == "is service-down"


def test_a_door_that_clients_do_not_get_in_by_is_left_whatever_else_is_down_there() -> None:
    known = members(ESTATE)
    said = "clients enter by us-west-2, which is service-down"
    for down in ((CARTS,), (SHOP,), (CARTS, SHOP)):
        assert door_trouble(ESTATE, with_ills(60, region=WEST, down=down, shut=True), ROUND, known) == said
        assert door_trouble(ESTATE, with_ills(60, region=WEST, down=down), ROUND, known) == "", "they are carried on"
    assert door_trouble(ESTATE, with_ills(60, region=WEST, down=(CARTS,), lossy=True), ROUND, known) == said


def test_what_is_wanted_and_down_hides_no_broken_way_in() -> None:
    said = with_ills(60, region=EAST, down=(CARTS,), shut=True)
    east = said.verdicts[EAST]
    assert (east.diagnosis, east.services) == (Diagnosis.SERVICE_DOWN, (CARTS, SHOP))
    assert (east.down_inside, east.shut_out) == ((CARTS,), (SHOP,))
    decision = decided(view(ESTATE, said))
    assert isinstance(decision, Shift)
    assert decision.reasons[0] == "shop in us-east-1 well inside, not reachable from outside"


def test_nor_a_path_that_loses_packets() -> None:
    said = with_ills(60, region=EAST, down=(CARTS,), lossy=True)
    assert said.verdicts[EAST].diagnosis is Diagnosis.SERVICE_DOWN
    assert said.verdicts[EAST].shut_out == ()
    decision = decided(view(ESTATE, said))
    assert isinstance(decision, Move)
    assert decision.reasons[0] == "orders, shop in us-east-1 failing as seen from outside"


def test_where_all_that_clients_are_probed_for_is_down_nothing_else_is_taken_for_loss() -> None:
    """Clients have a say in whether a path loses packets, and these cannot say."""
    unheard = with_ills(60, region=EAST, down=(SHOP,), lossy=True)
    assert unheard.verdicts[EAST].gray == ()
    nobodys = with_ills(60, region=EAST, down=(SHOP,), lossy=True, clients=False)
    assert nobodys.verdicts[EAST].gray == (CARTS, ORDERS)


def test_what_is_wanted_and_comes_and_goes_is_no_lossy_path_while_it_is_down() -> None:
    """Where nothing looks as a client, which would say that it meets no loss."""
    for until in (50, 53, 56):
        said = with_ills(until, region=EAST, down=(CARTS,), flaps=True, looked_at=(ORDERS, CARTS), clients=False)
        assert said.verdicts[EAST].diagnosis is Diagnosis.SERVICE_DOWN
        assert said.verdicts[EAST].services == (CARTS,)


def test_what_is_no_door_of_theirs_keeps_nobody_away() -> None:
    verdict = WELL.verdicts[EAST]
    flaps = replace(verdict, entered={**verdict.entered, ServiceId("elsewhere"): WELL.at})
    assert isinstance(decided(view(ESTATE, replace(WELL, verdicts={**WELL.verdicts, EAST: flaps}), ROUND)), Shift)


def test_what_holds_back_the_return() -> None:
    restless = {GROUP: Flaps(points=2500, at=WELL.at)}
    held = _back(shift_flaps=restless)
    assert isinstance(held, Hold)
    assert held.reasons[1].endswith("now: evac failback")
    assert isinstance(_back(return_tries={GROUP: Tries(count=1, at=WELL.at)}), Hold)
    assert isinstance(_back(return_tries={GROUP: Tries(count=1, at=WELL.at - seconds(10))}), Shift)
    paused = _back(paused="maintenance")
    assert isinstance(paused, Hold)
    assert paused.reasons[1] == "automation is paused: maintenance; now: evac failback"
    by_hand = _back(sent_by={GROUP: "alice"})
    assert isinstance(by_hand, Hold)
    assert by_hand.reasons[1] == "alice sent them there, and they stay; now: evac failback"


def test_a_restless_way_in_keeps_nobody_out() -> None:
    restless = {GROUP: Flaps(points=2500, at=SHUT.at)}
    assert isinstance(decided(replace(view(ESTATE, SHUT), shift_flaps=restless)), Shift)


def test_who_may_shift() -> None:
    by_hand = shop(automation=Automation.MANUAL)
    decision = decided(view(by_hand, SHUT))
    assert isinstance(decision, CallPerson)
    assert decision.reasons[-1] == "by hand: evac shift us-west-2"
    back = decided(view(by_hand, WELL, replace(placed(by_hand), entry=WEST)))
    assert isinstance(back, CallPerson)
    assert back.reasons[-1] == "by hand: evac failback"
    asks = decided(view(shop(automation=Automation.SEMI_AUTOMATIC), SHUT))
    assert isinstance(asks, Ask)
    assert isinstance(asks.move, Shift)


def shift(source: RegionId, target: RegionId) -> Shift:
    return Shift(group=GROUP, source=source, target=target, reasons=("said so",))


def test_a_shift_asks_first_and_proves_itself_and_touches_no_state() -> None:
    plan = plan_shift(shift(EAST, WEST), situation(ESTATE, SHUT), term=Term(2))
    assert {s.action.component for s in plan.steps} == {SHOP_DNS, SHOP_LB}
    assert not any(s.pivot for s in plan.steps)
    turns = [s for s in plan.steps if s.action.verb is Verb.SHIFT]
    asked = {s.id for s in plan.steps if s.action.verb is Verb.PREPARE and not s.optional}
    assert all(asked <= waits(plan, turn.id) and turn.undoable for turn in turns)
    assert {t.action.region for t in turns if t.optional} == {EAST}
    (proof,) = [s for s in plan.steps if s.action.verb is Verb.VERIFY]
    assert (proof.action.region, proof.action.args) == (WEST, {"serves": EAST})
    assert waits(plan, proof.id) == {t.id for t in turns if not t.optional}
    assert plan.after == replace(HERE, term=Term(2), entry=WEST)


def test_a_door_that_is_not_open_is_refused() -> None:
    with pytest.raises(UnsafePlan, match="us-west-2 is gray"):
        plan_shift(shift(EAST, WEST), situation(ESTATE, seen(shut=(EAST, WEST))), term=Term(2))


def test_names_that_cannot_be_turned_are_named_and_one_must_be() -> None:
    only_home = _without(ESTATE.components[SHOP_DNS], WEST, EUROPE)
    estate = _estate(components={**ESTATE.components, SHOP_DNS: only_home})
    plan = plan_shift(shift(EAST, WEST), situation(estate, SHUT), term=Term(2))
    assert not any(s.optional for s in plan.steps)
    gone = seen(shut=(EAST,), silent=(EAST,))
    verdict = replace(gone.verdicts[WEST], entered={SHOP: seconds(0)})
    here = situation(estate, replace(gone, verdicts={**gone.verdicts, WEST: verdict}))
    with pytest.raises(UnsafePlan, match="shop-dns cannot be reached in any region"):
        plan_shift(shift(EAST, WEST), here, term=Term(2))
    whole = plan_shift(shift(EAST, WEST), replace(here, estate=ESTATE), term=Term(2))
    assert whole.notes == ("shop-dns in us-east-1 cannot be reached: whoever asks it still enters by us-east-1",)


def test_a_door_that_nobody_can_try_is_watched_by_probes_alone() -> None:
    lb = replace(ESTATE.components[SHOP_LB], verifiable=False)
    estate = _estate(components={**ESTATE.components, SHOP_LB: lb})
    plan = plan_shift(shift(EAST, WEST), situation(estate, SHUT), term=Term(2))
    assert not any(s.action.verb is Verb.VERIFY for s in plan.steps)
    assert plan.notes[0].startswith("nothing tries us-west-2's door")


def wished(to: RegionId | None, where: Placement = HERE, said: Assessment = WELL) -> Shift:
    return wished_shift(situation(ESTATE, said, where), to=to, by="alice", reasons=("asked",))


def test_what_a_person_may_ask_for() -> None:
    assert (wished(None).target, wished(EUROPE).target, wished(EAST, ROUND).target) == (WEST, EUROPE, EAST)
    assert wished(EUROPE).decided_by == "alice"
    with pytest.raises(UnsafePlan, match="enter by us-east-1 already"):
        wished(EAST)
    with pytest.raises(UnsafePlan, match="us-west-2 is gray"):
        wished(WEST, said=seen(shut=(WEST,)))
    with pytest.raises(UnsafePlan, match="no nearer door is open"):
        wished(None, ROUND, said=SHUT)
    with pytest.raises(UnsafePlan, match="traffic alone cannot be shifted"):
        wished(RegionId("mars"))


def test_when_a_failback_is_a_shift() -> None:
    assert comes_home_alone(ESTATE, ROUND)
    assert not comes_home_alone(ESTATE, HERE)
    assert not comes_home_alone(ESTATE, replace(ROUND, primary=EUROPE))


def test_doors_and_work_are_two_things() -> None:
    assert {ESTATE.components[c].directs for c in (SHOP_DNS, SHOP_LB)} == {Directs.ENTRY, Directs.WORK}
    assert (HERE.door, ROUND.door) == (EAST, WEST)
