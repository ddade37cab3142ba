"""What the loss of a region would cost is asked of live state, and seen beside what it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.errors import UnsafePlan
from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.outlook import KEPT_FOR, Point, Trend, if_lost_now, remember, trend
from evac.core.steps import Situation
from evac.core.verdict import Assessment, Diagnosis, Status, Verdict
from evac.sim.estates import EAST, placed, shop

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ESTATE = shop()
AT = timedelta(seconds=100)


def situation(*, regions: frozenset[str] = frozenset(ESTATE.regions)) -> Situation:
    """All is well in these regions, and nothing is known of others."""
    verdicts = {
        r: Verdict(
            region=r,
            diagnosis=Diagnosis.WELL,
            status=Status.HEALTHY,
            availability=1.0,
            since=timedelta(),
            symptom_at=timedelta(),
            heartbeat_age=timedelta(),
        )
        for r in ESTATE.regions
    }
    states = {
        True: MemberState(role=MemberRole.PRIMARY, writable=True, position=100, streaming=True, sync_acks=1),
        False: MemberState(
            role=MemberRole.STANDBY, writable=False, position=100, streaming=True, upstream=EAST, lag=timedelta()
        ),
    }
    members = {
        (c.id, r): MemberSeen(at=AT, component=c.id, region=r, state=states[r == EAST])
        for c in ESTATE.components.values()
        for r in c.members
        if c.replication is not None and r in regions
    }
    return Situation(
        estate=ESTATE,
        assessment=Assessment(at=AT, verdicts=verdicts, voiceless={}),
        members=members,
        placement=placed(ESTATE),
    )


def test_it_is_the_forecast_of_the_plan_that_would_be_made() -> None:
    said = if_lost_now(situation(), {})
    assert said.critical_path
    assert said.rto_p95 > said.rto > timedelta()


def test_what_nothing_can_move_has_no_outlook() -> None:
    with pytest.raises(UnsafePlan, match="has never been seen"):
        if_lost_now(situation(regions=frozenset({EAST})), {})


def test_a_group_that_can_run_nowhere_else_has_none_either() -> None:
    alone = situation()
    services = {i: replace(s, regions=(EAST,)) for i, s in ESTATE.services.items()}
    with pytest.raises(UnsafePlan, match="there is no other region"):
        if_lost_now(replace(alone, estate=replace(ESTATE, services=services)), {})


def point(minute: int) -> Point:
    return Point(wall=NOON + timedelta(minutes=minute), rto=timedelta(seconds=minute), rpo=None)


def test_an_hour_is_remembered_and_a_wall_clock_that_went_back_forgets_the_future() -> None:
    past: tuple[Point, ...] = ()
    for minute in range(90):
        past = remember(past, point(minute))
    assert [p.wall for p in past] == [point(m).wall for m in range(30, 90)]
    assert remember(past, point(40))[-2:] == (point(40), point(40))
    assert remember(past, replace(point(0), wall=past[-1].wall + KEPT_FOR))[:-1] == ()


@pytest.mark.parametrize(
    ("past", "now", "expected"),
    [
        ([], 4, Trend.UNKNOWN),
        ([None, 4], 4, Trend.UNKNOWN),
        ([4], None, Trend.UNKNOWN),
        ([4, 9], 4.7, Trend.STEADY),
        ([0, 9], 0.2, Trend.STEADY),
        ([4], 5, Trend.RISING),
        ([4], 3, Trend.FALLING),
    ],
)
def test_a_trend_is_what_is_beside_what_was(past: list[float | None], now: float | None, expected: Trend) -> None:
    def span(seconds: float | None) -> timedelta | None:
        return None if seconds is None else timedelta(seconds=seconds)

    assert trend([span(p) for p in past], span(now)) is expected


def test_a_group_keeps_the_strictest_of_its_services_promises() -> None:
    (group,) = ESTATE.home
    kept = ESTATE.promised(group)
    assert (kept.rto, kept.rpo, kept.mtpd) == (timedelta(minutes=5), timedelta(minutes=1), timedelta(hours=1))
    name, service = next(iter(ESTATE.services.items()))
    strict = replace(service, objectives=replace(service.objectives, rpo=timedelta()))
    assert replace(ESTATE, services={**ESTATE.services, name: strict}).promised(group) == replace(kept, rpo=timedelta())
