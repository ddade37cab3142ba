"""What would happen if a group's primary region died now, and how that has been lately.

Intuition: the plan that would be made is made all the time, from live state, and asked how long it would take and what
it would lose. A figure alone says little at night; beside its target, and beside what it was an hour ago, it says
whether somebody should look.

What this is not: the forecast of one plan (`objectives`), or what a run achieved (the report).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from evac.core.decision import Move
from evac.core.errors import UnsafePlan
from evac.core.objectives import Durations, Forecast, forecast
from evac.core.plan import RunKind, Term
from evac.core.planning import plan_move
from evac.core.steps import Situation
from evac.core.targets import choose

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


def if_lost_now(situation: Situation, durations: Durations) -> Forecast:
    """Return what the loss of a group's primary region would cost now. Raises `UnsafePlan` when nothing can move it."""
    placement = situation.placement
    choice = choose(situation.estate, situation.assessment, placement, situation.members)
    if choice.target is None:
        raise UnsafePlan(tuple(f"{r.region}: {r.reason}" for r in choice.rejected) or ("there is no other region",))
    move = Move(
        group=placement.group,
        kind=RunKind.FAILOVER,
        source=placement.primary,
        target=choice.target,
        reasons=("what if",),
        rejected=choice.rejected,
    )
    plan = plan_move(move, situation, term=Term(placement.term + 1))
    return forecast(
        plan,
        estate=situation.estate,
        assessment=situation.assessment,
        members=situation.members,
        durations=durations,
    )


def remember(past: Sequence[Point], point: Point) -> tuple[Point, ...]:
    """Return the points of the last hour with one more, oldest first."""
    return (*(p for p in past if timedelta() <= point.wall - p.wall < KEPT_FOR), point)


def trend(past: Sequence[timedelta | None], now: timedelta | None) -> Trend:
    """Return where a figure is going: what it is now beside the first that is remembered."""
    first = past[0] if past else None
    if first is None or now is None:
        return Trend.UNKNOWN
    if abs(now - first) <= max(STEADY_LEAST, STEADY_WITHIN * first):
        return Trend.STEADY
    return Trend.RISING if now > first else Trend.FALLING
