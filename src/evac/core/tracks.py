"""Tracks: where members of a replicated component stood in its log, look by look, and what follows from two of them.

Intuition: a position alone says nothing of time, and a lag that a system reports says only what that system measures.
But a primary's positions of some seconds are a clock: what a standby holds at this moment, the primary held at some
moment before, and that moment is as of when it has everything. Likewise bytes a second are two positions, and the time
between them. Between two looks a position is taken to have grown evenly.

What this is not: a guess. Positions of different histories (a timeline, the name of a stream) are never compared, and
where two looks are missing there is no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from evac.core.observation import Instant, Json, MemberSeen, MemberState

MEASURED_OVER_MIN = timedelta(seconds=1)
"""Two looks that are less apart say nothing of bytes a second."""

History: TypeAlias = tuple[int | None, Json]


class Point(NamedTuple):
    """Where a member stood at a moment."""

    at: Instant
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A member's positions in one history, oldest first; at least one."""

    history: History
    points: tuple[Point, ...]

    @property
    def newest(self) -> Point:
        """Return where it was seen last."""
        return self.points[-1]

    def position_at(self, at: Instant) -> float | None:
        """Return where it stood at a moment; after its last look, where it stood then, and None before the first."""
        if at < self.points[0].at:
            return None
        for before, after in pairwise(self.points):
            if at < after.at:
                part = (at - before.at) / (after.at - before.at)
                return before.position + part * (after.position - before.position)
        return self.newest.position

    def reached(self, position: int) -> Instant | None:
        """Return the last moment at which it had not gone beyond a position that it has left behind; None if that was
        before its first look.
        """
        for before, after in reversed([*pairwise(self.points)]):
            if before.position <= position < after.position:
                part = (position - before.position) / (after.position - before.position)
                return before.at + part * (after.at - before.at)
        return None


class Rate(NamedTuple):
    """Bytes a second, and the time between the two looks that tell."""

    bytes_per_second: float
    over: timedelta


def history(state: MemberState) -> History:
    """Return what names the history that a member's position counts in."""
    return state.timeline, state.detail.get("stream")


def track(looks: Iterable[MemberSeen]) -> Track | None:
    """Return a member's track in the history it is in now, since it went back the last time; None where it said no
    position.
    """
    found: Track | None = None
    for look in looks:
        if look.state is None or look.state.position is None:
            continue
        point, now = Point(look.at, look.state.position), history(look.state)
        if found is not None and point.at <= found.newest.at:
            continue
        goes_on = found is not None and found.history == now and found.newest.position <= point.position
        found = Track(history=now, points=(*(found.points if found and goes_on else ()), point))
    return found


def rate(track: Track) -> Rate | None:
    """Return how many bytes a second were added to a member's log; None where too little was seen."""
    first, last = track.points[0], track.newest
    over = last.at - first.at
    if over < MEASURED_OVER_MIN:
        return None
    return Rate((last.position - first.position) / over.total_seconds(), over)


class Behind(NamedTuple):
    """How far a standby is behind its primary: by so many bytes of its log, and by `lag`, how much older than the
    primary's is what it holds; more than `over` where that began before the primary's first look. `in_sync_at` is the
    newest moment as of which it is known to hold everything.
    """

    size: int
    in_sync_at: Instant | None
    lag: timedelta | None
    over: timedelta | None


def behind(primary: Track, standby: Track) -> Behind | None:
    """Return how far a standby is behind, at its newest look that the primary's enclose, or else after them.

    None where the two cannot be compared.
    """
    enclosed = [p for p in standby.points if primary.points[0].at <= p.at <= primary.newest.at]
    at, position = enclosed[-1] if enclosed else standby.newest
    there = primary.position_at(at)
    if primary.history != standby.history or there is None:
        return None
    missing = max(round(there) - position, 0)
    if not missing:  # after the primary's last look nobody knows what else it has written
        synced = at if enclosed else primary.newest.at
        return Behind(size=0, in_sync_at=synced, lag=timedelta() if enclosed else None, over=None)
    reached = primary.reached(position)
    if reached is None:
        return Behind(size=missing, in_sync_at=None, lag=None, over=at - primary.points[0].at)
    return Behind(size=missing, in_sync_at=reached, lag=at - reached, over=None)


def in_order(looks: Iterable[MemberSeen]) -> Sequence[MemberSeen]:
    """Return looks by the moment at which they were made."""
    return sorted(looks, key=lambda look: look.at)
