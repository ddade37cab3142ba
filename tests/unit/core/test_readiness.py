from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from evac.core.estate import Capacity, Estate, RegionId
from evac.core.plan import SyncSet
from evac.core.readiness import Readiness, readiness
from evac.sim.estates import EAST, EUROPE, ORDERS_DB, WEST, placed, shop
from fakes.estates import changed, dead, judged, members, seconds

ESTATE = shop()


@dataclass(frozen=True)
class Found:
    ok: bool
    what: str
    remedy: str = ""


GOOD = {r: (Found(True, "connects"), Found(True, "may promote")) for r in ESTATE.regions}


def ready(
    region: RegionId,
    *,
    estate: Estate = ESTATE,
    checks: Mapping[RegionId, tuple[Found, ...]] | None = None,
    **about: object,
) -> Readiness:
    known = changed(members(estate), ORDERS_DB, region, **about) if about else members(estate)
    all_of_them = readiness(estate, judged(estate), placed(estate), known, checks=GOOD if checks is None else checks)
    return next(r for r in all_of_them if r.region == region)


@pytest.mark.parametrize("region", [EAST, WEST])
def test_all_in_order(region: RegionId) -> None:
    said = ready(region)
    assert said.score == pytest.approx(1.0)
    assert said.ready
    assert not said.recommendations


def test_a_silent_region_is_not_ready_and_says_so_once() -> None:
    away = readiness(ESTATE, dead(ESTATE, WEST), placed(ESTATE), members(ESTATE), checks=GOOD)
    said = next(r for r in away if r.region == WEST)
    assert said.score == pytest.approx(0.2)
    assert len(said.blocking) == 1
    assert not said.ready


def test_what_would_stop_a_plan_is_blocking() -> None:
    said = ready(WEST, state=None)
    assert said.blocking == ("orders-db there does not answer: connection refused",)
    assert said.score == pytest.approx(0.7)


def test_a_failed_check_is_blocking_and_comes_with_its_remedy() -> None:
    checks = {WEST: (Found(True, "connects"), Found(False, "may not promote", "GRANT it"), Found(False, "no slot"))}
    said = ready(WEST, checks=checks)
    assert said.blocking == ("may not promote", "no slot")
    assert said.recommendations == ("GRANT it",)


def test_a_region_that_was_never_checked_should_be() -> None:
    without = readiness(ESTATE, judged(ESTATE), placed(ESTATE), members(ESTATE))
    assert all("evac check" in r.recommendations[0] for r in without)


def test_what_could_stand_in_the_way_soon() -> None:
    said = ready(WEST, free_disk=0.1, lag=seconds(6))
    assert said.ready
    assert said.recommendations == (
        "orders-db has 10% of its disk free: make room",
        "orders-db lags 6.0 s, more than half of what a move allows",
    )
    bare = replace(ESTATE, regions={**ESTATE.regions, WEST: replace(ESTATE.regions[WEST], capacity=Capacity())})
    assert "declare its capacity" in ready(WEST, estate=bare).recommendations[0]


def test_the_door_that_clients_come_in_by_says_so() -> None:
    where = replace(placed(ESTATE), entry=WEST)
    said = {r.region: r for r in readiness(ESTATE, judged(ESTATE), where, members(ESTATE), checks=GOOD)}
    assert said[WEST].recommendations == (
        "clients enter by it and are served by us-east-1: its loss would shut them out",
    )
    assert said[EAST].recommendations == ()


def test_who_is_not_waited_for_is_told_to_stream() -> None:
    narrow = replace(placed(ESTATE), sync={ORDERS_DB: (SyncSet(acks=1, standbys=(WEST,)),)})
    said = {r.region: r for r in readiness(ESTATE, judged(ESTATE), narrow, members(ESTATE), checks=GOOD)}
    assert said[EUROPE].recommendations == (
        "orders-db is not in the set that must acknowledge: see why it does not stream",
    )
    assert not said[WEST].recommendations
    assert not said[EAST].recommendations


def test_a_primary_that_acknowledges_alone_is_told_to_get_a_standby() -> None:
    lonely = replace(placed(ESTATE), sync={})
    said = {r.region: r for r in readiness(ESTATE, judged(ESTATE), lonely, members(ESTATE), checks=GOOD)}
    assert said[EAST].recommendations[0].startswith("orders-db acknowledges alone")
