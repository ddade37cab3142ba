"""How what the loss of a group's primary region would cost has been lately.

Intuition: a figure alone says little at night; beside its target, and beside what it was an hour ago, it says whether
somebody should look.

What this is not: the figures of now (`what_if`), or what a run achieved (the report).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

KEPT_FOR = timedelta(hours=1)
"""How far back a trend looks."""
STEADY_WITHIN = 0.2
"""A figure that differs by less than this part from what it was is steady."""
STEADY_LEAST = timedelta(seconds=0.2)
"""And so is one that differs by less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The forecast of one moment; `rpo` None: what would be lost was not known."""

    wall: datetime
    rto: timedelta
    rpo: timedelta | None


class Trend(StrEnum):
    """Where a figure is going."""

    STEADY = "steady"
    RISING = "rising"
    FALLING = "falling"
    UNKNOWN = "unknown"


def remember(past: Sequence[Point], point: Point) -> tuple[Point, ...]:
    """Return the points of the last hour with one more, oldest first. Of those in a row that are steady only the first
    and the last are kept: of thousands of groups, most stay as they are.
    """
    kept = [p for p in past if timedelta() <= point.wall - p.wall < KEPT_FOR]
    if len(kept) > 1 and all(_same(p, point) for p in kept[-2:]):
        del kept[-1]
    return (*kept, point)


def _same(one: Point, other: Point) -> bool:
    """Whether two points say the same of both figures, or neither knows it."""
    pairs = (one.rto, other.rto), (one.rpo, other.rpo)
    return all(now is first or trend((first,), now) is Trend.STEADY for first, now in pairs)


def trend(past: Sequence[timedelta | None], now: timedelta | None) -> Trend:
    """Return where a figure is going: what it is now beside the first that is remembered."""
    first = past[0] if past else None
    if first is None or now is None:
        return Trend.UNKNOWN
    if abs(now - first) <= max(STEADY_LEAST, STEADY_WITHIN * first):
        return Trend.STEADY
    return Trend.RISING if now > first else Trend.FALLING
