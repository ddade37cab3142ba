"""The watchdog's rule: one instant decides, it only grows, and what is down stays down until it is released."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.core.watchdog import Arm, Feed, Guard, Look, Order, Release, Stance, read_order, write_order


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


NEW = Guard(within=s(6))
ARMED = NEW.told(Arm(sent_at=s(10), term=1), s(10))


def test_it_is_due_when_the_newest_renewal_is_too_old_and_not_before() -> None:
    assert ARMED.stance is Stance.GUARDING
    assert not ARMED.due(s(15.9))
    assert ARMED.due(s(16))
    assert not ARMED.told(Feed(sent_at=s(12)), s(13)).due(s(17.9))
    assert ARMED.told(Feed(sent_at=s(12)), s(13)).due(s(18)), "it counts from the sending, not from the message"


def test_what_is_not_held_is_never_due() -> None:
    assert not NEW.due(s(1e6))
    assert NEW.told(Feed(sent_at=s(10)), s(10)).stance is Stance.IDLE, "a feeding alone holds nothing"


def test_what_comes_late_lengthens_nothing() -> None:
    fed = ARMED.told(Feed(sent_at=s(14)), s(14))
    assert fed.told(Feed(sent_at=s(11)), s(15)) == fed
    assert fed.told(Release(sent_at=s(13)), s(15)) == fed
    assert fed.told(Arm(sent_at=s(13), term=1), s(15)) == fed


def test_an_instant_to_come_counts_as_now() -> None:
    assert ARMED.told(Feed(sent_at=s(1000)), s(11)).due(s(17))
    free = ARMED.told(Release(sent_at=s(1000)), s(11))
    assert free.told(Arm(sent_at=s(12), term=2), s(12)).stance is Stance.GUARDING, "what comes after it is not void"


def test_what_is_down_is_down_until_it_is_released() -> None:
    down = ARMED.killed()
    assert down.stance is Stance.DOWN
    assert not down.due(s(1000)), "it is killed once; that it stays down is another matter"
    assert down.told(Feed(sent_at=s(17)), s(17)) == down
    assert down.told(Arm(sent_at=s(17), term=2), s(17)) == down
    free = down.told(Release(sent_at=s(18)), s(18))
    assert free.stance is Stance.IDLE
    assert free.told(Arm(sent_at=s(17), term=2), s(19)).stance is Stance.IDLE, "armed before it was released: void"
    assert free.told(Arm(sent_at=s(19), term=2), s(19)).stance is Stance.GUARDING


@pytest.mark.parametrize("order", [Arm(sent_at=s(1.5), term=7), Feed(sent_at=s(2)), Release(sent_at=s(3)), Look()])
def test_orders_are_read_as_they_were_written(order: Order) -> None:
    assert read_order(write_order(order)) == order
    assert ARMED.told(Look(), s(11)) == ARMED


@given(st.binary(max_size=40))
def test_noise_is_no_order_and_does_no_harm(line: bytes) -> None:
    order = read_order(line)
    assert order is None or read_order(write_order(order)) == order


@pytest.mark.parametrize("line", [b"", b"arm 5", b"arm x 5", b"feed", b"release 1 2", b"look 1", b"end", b"feed -1"])
def test_half_an_order_is_none(line: bytes) -> None:
    assert read_order(line) is None


def test_arming_again_lengthens_nothing() -> None:
    assert ARMED.told(Arm(sent_at=s(12), term=1), s(12)).due(s(16))


@given(
    orders=st.lists(
        st.tuples(st.sampled_from(["arm", "feed"]), st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12
    )
)
def test_whatever_comes_in_whatever_order_it_is_killed_in_time(orders: list[tuple[str, float, float]]) -> None:
    """Between the newest sending and the kill lies never more than `within`."""
    guard, newest = ARMED, 10.0
    for kind, sent, now in orders:
        guard = guard.told(Arm(sent_at=s(sent), term=1) if kind == "arm" else Feed(sent_at=s(sent)), s(now))
        newest = max(newest, min(sent, now) if kind == "feed" else newest)
    assert guard.due(s(newest + 6))
