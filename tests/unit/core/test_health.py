"""How well a service is served is what is met outside lately, and nothing is said where nobody has looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.detector import Detector, fold
from evac.core.estate import ComponentId, RegionId, ServiceId
from evac.core.health import THROUGHPUT, ServiceHealth, health, score
from evac.core.observation import Heartbeat, Instant, Json, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.sim.estates import EAST, EUROPE, WEST, shop

ESTATE = shop()
SERVICE = next(iter(ESTATE.services))
AT = timedelta(seconds=100)


def seen(vantage: RegionId, *, ok: bool = True, took: float = 0.1, ago: float = 0, client: bool = False) -> Probed:
    return Probed(
        at=AT - timedelta(seconds=ago),
        vantage=vantage,
        service=SERVICE,
        region=EAST,
        ok=ok,
        took=timedelta(seconds=took),
        reason="" if ok else "status 500",
        as_client=client,
    )


def found(*observations: Observation, service: ServiceId = SERVICE, at: Instant = AT) -> ServiceHealth:
    heartbeats = [Heartbeat(at=at, region=region) for region in ESTATE.regions]
    detector = fold(Detector(policy=ESTATE.detection), *heartbeats, *observations)
    said = health(detector, assess(detector, now=at, estate=ESTATE), estate=ESTATE)
    assert len(said) == len(ESTATE.regions) * len(ESTATE.services)
    return next(h for h in said if (h.region, h.service) == (EAST, service))


def test_of_what_nobody_has_looked_at_nothing_is_said() -> None:
    assert found() == ServiceHealth(
        region=EAST, service=SERVICE, score=None, response=None, error_rate=None, throughput=None, answers=0
    )


def test_all_that_is_asked_from_outside_counts_and_the_inside_does_not() -> None:
    answers = [seen(WEST, ago=2), seen(WEST, ok=False, ago=1), seen(EUROPE, client=True), seen(EUROPE, took=0.3)]
    said = found(*answers, *(seen(EAST, ok=False, ago=n) for n in (3, 2, 1)))
    assert (said.answers, said.error_rate, said.score) == (4, 0.25, 0.75)
    assert said.response == timedelta(seconds=0.2), "who got no answer last says nothing of how long one takes"


def test_a_slow_answer_is_worth_less_in_proportion() -> None:
    said = found(seen(WEST, took=2.5))
    assert said.score == pytest.approx(0.4)
    assert said.error_rate == 0


def test_what_is_older_than_the_window_is_past() -> None:
    said = found(seen(WEST), at=AT + ESTATE.detection.gray_window)
    assert (said.answers, said.score, said.response) == (0, None, None)


def test_who_has_no_vote_is_not_heard() -> None:
    detector = fold(Detector(policy=ESTATE.detection), seen(WEST), Heartbeat(at=AT, region=EUROPE))
    said = health(detector, assess(detector, now=AT, estate=ESTATE), estate=ESTATE)
    assert {h.answers for h in said} == {0}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, None),
        ({"a": {}}, None),
        ({"a": {THROUGHPUT: 81}}, 81.0),
        ({"a": {THROUGHPUT: 81}, "b": {THROUGHPUT: 2.5}}, 83.5),
    ],
)
def test_throughput_is_what_the_routers_there_say(details: dict[str, dict[str, Json]], expected: float | None) -> None:
    router = next(c for c in ESTATE.components.values() if c.replication is None)
    routers = {ComponentId(name): replace(router, id=ComponentId(name)) for name in ("a", "b")}
    estate = replace(ESTATE, components={**ESTATE.components, **routers})
    members = [
        MemberSeen(
            at=AT,
            component=ComponentId(name),
            region=EAST,
            state=MemberState(role=MemberRole.PRIMARY, writable=True, detail=detail),
        )
        for name, detail in details.items()
    ]
    silent = MemberSeen(at=AT, component=router.id, region=EAST, state=None, reason="no answer")
    detector = fold(Detector(policy=estate.detection), silent, *members)
    said = health(detector, assess(detector, now=AT, estate=estate), estate=estate)
    assert [h.throughput for h in said if (h.region, h.service) == (EAST, router.service)] == [expected]


def test_a_regions_score_is_that_of_its_services_on_average() -> None:
    said = found(seen(WEST, took=2.0))
    assert score(EAST, [said, replace(said, score=1.0), replace(said, score=None)]) == pytest.approx(0.75)
    assert score(WEST, [said]) is None


def test_that_of_some_services_is_what_is_said_of_them_among_all() -> None:
    heartbeats = [Heartbeat(at=AT, region=region) for region in (WEST, EUROPE)]
    looks = [seen(WEST), seen(EUROPE, ok=False, client=True), seen(EUROPE), seen(EAST, ok=False)]
    detector = fold(Detector(policy=ESTATE.detection), *heartbeats, *looks)
    assessment = assess(detector, now=AT, estate=ESTATE)
    everything = health(detector, assessment, estate=ESTATE)
    for service in ESTATE.services:
        some = health(detector, assessment, estate=ESTATE, services=[service])
        assert some == tuple(h for h in everything if h.service == service)
