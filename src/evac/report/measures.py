"""What a run achieved, each figure with how it was measured and from which entries of the journal.

Intuition: a figure without its method is an advertisement. Time to recover runs from the first symptom (the start of
the first failed question) to the client's write and read that proved the new primary; a planned move is measured by
the gap in writing instead. Data loss is *proved* zero by fence receipts, *counted* by rejoin receipts, or *unknown*,
and the report says which.

What this is not: what clients saw; in the lab their own log is the judge (`evac.lab.checker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from evac.core.estate import ComponentId, Estate, GroupId, Objectives, ReplicationMode
from evac.core.fence import rests_on_word, unfenced
from evac.core.observation import Instant
from evac.core.plan import Phase, Plan, RunKind, Step, StepId, Verb
from evac.core.run import Done, Event, Opened, Outcome, Receipt, Settled, Started
from evac.report.words import count, listed, span

PLANNED = frozenset({RunKind.SWITCHOVER, RunKind.FAILBACK, RunKind.DRILL})
UNPLANNED = frozenset({RunKind.FAILOVER, RunKind.SHIFT})
"""The kinds that begin with a symptom."""


class Judgement(StrEnum):
    """How a figure stands to its target."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One achieved figure: its value in words, its target, how the two compare, and how it was measured."""

    name: str
    value: str
    target: str
    judgement: Judgement
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One phase of the way to recovery, from the end of the one before to its own last required receipt."""

    phase: str
    begin: timedelta
    end: timedelta
    budget: timedelta | None = None

    @property
    def took(self) -> timedelta:
        return self.end - self.begin

    @property
    def over(self) -> bool:
        """Return whether the phase took longer than its budget."""
        return self.budget is not None and self.took > self.budget


BUDGET: Mapping[str, timedelta] = {
    "detect": timedelta(seconds=30),
    "decide": timedelta(seconds=60),
    "fence": timedelta(seconds=60),
    "promote": timedelta(seconds=60),
    "shift": timedelta(minutes=2),
}
"""The share of five minutes that each phase may take; fence and promote halve what a restart is given."""
BUDGET_TOTAL = timedelta(minutes=5)


def opening(events: Sequence[Event]) -> Opened:
    """Return a journal's first entry."""
    first = events[0]
    assert isinstance(first, Opened), "a journal begins with Opened"
    return first


def settled(events: Sequence[Event]) -> Settled | None:
    """Return a journal's last entry, None while the run is under way."""
    last = events[-1]
    return last if isinstance(last, Settled) else None


def receipts(events: Iterable[Event]) -> Mapping[StepId, tuple[Instant, Receipt]]:
    """Return when each step was done, and its receipt."""
    return {e.step: (e.at, e.receipt) for e in events if isinstance(e, Done) and not e.undo}


def _began_with_symptom(opened: Opened) -> bool:
    """Whether clients suffered before the run began: a planned move is such a one where evac itself detected it."""
    return opened.plan.kind in UNPLANNED or (opened.plan.kind in PLANNED and opened.detected)


def laps(events: Sequence[Event]) -> tuple[Lap, ...]:
    """Return the phases from the first symptom to recovery; they touch, and add up to the whole.

    Steps run side by side, so a phase ends with its last required receipt, and one that was over before its
    predecessor took no time of its own.
    """
    opened, done = opening(events), receipts(events)
    started = min((e.at for e in events if isinstance(e, Started)), default=opened.at)
    ends = [("decide", started)]
    if opened.at > opened.symptom_at and _began_with_symptom(opened):
        ends.insert(0, ("detect", opened.at))
    for phase in (Phase.PREPARE, Phase.FENCE, Phase.PROMOTE, Phase.SHIFT, Phase.VERIFY):
        steps = [s for s in opened.plan.steps if s.phase is phase and not (s.optional or s.goes_last) and s.id in done]
        if steps:
            ends.append((phase.value, max(done[s.id][0] for s in steps)))
    result: list[Lap] = []
    begin = opened.symptom_at
    for name, end in ends:
        end = max(begin, end)
        since = opened.symptom_at
        result.append(Lap(phase=name, begin=begin - since, end=end - since, budget=BUDGET.get(name)))
        begin = end
    return tuple(result)


def awaited(plan: Plan) -> bool:
    """Return whether clients waited for this run: it moved what serves them, or let them in by another door."""
    return any(s.pivot for s in plan.steps) or (plan.kind is RunKind.SHIFT and plan.after.entry is not None)


