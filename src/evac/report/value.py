"""A run's report as a value: all that the page and the Markdown say, before any of it is laid out.

What this is not: the layout (`markdown`, `html`, `drawing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from evac.core.estate import Estate
from evac.core.fence import FORCED
from evac.core.observation import Json
from evac.core.placement import new_set
from evac.core.plan import MOVES, Plan, RunKind, Step
from evac.core.protection import say_set, shrinks
from evac.core.run import Done, Event, Failed, Forced, Opened, Outcome, Resumed, RunId, Settled, Started
from evac.report import measures, sentences
from evac.report.clocks import on_one_clock
from evac.report.lines import Line, rows, run_lines, strings
from evac.report.measures import Lap, Loss, Measure
from evac.report.words import count, listed, span, utc


class Status(StrEnum):
    """How far a step has come."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    RUNNING = "running"
    UNDONE = "undone"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step: when it ran (since the symptom), how it ended, and what its receipt says."""

    step: Step
    status: Status
    begin: timedelta | None
    end: timedelta | None
    tries: int
    says: str
    receipt: str = ""
    facts: Mapping[str, Json]

    @property
    def took(self) -> timedelta | None:
        return self.end - self.begin if self.begin is not None and self.end is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one vantage point saw, as it counted in the decision."""

    vantage: str
    view: str
    votes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to type next, and why."""

    command: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened in a run, for the morning after. The first three answer what everybody asks first."""

    fine: str
    did: str
    needs: str
    run: RunId
    plan: Plan
    plan_hash: str
    outcome: Outcome | None
    begun: datetime
    ended: datetime | None
    took: timedelta
    decided_by: str
    reasons: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...]
    sights: tuple[Sight, ...]
    measures: tuple[Measure, ...]
    laps: tuple[Lap, ...]
    steps: tuple[StepReport, ...]
    losses: tuple[Loss, ...]
    findings: tuple[str, ...]
    commands: tuple[Command, ...]
    lines: tuple[Line, ...]


