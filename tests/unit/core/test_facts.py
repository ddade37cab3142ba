"""What each fact is, where it comes from, and that it is not there when nobody knows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.detector import Detector, fold
from evac.core.estate import ComponentId, Estate, RegionId, ServiceId
from evac.core.facts import FACTS, TIMES_MIN, Ground, Times, availability, facts_of, read, sample
from evac.core.kinds import ServiceKind
from evac.core.observation import Carried, MemberRole, MemberSeen, MemberState, Observation
from evac.core.scene import stale_after
from evac.core.sights import Sight
from evac.core.trigger import Named, Scope, Value
from evac.sim.estates import CARTS, EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, SHOP, SHOP_LB, WEST, shop
from fakes.estates import beat, member, probed, seconds

ESTATE = shop()
STANDBY = MemberState(role=MemberRole.STANDBY, writable=False)


def ground(*seen: Observation, now: float = 10.0, times: Times | None = None, estate: Estate = ESTATE) -> Ground:
    """Return what facts of the shop, at home, are read from."""
    detector = fold(Detector(policy=estate.detection), *seen)
    return Ground(
        detector=detector,
        estate=estate,
        now=seconds(now),
        oldest=seconds(now) - stale_after(detector),
        group=GROUP,
        region=EAST,
        times=times or {},
        available=availability(detector, now=seconds(now)),
    )


def fact(scope: Scope, of: str, name: str, here: Ground, *, vantage: RegionId = WEST) -> Value | None:
    return read(Named(scope=scope, of=of, fact=name, written=""), here, vantage)


def answers(
    *oks: bool, service: ServiceId = SHOP, as_client: bool = False, vantage: RegionId = WEST
) -> list[Observation]:
    """A row of answers, two a second, the last one just now."""
    return [
        probed(10 - (len(oks) - 1 - i) / 2, vantage, EAST, service, ok=ok, as_client=as_client)
        for i, ok in enumerate(oks)
    ]


def said(
    state: MemberState | None, region: RegionId = EAST, *, at: float = 9.0, component: ComponentId = ORDERS_DB
) -> MemberSeen:
    return MemberSeen(at=seconds(at), component=component, region=region, state=state)


def test_each_fact_says_what_it_is() -> None:
    assert all(found.meaning.endswith(".") for found in FACTS.values())
    assert facts_of(Scope.REGION) == ("availability", "heartbeat_age")
    assert "throughput" in facts_of(Scope.SERVICE)
    assert "throughput" not in facts_of(Scope.KIND), "the highest of them is no trouble"


def test_a_service_is_reachable_by_the_detectors_thresholds() -> None:
    assert fact(Scope.SERVICE, SHOP, "reachable", ground(*answers(True, True))) is True
    assert fact(Scope.SERVICE, SHOP, "reachable", ground(*answers(True, True, False, False, False))) is False
    assert fact(Scope.SERVICE, SHOP, "reachable", ground(*answers(False))) is None, "one answer is no view yet"


def test_where_only_clients_probes_look_they_say_whether_it_is_reachable() -> None:
    shut = answers(False, False, False, as_client=True)
    assert fact(Scope.SERVICE, SHOP, "reachable", ground(*shut)) is False
    assert fact(Scope.SERVICE, SHOP, "reachable", ground(*shut, *answers(True, True))) is True


def test_what_was_seen_too_long_ago_is_not_known() -> None:
    old = ground(*answers(True, True), now=60)
    for name in ("reachable", "error_rate", "p95"):
        assert fact(Scope.SERVICE, SHOP, name, old) is None
    assert fact(Scope.REGION, "", "availability", old) is None


def test_the_error_rate_is_of_all_probes_of_one_vantage_point() -> None:
    here = ground(*answers(True, False, True, True), *answers(False, False, as_client=True))
    assert fact(Scope.SERVICE, SHOP, "error_rate", here) == pytest.approx(0.5)
    assert fact(Scope.SERVICE, SHOP, "error_rate", here, vantage=EUROPE) is None


def test_availability_is_the_part_of_the_regions_services_that_is_up() -> None:
    here = ground(*answers(False, False, False), *answers(True, True, service=ORDERS), *answers(False, service=CARTS))
    assert fact(Scope.REGION, "", "availability", here) == 0.5, "what is not known does not count"
    doors = ground(*answers(True, True), *answers(False, False, False, service=ORDERS, as_client=True))
    assert fact(Scope.REGION, "", "availability", doors) == 1.0, "a door that is shut is another fact"
    assert fact(Scope.REGION, "", "availability", doors, vantage=EUROPE) is None


def test_the_age_of_a_heartbeat() -> None:
    assert fact(Scope.REGION, "", "heartbeat_age", ground(*beat(7, EAST))) == seconds(3)
    assert fact(Scope.REGION, "", "heartbeat_age", ground()) is None


def test_p95_is_of_enough_good_answers_of_both_kinds() -> None:
    plain, client = Sight(WEST, SHOP, EAST, False), Sight(WEST, SHOP, EAST, True)
    few = {plain: tuple((seconds(i / 2), seconds(0.1)) for i in range(18)), client: ((seconds(9), seconds(3.0)),)}
    enough = few | {client: ((seconds(9), seconds(3.0)), (seconds(10), seconds(2.0)))}
    assert TIMES_MIN == 20
    assert fact(Scope.SERVICE, SHOP, "p95", ground(*answers(True), times=few)) is None
    assert fact(Scope.SERVICE, SHOP, "p95", ground(*answers(True), times=enough)) == seconds(2.0)


def test_only_good_answers_that_took_time_are_kept_and_each_once() -> None:
    sight = Sight(WEST, SHOP, EAST, False)
    times: Times = {}
    detector = Detector(policy=ESTATE.detection)
    for at, ok, took in ((1, True, 0.2), (1, True, 0.2), (2, False, 0.1), (3, True, 0.0), (4, True, 0.3)):
        detector = fold(detector, probed(at, WEST, EAST, SHOP, ok=ok, took=took))
        times = sample(times, detector, (sight, Sight(EUROPE, SHOP, EAST, False)), now=seconds(at))
    assert times == {sight: ((seconds(1), seconds(0.2)), (seconds(4), seconds(0.3)))}
    assert sample(times, detector, (sight,), now=seconds(62)) == {sight: ((seconds(4), seconds(0.3)),)}
    assert sample(times, detector, (), now=seconds(5)) == {}, "nobody asks any more"


def test_how_many_of_real_clients_requests_fail() -> None:
    counted = Carried(
        at=seconds(10), vantage=WEST, service=SHOP, region=EAST, window=seconds(1), requests=40, failed=10
    )
    assert fact(Scope.SERVICE, SHOP, "clients_failing", ground(counted)) == 0.25
    assert fact(Scope.SERVICE, SHOP, "clients_failing", ground()) is None


def test_throughput_is_what_the_regions_routers_say_lately() -> None:
    carries = MemberState(role=MemberRole.PRIMARY, writable=True, detail={"requests_per_second": 7})
    assert fact(Scope.SERVICE, SHOP, "throughput", ground(said(carries, component=SHOP_LB))) == 7.0
    silent = replace(carries, detail={})
    for seen in (
        said(silent, component=SHOP_LB),
        said(None, component=SHOP_LB),
        said(carries, at=1, component=SHOP_LB),
    ):
        assert fact(Scope.SERVICE, SHOP, "throughput", ground(seen)) is None


def test_a_kind_is_as_its_worst_service() -> None:
    both = replace(ESTATE, services={**ESTATE.services, CARTS: replace(ESTATE.services[CARTS], kind=ServiceKind.API)})
    down, up = answers(False, False, False, service=CARTS), answers(True, True)
    assert fact(Scope.KIND, "api", "reachable", ground(*down, *up, estate=both)) is False
    assert fact(Scope.KIND, "api", "reachable", ground(*down, estate=both)) is False, "one that is down is enough"
    assert fact(Scope.KIND, "api", "reachable", ground(*up, estate=both)) is None, "the other may be down"
    well = answers(True, True, service=CARTS)
    assert fact(Scope.KIND, "api", "reachable", ground(*well, *up, estate=both)) is True
    assert fact(Scope.KIND, "api", "error_rate", ground(*down, *up, estate=both)) == 1.0
    assert fact(Scope.KIND, "queue", "error_rate", ground(*up, estate=both)) is None


def test_what_the_primary_says_of_itself() -> None:
    full = replace(member(ORDERS_DB, EAST, primary=EAST).state or STANDBY, free_disk=0.02)
    here = ground(said(full))
    assert fact(Scope.COMPONENT, ORDERS_DB, "answers", here) is True
    assert fact(Scope.COMPONENT, ORDERS_DB, "writable", here) is True
    assert fact(Scope.COMPONENT, ORDERS_DB, "free_disk", here) == 0.02
    mute = ground(said(None))
    assert fact(Scope.COMPONENT, ORDERS_DB, "answers", mute) is False
    for name in ("writable", "free_disk"):
        assert fact(Scope.COMPONENT, ORDERS_DB, name, mute) is None
    for name in ("answers", "writable", "free_disk"):
        assert fact(Scope.COMPONENT, ORDERS_DB, name, ground(said(full, at=6.9))) is None, "said too long ago"


def test_what_the_standbys_say_of_themselves() -> None:
    near = replace(STANDBY, streaming=True, lag=seconds(1))
    far = replace(STANDBY, lag=seconds(9))
    both = ground(said(near, WEST), said(far, EUROPE))
    assert fact(Scope.COMPONENT, ORDERS_DB, "lag", both) == seconds(9)
    assert fact(Scope.COMPONENT, ORDERS_DB, "streaming", both) == 1
    one = ground(said(near, WEST))
    assert fact(Scope.COMPONENT, ORDERS_DB, "lag", one) == seconds(1)
    assert fact(Scope.COMPONENT, ORDERS_DB, "streaming", one) is None, "the other may stream, too"
    mute = ground(said(None, WEST), said(replace(STANDBY, role=MemberRole.STOPPED, lag=timedelta()), EUROPE))
    assert fact(Scope.COMPONENT, ORDERS_DB, "lag", mute) is None
    assert fact(Scope.COMPONENT, ORDERS_DB, "streaming", mute) == 0
