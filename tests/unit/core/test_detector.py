from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.detector import Cell, Detector, Stream, fold
from evac.core.policy import Detection
from evac.core.sights import Sight
from evac.sim.estates import EAST, ORDERS, ORDERS_DB, WEST
from fakes.estates import beat, member, probed, seconds

EMPTY = Detector(policy=Detection())
SIGHT = Sight(WEST, ORDERS, EAST, False)


def answered(*answers: bool, step: float = 0.5) -> Detector:
    """A detector that was told these answers, one every half second."""
    seen = (probed(count * step, WEST, EAST, ORDERS, ok=ok) for count, ok in enumerate(answers))
    return fold(EMPTY, *seen)


def cell(detector: Detector) -> Cell:
    return detector.cells[SIGHT]


def test_one_success_is_enough_to_be_up_at_first() -> None:
    assert cell(answered(True)).up is True


def test_nothing_is_known_after_too_few_failures_at_first() -> None:
    assert cell(answered(False, False)).up is None


def test_a_row_of_failures_turns_a_cell_down_and_less_does_not() -> None:
    assert cell(answered(True, False, False, True, False, False)).up is True
    down = cell(answered(True, False, False, False))
    assert down.up is False
    assert down.since == seconds(1.5)


def test_one_lucky_answer_does_not_turn_a_cell_up() -> None:
    assert cell(answered(False, False, False, True)).up is False
    assert cell(answered(False, False, False, True, True)).up is True


def test_the_first_symptom_is_when_the_first_failing_question_was_asked() -> None:
    assert cell(answered(True, False, False, False)).first_failure == seconds(0.4)
    assert cell(answered(True, False, True)).first_failure is None


def test_an_answer_that_is_told_twice_counts_once() -> None:
    seen = probed(1, WEST, EAST, ORDERS, ok=False)
    assert fold(EMPTY, seen, seen, seen) == fold(EMPTY, seen)


def test_an_answer_older_than_the_last_one_changes_nothing() -> None:
    new = fold(EMPTY, probed(2, WEST, EAST, ORDERS))
    assert fold(new, probed(1, WEST, EAST, ORDERS, ok=False)) == new


def test_the_window_forgets_and_counts() -> None:
    policy = replace(Detection(), gray_window=timedelta(seconds=2))
    seen = (probed(count, WEST, EAST, ORDERS, ok=count > 1) for count in range(4))
    kept = fold(Detector(policy=policy), *seen).cells[SIGHT]
    assert kept.recent == (seconds(2), seconds(3))
    assert kept.failed == 0
    long_after = fold(Detector(policy=policy), probed(0, WEST, EAST, ORDERS), probed(60, WEST, EAST, ORDERS, ok=False))
    assert long_after.cells[SIGHT].failing_share() == 1.0


def test_a_cell_without_answers_fails_in_no_part() -> None:
    nothing = replace(cell(answered(True)), recent=(), bad=())
    assert nothing.failing_share() == 0.0


def test_a_heartbeat_after_a_gap_begins_anew() -> None:
    steady = fold(EMPTY, *beat(0, EAST), *beat(1, EAST), *beat(2, EAST))
    assert steady.fresh_since[EAST] == seconds(0)
    returned = fold(steady, *beat(10, EAST))
    assert (returned.fresh_since[EAST], returned.heartbeats[EAST]) == (seconds(10), seconds(10))


def test_a_late_heartbeat_does_not_turn_time_back() -> None:
    assert fold(EMPTY, *beat(5, EAST), *beat(4, EAST)).heartbeats[EAST] == seconds(5)


def test_what_a_member_said_last_is_kept() -> None:
    old, new = (member(ORDERS_DB, EAST, primary=EAST, at=at) for at in (1, 2))
    assert fold(EMPTY, new, old).members[ORDERS_DB, EAST] is new
    assert fold(EMPTY, old, new).members[ORDERS_DB, EAST] is new


def streamed(*told: tuple[float, dict[str, object] | None]) -> Stream:
    """What is known of a standby's stream after it said so at these moments; None: it did not answer."""
    detector = EMPTY
    for at, changes in told:
        seen = member(ORDERS_DB, WEST, primary=EAST, at=at)
        assert seen.state is not None
        state = None if changes is None else replace(seen.state, **changes)  # type: ignore[arg-type]
        detector = fold(detector, replace(seen, state=state))
    return detector.streams[ORDERS_DB, WEST]


def test_a_stream_flows_since_it_was_first_seen_to() -> None:
    assert streamed((1, {}), (2, {}), (6, {})) == Stream(
        upstream=EAST, behind=False, flows=True, since=seconds(1), heard=seconds(6), told=seconds(6)
    )


def test_silence_says_when_it_was_heard_last_and_too_much_ends_it() -> None:
    flows = streamed((1, {}), (5, {"stream_silence": seconds(3)}))
    assert (flows.flows, flows.since, flows.heard) == (True, seconds(1), seconds(2))
    ended = streamed((1, {}), (5, {"stream_silence": seconds(3)}), (7.5, {"stream_silence": seconds(5.5)}))
    assert (ended.flows, ended.since, ended.heard) == (False, seconds(7.5), seconds(2))


def test_a_gap_another_upstream_or_no_answer_begins_anew() -> None:
    assert streamed((1, {}), (6.5, {})).since == seconds(6.5)
    assert streamed((1, {}), (2, {"upstream": None})).since == seconds(2)
    silent = streamed((1, {}), (2, None), (3, None))
    assert (silent.flows, silent.since, silent.heard) == (False, seconds(2), seconds(1))
    assert streamed((1, None)).heard is None
    assert streamed((1, {}), (2, None), (3, {})).since == seconds(3)


def test_a_stream_on_an_older_timeline_than_a_primarys_brings_nothing() -> None:
    primary = member(ORDERS_DB, EAST, primary=EAST, at=1)
    assert primary.state is not None
    promoted = replace(primary, state=replace(primary.state, timeline=2))
    old, new = (member(ORDERS_DB, WEST, primary=EAST, at=at) for at in (2, 3))
    assert new.state is not None
    detector = fold(EMPTY, promoted, old)
    assert (detector.streams[ORDERS_DB, WEST].behind, detector.streams[ORDERS_DB, WEST].flows) == (True, False)
    detector = fold(detector, replace(new, state=replace(new.state, timeline=2)))
    assert (detector.streams[ORDERS_DB, WEST].behind, detector.streams[ORDERS_DB, WEST].flows) == (False, True)
    detector = fold(detector, replace(new, at=seconds(4), state=replace(new.state, timeline=None)))
    assert not detector.streams[ORDERS_DB, WEST].behind
