"""What the loss of a region would cost is seen beside what it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.outlook import KEPT_FOR, Point, Trend, remember, trend
from evac.sim.estates import shop

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ESTATE = shop()


def point(minute: int) -> Point:
    return Point(wall=NOON + timedelta(minutes=minute), rto=timedelta(seconds=1 + minute % 2), rpo=None)


def test_an_hour_is_remembered_and_a_wall_clock_that_went_back_forgets_the_future() -> None:
    past: tuple[Point, ...] = ()
    for minute in range(90):
        past = remember(past, point(minute))
    assert [p.wall for p in past] == [point(m).wall for m in range(30, 90)]
    assert remember(past, point(40))[-2:] == (point(40), point(40))
    assert remember(past, replace(point(0), wall=past[-1].wall + KEPT_FOR))[:-1] == ()


def test_of_points_in_a_row_that_are_steady_the_first_and_the_last_are_remembered() -> None:
    past: tuple[Point, ...] = ()
    for minute in range(20):
        past = remember(past, replace(point(minute), rto=timedelta(seconds=10, milliseconds=minute)))
    assert [p.wall for p in past] == [point(0).wall, point(19).wall]
    unknown = replace(past[-1], wall=point(20).wall, rto=timedelta(seconds=20))
    known = replace(unknown, wall=point(21).wall, rpo=timedelta())
    past = remember(remember(past, unknown), known)
    for minute in (22, 23):
        past = remember(past, replace(known, wall=point(minute).wall))
    assert past[2:] == (unknown, known, replace(known, wall=point(23).wall))


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
