"""The lease's arithmetic: what `wait` has to exceed, and that the two counts can never overlap."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from evac.core.lease import Awaited, Held
from evac.core.timing import LeaseTiming
from evac.engine.election import LEADING


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


EXAMPLE = LeaseTiming(renew=s(2), hold=s(8), demote=s(6), watchdog=s(15), reset=s(1), wait=s(18))


def test_the_bound_is_the_larger_of_demotion_and_watchdog() -> None:
    assert EXAMPLE.age_max == s(16)
    assert s(16.03) < EXAMPLE.wait_min < s(16.04)
    assert EXAMPLE.problems() == ()
    assert LEADING.problems() == ()


def test_a_timing_that_breaks_the_inequality_is_named_with_its_numbers() -> None:
    equal = LeaseTiming(renew=s(2), hold=s(8), wait=s(8))
    (problem,) = equal.problems()
    assert "others wait 8 s" in problem
    assert "hold 8 s" in problem
    frozen = LeaseTiming(renew=s(1), hold=s(2), wait=s(3), freeze=s(1))
    assert "freeze 1 s" in frozen.problems()[0]
    lazy = LeaseTiming(renew=s(2), hold=s(2), wait=s(3))
    assert "renew it sooner" in lazy.problems()[0]


def test_demotion_counts_from_the_age_at_which_the_lease_is_laid_down() -> None:
    slow = replace(EXAMPLE, demote=s(9))
    assert slow.age_max == s(17)
    assert "demote 9 s" in replace(slow, wait=s(17)).problems()[0]


def test_equality_is_no_proof() -> None:
    """A holder that ends at the very moment another begins has a counterexample (`docs/design/safety.md` 2)."""
    even = LeaseTiming(renew=s(2), hold=s(8), wait=s(8), drift=0)
    assert even.wait == even.wait_min
    assert even.problems()
    assert even.waiting_enough() == s(8.5)
    assert not replace(even, wait=even.waiting_enough()).problems()


def test_a_version_that_moves_begins_the_wait_anew() -> None:
    seen = Awaited(version=4, read_at=s(10))
    assert seen.seen(4, s(12)) == seen
    assert not seen.over(s(27.9), EXAMPLE)
    assert seen.over(s(28), EXAMPLE)
    assert seen.seen(5, s(12)) == Awaited(version=5, read_at=s(12))


@given(
    sent=st.floats(0, 100),
    way=st.floats(0, 50),
    way_of_reading=st.floats(0, 50),
    fast=st.floats(-1e-3, 1e-3),
    slow=st.floats(-1e-3, 1e-3),
)
def test_when_the_wait_is_over_the_holder_has_laid_down(
    sent: float, way: float, way_of_reading: float, fast: float, slow: float
) -> None:
    """True times: a renewal is sent, arrives, is read. Each side counts on a clock of its own rate."""
    timing = LeaseTiming(renew=s(2), hold=s(8), wait=s(8.05))
    read = sent + way + way_of_reading
    taken = read + timing.wait.total_seconds() / (1 + fast)  # the waiter's clock shows `wait` after so much true time
    held = Held(version=1, sent_at=s(0))
    on_holders_clock = (taken - sent) * (1 + slow)
    assert not held.lasts(s(on_holders_clock), timing)
