"""Times in which nothing moves by itself: a pause that a person called, and windows of maintenance.

Intuition: a pause is the switch that turns automation off, everywhere and at once; it may end by itself. A window says
that work is expected to disturb something: a group, or whatever has its primaries in a region. Until it is over evac
watches and says what it would do, and a person can move by hand. What keeps two from writing is not automation and goes
on: leases run out, watchdogs kill, orders of a run under way are carried out.

Windows are people's times, and so by the wall clock, in the zone they were said in; what evac decides by is otherwise
its boot clock. A wall clock that jumps opens or closes a window too early, and no more.

What this is not: what else holds automation back (`restraint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from evac.core.estate import GroupId, Recurring, RegionId

LASTS_MAX = timedelta(days=7)
"""The longest window: what lasts longer is no maintenance."""
DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Automation is off, since `since`, by a person. Without `until` it stays off until somebody turns it on."""

    reason: str
    by: str
    since: datetime
    until: datetime | None = None

    def holds(self, wall: datetime) -> bool:
        """Return whether it has not ended by itself."""
        return self.until is None or wall < self.until

    def in_words(self) -> str:
        """Return who turned it off, why, and until when."""
        until = f", until {_utc(self.until)}" if self.until else ""
        return f"{self.reason} (by {self.by}{until})" if self.by else f"{self.reason}{until}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Work from `since` until `until` on some groups, and in some regions; on everything, where neither is named.

    `id` names one that a person opened; those that the estate declares have none.
    """

    since: datetime
    until: datetime
    reason: str
    by: str = ""
    groups: tuple[GroupId, ...] = ()
    regions: tuple[RegionId, ...] = ()
    id: str = ""

    def holds(self, wall: datetime) -> bool:
        """Return whether it is open."""
        return self.since <= wall < self.until

    def concerns(self, group: GroupId, primary: RegionId) -> bool:
        """Return whether a group whose primaries are in a region is disturbed."""
        return group in self.groups or primary in self.regions or not (self.groups or self.regions)

    def in_words(self) -> str:
        """Return what is worked on, by whom, why, and until when."""
        on = ", ".join((*self.groups, *self.regions)) or "everything"
        return f"maintenance of {on} until {_utc(self.until)}: {self.reason}" + (f" (by {self.by})" if self.by else "")


def open_window(recurring: Recurring, wall: datetime) -> Window | None:
    """Return the window that is open at a moment; None between two.

    A time of day that a change of the clocks skips, or has twice, is read as `datetime` does (PEP 495).
    """
    zone = ZoneInfo(recurring.zone)
    today = wall.astimezone(zone).date()
    for ago in range(-(-recurring.lasts // timedelta(days=1)) + 1):
        day = today - timedelta(days=ago)
        since = datetime.combine(day, recurring.at, tzinfo=zone).astimezone(UTC)
        if day.weekday() in recurring.days and since <= wall < since + recurring.lasts:
            return Window(
                since=since,
                until=since + recurring.lasts,
                reason=recurring.reason,
                groups=recurring.groups,
                regions=recurring.regions,
            )
    return None


def never_closes(recurring: Recurring) -> bool:
    """Return whether a window opens again before it has ended, each time: then it is no maintenance."""
    days = sorted(recurring.days)
    until_next = [
        (later - day) % DAYS_A_WEEK or DAYS_A_WEEK for day, later in zip(days, days[1:] + days[:1], strict=True)
    ]
    return recurring.lasts >= timedelta(days=max(until_next))


def open_windows(declared: Iterable[Recurring], called: Iterable[Window], *, wall: datetime) -> tuple[Window, ...]:
    """Return every window that is open at a moment, the one that lasts longest first."""

    def each() -> Iterator[Window]:
        yield from (window for recurring in declared if (window := open_window(recurring, wall)) is not None)
        yield from (window for window in called if window.holds(wall))

    return tuple(sorted(each(), key=lambda w: w.until, reverse=True))


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
