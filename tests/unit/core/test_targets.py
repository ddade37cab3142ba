from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.estate import Capacity, Estate, RegionId
from evac.core.observation import MemberRole
from evac.core.targets import Choice, behind, choose, distance_km, lag_before_silence, obstacle
from evac.sim.estates import (
    CARTS_CACHE,
    EAST,
    EUROPE,
    FIVE,
    GROUP,
    ORDERS,
    ORDERS_DB,
    SHOP,
    WEST,
    placed,
    shop,
)
from fakes.estates import changed, dead, everywhere, judged, members

ESTATE = shop()
HERE = placed(ESTATE)
EVERYBODY = members(ESTATE)


def chosen(estate: Estate = ESTATE, *, wanted: RegionId | None = None, **about_west: object) -> Choice:
    known = members(estate)
    if about_west:
        known = changed(known, ORDERS_DB, WEST, **about_west)
    return choose(estate, dead(estate, EAST), placed(estate), known, wanted=wanted)


def why_not(choice: Choice, region: RegionId) -> str:
    return next(r.reason for r in choice.rejected if r.region == region)


def with_region(estate: Estate, region: RegionId, **changes: object) -> Estate:
    regions = {**estate.regions, region: replace(estate.regions[region], **changes)}  # type: ignore[arg-type]
    return replace(estate, regions=regions)


def test_the_preferred_and_nearer_region_is_chosen() -> None:
    choice = chosen()
    assert choice.target == WEST
    assert "less by preference and distance" in why_not(choice, EUROPE)


def test_equals_are_told_apart_by_the_owners_order() -> None:
    west = ESTATE.regions[WEST]
    twin = with_region(ESTATE, EUROPE, latitude=west.latitude, longitude=west.longitude)
    assert chosen(twin).target == WEST


def test_the_one_that_was_asked_for_or_none() -> None:
    choice = chosen(wanted=EUROPE)
    assert choice.target == EUROPE
    assert why_not(choice, WEST) == f"{EUROPE} was asked for"


@pytest.mark.parametrize(
    ("about_west", "reason"),
    [
        ({"state": None}, "does not answer: connection refused"),
        ({"role": MemberRole.STOPPED}, "is stopped, not a standby"),
        ({"upstream": EUROPE}, f"follows {EUROPE}, not {EAST}"),
        ({"free_disk": 0.01}, "has 1.0% of its disk free, below 5%"),
        ({"lag": timedelta(seconds=60)}, "lagged 60.0 s when its stream was last heard, limit 10 s"),
    ],
)
def test_a_standby_that_cannot_be_promoted(about_west: dict[str, object], reason: str) -> None:
    choice = chosen(**about_west)  # type: ignore[arg-type]
    assert choice.target == EUROPE
    assert why_not(choice, WEST) == f"orders-db there {reason}"


@pytest.mark.parametrize(("acks", "timeline", "target"), [(0, 1, EUROPE), (0, 2, WEST), (0, None, WEST), (1, 1, WEST)])
def test_who_missed_a_promotion_lacks_what_was_acknowledged_since(
    acks: int, timeline: int | None, target: RegionId
) -> None:
    """Where clients wait for standbys nothing was acknowledged without them."""
    component = ESTATE.components[ORDERS_DB]
    assert component.replication is not None
    waiting = replace(component, replication=replace(component.replication, acks=acks))
    estate = replace(ESTATE, components={**ESTATE.components, ORDERS_DB: waiting})
    known = changed(changed(members(estate), ORDERS_DB, EAST, timeline=2), ORDERS_DB, EUROPE, timeline=2)
    known = changed(known, ORDERS_DB, WEST, timeline=timeline)
    choice = choose(estate, dead(estate, EAST), placed(estate), known)
    assert choice.target == target
    if target == EUROPE:
        told = f"orders-db there has log of timeline 1, {EAST} was on 2: it missed that promotion"
        assert why_not(choice, WEST) == told


def test_a_member_that_was_never_seen() -> None:
    known = {key: seen for key, seen in EVERYBODY.items() if key != (CARTS_CACHE, WEST)}
    reason = obstacle(ESTATE, judged(ESTATE), HERE, known, WEST)
    assert reason == "carts-cache there has never been seen"