def recovered_at(events: Sequence[Event]) -> tuple[Instant, str] | None:
    """Return when clients were served again and what shows it; None if that is not in the journal."""
    opened, done = opening(events), receipts(events)
    verified = [s for s in opened.plan.steps if s.action.verb is Verb.VERIFY and not s.optional]
    if verified and all(s.id in done for s in verified):
        shifted = opened.plan.kind is RunKind.SHIFT
        shown_by = "a request by the new door" if shifted else "a write and a read as a client in the new region"
        return max(done[s.id][0] for s in verified), shown_by
    return None


def recovery(events: Sequence[Event], estate: Estate | None) -> Measure:
    """Return the achieved time to recover; for a planned move the gap in writing."""
    opened = opening(events)
    target = _target_rto(estate, opened.plan.group)
    if opened.plan.kind in PLANNED and not _began_with_symptom(opened):
        return _gap(events, target)
    trigger = opened.decision.get("trigger")
    if isinstance(trigger, Mapping) and isinstance(within := trigger.get("rto"), int):
        target = timedelta(microseconds=within)
    found = recovered_at(events)
    if found is None:
        return Measure(
            name="RTO",
            value="not reached",
            target=_at_most(target),
            judgement=Judgement.UNKNOWN,
            how="nothing that a client does has succeeded there yet",
        )
    at, shown_by = found
    took = at - opened.symptom_at
    return Measure(
        name="RTO",
        value=span(took),
        target=_at_most(target),
        judgement=_judge(took, target),
        how=f"from {_begins(opened)} to {shown_by}, on evac's own boot clock",
    )


def _begins(opened: Opened) -> str:
    """What the time to recover is counted from."""
    trigger = opened.decision.get("trigger")
    if isinstance(trigger, Mapping):
        return f"when trigger {trigger.get('trigger')} became true"
    return "the start of the first failed probe"


