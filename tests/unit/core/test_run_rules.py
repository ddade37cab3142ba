"""The rules by which a run goes forward, turns back, or stops for a person; and what a journal may not say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.barriers import standing
from evac.core.catching_up import UNLESS_HIGHEST
from evac.core.effects import Do, Settle, Undo, effects
from evac.core.errors import IllegalEvent
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.fence import QUORUM
from evac.core.fold import apply
from evac.core.observation import Json
from evac.core.plan import Action, Barrier, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb
from evac.core.run import (
    LOOKS_MAX,
    Done,
    Event,
    Failed,
    Failure,
    Forced,
    Opened,
    Outcome,
    Receipt,
    Resumed,
    Run,
    RunId,
    Settled,
    Started,
)

A, B, C = RegionId("a"), RegionId("b"), RegionId("c")
DB = ComponentId("db")
GROUP = GroupId("shop")
WALL = datetime(2026, 1, 1, tzinfo=UTC)
NOW = timedelta(seconds=1)
REFUSED, AWAY, UNKNOWN = Failure.REJECTED, Failure.UNAVAILABLE, Failure.INDETERMINATE


def step(
    name: str,
    *needs: str,
    verb: Verb = Verb.FOLLOW,
    region: RegionId = A,
    retries: int = 0,
    undoable: bool = True,
    optional: bool = False,
    args: dict[str, Json] | None = None,
) -> Step:
    return Step(
        id=StepId(name),
        action=Action(component=DB, region=region, verb=verb, term=Term(2), args=args or {}),
        phase=Phase.PROMOTE if verb is Verb.PROMOTE else Phase.FENCE,
        needs=tuple(map(StepId, needs)),
        retries=retries,
        undoable=undoable,
        pivot=verb is Verb.PROMOTE,
        optional=optional,
    )


def begin(*steps: Step, sync: tuple[SyncSet, ...] = ()) -> Run:
    before = Placement(group=GROUP, primary=A, term=Term(1), sync={DB: sync} if sync else {})
    plan = Plan(
        kind=RunKind.FAILOVER,
        group=GROUP,
        source=A,
        target=B,
        term=Term(2),
        steps=steps,
        before=before,
        after=replace(before, primary=B, term=Term(2)),
    )
    opened = Opened(
        run=RunId("1"),
        at=NOW,
        wall=WALL,
        plan=plan,
        plan_hash="",
        decided_by="a test",
        symptom_at=NOW,
        decision={},
    )
    return apply(None, opened)


def start(run: Run, name: str, *, undo: bool = False) -> Run:
    """Start the try that the run itself asks for."""
    wanted = [e for e in effects(run) if not isinstance(e, Settle) and e.step == name and isinstance(e, Undo) is undo]
    assert wanted, f"{name} is not to be started: {effects(run)}"
    return apply(run, Started(at=NOW, step=StepId(name), attempt=wanted[0].attempt, term=run.term, undo=undo))


def attempt(run: Run, name: str, *, undo: bool = False) -> int:
    return (run.undoes if undo else run.does)[StepId(name)].attempt


def done(run: Run, name: str, *, undo: bool = False, kind: str = "x", facts: dict[str, Json] | None = None) -> Run:
    run = start(run, name, undo=undo)
    receipt = Receipt(kind=kind, facts=facts or {})
    return apply(
        run, Done(at=NOW, step=StepId(name), attempt=attempt(run, name, undo=undo), receipt=receipt, undo=undo)
    )


def fail(run: Run, name: str, *failures: Failure, undo: bool = False) -> Run:
    for failure in failures:
        run = start(run, name, undo=undo)
        number = attempt(run, name, undo=undo)
        run = apply(
            run, Failed(at=NOW, step=StepId(name), attempt=number, failure=failure, reason="because", undo=undo)
        )
    return run


def resume(run: Run) -> Run:
    return apply(run, Resumed(at=NOW, wall=WALL, term=Term(run.term + 1), by="another"))


def settled(run: Run, outcome: Outcome) -> tuple[str, ...]:
    """Return the reasons of a run that is over in this way."""
    (effect,) = effects(run)
    assert isinstance(effect, Settle)
    assert effect.outcome is outcome
    over = apply(run, Settled(at=NOW, wall=WALL, outcome=outcome, reasons=effect.reasons))
    assert effects(over) == ()
    return effect.reasons


def test_steps_side_by_side_start_at_once_and_others_when_all_they_need_is_done() -> None:
    run = begin(step("one"), step("two"), step("three", "one", "two"))
    assert effects(run) == (Do(step=StepId("one"), attempt=1), Do(step=StepId("two"), attempt=1))
    run = done(run, "one")
    assert effects(run) == (Do(step=StepId("two"), attempt=1),)
    run = start(run, "two")
    assert effects(run) == ()
    run = apply(run, Done(at=NOW, step=StepId("two"), attempt=1, receipt=Receipt(kind="x")))
    run = done(run, "three")
    assert settled(run, Outcome.COMPLETED) == ()


def test_what_was_refused_is_not_tried_again() -> None:
    assert settled(fail(begin(step("one", retries=5)), "one", REFUSED), Outcome.ROLLED_BACK) == (
        "one was refused: because",
    )


def test_what_could_not_be_reached_is_tried_while_tries_are_left() -> None:
    run = fail(begin(step("one", retries=2)), "one", AWAY, AWAY)
    assert effects(run) == (Do(step=StepId("one"), attempt=3),)
    assert "3 tries" in settled(fail(run, "one", AWAY), Outcome.ROLLED_BACK)[0]


def test_what_is_unknown_is_tried_then_only_looked_at_then_left_to_a_person() -> None:
    run = fail(begin(step("first"), step("one", "first", retries=1)), "first")
    run = fail(done(run, "first"), "one", UNKNOWN)
    assert effects(run) == (Do(step=StepId("one"), attempt=2, doubt=True),)
    run = fail(run, "one", UNKNOWN)
    assert effects(run) == (Do(step=StepId("one"), attempt=3, doubt=True, look=True),)
    run = fail(run, "one", *[UNKNOWN] * LOOKS_MAX)
    reasons = settled(run, Outcome.STUCK)
    assert "may have happened" in reasons[0]
    assert reasons[1:] == ("these hold: first",)


def test_a_look_that_finds_it_undone_fails_the_step_for_certain() -> None:
    run = fail(begin(step("one")), "one", UNKNOWN, AWAY)
    settled(run, Outcome.ROLLED_BACK)


def test_a_required_failure_turns_the_run_back_in_reverse_order() -> None:
    run = begin(step("one"), step("two", "one"), step("three", "two"), step("side"))
    run = fail(done(done(run, "one"), "two"), "three", REFUSED)
    assert effects(run) == (Undo(step=StepId("two"), attempt=1),)
    run = done(run, "two", undo=True)
    assert effects(run) == (Undo(step=StepId("one"), attempt=1),)
    settled(done(run, "one", undo=True), Outcome.ROLLED_BACK)


def test_the_way_back_waits_until_all_that_is_under_way_is_known() -> None:
    run = begin(step("one"), step("two"), step("three", retries=3))
    run = start(start(start(run, "one"), "two"), "three")
    run = apply(run, Failed(at=NOW, step=StepId("one"), attempt=1, failure=REFUSED, reason="no"))
    run = apply(run, Failed(at=NOW, step=StepId("three"), attempt=1, failure=AWAY, reason="no"))
    assert effects(run) == (), "two is under way; three, which did not happen, is not tried again"
    run = apply(run, Failed(at=NOW, step=StepId("two"), attempt=1, failure=UNKNOWN, reason="?"))
    assert effects(run) == (Do(step=StepId("two"), attempt=2, doubt=True, look=True),)
    run = done(run, "two")
    settled(done(run, "two", undo=True), Outcome.ROLLED_BACK)


def test_an_undo_is_tried_again_and_its_failure_is_stuck_and_keeps_what_is_below() -> None:
    run = fail(done(done(begin(step("one"), step("two", "one"), step("x", "two")), "one"), "two"), "x", REFUSED)
    run = fail(run, "two", UNKNOWN, AWAY, UNKNOWN, undo=True)
    reasons = settled(run, Outcome.STUCK)
    assert reasons[1:] == (
        "one still holds and was not undone: what came after it still holds",
        "two still holds and was not undone: because",
    )
    refused = fail(done(begin(step("one"), step("x", "one")), "one"), "x", REFUSED)
    settled(fail(refused, "one", REFUSED, undo=True), Outcome.STUCK)


def test_nothing_is_undone_while_something_else_may_have_happened() -> None:
    run = begin(step("one"), step("two", "one"), step("three", "one"))
    run = fail(start(done(run, "one"), "three"), "two", REFUSED)
    answer = Failed(at=NOW, step=StepId("three"), attempt=1, failure=UNKNOWN, reason="because")
    assert effects(apply(run, answer)) == (Do(step=StepId("three"), attempt=2, doubt=True, look=True),)


def test_an_optional_failure_is_a_finding_and_required_steps_go_on_without_it() -> None:
    run = fail(begin(step("one", optional=True), step("two", "one")), "one", REFUSED)
    assert settled(done(run, "two"), Outcome.COMPLETED) == ("one was refused: because",)


def test_a_chain_of_optional_steps_ends_where_it_breaks() -> None:
    run = begin(step("one", optional=True), step("two", "one", optional=True), step("three", "two", optional=True))
    run = fail(run, "one", REFUSED)
    assert settled(run, Outcome.COMPLETED)[1:] == (
        "two was not started: what it needs is not there",
        "three was not started: what it needs is not there",
    )


def test_an_optional_step_that_may_have_happened_is_undone_on_the_way_back() -> None:
    run = begin(step("one", optional=True), step("two", "one"))
    run = fail(run, "one", *[UNKNOWN] * (1 + LOOKS_MAX))
    run = fail(run, "two", REFUSED)
    assert effects(run) == (Undo(step=StepId("one"), attempt=1),)


def stop(**changed: bool) -> Step:
    return step("stop", verb=Verb.STOP, undoable=changed.get("undoable", True), optional=changed.get("optional", False))


def promote(*needs: str, forced: bool = False, quorum: bool = False) -> Step:
    waits: dict[str, Json] = {"acks": 0, "standbys": []}
    args: dict[str, Json] = {"sync": waits, QUORUM: quorum}
    return step(
        "promote",
        *needs,
        verb=Verb.PROMOTE,
        region=B,
        undoable=False,
        args={**args, "word": "bob"} if forced else args,
    )


def word(person: str) -> Forced:
    return Forced(at=NOW, wall=WALL, person=person, components=(DB,))


def test_after_a_promotion_the_run_only_goes_forward() -> None:
    run = begin(stop(), promote("stop"), step("one", "promote"), step("two", "promote"), step("three", "one"))
    run = done(done(run, "stop", kind="stopped"), "promote")
    run = fail(run, "one", REFUSED)
    assert effects(run) == (Do(step=StepId("two"), attempt=1),)
    reasons = settled(done(run, "two"), Outcome.STUCK)
    assert reasons[1:] == ("these hold: stop, promote, two", "not started: three")


def test_a_promotion_that_certainly_did_not_happen_lets_the_run_turn_back() -> None:
    run = done(begin(stop(), promote("stop")), "stop", kind="stopped")
    assert effects(fail(run, "promote", REFUSED)) == (Undo(step=StepId("stop"), attempt=1),)
    settled(fail(run, "promote", *[UNKNOWN] * (1 + LOOKS_MAX)), Outcome.STUCK)


@pytest.mark.parametrize("last", [AWAY, REFUSED])
def test_a_promotion_that_may_come_yet_is_tried_again_and_never_turned_back_from(last: Failure) -> None:
    """Its first try has no answer: that a look finds a standby later does not say that it stays one."""
    run = fail(done(begin(stop(), promote("stop")), "stop", kind="stopped"), "promote", UNKNOWN)
    tries = LOOKS_MAX if last is AWAY else 0
    for number in range(tries):
        assert effects(run) == (Do(step=StepId("promote"), attempt=2 + number, doubt=True),)
        run = fail(run, "promote", AWAY)
    (reason, *_) = settled(fail(run, "promote", last) if last is REFUSED else run, Outcome.STUCK)
    assert reason.startswith("promote may happen yet, an earlier try had no answer")


def test_a_promotion_whose_answer_was_lost_with_its_leader_may_come_yet() -> None:
    run = start(done(begin(stop(), promote("stop")), "stop", kind="stopped"), "promote")
    run = fail(resume(run), "promote", REFUSED)
    assert "may happen yet" in settled(run, Outcome.STUCK)[0]


def test_a_lasting_step_without_an_undo_is_a_point_of_no_return() -> None:
    run = begin(step("one"), stop(undoable=False), step("two"))
    run = fail(done(done(run, "one"), "stop"), "two", REFUSED)
    settled(run, Outcome.STUCK)
    harmless = begin(step("look", verb=Verb.PREPARE, undoable=False), step("two"))
    settled(fail(done(harmless, "look"), "two", REFUSED), Outcome.ROLLED_BACK)


def test_a_promotion_without_its_proof_never_starts() -> None:
    run = done(begin(stop(), promote("stop")), "stop", kind="something else")
    assert effects(run) == (Undo(step=StepId("stop"), attempt=1),)
    with pytest.raises(IllegalEvent):
        apply(run, Started(at=NOW, step=StepId("promote"), attempt=1, term=Term(2)))
    reasons = settled(done(run, "stop", undo=True), Outcome.ROLLED_BACK)
    assert reasons == ("promote was not started: nothing proves that db in a has stopped",)


def test_a_fence_that_comes_late_still_opens_the_promotion() -> None:
    run = begin(step("one"), stop(optional=True), promote("one"))
    run = done(run, "one")
    assert effects(run) == (Do(step=StepId("stop"), attempt=1),)
    run = start(run, "stop")
    assert effects(run) == ()
    run = apply(run, Done(at=NOW, step=StepId("stop"), attempt=1, receipt=Receipt(kind="stopped")))
    assert effects(run) == (Do(step=StepId("promote"), attempt=1),)


def test_starving_needs_enough_refusals_of_every_set() -> None:
    refusals = [step(f"refuse-{r}", verb=Verb.REFUSE, region=r) for r in (B, C)]
    sets = (SyncSet(acks=1, standbys=(B, C)), SyncSet(acks=1, standbys=(B,)))
    run = begin(*refusals, promote("refuse-b"), sync=sets)
    run = done(start(run, "refuse-c"), "refuse-b", kind="starved")
    reason = run.unfenced(run.plan.step(StepId("promote")))
    assert reason == "db in a is not starved: 1 of b, c refuse it, 2 must"
    run = apply(run, Done(at=NOW, step=StepId("refuse-c"), attempt=1, receipt=Receipt(kind="starved")))
    assert effects(run) == (Do(step=StepId("promote"), attempt=1),)


@pytest.mark.parametrize("quorum", [True, False])
def test_a_killed_primary_does_not_open_a_promotion_that_is_to_keep_all(quorum: bool) -> None:
    refusals = [step(f"refuse-{r}", verb=Verb.REFUSE, region=r) for r in (B, C)]
    both = SyncSet(acks=1, standbys=(B, C))
    run = begin(*refusals, stop(optional=True), promote("refuse-b", quorum=quorum), sync=(both,))
    run = start(start(start(run, "refuse-c"), "refuse-b"), "stop")
    for name, kind in (("stop", "stopped"), ("refuse-b", "starved")):
        run = apply(run, Done(at=NOW, step=StepId(name), attempt=1, receipt=Receipt(kind=kind)))
    assert bool(run.unfenced(run.plan.step(StepId("promote")))) is quorum
    run = apply(run, Done(at=NOW, step=StepId("refuse-c"), attempt=1, receipt=Receipt(kind="starved")))
    assert effects(run) == (Do(step=StepId("promote"), attempt=1),)


def test_a_person_may_stand_in_for_the_fence() -> None:
    run = begin(promote(forced=True))
    asked = run.plan.step(StepId("promote"))
    assert run.unfenced(asked) == "the word of bob, which it is to rest on, is not in the journal"
    assert run.spent(asked), "without the word it is never begun"
    run = apply(run, word("bob"))
    assert effects(run) == (Do(step=StepId("promote"), attempt=1),)


def test_only_the_word_that_the_plan_names_counts_and_only_before_anything_is_done() -> None:
    forced, fenced = begin(promote(forced=True)), begin(stop(), promote("stop"))
    nobodys = replace(word("bob"), components=())
    for run, said in ((forced, word("eve")), (forced, nobodys), (fenced, word("bob"))):
        with pytest.raises(IllegalEvent, match="does not rest on the word"):
            apply(run, said)
    more_than_named = replace(word("bob"), components=(DB, ComponentId("cache")))
    with pytest.raises(IllegalEvent, match="does not rest on the word"):
        apply(forced, more_than_named)
    for late in (apply(forced, word("bob")), resume(forced)):
        with pytest.raises(IllegalEvent, match="comes too late"):
            apply(late, word("bob"))


def test_after_a_takeover_what_has_no_answer_is_asked_again_and_costs_no_try() -> None:
    run = resume(start(begin(step("one")), "one"))
    assert effects(run) == (Do(step=StepId("one"), attempt=2, doubt=True),)
    run = start(run, "one")
    assert run.does[StepId("one")].failures == 0
    assert effects(run) == ()


def test_after_a_takeover_an_undo_is_asked_again() -> None:
    run = fail(done(begin(step("one"), step("x", "one")), "one"), "x", REFUSED)
    run = start(run, "one", undo=True)
    assert effects(run) == ()
    assert run.under_way[0][:2] == ("one", True)
    run = resume(run)
    assert effects(run) == (Undo(step=StepId("one"), attempt=2),)
    settled(done(run, "one", undo=True), Outcome.ROLLED_BACK)


def _bad(run: Run) -> list[Event]:
    receipt = Receipt(kind="x")
    return [
        run.opened,
        Resumed(at=NOW, wall=WALL, term=run.term, by="the same"),
        Started(at=NOW, step=StepId("one"), attempt=2, term=run.term),
        Started(at=NOW, step=StepId("one"), attempt=1, term=Term(run.term + 1)),
        Started(at=NOW, step=StepId("two"), attempt=1, term=run.term),
        Started(at=NOW, step=StepId("one"), attempt=1, term=run.term, undo=True),
        Done(at=NOW, step=StepId("one"), attempt=1, receipt=receipt),
        Failed(at=NOW, step=StepId("one"), attempt=1, failure=AWAY, reason="", undo=True),
        Settled(at=NOW, wall=WALL, outcome=Outcome.COMPLETED),
    ]


@pytest.mark.parametrize("index", range(9))
def test_an_entry_that_cannot_follow_is_refused(index: int) -> None:
    run = begin(step("one"), step("two", "one"))
    with pytest.raises(IllegalEvent):
        apply(run, _bad(run)[index])


def test_nothing_follows_the_end_and_only_opened_begins() -> None:
    run = done(begin(step("one")), "one")
    over = apply(run, Settled(at=NOW, wall=WALL, outcome=Outcome.COMPLETED))
    with pytest.raises(IllegalEvent, match="settled"):
        resume(over)
    with pytest.raises(IllegalEvent, match="begins with Opened"):
        apply(None, Resumed(at=NOW, wall=WALL, term=Term(2), by="x"))
    with pytest.raises(IllegalEvent):
        apply(start(begin(step("one")), "one"), Done(at=NOW, step=StepId("one"), attempt=2, receipt=Receipt(kind="x")))


def caught_up_after(here: int, there: int) -> Run:
    """A run whose two fences have told of these positions, and whose catch-up in b comes next."""
    fences = [step(f"refuse {r}", verb=Verb.REFUSE, region=r) for r in (B, C)]
    needs = [s.id for s in fences]
    catch_up = step("catch up", *needs, verb=Verb.CATCH_UP, region=B, args={UNLESS_HIGHEST: True}, undoable=False)
    run = begin(
        *fences,
        catch_up,
        step("promote", *needs, "catch up", verb=Verb.PROMOTE, region=B, undoable=False),
        sync=(SyncSet(acks=1, standbys=(B, C)),),
    )
    for region, position in ((B, here), (C, there)):
        run = done(run, f"refuse {region}", kind="starved", facts={"region": region, "position": position})
    return run


def test_a_catch_up_is_left_out_where_the_target_told_that_it_holds_most() -> None:
    run = caught_up_after(here=8, there=7)
    assert run.needless(run.plan.step(StepId("catch up")))
    assert effects(run) == (Do(step=StepId("promote"), attempt=1),)
    assert effects(done(run, "promote")) == (Settle(outcome=Outcome.COMPLETED),)


def test_a_catch_up_is_not_left_out_before_all_that_refuse_have_told() -> None:
    """The one that is silent may hold more than the target says of itself."""
    run = caught_up_after(here=8, there=7)
    silent = replace(run, does={i: p for i, p in run.does.items() if i != "refuse c"})
    assert not silent.needless(silent.plan.step(StepId("catch up")))


def test_a_catch_up_comes_first_where_another_holds_more() -> None:
    run = caught_up_after(here=7, there=8)
    assert effects(run) == (Do(step=StepId("catch up"), attempt=1),)
    begun = start(run, "catch up")
    assert not begun.needless(begun.plan.step(StepId("catch up")))


def test_what_was_left_out_is_not_among_what_a_stuck_run_never_started() -> None:
    run = fail(caught_up_after(here=8, there=7), "promote", UNKNOWN, *[UNKNOWN] * LOOKS_MAX)
    (end,) = effects(run)
    assert isinstance(end, Settle)
    assert end.outcome is Outcome.STUCK
    assert not any("catch up" in reason for reason in end.reasons)


def test_nothing_is_needless_before_what_it_needs_has_told() -> None:
    run = caught_up_after(here=8, there=7)
    fresh = begin(*run.plan.steps, sync=run.plan.before.sync[DB])
    assert not fresh.needless(fresh.plan.step(StepId("catch up")))
    assert not fresh.needless(fresh.plan.step(StepId("promote")))


def before(*steps: Step) -> tuple[Step, ...]:
    return tuple(standing(s, before=Barrier.PREPARED) for s in steps)


def behind(*steps: Step) -> tuple[Step, ...]:
    return tuple(standing(s, behind=Barrier.PREPARED) for s in steps)


def test_a_barrier_holds_until_all_before_it_are_over_in_whatever_order_they_end() -> None:
    run = begin(*before(step("one"), step("two"), step("three", optional=True)), *behind(step("four"), step("five")))
    run = done(done(run, "two"), "one")
    assert effects(run) == (Do(step=StepId("three"), attempt=1),)
    run = fail(run, "three", REFUSED)
    assert [e.step for e in effects(run) if isinstance(e, Do)] == ["four", "five"], "what may fail holds nothing up"
    settled(done(done(run, "four"), "five"), Outcome.COMPLETED)


def test_a_barrier_without_anything_before_it_holds_nothing() -> None:
    run = begin(*behind(step("one")))
    settled(done(run, "one"), Outcome.COMPLETED)


def test_what_may_fail_is_left_out_when_something_before_its_barrier_has_failed() -> None:
    steps = (
        step("forward", undoable=False),
        *before(step("one")),
        *behind(step("may fail", optional=True)),
        step("last", "may fail"),
    )
    run = begin(*steps)
    assert not run.skipped(run.plan.step(StepId("may fail")))
    run = fail(done(run, "forward"), "one", REFUSED)
    assert run.skipped(run.plan.step(StepId("may fail")))
    assert run.skipped(replace(run, failed=None).plan.step(StepId("may fail")))
    run = done(run, "last")
    assert settled(run, Outcome.STUCK)[0] == "one was refused: because"


def test_a_promotion_that_lacks_its_proof_has_failed_once_the_barrier_before_it_is_open() -> None:
    others: tuple[Step, ...] = (step("one"), step("two"))
    others = before(*(replace(s, action=replace(s.action, component=ComponentId("cache"))) for s in others))
    run = done(begin(*others, *behind(step("promote", verb=Verb.PROMOTE))), "one")
    assert not run.broken
    run = done(run, "two")
    assert [s.id for s in run.broken] == ["promote"]


def test_the_way_back_undoes_what_is_behind_a_barrier_before_what_is_before_it() -> None:
    run = begin(*before(step("one"), step("two")), *behind(step("three"), step("four")))
    run = fail(done(done(done(run, "one"), "two"), "three"), "four", REFUSED)
    assert effects(run) == (Undo(step=StepId("three"), attempt=1),)
    run = done(run, "three", undo=True)
    assert effects(run) == (Undo(step=StepId("one"), attempt=1), Undo(step=StepId("two"), attempt=1))
    settled(done(done(run, "one", undo=True), "two", undo=True), Outcome.ROLLED_BACK)
