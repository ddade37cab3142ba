"""When a record was sent is told by the quickest of its agent's records of late."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from evac.core.estate import RegionId
from evac.engine.clock_filter import OF_LATE, ClockFilter

HERE, THERE = RegionId("us-west-2"), RegionId("us-east-1")
delays = st.timedeltas(timedelta(), timedelta(seconds=5))
hours = st.timedeltas(timedelta(hours=-1), timedelta(hours=1))
QUICK = timedelta(milliseconds=40)


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@given(st.lists(st.tuples(st.timedeltas(timedelta(), s(20)), delays), min_size=1, max_size=20), hours)
def test_never_later_than_it_came_nor_earlier_than_it_was_sent(
    told: list[tuple[timedelta, timedelta]], ahead: timedelta
) -> None:
    clocks, sent = ClockFilter(), timedelta()
    for pause, delay in told:
        sent += pause
        now = sent + delay
        read = clocks.sent_at(HERE, life="a", sent=sent + ahead, now=now)
        assert sent <= read <= now


def test_a_late_record_is_as_old_as_its_agents_quickest_ones_tell() -> None:
    clocks = ClockFilter()
    assert clocks.sent_at(HERE, life="a", sent=s(1), now=s(101) + QUICK) == s(101) + QUICK
    assert clocks.sent_at(HERE, life="a", sent=s(2), now=s(104)) == s(102) + QUICK
    assert clocks.sent_at(HERE, life="a", sent=s(3), now=s(103)) == s(103)


def test_each_agent_has_a_clock_of_its_own() -> None:
    clocks = ClockFilter()
    clocks.sent_at(HERE, life="a", sent=s(1), now=s(101))
    assert clocks.sent_at(THERE, life="a", sent=s(1), now=s(201)) == s(201)


def test_an_agent_that_begins_anew_may_have_another_clock() -> None:
    clocks = ClockFilter()
    clocks.sent_at(HERE, life="a", sent=s(1000), now=s(2000))
    assert clocks.sent_at(HERE, life="b", sent=s(1), now=s(2001)) == s(2001)


def test_clocks_that_drift_apart_are_followed() -> None:
    clocks, rate = ClockFilter(), 500e-6
    for turn in range(20_000):
        now = s(turn * 0.5)
        read = clocks.sent_at(HERE, life="a", sent=now * (1 - rate), now=now)
        assert now - read <= 2 * OF_LATE * rate


def test_a_clock_that_stood_still_with_its_machine_is_believed_again_soon() -> None:
    clocks, paused = ClockFilter(), s(3)
    for turn in range(100):
        clocks.sent_at(HERE, life="a", sent=s(turn * 0.5), now=s(turn * 0.5))
    begins = 50.0
    for turn in range(40):
        sent = s(begins + turn * 0.5)
        read = clocks.sent_at(HERE, life="a", sent=sent, now=sent + paused)
        if turn * 0.5 >= 2 * OF_LATE.total_seconds():
            assert read == sent + paused


def test_after_a_long_silence_nothing_is_known() -> None:
    clocks = ClockFilter()
    clocks.sent_at(HERE, life="a", sent=s(0), now=s(0))
    late = 2 * OF_LATE
    assert clocks.sent_at(HERE, life="a", sent=late - s(1), now=late) == late
