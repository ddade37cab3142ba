"""How long steps took is kept by driver and verb, of steps that were done, and the newest only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.run import Failure, Outcome
from evac.engine.durations import KEPT_MAX, durations_of
from fakes.rehearsal import play
from fakes.shapes import shapes

SWITCHOVER = next(s for s in shapes() if s.name == "switchover")


def test_the_steps_that_were_done_count_the_newest_ones() -> None:
    run = play(SWITCHOVER.plan, SWITCHOVER.world()).run
    found = durations_of([run] * (KEPT_MAX + 1), SWITCHOVER.estate)
    verbs = {(SWITCHOVER.estate.components[s.action.component].driver, s.action.verb) for s in run.plan.steps}
    assert set(found) == verbs
    assert {len(kept) for kept in found.values()} == {KEPT_MAX}
    assert all(kept[-1] > timedelta() for kept in found.values())


def test_what_was_not_done_or_is_not_declared_any_more_does_not() -> None:
    run = play(SWITCHOVER.plan, SWITCHOVER.world()).run
    undone = {i: replace(p, receipt=None, failure=Failure.REJECTED) for i, p in run.does.items()}
    assert run.settled is not None
    failed = replace(run, does=undone, settled=replace(run.settled, outcome=Outcome.ROLLED_BACK))
    assert durations_of([failed, replace(run, does={})], SWITCHOVER.estate) == {}
    assert durations_of([run], replace(SWITCHOVER.estate, components={})) == {}