def report_of(
    events: Sequence[Event],
    *,
    estate: Estate,
    rejoined: Sequence[Event] = (),
    kept: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Return the report of a run's journal, finished or under way.

    `rejoined` is the journal of the run that rebuilt the old primary, where there was one: what it found belongs to
    this run's losses. `kept` has the lines of files of orphaned writes, by the path that receipts name.
    """
    events = on_one_clock(events)
    opened, end = measures.opening(events), measures.settled(events)
    found = measures.losses((*events,), kept=kept or {}) + measures.losses(rejoined, kept=kept or {})
    figures = (measures.recovery(events, estate), measures.loss(events, found, estate))
    awaited = measures.awaited(opened.plan)
    steps = tuple(_step(step, events, opened) for step in opened.plan.steps)
    told = opened.decision
    return Report(
        fine=_fine(opened, end),
        did=_did(opened, figures if awaited else (), events),
        needs=_needs(opened, end, found, rejoined=bool(rejoined)),
        run=opened.run,
        plan=opened.plan,
        plan_hash=opened.plan_hash,
        outcome=end.outcome if end else None,
        begun=opened.wall,
        ended=end.wall if end else None,
        took=events[-1].at - opened.symptom_at,
        decided_by=opened.decided_by,
        reasons=tuple(strings(told, "reasons")),
        rejected=tuple((str(r.get("region")), str(r.get("reason"))) for r in rows(told, "rejected")),
        sights=tuple(_sight(e) for e in rows(told, "evidence")),
        measures=figures if awaited else (),
        laps=measures.laps(events) if awaited else (),
        steps=steps,
        losses=found,
        findings=_findings(opened, events, steps),
        commands=_commands(opened, end, found, rejoined=bool(rejoined)),
        lines=run_lines(events, estate=estate),
    )


def _sight(row: Mapping[str, Json]) -> Sight:
    return Sight(
        vantage=str(row.get("vantage")),
        view=str(row.get("view")),
        votes=bool(row.get("votes", True)),
        why=str(row.get("why", "")),
    )


def _fine(opened: Opened, end: Settled | None) -> str:
    plan = opened.plan
    if end is None:
        return f"Not over yet: {plan.kind} of {plan.group} to {plan.target} is under way."
    match end.outcome:
        case Outcome.COMPLETED if plan.kind is RunKind.REJOIN:
            return f"Yes. {plan.source} is a standby of {plan.group} again; {plan.target} serves it."
        case Outcome.COMPLETED if plan.kind is RunKind.SHIFT:
            serves = f"; {plan.before.primary} serves it" if plan.after.entry else " again, which serves it"
            return f"Yes. Clients of {plan.group} enter by {plan.target}{serves}."
        case Outcome.COMPLETED if plan.kind is RunKind.PROTECT:
            return _protected(plan)
        case Outcome.COMPLETED:
            return f"Yes. {plan.group} is served from {plan.target}."
        case Outcome.ROLLED_BACK:
            where = plan.before.primary
            return f"Yes, as before: {plan.group} is still served from {where}. The {plan.kind} did not happen."
        case Outcome.GAVE_WAY:
            return f"Ask the run after this one: {plan.group} had to be moved, and the {plan.kind} was left for that."
        case Outcome.STUCK:
            return f"No. {plan.group} stopped half way, and evac will not guess."


def _protected(plan: Plan) -> str:
    """What a change of a set means; one that leaves nobody to wait for ends a promise."""
    alone = [s.action.component for s in plan.steps if not new_set(s).acks]
    if alone:
        return (
            f"No. {listed(alone)} acknowledges alone: the promise to lose nothing is off until a standby streams again."
        )
    said = listed(f"{s.action.component} waits for {say_set(new_set(s))}" for s in plan.steps)
    return f"Yes. {said}; nothing acknowledged is lost with {plan.target}."


def _did(opened: Opened, figures: Sequence[Measure], events: Sequence[Event]) -> str:
    plan = opened.plan
    match plan.kind:
        case RunKind.REJOIN:
            what = f"rebuilt {plan.source} to follow {plan.target}"
        case RunKind.PROTECT:
            what = f"changed whom {plan.group}'s primary in {plan.target} waits for"
        case RunKind.FAILOVER | RunKind.SWITCHOVER | RunKind.FAILBACK | RunKind.SHIFT | RunKind.DRILL:
            what = f"{plan.kind} of {plan.group} from {plan.source} to {plan.target}"
    steps = f"{sum(isinstance(e, Done) and not e.undo for e in events)} of {count(len(plan.steps), 'step')}"
    shown = "".join(f" {m.name} {m.value} (target {m.target})." for m in figures)
    return f"{what[0].upper()}{what[1:]}: {steps} done in {span(events[-1].at - opened.symptom_at)}.{shown}"


def _needs(opened: Opened, end: Settled | None, found: Sequence[Loss], *, rejoined: bool) -> str:
    plan = opened.plan
    if end is None:
        return "Nothing: evac goes on by itself."
    match end.outcome:
        case Outcome.STUCK:
            return f"A decision: {'; '.join(end.reasons)}"
        case Outcome.ROLLED_BACK if plan.kind is RunKind.SHIFT and plan.after.entry and opened.decided_by == "evac":
            return "Nothing yet: where another door does not help, evac moves the group."
        case Outcome.ROLLED_BACK:
            return f"The cause mended before the next try: {'; '.join(end.reasons)}"
        case Outcome.GAVE_WAY:
            return "Nothing: what it was for is begun anew after the move."
        case Outcome.COMPLETED if orphans := sum(entry.orphans or 0 for entry in found):
            return f"A look at {count(orphans, 'orphaned write')}, kept and listed below: merging is for people."
        case Outcome.COMPLETED if plan.kind is RunKind.SHIFT and plan.after.entry:
            if opened.decided_by != "evac":
                return "Nothing now: clients stay there until you send them back."
            return f"Nothing now: clients go back when {plan.before.primary}'s own door has been open for a while."
        case Outcome.COMPLETED if plan.kind is RunKind.PROTECT and not shrinks(plan):
            return "Nothing."
        case Outcome.COMPLETED if plan.kind is RunKind.PROTECT:
            return "A look at the standby that is away; when it streams again it is taken back by itself."
        case Outcome.COMPLETED if _leaves_behind(plan) and not rejoined:
            return f"Nothing now: {plan.source} is rebuilt as a standby when it answers again."
        case Outcome.COMPLETED:
            return "Nothing."


def _leaves_behind(plan: Plan) -> bool:
    """Whether the region that this run left is to be rebuilt."""
    return plan.source in plan.after.awaiting_rejoin


def _step(step: Step, events: Sequence[Event], opened: Opened) -> StepReport:
    mine = [e for e in events if isinstance(e, (Started, Done, Failed)) and e.step == step.id]
    does = [e for e in mine if not e.undo]
    starts = [e.at for e in does if isinstance(e, Started)]
    last = does[-1] if does else None
    receipt = last.receipt if isinstance(last, Done) else None
    ended = last.at if isinstance(last, (Done, Failed)) else None
    return StepReport(
        step=step,
        status=_status(mine),
        begin=min(starts) - opened.symptom_at if starts else None,
        end=ended - opened.symptom_at if ended is not None else None,
        tries=len(starts),
        says=_says(step, mine),
        receipt=receipt.kind if receipt else "",
        facts=receipt.facts if receipt else {},
    )


def _status(mine: Sequence[Started | Done | Failed]) -> Status:
    if not mine:
        return Status.WAITING
    last = mine[-1]
    if last.undo:
        return (
            Status.UNDONE if isinstance(last, Done) else Status.RUNNING if isinstance(last, Started) else Status.FAILED
        )
    match last:
        case Done():
            return Status.DONE
        case Started():
            return Status.RUNNING
        case Failed():
            return Status.UNKNOWN if last.failure.value == "indeterminate" else Status.FAILED


def _says(step: Step, mine: Sequence[Started | Done | Failed]) -> str:
    told = [e for e in mine if not isinstance(e, Started)]
    if not told:
        return "under way" if mine else "not begun"
    last = told[-1]
    if isinstance(last, Failed):
        return sentences.failed(step, last.failure, last.reason, undo=last.undo, optional=step.optional)
    return sentences.undone(step) if last.undo else sentences.done(step, last.receipt)


def _findings(opened: Opened, events: Sequence[Event], steps: Sequence[StepReport]) -> tuple[str, ...]:
    """What did not go as planned although the run may have ended well."""
    found = [*opened.plan.notes]
    for step in steps:
        if step.step.optional and step.status in (Status.FAILED, Status.UNKNOWN):
            found.append(f"not required, and failed: {step.says}")
        elif step.tries > 1 and step.status is Status.DONE:
            failures = [e for e in events if isinstance(e, Failed) and e.step == step.step.id]
            found.append(f"{step.step.id} needed {step.tries} tries: {failures[-1].reason if failures else 'resumed'}")
    found += [f"{e.by} took the run over at term {e.term}" for e in events if isinstance(e, Resumed)]
    old = [(s.action.component, person) for s in opened.plan.steps if (person := s.action.args.get(FORCED))]
    found += [
        f"{component} was promoted without a fence, on the responsibility of {person}" for component, person in old
    ]
    for word in (e for e in events if isinstance(e, Forced)):
        told = f"told: {' | '.join(word.told)}" if word.told else "shown nothing before"
        who = f"{word.person} took the responsibility at {utc(word.wall)}"
        why = f", because: {word.reason}" if word.reason else ""
        found.append(f"{', '.join(word.components)} was to be promoted without a fence: {who}{why}; {told}")
        found += [f"what evac held possible then: {risk}" for risk in word.risks if risk not in word.told]
    return tuple(found)


_AGAIN: Mapping[RunKind, str] = {
    RunKind.FAILOVER: "failover {source}",
    RunKind.SWITCHOVER: "switchover {target}",
    RunKind.FAILBACK: "failback",
    RunKind.SHIFT: "shift {target}",
}
"""How the plan of a move that turned back is asked for once more."""


def _commands(opened: Opened, end: Settled | None, found: Sequence[Loss], *, rejoined: bool) -> tuple[Command, ...]:
    plan, run = opened.plan, opened.run
    commands: list[Command] = []
    if end is None:
        return (Command(command="evac status", why="see how far it has come"),)
    match end.outcome:
        case Outcome.STUCK:
            commands.append(Command(command="evac status", why="see what each member says of itself now"))
            if plan.kind in MOVES:  # others are begun again without a person
                commands.append(
                    Command(command=f"evac resolve {run}", why="once you know and have put right what happened")
                )
        case Outcome.ROLLED_BACK:
            commands.append(Command(command="evac check", why="find what else would fail in an emergency"))
            if plan.kind in _AGAIN:
                again = _AGAIN[plan.kind].format(source=plan.source, target=plan.target)
                commands.append(Command(command=f"evac plan {again}", why="a dry run, when the cause is mended"))
        case Outcome.GAVE_WAY:
            commands.append(Command(command="evac runs", why="see the move that it gave way to"))
        case Outcome.COMPLETED:
            if plan.kind is RunKind.PROTECT:
                commands.append(Command(command="evac status", why="see whom each primary waits for now"))
            if plan.kind is RunKind.SHIFT and plan.after.entry:
                commands.append(
                    Command(command=f"evac shift {plan.before.primary}", why="send them back yourself, at once")
                )
            if _leaves_behind(plan) and not rejoined:
                commands.append(Command(command="evac status", why=f"see whether {plan.source} has come back"))
            if plan.kind is RunKind.FAILOVER:
                commands.append(
                    Command(command=f"evac switchover {plan.source}", why="move home again, when it is well")
                )
    commands += [
        Command(
            command=f"less {entry.file}", why=f"read the writes that only {entry.region} had; merging is for people"
        )
        for entry in found
        if entry.file
    ]
    return tuple(commands)
