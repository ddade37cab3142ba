"""What a run does next: the rules by which it goes forward, turns back, or stops for a person.

- a step starts when all it waits for is done; a promotion starts only when the receipts prove the fence (`fence`); one
  that is needless by then (`run.Run.needless`) is left out;
- a step that was refused has failed; one that could not be reached is tried again while tries are left; one whose
  answer is unknown is tried again too, and when no try is left it is looked at, without acting, a few times more;
- a run can turn back until something holds, or may hold, that cannot be undone: a promotion (the pivot), or a step
  without an undo that changes what clients see. Until then a required step that finally fails turns it back: what was
  done is undone in reverse order. After that it only goes forward, as far as it can, and such a failure leaves it
  stuck;
- a required step that may have happened and cannot be seen leaves the run stuck: a person decides, evac does not
  guess; unless its verb changes nothing that a client sees (`run.HARMLESS`), which is no reason not to turn back;
- an optional step that finally fails is a finding: required steps that need it go on without it, optional ones are left
  out, so that a chain of optional steps ends where it breaks.

What this is not: keeping the state (`fold`), or the doing (`engine.executor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from evac.core.plan import Barrier, Step, StepId
from evac.core.run import Failure, Outcome, Progress, Run

UNDO_RETRIES_MIN = 2
"""An undo is tried at least this often again, whatever its step allows: what follows its failure is a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Order the next try of a step. `doubt`: an earlier try may have happened, so a look that cannot tell and a try
    that fails leave it unknown. `look`: only look, no try is left.
    """

    step: StepId
    attempt: int
    doubt: bool = False
    look: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Order the next try of a step's undo."""

    step: StepId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Nothing is left to do: the run is over, thus."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()


Effect: TypeAlias = Do | Undo | Settle


def effects(run: Run) -> tuple[Effect, ...]:
    """Return what is to be started now, in the plan's order; () while answers are awaited, or when all is over."""
    if run.settled is not None:
        return ()
    wanted: tuple[Effect, ...] = tuple(_back(run) if run.halted else _forward(run))
    if wanted or run.under_way:
        return wanted
    return (_settle(run),)


def wanted(run: Run, step_id: StepId, *, undo: bool) -> Do | Undo | None:
    """Return what `effects` has of one step, or of its undo. A run that goes forward is not searched for it."""
    if run.halted:
        return next((e for e in _back(run) if e.step == step_id and isinstance(e, Undo) is undo), None)
    return None if undo or not run.plan.has(step_id) else _try(run, run.plan.step(step_id))


def _forward(run: Run) -> Iterator[Do]:
    """The steps to try: those that can start, and those to be tried again."""
    return (effect for step in run.plan.steps if (effect := _try(run, step)))


def _try(run: Run, step: Step) -> Do | None:
    progress = run.does.get(step.id)
    if progress is not None:
        return _again(run, step, progress)
    return Do(step=step.id, attempt=1) if _can_start(run, step) else None


def _can_start(run: Run, step: Step) -> bool:
    return run.ready(step) and not run.unfenced(step) and not run.needless(step)


def _again(run: Run, step: Step, progress: Progress) -> Do | None:
    """The next try of a step that has had one: after a failure, or because nobody of this term has asked for it."""
    orphaned = progress.running and progress.term < run.term
    if progress.receipt is not None or progress.spent(step) or (progress.running and not orphaned):
        return None
    return Do(
        step=step.id,
        attempt=progress.attempt + 1,
        doubt=progress.doubtful or progress.may_come_yet(step),
        look=progress.failures > step.retries and not progress.may_come_yet(step),
    )


def _back(run: Run) -> Iterator[Do | Undo]:
    """The way back: what may have happened is looked at to the end, then each step is undone after those needing it."""
    unsure = [(s, p) for s in run.plan.steps if (p := run.does.get(s.id)) and _unsure(s, p)]
    for step, progress in unsure:
        if effect := _again(run, step, progress):
            yield replace(effect, look=True)
    if unsure or not run.turned:
        return
    clear: dict[StepId | Barrier, bool] = {}
    for step in run.plan.steps:
        if _to_undo(run, step) and _undone_above(run, step, clear) and (undo := _undo_again(run, step)):
            yield undo


def _unsure(step: Step, progress: Progress) -> bool:
    """Whether a step's try is under way, or will be looked at once more."""
    return progress.doubtful and not progress.spent(step)


