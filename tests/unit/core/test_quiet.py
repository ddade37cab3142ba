"""When a pause ends and a window is open: by the wall clock, in the zone it was said in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta

import pytest

from evac.core.estate import Recurring
from evac.core.quiet import Pause, Window, never_closes, open_window, open_windows
from evac.sim.estates import EAST, GROUP, WEST

SUNDAY = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def recurring(
    *, at: str = "02:00", lasts: timedelta = 2 * HOUR, days: tuple[int, ...] = (6,), zone: str = "UTC"
) -> Recurring:
    return Recurring(reason="upgrades", days=frozenset(days), at=time.fromisoformat(at), lasts=lasts, zone=zone)


@pytest.mark.parametrize(
    ("said", "since", "hours"),
    [
        (recurring(), 1, 2),
        (recurring(zone="Europe/Berlin"), 0, 2),
        (recurring(at="23:30", days=(5,)), -1.5, 2),  # begins on Saturday, and goes past midnight
        (recurring(at="00:00", lasts=50 * HOUR, days=(4,)), -49, 50),  # begins two days before
    ],
)
def test_a_window_is_open_from_its_time_of_day_on_for_its_length(said: Recurring, since: float, hours: int) -> None:
    begins, ends = SUNDAY + since * HOUR, SUNDAY + (since + hours) * HOUR
    assert open_window(said, begins - timedelta(seconds=1)) is None
    for at in (begins, ends - timedelta(seconds=1)):
        found = open_window(said, at)
        assert found is not None
        assert (found.since, found.until, found.reason) == (begins, ends, "upgrades")
    assert open_window(said, ends) is None


def test_a_change_of_the_clocks_moves_the_beginning_and_not_the_length() -> None:
    said = recurring(zone="Europe/Berlin", days=(0, 1, 2, 3, 4, 5, 6))
    summer, winter = datetime(2026, 10, 24, 0, 0, tzinfo=UTC), datetime(2026, 10, 26, 1, 0, tzinfo=UTC)
    for begins in (summer, winter):
        found = open_window(said, begins)
        assert found is not None
        assert (found.since, found.until - found.since) == (begins, 2 * HOUR)


def test_what_is_called_and_what_is_declared_are_open_together_the_longest_first() -> None:
    called = Window(since=SUNDAY, until=SUNDAY + 5 * HOUR, reason="a move of racks", by="alice", regions=(EAST,))
    over = Window(since=SUNDAY - HOUR, until=SUNDAY, reason="over", by="alice")
    to_come = Window(since=SUNDAY + 2 * HOUR, until=SUNDAY + 9 * HOUR, reason="to come", by="alice")
    found = open_windows([recurring()], [over, called, to_come], wall=SUNDAY + HOUR)
    assert [w.reason for w in found] == ["a move of racks", "upgrades"]
    assert [w.in_words() for w in found] == [
        "maintenance of us-east-1 until 2026-11-22 06:00:00 UTC: a move of racks (by alice)",
        "maintenance of everything until 2026-11-22 04:00:00 UTC: upgrades",
    ]


def test_whom_a_window_disturbs() -> None:
    until = SUNDAY + HOUR
    everything = Window(since=SUNDAY, until=until, reason="x")
    there = Window(since=SUNDAY, until=until, reason="x", regions=(EAST,))
    those = Window(since=SUNDAY, until=until, reason="x", groups=(GROUP,))
    other = type(GROUP)("mail")
    assert everything.concerns(GROUP, WEST)
    assert there.concerns(GROUP, EAST)
    assert not there.concerns(GROUP, WEST)
    assert those.concerns(GROUP, WEST)
    assert not those.concerns(other, EAST)


def test_a_pause_ends_by_itself_if_that_was_said() -> None:
    lasting = Pause(reason="lunch", by="alice", since=SUNDAY, until=SUNDAY + HOUR)
    assert lasting.holds(SUNDAY)
    assert not lasting.holds(SUNDAY + HOUR)
    assert lasting.in_words() == "lunch (by alice, until 2026-11-22 02:00:00 UTC)"
    endless = Pause(reason="lunch", by="", since=SUNDAY)
    assert endless.holds(SUNDAY + 1000 * HOUR)
    assert endless.in_words() == "lunch"


@pytest.mark.parametrize(
    ("days", "hours", "never"),
    [(range(7), 24, True), (range(7), 23.9, False), ((0, 3), 96, True), ((0, 3), 95, False), ((6,), 7 * 24, True)],
)
def test_a_window_that_opens_before_it_has_ended_never_closes(days: Iterable[int], hours: float, never: bool) -> None:
    assert never_closes(recurring(days=tuple(days), lasts=hours * HOUR)) is never
