"""Routers that missed a move are found by where they send clients, and turned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from evac.core.decision import Hold, Rejoin
from evac.core.estate import ComponentId, RegionId
from evac.core.misdirected import misdirected
from evac.core.observation import Json, MemberRole, MemberSeen, MemberState
from evac.core.plan import Placement, Term, Verb
from evac.core.rejoining import plan_rejoin
from evac.core.upkeep import missed_in
from evac.sim.estates import EAST, EUROPE, GROUP, SHOP_DNS, SHOP_LB, WEST, placed, shop
from fakes.estates import judged, seconds, situation
from fakes.watch import Watch

ESTATE = shop()
AT_EAST = placed(ESTATE)


def told(weights: Mapping[str, Json], *, at: float = 9.0, **more: Json) -> MemberSeen:
    state = MemberState(role=MemberRole.PRIMARY, writable=True, detail={"weights": weights, **more})
    return MemberSeen(at=seconds(at), component=SHOP_LB, region=EUROPE, state=state, reason="")


def found(
    seen: MemberSeen, *, of: ComponentId = SHOP_LB, placement: Placement = AT_EAST
) -> tuple[tuple[ComponentId, str], ...]:
    return misdirected(ESTATE, placement, {(of, EUROPE): seen}, EUROPE, now=seconds(10))


def test_one_by_which_nobody_gets_to_the_primary() -> None:
    said = found(told({WEST: 100, EUROPE: 20, EAST: 0}))
    assert said == ((SHOP_LB, "it sends clients to us-west-2, eu-west-1"),)


@pytest.mark.parametrize(
    "seen",
    [
        told({EAST: 100, WEST: 0}),
        told({EAST: 1, WEST: 99}),
        told({EAST: 0, WEST: 0}),
        told({WEST: 100}, at=6.9),
        replace(told({}), state=None),
        replace(told({}), state=MemberState(role=MemberRole.PRIMARY, writable=True)),
    ],
    ids=["right", "some get there", "nobody is sent", "said long ago", "silent", "says nothing of it"],
)
def test_any_other_is_left_alone(seen: MemberSeen) -> None:
    assert found(seen) == ()


def test_each_of_its_servers_counts() -> None:
    right: Json = {"weights": {"us-east-1": 100}}
    wrong: Json = {"weights": {"us-west-2": 100}}
    assert found(told({EAST: 100}, servers={"a:53": right, "b:53": wrong}))
    assert found(told({EAST: 100}, instances={"a:99": wrong}))
    assert not found(told({EAST: 100}, servers={"a:53": right, "b:53": "down"}, instances=3))


def test_a_door_is_right_that_the_record_names_and_so_is_the_primarys_own() -> None:
    round_about = replace(AT_EAST, entry=WEST)
    for region in (WEST, EAST):
        assert found(told({region: 100}), of=SHOP_DNS, placement=round_about) == ()
    assert found(told({EUROPE: 100}), of=SHOP_DNS, placement=round_about)
    assert found(told({WEST: 100}), placement=round_about), "a balancer behind the door goes by the primary"


def sending(watch: Watch, to: RegionId) -> Watch:
    watch.detector = replace(
        watch.detector,
        members={**watch.detector.members, (SHOP_LB, EUROPE): told({to: 100}, at=watch.now)},
    )
    return watch


def test_it_is_turned_once_its_region_has_been_heard_of_for_a_while() -> None:
    decision = sending(Watch().upto(12), WEST).decided()
    assert isinstance(decision, Rejoin)
    assert (decision.region, decision.missed) == (EUROPE, (SHOP_LB,))
    assert decision.reasons == ("shop-lb in eu-west-1 missed the move: it sends clients to us-west-2",)
    assert isinstance(sending(Watch().upto(12), EAST).decided(), Hold)
    back = Watch(silent={EUROPE}).upto(12)
    back.silent = set()
    assert isinstance(sending(back.upto(14), WEST).decided(), Hold), "it may be told just now"
    settled = sending(Watch().upto(12), WEST)
    assert isinstance(settled.decided(settled_at={GROUP: seconds(8)}), Hold)


def test_a_person_may_ask_for_it() -> None:
    watch = sending(Watch().upto(12), WEST)
    assert missed_in(watch.view(), GROUP, EUROPE, now=seconds(12))[0][0] == SHOP_LB


def test_the_plan_turns_the_regions_routers_and_rebuilds_nothing() -> None:
    rejoin = Rejoin(group=GROUP, region=EUROPE, reasons=(), missed=(SHOP_LB,))
    plan = plan_rejoin(rejoin, situation(ESTATE, judged(ESTATE), AT_EAST), term=Term(2))
    assert {(s.id, s.optional) for s in plan.steps} == {
        ("shift:shop-lb@eu-west-1", False),
        ("shift:shop-dns@eu-west-1", True),
    }
    assert {s.action.verb for s in plan.steps} == {Verb.SHIFT}
    assert plan.after == replace(plan.before, term=Term(2))
