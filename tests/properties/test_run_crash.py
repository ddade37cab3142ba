"""Runs die at every write and around every effect, with every kind of failure at every step, and end as they should.

Checked at each end: S2 terms only grow, S3 no promotion before its fence's receipt, S6 no member obeys a lower term
than it has seen, S7 no effect twice and none without an intent, S8 a run that was rolled back left the world as it
was, S12 the journal folds to the state that was executed, and the same end whenever the process died; and that two
members could never acknowledge a write.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evac.core.plan import RunKind, Step, Verb
from evac.core.run import Done, Outcome, Resumed, Started
from evac.sim.stores import Crash, Moment
from evac.sim.systems import Effect, Fault, Systems
from fakes.rehearsal import Death, Played, away, play
from fakes.shapes import Shape, shapes

SHAPES = {s.name: s for s in shapes()}
TWINS = ("carts-cache", "shop-dns")
"""The components whose steps are made to fail only where they have none of their twins beside them."""


def check(shape: Shape, played: Played) -> None:
    """Hold an end against the invariants."""
    run, systems = played.run, played.systems
    assert run.settled is not None
    assert not systems.violations
    terms = [e.term for e in played.events if isinstance(e, Started | Resumed)]
    assert terms == sorted(terms), "S2"
    resumed = [e.term for e in played.events if isinstance(e, Resumed)]
    assert resumed == sorted(set(resumed)), "S2"
    _check_fences(shape, played)
    intents = {(e.step, e.undo) for e in played.events if isinstance(e, Started)}
    for (component, region, verb, undo), count in systems.effects.items():
        assert count == 1, f"S7: {verb} {component}@{region} undo={undo} {count} times"
        assert (f"{verb}:{component}@{region}", undo) in intents, "S7"
    if run.settled.outcome is Outcome.ROLLED_BACK:
        assert systems.picture() == shape.world().picture(), "S8"
    _check_door(shape, played)


def _check_door(shape: Shape, played: Played) -> None:
    """S10: the record names the other door for as long as any router may send clients there."""
    assert played.run.settled is not None
    outcome, before, after = played.run.settled.outcome, shape.plan.before, shape.plan.after
    record = played.placement.entry
    if shape.plan.kind is not RunKind.SHIFT:
        assert record is None
    elif outcome is Outcome.COMPLETED:
        assert record == after.entry
    elif outcome is Outcome.ROLLED_BACK:
        assert record == before.entry
    else:
        assert record == (after.entry or before.entry)


def _check_fences(shape: Shape, played: Played) -> None:
    """S3: each promotion's intent comes after enough receipts of its fence."""
    for at, event in enumerate(played.events):
        if not isinstance(event, Started) or not shape.plan.step(event.step).pivot:
            continue
        component = shape.plan.step(event.step).action.component
        before = [e for e in played.events[:at] if isinstance(e, Done)]
        kinds = [e.receipt.kind for e in before if shape.plan.step(e.step).action.component == component]
        assert "stopped" in kinds or kinds.count("starved") == 2, "S3"


def _may_happen_yet(played: Played) -> bool:
    """Whether a promotion was under way at the death and refused after it: what may come yet lets nothing turn back."""
    assert played.run.settled is not None
    return any(f"{Verb.PROMOTE}:" in why and "may happen yet" in why for why in played.run.settled.reasons)


def _same_end(first: Played, second: Played) -> None:
    assert first.run.settled is not None
    assert second.run.settled is not None
    assert first.run.settled.outcome is second.run.settled.outcome
    assert first.systems.picture() == second.systems.picture()


@pytest.mark.parametrize("name", SHAPES)
def test_a_run_that_nothing_disturbs_completes_and_the_record_says_what_the_plan_promised(name: str) -> None:
    shape = SHAPES[name]
    played = play(shape.plan, shape.world())
    check(shape, played)
    assert played.run.settled is not None
    assert played.run.settled.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("trouble", [Crash, away])
@pytest.mark.parametrize("name", SHAPES)
def test_a_run_interrupted_at_any_commit_ends_the_same(name: str, trouble: type[Crash], moment: Moment) -> None:
    shape = SHAPES[name]
    undisturbed = play(shape.plan, shape.world())
    for commit in range(1, undisturbed.commits + 1):
        death = Death(commit=commit, moment=moment, make=trouble)
        played = play(shape.plan, shape.world(), death=death)
        assert death.happened
        check(shape, played)
        _same_end(undisturbed, played)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_a_run_whose_process_dies_around_any_effect_ends_the_same(name: str, after: bool) -> None:
    shape = SHAPES[name]
    undisturbed = play(shape.plan, shape.world())
    for effect in undisturbed.systems.effects:
        played = play(shape.plan, shape.world(), death=Death(effect=effect, after=after))
        assert played.deaths == 1
        check(shape, played)
        _same_end(undisturbed, played)


def _failing(shape: Shape, fault: Fault) -> Iterator[Systems]:
    """Worlds in which a step fails, one for each kind of step."""
    seen: set[tuple[Verb, str]] = set()
    for step in shape.plan.steps:
        kind = (step.action.verb, step.action.component)
        if kind not in seen and not (shape.plan.kind is not RunKind.SHIFT and step.action.component in TWINS):
            seen.add(kind)
            systems = shape.world()
            systems.faults[_effect(step)] = fault
            yield systems


def _effect(step: Step, *, undo: bool = False) -> Effect:
    return (step.action.component, step.action.region, step.action.verb, undo)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("name", SHAPES)
def test_a_run_with_a_failing_step_that_dies_at_any_entry_ends_safely(name: str, fault: Fault) -> None:
    shape = SHAPES[name]
    for systems in _failing(shape, fault):
        alive = play(shape.plan, systems)
        check(shape, alive)
        for commit in alive.entries:
            again = shape.world()
            again.faults = dict(systems.faults)
            played = play(shape.plan, again, death=Death(commit=commit, moment=Moment.AFTER))
            check(shape, played)
            if _may_happen_yet(played):
                continue
            if shape.name != "failover":  # its chains race: how far the other one is when this one fails decides
                _same_end(alive, played)
