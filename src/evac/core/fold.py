"""A run as the fold of its journal: one entry more, the next state; an entry that cannot follow is refused.

Intuition: an intent is legal only if the state itself asks for it (`effects`), an answer only if its try is under way.
So two controllers that both write, or a damaged journal, are found at the first entry that does not fit.

What this is not: reading and writing journals (`engine.journal`).
"""

from __future__ import annotations

from dataclasses import replace

from evac.core.effects import Settle, effects, wanted
from evac.core.errors import IllegalEvent
from evac.core.fence import WORD
from evac.core.run import Done, Event, Failed, Forced, Opened, Outcome, Progress, Resumed, Run, Settled, Started


def apply(run: Run | None, event: Event) -> Run:
    """Return the state after one more entry. Raises `IllegalEvent` for one that cannot follow."""
    if run is None:
        if not isinstance(event, Opened):
            raise IllegalEvent(f"a journal begins with Opened, not with {type(event).__name__}")
        return Run(opened=event, term=event.plan.term)
    if run.settled is not None:
        raise IllegalEvent(f"run {run.id} is settled, {type(event).__name__} cannot follow")
    match event:
        case Opened():
            raise IllegalEvent(f"run {run.id} is opened twice")
        case Forced():
            run = _take_word(run, event)
        case Resumed():
            if event.term <= run.term:
                raise IllegalEvent(f"run {run.id} is at term {run.term}, resumed at {event.term}")
            run = replace(run, term=event.term, resumed=(*run.resumed, event))
        case Started():
            run = _start(run, event)
        case Done() | Failed():
            run = _answer(run, event)
        case Settled():  # pragma: no branch (the union is closed)
            left = event.outcome is Outcome.GAVE_WAY and run.plan.gives_way
            if not left and not any(isinstance(e, Settle) and e.outcome is event.outcome for e in effects(run)):
                raise IllegalEvent(
                    f"run {run.id} cannot settle as {event.outcome}: {effects(run) or 'answers are due'}"
                )
            run = replace(run, settled=event)
    return replace(run, entries=run.entries + 1)


def _take_word(run: Run, event: Forced) -> Run:
    """Fold a person's word: it comes before all that is done, and is of the one whom the plan names."""
    if run.entries > 1:
        raise IllegalEvent(f"run {run.id}: the word of {event.person} comes too late, the run has begun")
    given = {s.action.component: s.action.args.get(WORD) for s in run.plan.steps if s.pivot}
    if not event.components or any(given.get(c) != event.person for c in event.components):
        raise IllegalEvent(f"run {run.id}: its plan does not rest on the word of {event.person}")
    return replace(run, forced=event, failed=None)


def _start(run: Run, event: Started) -> Run:
    """Fold an intent: it must be one that the state itself asks for, under the run's own term."""
    asked = wanted(run, event.step, undo=event.undo)
    if asked is None or asked.attempt != event.attempt or event.term != run.term:
        what = "undo" if event.undo else "try"
        raise IllegalEvent(
            f"run {run.id}: {what} {event.attempt} of {event.step} at term {event.term} cannot start now"
        )
    before = (run.undoes if event.undo else run.does).get(event.step)
    progress = Progress(
        attempt=event.attempt,
        term=event.term,
        started_at=event.at,
        failures=before.failures if before else 0,
        late=before is not None and (before.late or before.doubtful),
    )
    return run.after(event.step, progress, undo=event.undo)


def _answer(run: Run, event: Done | Failed) -> Run:
    """Fold an answer: it must be to the try that is under way."""
    progress = (run.undoes if event.undo else run.does).get(event.step)
    if progress is None or not progress.running or progress.attempt != event.attempt:
        raise IllegalEvent(f"run {run.id}: {event.step} has no try {event.attempt} under way, so it cannot be answered")
    if isinstance(event, Done):
        progress = replace(progress, receipt=event.receipt, ended_at=event.at)
    else:
        progress = replace(
            progress, failure=event.failure, reason=event.reason, ended_at=event.at, failures=progress.failures + 1
        )
    return run.after(event.step, progress, undo=event.undo)