def _to_undo(run: Run, step: Step) -> bool:
    """Whether a step has an effect, or may have one, that its driver can take back."""
    return step.undoable and (run.done(step) or run.unknown(step))


def _undone(run: Run, step: Step) -> bool:
    progress = run.undoes.get(step.id)
    return progress is not None and progress.receipt is not None


def _undone_above(run: Run, step: Step, clear: dict[StepId | Barrier, bool]) -> bool:
    """Whether every step that waits for this one, directly or not, has been undone or has nothing to undo. `clear` is
    of which steps and barriers that was found already, and takes what is found.
    """
    if step.id not in clear:
        above = run.plan.graph.above.get(step.id, ())
        clear[step.id] = _all_undone(run, above, clear) and all(_undone_behind(run, b, clear) for b in step.before)
    return clear[step.id]


def _undone_behind(run: Run, barrier: Barrier, clear: dict[StepId | Barrier, bool]) -> bool:
    if barrier not in clear:
        clear[barrier] = _all_undone(run, run.plan.graph.behind.get(barrier, ()), clear)
    return clear[barrier]


def _all_undone(run: Run, steps: Iterable[Step], clear: dict[StepId | Barrier, bool]) -> bool:
    return all((_undone(run, s) or not _to_undo(run, s)) and _undone_above(run, s, clear) for s in steps)


def _undo_retries(step: Step) -> int:
    return max(step.retries, UNDO_RETRIES_MIN)


def _undo_again(run: Run, step: Step) -> Undo | None:
    """The next try of a step's undo. Undoing twice is undoing once, so an unknown answer is simply tried again."""
    progress = run.undoes.get(step.id)
    if progress is None:
        return Undo(step=step.id, attempt=1)
    under_way = progress.running and progress.term == run.term
    if progress.receipt is not None or under_way or _undo_spent(step, progress):
        return None
    return Undo(step=step.id, attempt=progress.attempt + 1)


def _undo_spent(step: Step, progress: Progress) -> bool:
    if progress.failure is None:
        return False
    return progress.failure is Failure.REJECTED or progress.failures > _undo_retries(step)


def _settle(run: Run) -> Settle:
    """How a run ends that has nothing left to do."""
    if not run.broken:
        findings = tuple(_say(run, s) for s in run.plan.steps if run.spent(s))
        return Settle(outcome=Outcome.COMPLETED, reasons=findings)
    why = tuple(_say(run, s) for s in run.broken)
    if not run.turned:
        return Settle(outcome=Outcome.STUCK, reasons=(*why, *_left(run)))
    kept = [s for s in run.plan.steps if _to_undo(run, s) and not _undone(run, s)]
    if not kept:
        return Settle(outcome=Outcome.ROLLED_BACK, reasons=why)
    return Settle(outcome=Outcome.STUCK, reasons=(*why, *(_say_undo(run, s) for s in kept)))


def _say(run: Run, step: Step) -> str:
    """A finally failed step, for a person."""
    progress = run.does.get(step.id)
    if progress is None:
        return f"{step.id} was not started: {run.unfenced(step) or 'what it needs is not there'}"
    match progress.failure:
        case Failure.REJECTED | Failure.UNAVAILABLE if progress.may_come_yet(step):
            return f"{step.id} may happen yet, an earlier try had no answer: {progress.reason}; look there, then decide"
        case Failure.INDETERMINATE:
            return f"{step.id} may have happened and cannot be seen: {progress.reason}; look there, then decide"
        case Failure.REJECTED:
            return f"{step.id} was refused: {progress.reason}"
        case Failure.UNAVAILABLE | None:  # pragma: no branch (the union is closed)
            return f"{step.id} could not be reached, {progress.failures} tries: {progress.reason}"


def _say_undo(run: Run, step: Step) -> str:
    """A step that still holds after a way back that failed."""
    progress = run.undoes.get(step.id)
    why = progress.reason if progress else "what came after it still holds"
    return f"{step.id} still holds and was not undone: {why}"


def _left(run: Run) -> tuple[str, ...]:
    """What a stuck run leaves behind: the steps that hold, and those that never started."""
    holding = [s.id for s in run.plan.steps if run.done(s)]
    never = [s.id for s in run.plan.steps if s.id not in run.does and not (run.spent(s) or run.needless(s))]
    said = (
        ("these hold: " + ", ".join(holding)) if holding else "",
        "not started: " + ", ".join(never) if never else "",
    )
    return tuple(s for s in said if s)