def _gap(events: Sequence[Event], target: timedelta | None) -> Measure:
    plan, done = opening(events).plan, receipts(events)
    stops = {s.id for s in plan.steps if s.action.verb is Verb.STOP}
    stopping = [e.at for e in events if isinstance(e, Started) and e.step in stops and not e.undo]
    pivots = [s for s in plan.steps if s.pivot and not s.goes_last] or [s for s in plan.steps if s.pivot]
    back = [e.at for e in events if isinstance(e, Done) and e.undo and e.step in stops]
    until, what = (
        (max(done[s.id][0] for s in pivots), "the new primary was promoted")
        if pivots and all(s.id in done for s in pivots)
        else (max(back), "the old primary had been started again")
        if back
        else (None, "")
    )
    if not stopping or until is None:
        how = "nothing was stopped" if not stopping else "neither side has been seen to take writes again"
        value, judgement = ("none", Judgement.MET) if not stopping else ("not closed", Judgement.UNKNOWN)
        return Measure(name="Write gap", value=value, target=_at_most(target), judgement=judgement, how=how)
    took = until - min(stopping)
    return Measure(
        name="Write gap",
        value=span(took),
        target=_at_most(target),
        judgement=_judge(took, target),
        how=f"at most: from the order to stop the old primary until {what}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a rejoin found that only the old primary had. `orphans` None: it could not be counted."""

    component: str
    region: str
    orphans: int | None
    exact: bool
    lost_bytes: int | None
    file: str | None
    method: str
    listed: tuple[str, ...] = ()
    """The first of them, one a line, where the file was at hand."""


def losses(events: Iterable[Event], *, kept: Mapping[str, Sequence[str]]) -> tuple[Loss, ...]:
    """Return what the rejoin receipts of a journal tell; `kept` has the lines of files of orphaned writes."""
    journal = list(events)
    if not journal:
        return ()
    plan = opening(journal).plan
    found: list[Loss] = []
    for step_id, (_, receipt) in receipts(journal).items():
        step = plan.step(step_id)
        if step.action.verb is Verb.REJOIN:
            found.append(_loss(step, receipt, kept))
    return tuple(found)


def _loss(step: Step, receipt: Receipt, kept: Mapping[str, Sequence[str]]) -> Loss:
    facts = receipt.facts
    orphans, lost, file = facts.get("orphans"), facts.get("lost_bytes"), facts.get("orphans_file")
    return Loss(
        component=step.action.component,
        region=step.action.region,
        orphans=orphans if isinstance(orphans, int) else None,
        exact=bool(facts.get("orphans_exact", False)),
        lost_bytes=lost if isinstance(lost, int) else None,
        file=str(file) if file else None,
        method=str(facts.get("method", "")),
        listed=tuple(kept.get(str(file), ())),
    )


def loss(events: Sequence[Event], found: Sequence[Loss], estate: Estate | None) -> Measure:
    """Return the achieved RPO: proved by the fence, counted by a rejoin, or unknown."""
    opened = opening(events)
    target = _target_rpo(estate, opened.plan.group)
    end = settled(events)
    if end is not None and end.outcome is Outcome.ROLLED_BACK:
        return _rpo("0 writes", target, Judgement.MET, "rolled back: nothing was promoted, so nothing can be missing")
    if not any(s.pivot for s in opened.plan.steps):
        return _rpo("0 writes", target, Judgement.MET, "nothing was promoted in this run")
    counted = [entry for entry in found if entry.orphans is not None]
    proved, unproved, aside = _proofs(events, estate)
    beside = f". Not counted here: {listed(aside)}" if aside else ""
    if not unproved:
        return _rpo("0 writes", target, Judgement.MET, f"proved before the promotion: {listed(proved)}{beside}")
    if counted and all(entry.exact for entry in counted):
        number = sum(entry.orphans or 0 for entry in counted)
        where = listed(sorted({entry.region for entry in counted}))
        how = f"counted in the log of the old primary in {where}, after the point where it diverged"
        return _rpo(count(number, "write"), target, Judgement.MET if number == 0 else Judgement.UNKNOWN, how)
    if counted:
        number = sum(entry.orphans or 0 for entry in counted)
        return _rpo(
            f"at least {count(number, 'write')}", target, Judgement.UNKNOWN, "the old log was not all there to count"
        )
    return _rpo(
        "unknown",
        target,
        Judgement.UNKNOWN,
        f"{listed(unproved)}; counted when {opened.plan.source} answers and is rebuilt",
    )


def _rpo(value: str, target: timedelta | None, judgement: Judgement, how: str) -> Measure:
    return Measure(name="RPO", value=value, target=_at_most(target), judgement=judgement, how=how)


def _proofs(events: Sequence[Event], estate: Estate | None) -> tuple[list[str], list[str], list[str]]:
    """For each promoted component, why nothing acknowledged can be missing, or why that is not known.

    The third list is what may be missing of components that the group merely wants: no promise covers them.
    """
    opened, done = opening(events), receipts(events)
    plan = opened.plan
    proved: list[str] = []
    unproved: list[str] = []
    aside: list[str] = []
    for pivot in (s for s in plan.steps if s.pivot):
        component = pivot.action.component
        mine = {s.id: done[s.id][1] for s in plan.steps if s.action.component == component and s.id in done}
        if pivot.optional:
            aside.append(f"{component}, which is merely wanted and may lack its last writes")
        elif pivot.id not in done:
            unproved.append(f"{component} has no receipt of its promotion")
        elif any(r.kind == "stopped" and r.facts.get("clean") for r in mine.values()):
            proved.append(f"{component} was stopped cleanly and its standby holds its last write")
        elif forced := rests_on_word(pivot.action.args):
            unproved.append(f"{component} was promoted without a fence, on the word of {forced}")
        elif component not in plan.before.sync or _acknowledges_first(estate, component):
            unproved.append(f"{component} was asynchronous, so its last writes may be in the old region only")
        elif lacking := unfenced(plan, pivot, {i: r.kind for i, r in mine.items() if r.kind == "starved"}):
            unproved.append(lacking)
        else:
            by = listed(sorted(plan.step(i).action.region for i, r in mine.items() if r.kind == "starved"))
            proved.append(f"{component} was starved by {by}, and what any of them held was promoted")
    return proved, unproved, aside


def _acknowledges_first(estate: Estate | None, component: ComponentId) -> bool:
    """Whether a component acknowledges a write before any standby has it; starving bounds that, and no more."""
    declared = estate.components.get(component) if estate else None
    return bool(declared and declared.replication and declared.replication.mode is ReplicationMode.ASYNC)


def _judge(took: timedelta, target: timedelta | None) -> Judgement:
    if target is None:
        return Judgement.UNKNOWN
    return Judgement.MET if took <= target else Judgement.MISSED


def _at_most(target: timedelta | None) -> str:
    return f"≤ {span(target)}" if target is not None else "none set"


def _target_rto(estate: Estate | None, group: GroupId) -> timedelta | None:
    return min((o.rto for o in _objectives(estate, group)), default=None)


def _target_rpo(estate: Estate | None, group: GroupId) -> timedelta | None:
    return min((o.rpo for o in _objectives(estate, group)), default=None)


def _objectives(estate: Estate | None, group: GroupId) -> list[Objectives]:
    return [s.objectives for s in estate.services.values() if s.group == group] if estate else []
