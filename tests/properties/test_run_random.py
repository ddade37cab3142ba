"""Random graphs of steps with random failures, whose process dies at random moments, end in a clear state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.observation import Json
from evac.core.plan import Action, Phase, Placement, Plan, RunKind, Step, StepId, Term, Verb
from evac.core.run import Outcome, Started
from evac.sim.stores import Moment
from evac.sim.systems import Fault, Node, Systems
from fakes.rehearsal import Death, play

A, B = RegionId("a"), RegionId("b")
ARGS: dict[Verb, dict[str, Json]] = {
    Verb.FOLLOW: {"primary": "b"},
    Verb.SHIFT: {"weights": {"a": 0, "b": 100}},
    Verb.STOP: {"mode": "clean"},
    Verb.REFUSE: {"old": "a"},
    Verb.PREPARE: {},
    Verb.PROMOTE: {"sync": {"acks": 0, "standbys": []}, "word": "a test"},
}


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, Systems]:
    """A plan of up to seven steps, each on a component of its own, and a world in which some of them fail."""
    steps: list[Step] = []
    systems = Systems(nodes={})
    for n in range(draw(st.integers(1, 7))):
        verb = draw(st.sampled_from(list(ARGS)))
        component = ComponentId(f"c{n}")
        needs = draw(st.lists(st.sampled_from([s.id for s in steps]), unique=True)) if steps else []
        undoable = verb in (Verb.FOLLOW, Verb.SHIFT, Verb.REFUSE) or (verb is Verb.STOP and draw(st.booleans()))
        steps.append(
            Step(
                id=StepId(f"{verb}:{component}@b"),
                action=Action(component=component, region=B, verb=verb, term=Term(2), args=ARGS[verb]),
                phase=Phase.PROMOTE if verb is Verb.PROMOTE else Phase.FENCE,
                needs=tuple(needs),
                timeout=timedelta(seconds=1),
                retries=draw(st.integers(0, 2)),
                undoable=undoable,
                pivot=verb is Verb.PROMOTE,
                optional=draw(st.booleans()),
            )
        )
        systems.nodes[component, B] = Node(upstream=A)
        for undo in (False, True):
            if draw(st.integers(0, 4)) == 0:
                systems.faults[component, B, verb, undo] = draw(st.sampled_from(Fault))
    before = Placement(group=GroupId("shop"), primary=A, term=Term(1))
    after = replace(before, primary=B, term=Term(2))
    plan = Plan(
        kind=RunKind.FAILOVER,
        group=before.group,
        source=A,
        target=B,
        term=Term(2),
        steps=tuple(steps),
        before=before,
        after=after,
    )
    return plan, systems


@settings(max_examples=200, deadline=None)
@given(made=plans(), commit=st.integers(0, 40), moment=st.sampled_from(Moment))
def test_any_graph_with_any_failures_and_a_death_ends_clearly(
    made: tuple[Plan, Systems], commit: int, moment: Moment
) -> None:
    plan, systems = made
    before = systems.picture()
    played = play(plan, systems, death=Death(commit=commit, moment=moment))
    run = played.run
    assert run.settled is not None
    intents = {(e.step, e.undo) for e in played.events if isinstance(e, Started)}
    for (component, region, verb, undo), count in systems.effects.items():
        assert count == 1, "S7"
        assert (f"{verb}:{component}@{region}", undo) in intents, "S7"
    match run.settled.outcome:
        case Outcome.COMPLETED:
            assert all(s.optional or run.done(s) for s in plan.steps)
        case Outcome.ROLLED_BACK:
            assert systems.picture() == before, "S8"
        case Outcome.STUCK:
            assert run.settled.reasons
        case Outcome.GAVE_WAY:
            raise AssertionError("nobody asked for the way")
