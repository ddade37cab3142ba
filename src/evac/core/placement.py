"""The placement's record through a run: where the primaries are, and who may hold their latest writes, at each moment.

Intuition: the record must be right whenever evac dies. So a change of who must acknowledge is recorded twice: before
the order, as both the old set and the new one, and after the receipt, as the new one alone. Whoever promotes in
between starves both, and finds every acknowledged write; afterwards the new set is enough, because the receipt says
that it holds all that was written before it (`docs/design/safety.md` 3). The primary moves in the record
with the first promotion's receipt: from then on the old region may hold nothing that counts. Another region's door is
in the record for as long as any router may send clients there.

What this is not: what the systems say of themselves (`observation`); that these disagree is drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from evac.core.estate import ComponentId, RegionId
from evac.core.observation import Json
from evac.core.plan import Placement, RunKind, Step, SyncSet, Verb
from evac.core.run import Done, Event, Failed, Failure, Forced, Opened, Outcome, Resumed, Run, Settled, Started

CHANGING = frozenset({Verb.PROMOTE, Verb.PROTECT})
"""The verbs that set who must acknowledge."""


def advance(placement: Placement, run: Run, event: Event) -> Placement:
    """Return the record after one entry of a run's journal; `run` is the state with that entry folded in."""
    match event:
        case Started():
            return _entering(_changing(placement, run, event), run, event)
        case Done():
            step = run.plan.step(event.step)
            return _unprotected(placement, run, step) if event.undo else _done(placement, run, step)
        case Failed():
            return _failed(placement, run, event)
        case Settled():
            return _settled(placement, run, event)
        case Opened() | Forced() | Resumed():  # pragma: no branch (the union is closed)
            return placement


def new_set(step: Step) -> SyncSet:
    """Return whom the primary waits for after a promotion or a protection."""
    args = step.action.args
    waits = cast(Mapping[str, Any], args["sync"] if step.action.verb is Verb.PROMOTE else args)
    standbys = cast(Sequence[Json], waits["standbys"])
    return SyncSet(acks=int(waits["acks"]), standbys=tuple(RegionId(str(r)) for r in standbys))


def _changing(placement: Placement, run: Run, event: Started) -> Placement:
    """Both sets count while a change runs; nobody is sure which one holds.

    Where nobody was waited for, that may hold until the receipt: the record stays without a set, so that nothing counts
    as starved.
    """
    step = run.plan.step(event.step)
    known = placement.sync.get(step.action.component, ())
    if step.action.verb not in CHANGING or not known:
        return placement
    old = run.plan.before.sync.get(step.action.component, ()) if event.undo else ()
    return _with_sets(placement, step.action.component, (*known, *old, new_set(step)))


def _entering(placement: Placement, run: Run, event: Started) -> Placement:
    """From the first order on clients may come in by the new door; on the way back they may until all is done."""
    shifts = run.plan.kind is RunKind.SHIFT and run.plan.step(event.step).action.verb is Verb.SHIFT
    if not shifts or event.undo:
        return placement
    return replace(placement, entry=run.plan.after.entry or placement.entry)


def _done(placement: Placement, run: Run, step: Step) -> Placement:
    match step.action.verb:
        case Verb.PROTECT:
            return _with_sets(placement, step.action.component, _only(step))
        case Verb.PROMOTE:
            placement = _with_sets(placement, step.action.component, _only(step))
            away = [r for r in (*placement.awaiting_rejoin, run.plan.source) if r != run.plan.target]
            return replace(
                placement, primary=run.plan.target, term=run.term, awaiting_rejoin=tuple(dict.fromkeys(away))
            )
        case Verb.REJOIN:
            return _rebuilt(placement, run, step.action.region)
        case (
            Verb.PREPARE
            | Verb.STOP
            | Verb.REFUSE
            | Verb.SWITCH_OFF
            | Verb.EXPIRE
            | Verb.CATCH_UP
            | Verb.FOLLOW
            | Verb.SHIFT
            | Verb.VERIFY
        ):  # pragma: no branch (the union is closed)
            return placement


def _unprotected(placement: Placement, run: Run, step: Step) -> Placement:
    """An undone protection: the set from before holds again."""
    if step.action.verb is not Verb.PROTECT:
        return placement
    return _with_sets(placement, step.action.component, run.plan.before.sync.get(step.action.component, ()))


def _failed(placement: Placement, run: Run, event: Failed) -> Placement:
    """A change that certainly did not happen leaves the set as it was before the run."""
    step = run.plan.step(event.step)
    if step.action.verb not in CHANGING or event.undo or event.failure is Failure.INDETERMINATE:
        return placement
    return _with_sets(placement, step.action.component, _before(run, step))


def _before(run: Run, step: Step) -> tuple[SyncSet, ...]:
    """Whom a component's primary waited for before this step: as an earlier step of the run set it, or as it was."""
    component = step.action.component
    earlier = [s for s in run.plan.steps if s.action.component == component and s.action.verb in CHANGING]
    held = [s for s in earlier[: earlier.index(step)] if run.done(s)]
    return _only(held[-1]) if held else tuple(run.plan.before.sync.get(component, ()))


def _settled(placement: Placement, run: Run, event: Settled) -> Placement:
    """A completed run leaves clients where it sent them, and has moved even if it promoted nothing (without state)."""
    match event.outcome:
        case Outcome.COMPLETED:
            placement = replace(placement, entry=run.plan.after.entry)
            if any(s.pivot for s in run.plan.steps):
                return placement
            return replace(placement, primary=run.plan.after.primary, term=run.term)
        case Outcome.ROLLED_BACK:
            return replace(placement, entry=run.plan.before.entry)
        case Outcome.GAVE_WAY:
            return _half_rebuilt(placement, run)
        case Outcome.STUCK:  # pragma: no branch (the union is closed)
            return placement


def _half_rebuilt(placement: Placement, run: Run) -> Placement:
    """A region whose rebuild was begun and left counts for nothing until it is rebuilt."""
    rebuilds = [s for s in run.plan.steps if s.action.verb is Verb.REJOIN]
    begun = [s.action.region for s in rebuilds if s.id in run.does and not run.done(s)]
    return replace(placement, awaiting_rejoin=tuple(dict.fromkeys((*placement.awaiting_rejoin, *begun))))


def _rebuilt(placement: Placement, run: Run, region: RegionId) -> Placement:
    """A region counts again when every component in it has been rebuilt."""
    rejoins = [s for s in run.plan.steps if s.action.verb is Verb.REJOIN and s.action.region == region]
    if not all(run.done(s) for s in rejoins):
        return placement
    return replace(placement, awaiting_rejoin=tuple(r for r in placement.awaiting_rejoin if r != region))


def _only(step: Step) -> tuple[SyncSet, ...]:
    """The sets that hold when a change is done; none when nobody is waited for."""
    chosen = new_set(step)
    return (chosen,) if chosen.acks else ()


def _with_sets(placement: Placement, component: ComponentId, sets: Sequence[SyncSet]) -> Placement:
    sync = {c: s for c, s in placement.sync.items() if c != component}
    if sets:
        sync[component] = tuple(dict.fromkeys(sets))
    return replace(placement, sync=sync)
