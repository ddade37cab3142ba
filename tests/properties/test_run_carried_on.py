"""What a run carries on from entry to entry, and is asked of one step, says the same as what all its steps do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from evac.core.barriers import standing
from evac.core.effects import Settle, Undo, effects, wanted
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.fold import apply
from evac.core.observation import Json
from evac.core.plan import Action, Barrier, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb
from evac.core.run import Done, Event, Failed, Failure, Forced, Opened, Receipt, Resumed, Run, RunId, Settled, Started
from fakes.estates import seconds
from fakes.listing import listed

A, B, C = RegionId("a"), RegionId("b"), RegionId("c")
COMPONENTS = (ComponentId("one"), ComponentId("two"))
WALL = datetime(2026, 1, 1, tzinfo=UTC)
PHASES = {Verb.PROMOTE: Phase.PROMOTE, Verb.SHIFT: Phase.SHIFT, Verb.PREPARE: Phase.PREPARE}
VERBS = (Verb.PREPARE, Verb.REFUSE, Verb.STOP, Verb.SHIFT, Verb.PROMOTE)
KINDS = ("starved", "stopped", "prepare", "shift")
ENTRIES_MAX = 60


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of up to ten steps on two components, of which some promotions can be proven, and some need a word. What
    fences waits only for what fences. Some stand before a barrier, others behind it.
    """
    steps: list[Step] = []
    on_word = draw(st.sets(st.sampled_from(COMPONENTS)))
    for n in range(draw(st.integers(1, 10))):
        verb = draw(st.sampled_from(VERBS))
        component = draw(st.sampled_from(COMPONENTS))
        args: dict[str, Json] = {"word": "a test"} if verb is Verb.PROMOTE and component in on_word else {}
        region = draw(st.sampled_from((A, B, C)))
        phase = PHASES.get(verb, Phase.FENCE)
        may_need = [s.id for s in steps if s.phase is phase or phase is not Phase.FENCE]
        needs = draw(st.lists(st.sampled_from(may_need), unique=True, max_size=3)) if may_need else []
        steps.append(
            Step(
                id=StepId(f"{n}"),
                action=Action(component=component, region=region, verb=verb, term=Term(1), args=args),
                phase=phase,
                needs=tuple(needs),
                retries=draw(st.integers(0, 1)),
                undoable=verb in (Verb.REFUSE, Verb.SHIFT),
                pivot=verb is Verb.PROMOTE,
                optional=draw(st.booleans()),
            )
        )
    for barrier in draw(st.sets(st.sampled_from(Barrier), max_size=3)):
        _put_up(draw, barrier, steps)
    sets = (SyncSet(acks=1, standbys=(B, C)),)
    before = Placement(group=GroupId("shop"), primary=A, term=Term(1), sync=dict.fromkeys(COMPONENTS, sets))
    return Plan(
        kind=RunKind.FAILOVER,
        group=before.group,
        source=A,
        target=B,
        term=Term(1),
        steps=tuple(draw(st.permutations(steps))),
        before=before,
        after=replace(before, primary=B),
    )


def _put_up(draw: st.DrawFn, barrier: Barrier, steps: list[Step]) -> None:
    """Have some of the later steps stand behind a barrier, and some of those before them before it."""
    cut = draw(st.integers(0, len(steps)))
    behind = draw(st.sets(st.sampled_from(range(cut, len(steps))))) if cut < len(steps) else set()
    before = draw(st.sets(st.sampled_from(range(cut)))) if cut else set()
    if any(steps[n].optional for n in behind):
        before = {n for n in before if not steps[n].optional}
    if any(steps[n].phase is Phase.FENCE for n in behind):
        before = {n for n in before if steps[n].phase is Phase.FENCE}
    for n in behind:
        steps[n] = standing(steps[n], behind=barrier)
    for n in before:
        steps[n] = standing(steps[n], before=barrier)


def follows(run: Run, data: st.DataObject) -> Event:
    """Draw an entry that can follow."""
    at = seconds(run.entries)
    answers = [(s, p.attempt, undo) for s, undo, p in run.under_way]
    asked = [e for e in effects(run) if not isinstance(e, Settle)]
    if answers and (not asked or data.draw(st.booleans())):
        step, attempt, undo = data.draw(st.sampled_from(answers))
        kind: str = data.draw(st.sampled_from((*KINDS, *Failure)))
        if isinstance(kind, Failure):
            return Failed(at=at, step=step, attempt=attempt, failure=kind, reason="drawn", undo=undo)
        return Done(at=at, step=step, attempt=attempt, receipt=Receipt(kind=kind), undo=undo)
    another: bool = data.draw(st.sampled_from((False,) * 9 + (True,)))
    if asked and not another:
        effect = data.draw(st.sampled_from(asked))
        undo = isinstance(effect, Undo)
        return Started(at=at, step=effect.step, attempt=effect.attempt, term=run.term, undo=undo)
    if asked:
        return Resumed(at=at, wall=WALL, term=Term(run.term + 1), by="another")
    (end,) = effects(run)
    assert isinstance(end, Settle)
    return Settled(at=at, wall=WALL, outcome=end.outcome)


def opened(plan: Plan) -> Run:
    """The run of a plan, just opened."""
    at = timedelta()
    first = Opened(
        run=RunId("1"), at=at, wall=WALL, plan=plan, plan_hash="", decided_by="t", symptom_at=at, decision={}
    )
    return apply(None, first)


def check(run: Run) -> None:
    """Hold what is carried on against what is looked for in all steps, and against a plan that lists all waits."""
    by_lists = replace(run, opened=replace(run.opened, plan=listed(run.plan)), failed=None, passed={})
    assert effects(run) == effects(by_lists)
    assert [s.id for s in run.broken] == [s.id for s in by_lists.broken]
    assert run.broken == tuple(s for s in run.plan.steps if not s.optional and run.spent(s))
    asked = {(e.step, isinstance(e, Undo)): e for e in effects(run) if not isinstance(e, Settle)}
    for step in run.plan.steps:
        for undo in (False, True):
            assert wanted(run, step.id, undo=undo) == asked.get((step.id, undo))


@settings(deadline=None, max_examples=300)
@given(plan=plans(), word=st.booleans(), data=st.data())
def test_what_is_carried_on_and_asked_of_one_step_is_what_all_steps_say(
    plan: Plan, word: bool, data: st.DataObject
) -> None:
    run = opened(plan)
    check(run)
    on_word = tuple({s.action.component: None for s in plan.steps if s.action.args.get("word")})
    if word and on_word:
        run = apply(run, Forced(at=timedelta(), wall=WALL, person="a test", components=on_word))
        check(run)
    while run.settled is None and run.entries < ENTRIES_MAX:
        run = apply(run, follows(run, data))
        if run.settled is None:
            check(run)
    event(str(run.settled and run.settled.outcome))


def test_no_step_is_asked_for_that_the_plan_has_not() -> None:
    before = Placement(group=GroupId("shop"), primary=A, term=Term(1))
    plan = Plan(
        kind=RunKind.FAILOVER,
        group=before.group,
        source=A,
        target=B,
        term=Term(1),
        steps=(),
        before=before,
        after=before,
    )
    assert wanted(opened(plan), StepId("none"), undo=False) is None
