"""Recovery times are read from what clients heard, and from nothing else."""

from __future__ import annotations

from evac.lab.history import Ending, Owner, Write
from evac.lab.measures import Gap, answered_after, longest_gap, recovered_after, still_owned_by


def _yes(invoked: float, heard: float, *, node: str, term: int) -> Write:
    return Write(
        id=f"{invoked}",
        client="c",
        store="orders",
        via="web",
        invoked=invoked,
        ended=heard,
        ending=Ending.OK,
        owner=Owner(node=node, term=term),
    )


OLD = [_yes(9.0, 9.1, node="a", term=1), _yes(9.9, 10.2, node="a", term=1)]
NEW = [_yes(12.0, 12.5, node="b", term=2), _yes(13.0, 13.1, node="b", term=2)]


def test_recovery_ends_with_the_first_yes_of_a_newer_term() -> None:
    assert recovered_after([*OLD, *NEW], fault_at=10.0) == 2.5


def test_late_answer_of_the_old_primary_is_no_recovery() -> None:
    assert recovered_after(OLD, fault_at=10.0) is None


def test_store_that_never_moved_is_measured_by_the_next_answer() -> None:
    again = _yes(14.0, 14.25, node="a", term=1)

    assert recovered_after([*OLD, again], fault_at=10.0) is None
    assert answered_after([*OLD, again], fault_at=10.0) == 4.25
    assert answered_after(OLD, fault_at=10.0) is None


def test_gap_is_the_longest_silence_that_touches_the_window() -> None:
    assert longest_gap([*OLD, *NEW], since=10.0, until=20.0) == Gap(begun=10.2, ended=12.5)
    assert longest_gap([*OLD, *NEW], since=12.6, until=20.0) == Gap(begun=12.5, ended=13.1)
    assert longest_gap(OLD[:1], since=0.0, until=20.0) is None


def test_what_an_old_node_still_takes_is_counted() -> None:
    assert still_owned_by([*OLD, *NEW], node="a", since=9.5) == 1
    assert still_owned_by([*OLD, *NEW], node="a", since=10.0) == 0