def test_lag_that_only_comes_from_the_primarys_death_is_none() -> None:
    assert chosen(lag=timedelta(seconds=60), stream_silence=timedelta(seconds=58)).target == WEST


def test_lag_is_unknown_when_nobody_says() -> None:
    assert lag_before_silence(replace(EVERYBODY[ORDERS_DB, WEST], state=None)) is None
    assert lag_before_silence(EVERYBODY[ORDERS_DB, EAST]) is None


def test_a_region_with_troubles_of_its_own() -> None:
    down = everywhere(ESTATE, WEST, services=(ORDERS,), inside=True)
    assert obstacle(ESTATE, judged(ESTATE, down=down), HERE, EVERYBODY, WEST) == "is itself service-down"


def test_a_silent_region() -> None:
    assert obstacle(ESTATE, judged(ESTATE, silent=(WEST,)), HERE, EVERYBODY, WEST).startswith("silent for")


def test_a_region_that_was_a_primary_and_is_not_rebuilt() -> None:
    where = replace(HERE, awaiting_rejoin=(WEST,))
    assert "has not been rebuilt" in obstacle(ESTATE, judged(ESTATE), where, EVERYBODY, WEST)


def test_a_region_outside_the_groups_regions() -> None:
    assert "not a region" in obstacle(ESTATE, judged(ESTATE), HERE, EVERYBODY, FIVE[3])


def test_data_stay_where_they_may_be() -> None:
    orders = replace(ESTATE.services[ORDERS], jurisdictions=("US",))
    bound = replace(ESTATE, services={**ESTATE.services, ORDERS: orders})
    assert why_not(chosen(bound), EUROPE) == "orders's data may not be in IE, only in US"


def test_a_region_that_cannot_carry_the_load() -> None:
    small = with_region(ESTATE, WEST, capacity=Capacity(requests_per_second=100.0))
    assert why_not(chosen(small), WEST) == "can carry 100 requests/s, 500 are served now"


def test_capacity_that_is_not_declared_is_no_obstacle() -> None:
    assert chosen(with_region(ESTATE, WEST, capacity=Capacity())).target == WEST


def test_a_target_needs_a_score() -> None:
    strict = replace(ESTATE, guard=replace(ESTATE.guard, target_score_min=0.95))
    choice = chosen(strict)
    assert choice.target == WEST
    assert why_not(choice, EUROPE) == "scores 0.92, below 0.95"


def test_nobody_can_be_found() -> None:
    strict = replace(ESTATE, guard=replace(ESTATE.guard, target_score_min=1.1))
    assert (chosen(strict).target, chosen(strict).score) == (None, 0.0)


def test_the_copy_that_is_much_further_ahead_wins() -> None:
    assert chosen(position=-(2**30)).target == EUROPE


def test_behind_counts_bytes_against_the_most_advanced_standby() -> None:
    known = changed(EVERYBODY, ORDERS_DB, WEST, position=400)
    assert (behind(ESTATE, GROUP, known, WEST), behind(ESTATE, GROUP, known, EUROPE)) == (600, 0)
    unknown = changed(EVERYBODY, ORDERS_DB, WEST, position=None)
    assert behind(ESTATE, GROUP, unknown, WEST) == 0


def test_only_regions_where_all_services_can_run() -> None:
    narrow = replace(ESTATE.services[SHOP], regions=(EAST, EUROPE))
    estate = replace(ESTATE, services={**ESTATE.services, SHOP: narrow})
    choice = chosen(estate)
    assert choice.target == EUROPE
    assert not choice.rejected


def test_a_group_without_state_can_go_anywhere_well() -> None:
    only_shop = replace(
        ESTATE,
        services={SHOP: replace(ESTATE.services[SHOP], needs=(), wants=())},
        components={c: v for c, v in ESTATE.components.items() if c not in (ORDERS_DB, CARTS_CACHE)},
    )
    assert obstacle(only_shop, judged(only_shop), HERE, {}, WEST) == ""


def test_distance_on_the_globe() -> None:
    assert distance_km(ESTATE.regions[EAST], ESTATE.regions[EUROPE]) == pytest.approx(5450, rel=0.02)
    assert distance_km(ESTATE.regions[EAST], ESTATE.regions[EAST]) == 0
