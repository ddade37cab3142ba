"""What the controller remembers of the runs there were, and what it means for the next decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.detector import Detector
from evac.core.policy import Detection, Guard
from evac.core.run import Outcome, Run
from evac.engine.codec import encode
from evac.engine.knowledge import Knowledge
from evac.sim import time
from evac.sim.estates import GROUP
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.rehearsal import play
from fakes.shapes import shapes

SHAPES = {s.name: s for s in shapes()}
GUARD = Guard()
NOW = timedelta(seconds=50)


def ended(name: str, outcome: Outcome = Outcome.COMPLETED) -> Run:
    """Return a shape's run as it completes, with its end said to be another one."""
    run = play(SHAPES[name].plan, SHAPES[name].world()).run
    assert run.settled is not None
    opened = replace(run.opened, decided_by="evac")
    return replace(run, opened=opened, settled=replace(run.settled, outcome=outcome))


def knowing() -> Knowledge:
    return Knowledge(detector=Detector(policy=Detection()))


def test_a_shift_holds_down_nothing_and_counts_as_one_flap_of_the_way_in() -> None:
    known = knowing()
    known.settled(GROUP, ended("shift"), now=NOW, guard=GUARD)
    assert known.each(lambda m: m.last_move_at) == {}
    assert known.each(lambda m: m.flaps) == {}
    assert known.each(lambda m: m.shift_flaps)[GROUP].points == GUARD.flap_penalty
    known.settled(GROUP, ended("shift-back"), now=NOW, guard=GUARD)
    assert known.each(lambda m: m.shift_flaps)[GROUP].points == GUARD.flap_penalty


def test_who_sent_clients_away_by_hand_is_remembered_until_they_are_back() -> None:
    known, run = knowing(), ended("shift")
    known.settled(GROUP, replace(run, opened=replace(run.opened, decided_by="alice")), now=NOW, guard=GUARD)
    assert (known.each(lambda m: m.sent_by), known.each(lambda m: m.shift_flaps)) == ({GROUP: "alice"}, {})
    known.settled(GROUP, ended("shift-back"), now=NOW, guard=GUARD)
    assert known.each(lambda m: m.sent_by) == {}


@pytest.mark.parametrize("outcome", [Outcome.ROLLED_BACK, Outcome.STUCK])
def test_a_shift_that_did_not_complete_keeps_no_group_from_being_moved(outcome: Outcome) -> None:
    known = knowing()
    known.settled(GROUP, ended("shift", outcome), now=NOW, guard=GUARD)
    known.settled(GROUP, ended("shift-back", outcome), now=NOW, guard=GUARD)
    known.settled(GROUP, ended("shift-back", outcome), now=NOW, guard=GUARD)
    assert (known.stuck, known.each(lambda m: m.tries)) == ({}, {})
    assert (known.each(lambda m: m.shift_tries)[GROUP].count, known.each(lambda m: m.return_tries)[GROUP].count) == (
        1,
        2,
    )
    known.settled(GROUP, ended("shift"), now=NOW, guard=GUARD)
    assert (known.each(lambda m: m.shift_tries), known.each(lambda m: m.return_tries)) == ({}, {})


def test_what_a_person_tried_in_vain_keeps_evac_from_nothing() -> None:
    known, run = knowing(), ended("switchover", Outcome.ROLLED_BACK)
    known.settled(GROUP, replace(run, opened=replace(run.opened, decided_by="alice")), now=NOW, guard=GUARD)
    assert known.each(lambda m: m.tries) == {}
    assert known.each(lambda m: m.turned_back_at) == {GROUP: NOW}
    known.resumed()
    assert known.each(lambda m: m.turned_back_at) == {}
    known.settled(GROUP, run, now=NOW, guard=GUARD)
    assert known.each(lambda m: m.tries)[GROUP].count == 1


def test_a_move_that_completed_makes_a_new_start() -> None:
    known = knowing()
    known.settled(GROUP, ended("shift", Outcome.ROLLED_BACK), now=NOW, guard=GUARD)
    known.settled(GROUP, ended("failover"), now=NOW, guard=GUARD)
    assert known.each(lambda m: m.shift_tries) == {}
    assert known.each(lambda m: m.last_move_at) == {GROUP: NOW}


def test_what_a_trigger_asked_for_counts_for_triggers_alone() -> None:
    known, run = knowing(), ended("switchover")
    by_trigger = replace(run, opened=replace(run.opened, decision={"trigger": {"trigger": "full"}}))
    assert by_trigger.settled is not None
    back = replace(by_trigger, settled=replace(by_trigger.settled, outcome=Outcome.ROLLED_BACK))
    known.settled(GROUP, back, now=NOW, guard=GUARD)
    assert (known.each(lambda m: m.tries), known.each(lambda m: m.urge_tries)[GROUP].count) == ({}, 1)
    known.settled(GROUP, by_trigger, now=NOW, guard=GUARD)
    assert (
        known.each(lambda m: m.urge_tries),
        known.each(lambda m: m.urged_at),
        known.each(lambda m: m.last_move_at),
    ) == ({}, {GROUP: NOW}, {})
    known.settled(GROUP, back, now=NOW, guard=GUARD)
    known.resumed()
    assert known.each(lambda m: m.urge_tries) == {}
    by_hand = replace(run, opened=replace(run.opened, decided_by="alice"))
    other = knowing()
    other.settled(GROUP, by_hand, now=NOW, guard=GUARD)
    assert other.each(lambda m: m.urged_at) == {}


def test_a_planned_move_for_what_evac_detected_counts_as_a_failover_does() -> None:
    known, run = knowing(), ended("switchover")
    assert run.opened.detected
    assert run.settled is not None
    back = replace(run, settled=replace(run.settled, outcome=Outcome.ROLLED_BACK))
    known.settled(GROUP, back, now=NOW, guard=GUARD)
    failed = known.memory(GROUP)
    assert failed.tries is not None
    assert (failed.tries.count, failed.urge_tries) == (1, None)
    known.settled(GROUP, run, now=NOW, guard=GUARD)
    moved = known.memory(GROUP)
    assert (moved.tries, moved.urged_at, moved.last_move_at) == (None, None, NOW)
    assert moved.flaps is not None
    assert moved.flaps.points == GUARD.flap_penalty
    by_hand, other = replace(run, opened=replace(run.opened, decided_by="alice")), knowing()
    assert not by_hand.opened.detected
    other.settled(GROUP, by_hand, now=NOW, guard=GUARD)
    assert (other.memory(GROUP).last_move_at, other.memory(GROUP).flaps) == (None, None)


async def _recalled(name: str) -> Knowledge:
    """Open a run, and let another controller recall what there is."""
    store, clock, plan = MemoryStore(), time.VirtualClock(), SHAPES[name].plan
    await store.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before)})
    await open_run(plan, store=store, clock=clock, decided_by="evac", symptom_at=clock.now(), decision={})
    known = knowing()
    await known.recall(store, clock, guard=GUARD)
    return known


def test_where_clients_enter_is_recalled() -> None:
    known = time.run(_recalled("shift-back"))
    assert known.placements[GROUP] == SHAPES["shift-back"].plan.before
    assert known.placements[GROUP].entry is not None
    assert GROUP in known.active
