"""What load balancers count of real clients makes a region gray: enough of it, still, and from a quorum."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from evac.core.assessment import assess, calm
from evac.core.detector import Detector, fold
from evac.core.estate import RegionId, ServiceId
from evac.core.gray import CARRIED_MIN, as_cell, carried_share, carried_since
from evac.core.observation import Carried
from evac.core.verdict import Diagnosis, Verdict
from evac.sim.estates import CARTS, EAST, EUROPE, ORDERS, SHOP, WEST, shop
from fakes.estates import beat, probed, seconds, watched

ESTATE = shop()
POLICY = ESTATE.detection
WINDOWS = 12


def count(at: float, vantage: RegionId = WEST, *, requests: int = 20, failed: int = 0) -> Carried:
    return Carried(
        at=seconds(at),
        vantage=vantage,
        service=SHOP,
        region=EAST,
        window=seconds(1),
        requests=requests,
        failed=failed,
    )


def counted(
    *, failing: Collection[RegionId] = (WEST, EUROPE), share: float = 0.5, requests: int = 20, well_from: int = WINDOWS
) -> tuple[Detector, float]:
    """All probes are well; of what load balancers send to EAST a share fails, until a window."""
    detector, now = watched(ESTATE)
    for second in range(WINDOWS):
        for vantage in (WEST, EUROPE, EAST):
            bad = vantage in failing and second < well_from
            failed = round(share * requests) if bad else 0
            detector = fold(detector, count(now + second / 100, vantage, requests=requests, failed=failed))
    return detector, now + WINDOWS / 100


def verdict(detector: Detector, now: float) -> Verdict:
    return assess(detector, now=seconds(now), estate=ESTATE).verdicts[EAST]


def test_half_of_the_real_clients_failing_at_a_quorum_is_gray_though_every_probe_is_well() -> None:
    detector, now = counted()
    said = verdict(detector, now)
    assert (said.diagnosis, said.services) == (Diagnosis.GRAY, (SHOP,))
    assert {e.why for e in said.evidence} == {"3 of 3 services answer; 120 of 240 requests of real clients fail"}
    assert said.symptom_at == min(c.at for c in detector.carried[WEST, SHOP, EAST])
    assert not said.ingress_only, "another region's door leads to the same service"
    assert not calm(detector, estate=ESTATE)


@pytest.mark.parametrize(("of", "shut_out"), [(SHOP, ()), (CARTS, (SHOP,))])
def test_so_it_is_beside_what_is_down(of: ServiceId, shut_out: tuple[ServiceId, ...]) -> None:
    """A door that evac's own clients do not get in by is gone round, unless real ones did not come by it."""
    detector, now = watched(ESTATE)
    for _ in range(16):
        now += 0.5
        looks = [
            probed(now, vantage, region, service, ok=(region, service) != (EAST, CARTS))
            for vantage in ESTATE.regions
            for region in ESTATE.regions
            for service in (ORDERS, CARTS, SHOP)
        ]
        shut = [probed(now, vantage, EAST, SHOP, ok=False, as_client=True) for vantage in (WEST, EUROPE)]
        detector = fold(detector, *beat(now, *ESTATE.regions), *looks, *shut)
    for second in range(WINDOWS):
        for vantage in (WEST, EUROPE):
            detector = fold(detector, replace(count(now + second / 100, vantage, failed=10), service=of))
    said = verdict(detector, now + WINDOWS / 100)
    assert (said.diagnosis, said.services) == (Diagnosis.SERVICE_DOWN, (CARTS, SHOP))
    assert said.shut_out == shut_out


@pytest.mark.parametrize("failing", [(), (WEST,), (EAST,), (WEST, EAST)])
def test_less_than_a_quorum_of_outside_views_is_nothing(failing: Collection[RegionId]) -> None:
    detector, now = counted(failing=failing)
    said = verdict(detector, now)
    assert said.diagnosis is Diagnosis.WELL
    assert calm(detector, estate=ESTATE)


def test_few_failures_and_few_requests_are_nothing() -> None:
    assert verdict(*counted(share=POLICY.gray_failing - 0.1)).diagnosis is Diagnosis.WELL
    assert verdict(*counted(share=1.0, requests=1)).diagnosis is Diagnosis.WELL


def test_one_whose_heartbeat_is_stale_has_no_vote() -> None:
    detector, now = counted()
    late = now + 3
    beats = beat(late, WEST, EAST)
    assert verdict(fold(detector, *beats), late).diagnosis is not Diagnosis.GRAY


def test_what_is_over_no_longer_counts() -> None:
    third = POLICY.gray_window.total_seconds() / 3
    failing = [count(second, failed=20) for second in range(8)]
    assert carried_share(failing, POLICY, seconds(7)) == 1.0
    over = [*failing, *(count(8 + second) for second in range(int(third)))]
    assert carried_share(over, POLICY, seconds(7 + third)) == 0.0


def test_nothing_is_concluded_from_few_or_old_counts() -> None:
    assert carried_share([], POLICY, seconds(0)) is None
    assert carried_share([count(0, requests=CARRIED_MIN - 1)], POLICY, seconds(0)) is None
    assert carried_share([count(0)], POLICY, seconds(0)) == 0.0
    assert carried_share([count(0)], POLICY, seconds(5)) is None, "nobody was sent there in the newest third"


def test_a_count_told_twice_counts_once_and_the_window_forgets() -> None:
    detector = fold(Detector(policy=POLICY), count(1), count(1), count(0.5))
    assert len(detector.carried[WEST, SHOP, EAST]) == 1
    later = fold(detector, count(20))
    assert [c.at for c in later.carried[WEST, SHOP, EAST]] == [seconds(20)]


def test_as_a_cell_a_window_in_which_enough_failed_is_one_failure() -> None:
    cell = as_cell([count(0), count(1, failed=8), count(2, failed=7)], POLICY)
    assert cell.recent == (seconds(0), seconds(1), seconds(2))
    assert cell.bad == (seconds(1),)
    assert (cell.failed, cell.first_failure) == (1, seconds(1))


def test_what_failed_while_the_region_was_silent_does_not_count_when_it_is_heard_of_again() -> None:
    detector, now = counted()
    heard_again = replace(detector, fresh_since={**detector.fresh_since, EAST: seconds(now)})
    said = verdict(heard_again, now)
    assert said.diagnosis is Diagnosis.WELL
    assert {e.why for e in said.evidence} == {"3 of 3 services answer"}


def test_a_window_counts_where_it_began_after_that() -> None:
    windows = [count(1.0), count(2.0), count(2.5)]
    assert carried_since(windows, seconds(1.0)) == windows[1:]
    assert carried_since(windows, None) == windows
