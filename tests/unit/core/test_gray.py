"""What a vantage point's answers say of what works only now and then."""

from __future__ import annotations

from datetime import timedelta

from evac.core.detector import Cell
from evac.core.gray import met_since, one_alone, since_outage
from evac.core.policy import Detection
from fakes.estates import seconds


def cell(answers: str, *, first_failure: float | None = None, failures: int = 0) -> Cell:
    """A cell with an answer a second, from second 1 on: `+` or `-`."""
    return Cell(
        up=True,
        since=seconds(0),
        first_failure=None if first_failure is None else seconds(first_failure),
        failures=failures,
        successes=0,
        last=seconds(len(answers)),
        took=timedelta(),
        reason="",
        recent=tuple(seconds(at) for at, _ in enumerate(answers, 1)),
        bad=tuple(seconds(at) for at, each in enumerate(answers, 1) if each == "-"),
    )


def test_what_came_up_to_a_moment_is_left_out_of_the_answers_and_of_the_row() -> None:
    met = met_since(cell("-+----", first_failure=3, failures=4), seconds(4))
    assert met.recent == met.bad == (seconds(5), seconds(6))
    assert (met.failures, met.first_failure) == (2, seconds(5))


def test_a_success_ends_the_row() -> None:
    met = met_since(cell("----+-", first_failure=6, failures=1), seconds(2))
    assert (met.failed, met.failures, met.first_failure) == (3, 1, seconds(6))


def test_where_nothing_came_since_nothing_failed() -> None:
    met = met_since(cell("----", first_failure=1, failures=4), seconds(4))
    assert (met.recent, met.bad, met.failures, met.first_failure) == ((), (), 0, None)


def test_where_all_came_later_a_cell_is_as_it_was() -> None:
    whole = cell("--", first_failure=1, failures=2)
    assert met_since(whole, seconds(0.5)) is whole
    assert met_since(whole, None) is whole
    assert met_since(cell(""), seconds(9)).recent == ()


POLICY = Detection(lossy_window=timedelta(seconds=3))


def left(*answers: str) -> list[int]:
    return [len(met.recent) for met in since_outage([cell(each) for each in answers], POLICY)]


def test_an_outage_of_all_is_left_out_and_what_came_since_is_not() -> None:
    assert left("+----+-+", "------++") == [3, 2]
    assert left("----", "----") == [0, 0]


def test_an_outage_of_some_is_not() -> None:
    assert left("+----+-+", "+---++++") == [8, 8]


def test_the_last_outage_counts() -> None:
    assert left("----+----+") == [1]


def test_what_is_down_again_had_no_outage_that_is_over() -> None:
    assert left("----+---", "----++---") == [8, 9]
    assert left("----+---+", "----++---") == [5, 5]
    assert left("----+---", "----++-+") == [4, 4]


def test_a_region_that_nobody_has_looked_at_had_no_outage() -> None:
    assert left() == []
    assert left("") == [0]


def alone(*answers: str) -> bool:
    return one_alone([[cell(each)] for each in answers], Detection(), seconds(6))


def test_what_fails_in_one_service_is_alone_while_others_pass() -> None:
    assert alone("--+--+", "++++++", "++++++")
    assert alone("--+--+", "-+++++", "++++++")


def test_what_fails_in_two_services_is_not() -> None:
    assert not alone("--+--+", "-++-++")
    assert not alone("--+--+", "-++-++", "+++++++")


def test_of_one_service_nobody_can_tell() -> None:
    assert not alone("--+--+")
