"""What a verdict comes to for who is woken: the kind of failure, how bad it is, and whom it hits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.health import ServiceHealth
from evac.core.incident import FailureClass, Incident, Severity, incident
from evac.core.verdict import Assessment, Diagnosis, Verdict
from evac.sim.estates import CARTS, EAST, EUROPE, FIVE, ORDERS, SHOP, WEST, placed, shop
from fakes.estates import dead, everywhere, judged, seconds, watched

ESTATE = shop()


def what(
    said: Assessment, region: RegionId = EAST, *, estate: Estate = ESTATE, health: Collection[ServiceHealth] = ()
) -> Incident | None:
    return incident(
        said.verdicts[region],
        estate=estate,
        verdicts=said.verdicts.values(),
        voiceless=said.voiceless,
        placements=[placed(estate)],
        health=health,
    )


def turned(diagnosis: Diagnosis, **changed: object) -> Assessment:
    """All well, but for what is said of us-east-1."""
    said = judged(ESTATE)
    verdict: Verdict = replace(said.verdicts[EAST], diagnosis=diagnosis, **changed)  # type: ignore[arg-type]
    return replace(said, verdicts={**said.verdicts, EAST: verdict})


def carried(region: RegionId, rate: float | None) -> ServiceHealth:
    return ServiceHealth(
        region=region, service=SHOP, score=1.0, response=timedelta(), error_rate=0.0, throughput=rate, answers=9
    )


def test_where_nothing_fails_there_is_none() -> None:
    assert what(judged(ESTATE)) is None


def test_the_primarys_region_lost_is_critical_and_hits_all_its_clients() -> None:
    found = what(dead(ESTATE, EAST))
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.INFRASTRUCTURE, Severity.CRITICAL)
    assert set(found.services) == set(found.clients_of) == {ORDERS, CARTS, SHOP}
    assert found.requests is None


def test_a_standbys_region_lost_is_one_region_less_to_go_to() -> None:
    found = what(dead(ESTATE, WEST), WEST)
    assert found is not None
    assert (found.severity, found.clients_of) == (Severity.MAJOR, ())
    assert set(found.services) == {ORDERS, CARTS, SHOP}


def test_a_provider_is_out_when_none_of_its_several_regions_is_left() -> None:
    five = shop(FIVE)
    regions = {r: replace(each, provider="aws" if r in (EAST, WEST) else "own") for r, each in five.regions.items()}
    estate = replace(five, regions=regions)
    both = what(dead(estate, EAST, WEST), estate=estate)
    assert both is not None
    assert both.kind is FailureClass.PROVIDER
    for one in (what(dead(estate, EAST), estate=estate), what(dead(estate, EUROPE), EUROPE, estate=estate)):
        assert one is not None
        assert one.kind is FailureClass.INFRASTRUCTURE


def test_services_that_fail_where_the_agent_answers_are_no_outage_of_a_provider() -> None:
    said = judged(ESTATE, down=everywhere(ESTATE, EAST, inside=True))
    found = what(said)
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.APPLICATION, Severity.CRITICAL)


@pytest.mark.parametrize("gray", [True, False])
def test_a_broken_way_in_hits_those_who_are_sent_in_by_it(gray: bool) -> None:
    """They were sent round by another door: the primary behind the broken one serves them."""
    changed = {"services": (SHOP,), "ingress_only": gray}
    said = turned(Diagnosis.GRAY if gray else Diagnosis.INGRESS_FAILED, **changed)
    round_about = replace(placed(ESTATE), entry=WEST)
    found = [
        incident(
            said.verdicts[EAST],
            estate=ESTATE,
            verdicts=said.verdicts.values(),
            voiceless=(),
            placements=[placement],
            health=(),
        )
        for placement in (placed(ESTATE), round_about)
    ]
    assert [f and f.clients_of for f in found] == [(SHOP,), ()]


def test_where_primaries_are_not_known_yet_nobody_says_that_no_clients_are_hit() -> None:
    said = dead(ESTATE, EAST)
    found = incident(
        said.verdicts[EAST], estate=ESTATE, verdicts=said.verdicts.values(), voiceless=(), placements=[], health=()
    )
    assert found is not None
    assert set(found.unplaced) == {ORDERS, CARTS, SHOP}
    assert found.severity is Severity.MAJOR


def test_a_service_that_the_estate_has_no_more_is_left_out() -> None:
    found = what(turned(Diagnosis.SERVICE_DOWN, services=(ORDERS, ServiceId("gone"))))
    assert found is not None
    assert found.services == (ORDERS,)


@pytest.mark.parametrize(("region", "severity"), [(EAST, Severity.MAJOR), (WEST, Severity.MINOR)])
def test_an_agent_that_is_away_is_no_broken_network(region: RegionId, severity: Severity) -> None:
    found = what(judged(ESTATE, silent=(region,)), region)
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.AGENT, severity)


@pytest.mark.parametrize(
    ("service", "severity"), [(ORDERS, Severity.CRITICAL), (SHOP, Severity.CRITICAL), (CARTS, Severity.MAJOR)]
)
def test_one_service_down_is_the_applications_and_critical_where_clients_cannot_do_without(
    service: str, severity: Severity
) -> None:
    estate = shop()
    chosen = next(s for s in estate.services if s == service)
    found = what(judged(estate, down=everywhere(estate, EAST, services=(chosen,), inside=True)), estate=estate)
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.APPLICATION, severity)
    assert found.services == found.clients_of == (service,)


def test_a_region_that_clients_do_not_get_into_is_a_partition() -> None:
    found = what(judged(ESTATE, down=everywhere(ESTATE, EAST)))
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.PARTITION, Severity.CRITICAL)


def test_a_cut_link_hits_nobody() -> None:
    found = what(judged(ESTATE, down={(WEST, EAST, s) for s in (ORDERS, CARTS, SHOP)}))
    assert found == Incident(
        region=EAST,
        kind=FailureClass.PARTITION,
        severity=Severity.MINOR,
        services=(),
        clients_of=(),
        requests=None,
    )


def test_gray_is_major_where_clients_are_sent_and_says_what_routers_carry() -> None:
    health = [carried(EAST, 20.0), carried(EAST, None), carried(WEST, 7.0)]
    found = what(turned(Diagnosis.GRAY, services=(SHOP,)), health=health)
    assert found is not None
    assert (found.kind, found.severity, found.requests) == (FailureClass.GRAY, Severity.MAJOR, 20.0)


def test_who_hears_hardly_anybody_is_an_isolated_observer() -> None:
    down = {(EAST, r, s) for r in (WEST, EUROPE) for s in (ORDERS, CARTS, SHOP)}
    detector, now = watched(ESTATE, rounds=8, down=down)
    said = assess(detector, now=seconds(now), estate=ESTATE)
    assert EAST in said.voiceless
    found = what(said)
    assert found is not None
    assert (found.kind, found.severity) == (FailureClass.OBSERVER, Severity.MINOR)
