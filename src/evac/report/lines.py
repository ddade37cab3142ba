"""The lines evac speaks in: one an event, time first, then a word of a fixed vocabulary, then who and why.

Intuition: live output, `evac status`, the demo and the report all read the same lines, and `--json` prints the same
values; so what a person saw at night is what the report says in the morning. A line is made from an event and the
run's plan alone, nothing else.

What this is not: colour (it only repeats the word), or the news itself (`core.news`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin
from evac.core.estate import Estate
from evac.core.news import DecisionNews, News, RunNews, VerdictNews
from evac.core.observation import Instant, Json
from evac.core.plan import Plan, RunKind
from evac.core.protection import Protect
from evac.core.run import Done, Event, Failed, Forced, Opened, Outcome, Resumed, RunId, Settled, Started
from evac.core.traffic import Shift
from evac.core.verdict import Diagnosis, Verdict
from evac.report import measures, sentences
from evac.report.clocks import on_one_clock
from evac.report.words import count, listed, offset, span


class Word(StrEnum):
    """The vocabulary. A step's word is its phase."""

    FAULT = "fault"
    SEEN = "seen"
    VERDICT = "verdict"
    DECISION = "decision"
    PLAN = "plan"
    PREPARE = "prepare"
    FENCE = "fence"
    PROMOTE = "promote"
    SHIFT = "shift"
    VERIFY = "verify"
    RESTORE = "restore"
    DONE = "done"
    STUCK = "stuck"
    NEXT = "next"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event for people. `since` is the first symptom, from which its time runs."""

    at: Instant
    since: Instant
    word: Word
    text: str
    run: RunId | None = None

    def __str__(self) -> str:
        return f"{offset(self.at - self.since):>9}  {self.word:<9} {self.text}"

    def plain(self) -> dict[str, Json]:
        """Return the line as JSON holds it; times in seconds."""
        return {
            "at_s": round(self.at.total_seconds(), 6),
            "since_symptom_s": round((self.at - self.since).total_seconds(), 6),
            "word": self.word.value,
            "text": self.text,
            "run": self.run,
        }


class Speaker:
    """Turns news into lines as they come; remembers the plans of runs, and the symptom that times run from."""

    def __init__(self, estate: Estate | None = None) -> None:
        """With an estate, what a run achieved is told with its targets."""
        self._estate = estate
        self._journals: dict[RunId, list[Event]] = {}
        self._since: Instant | None = None

    def tell(self, news: News) -> tuple[Line, ...]:
        """Return the lines of one piece of news; none where nothing is worth one."""
        match news:
            case VerdictNews(verdict=verdict):
                if not self._journals and verdict.diagnosis not in (Diagnosis.WELL, Diagnosis.UNKNOWN):
                    self._since = verdict.symptom_at
                return verdict_lines(news, since=news.at if self._since is None else self._since)
            case DecisionNews():
                return (decision_line(news, since=news.at if self._since is None else self._since),)
            case RunNews(event=Opened() as event):
                self._journals[news.run] = [event, *news.already]
                self._since = event.symptom_at
                return event_lines(event, before=(), estate=self._estate)
            case RunNews(run=run, event=event):
                return self._go_on(run, event)

    def _go_on(self, run: RunId, event: Event) -> tuple[Line, ...]:
        journal = self._journals.get(run)
        if journal is None:
            return ()
        journal.append(event)
        if isinstance(event, Settled):
            del self._journals[run]
            self._since = None
        *before, told = on_one_clock(journal)
        return event_lines(told, before=before, estate=self._estate)


def verdict_lines(news: VerdictNews, *, since: Instant) -> tuple[Line, ...]:
    """Return what was seen of a region, and what it means."""
    verdict = news.verdict
    means = Line(at=news.at, since=since, word=Word.VERDICT, text=f"{verdict.region} {_diagnosis(verdict)}")
    if verdict.diagnosis in (Diagnosis.WELL, Diagnosis.UNKNOWN):
        return (means,)
    heard = [f"{e.vantage}: {e.why}{'' if e.votes else ' (no vote)'}" for e in verdict.evidence]
    return (Line(at=news.at, since=since, word=Word.SEEN, text=" · ".join(heard)), means)


def _diagnosis(verdict: Verdict) -> str:
    votes = sum(e.votes and e.view == "down" for e in verdict.evidence)
    outside = f"{votes} of {len(verdict.evidence)} outside views agree"
    services = listed(verdict.services)
    match verdict.diagnosis:
        case Diagnosis.WELL:
            return "well"
        case Diagnosis.UNKNOWN:
            return "unknown: too little has been seen of it"
        case Diagnosis.LINK_CUT:
            return f"a link is cut: {outside}, too few to judge the region"
        case Diagnosis.GRAY:
            return f"gray: clients of {services} fail too often, from most outside views"
        case Diagnosis.SERVICE_DOWN:
            rest = tuple(s for s in verdict.services if s not in verdict.down_inside)
            only_shut = set(rest) <= set(verdict.shut_out)
            seen = "well inside, not reachable from outside" if only_shut else "failing as seen from outside"
            shut = f"; {listed(rest)} {seen}" if rest else ""
            return f"{listed(verdict.down_inside)} down, seen from outside and inside{shut}"
        case Diagnosis.INGRESS_FAILED:
            return f"ingress failed: {services} well inside, not reachable from outside"
        case Diagnosis.SERVICES_DOWN:
            return f"all services down: {outside}, and so does the inside"
        case Diagnosis.UNREACHABLE:
            silent = "never heard of" if verdict.heartbeat_age is None else f"silent for {span(verdict.heartbeat_age)}"
            return f"unreachable: {outside}, its agent {silent}"


def decision_line(news: DecisionNews, *, since: Instant) -> Line:
    """Return a decision with its reasons; one not to act is shown with the same care."""
    return Line(at=news.at, since=since, word=Word.DECISION, text=_decision(news.decision))


def _decision(decision: Decision) -> str:
    group, reasons = decision.group, "; ".join(decision.reasons)
    match decision:
        case Hold(watching=watching):
            return f"{group}: {'watch' if watching else 'nothing to do'}: {reasons}"
        case Move():
            return (
                f"{_move(decision.kind, group, decision.target, decision.decided_by)}: {reasons}{_not_chosen(decision)}"
            )
        case Shift():
            return f"{_shift(group, decision.target, decision.decided_by)}: {reasons}{_not_chosen(decision)}"
        case Ask(move=move):
            what = "send clients in by" if isinstance(move, Shift) else f"{_VERBS[move.kind]} to"
            return f"{group} waits for a person's word to {what} {move.target}: {reasons}"
        case CallPerson():
            return f"{group} needs a person: {reasons}"
        case Rejoin(region=region, missed=missed) if missed:
            return f"turn {listed(missed)} in {region} to where {group} is now: {reasons}"
        case Rejoin(region=region):
            return f"rebuild {region} as a standby of {group}: {reasons}"
        case Protect(decided_by=by):
            return f"{_protect(group, by)}: {reasons}"


_VERBS: Mapping[RunKind, str] = {
    RunKind.FAILOVER: "fail over",
    RunKind.SWITCHOVER: "switch over",
    RunKind.FAILBACK: "fail back",
    RunKind.REJOIN: "rebuild",
    RunKind.PROTECT: "protect",
    RunKind.SHIFT: "shift",
    RunKind.DRILL: "drill",
}


def _move(kind: RunKind, group: str, target: str, by: str) -> str:
    return f"{_VERBS[kind]} {group} to {target}, {_asked(by)}"


def _protect(group: str, by: str) -> str:
    return f"{_VERBS[RunKind.PROTECT]} {group}, {_asked(by)}"


def _shift(group: str, target: str, by: str) -> str:
    return f"send clients of {group} in by {target}, {_asked(by)}"


def _asked(by: str) -> str:
    return "automatic" if by == "evac" else f"asked by {by}"


def _not_chosen(move: Move | Shift) -> str:
    return "".join(f". {r.region} rejected: {r.reason}" for r in move.rejected)


def run_lines(events: Sequence[Event], *, estate: Estate | None = None) -> tuple[Line, ...]:
    """Return the lines of a whole journal: what it was opened for first, since nobody else told."""
    events = on_one_clock(events)
    lines = _opening(measures.opening(events))
    for index, event in enumerate(events):
        lines += event_lines(event, before=events[:index], estate=estate)
    return tuple(lines)


def _opening(opened: Opened) -> list[Line]:
    """What the decision rested on, from the journal's own copy."""
    told = opened.decision
    texts = [
        (Word.SEEN, " · ".join(f"{e['vantage']}: {e['why']}" for e in rows(told, "evidence"))),
        (Word.VERDICT, next(iter(strings(told, "reasons")), "") if rows(told, "evidence") else ""),
        (Word.DECISION, _opened_by(opened)),
    ]
    return [_line(opened, opened.at, word, text) for word, text in texts if text]


def _opened_by(opened: Opened) -> str:
    plan, reasons = opened.plan, [*strings(opened.decision, "reasons")]
    if rows(opened.decision, "evidence"):
        reasons = reasons[1:]
    if plan.kind is RunKind.REJOIN:
        what = f"rebuild {plan.source} as a standby of {plan.group}"
    elif plan.kind is RunKind.SHIFT:
        what = _shift(plan.group, plan.target, opened.decided_by)
    elif plan.kind is RunKind.PROTECT:
        what = _protect(plan.group, opened.decided_by)
    else:
        what = _move(plan.kind, plan.group, plan.target, opened.decided_by)
    why = f": {'; '.join(reasons)}" if reasons else ""
    rejected = "".join(f". {r['region']} rejected: {r['reason']}" for r in rows(opened.decision, "rejected"))
    return what + why + rejected


def rows(data: Mapping[str, Json], key: str) -> list[Mapping[str, Json]]:
    """Return a list of objects in plain data; what is none is left out."""
    found = data.get(key)
    return [r for r in found if isinstance(r, Mapping)] if isinstance(found, (list, tuple)) else []


def strings(data: Mapping[str, Json], key: str) -> list[str]:
    """Return a list of strings in plain data."""
    found = data.get(key)
    return [str(r) for r in found] if isinstance(found, (list, tuple)) else []


def event_lines(event: Event, *, before: Sequence[Event], estate: Estate | None = None) -> tuple[Line, ...]:
    """Return the lines of one entry of a run's journal, given those before it. A step that starts is not worth one."""
    opened = measures.opening((*before, event))
    match event:
        case Opened():
            return (_line(opened, event.at, Word.PLAN, _plan(event.plan)),)
        case Forced():
            return (_line(opened, event.at, Word.FENCE, forced(event)),)
        case Resumed():
            text = f"run {opened.run} goes on under {event.by}, term {event.term}"
            return (_line(opened, event.at, Word.PLAN, text),)
        case Started():
            return ()
        case Done() | Failed():
            word = Word(opened.plan.step(event.step).phase.value)
            return (_line(opened, event.at, word, _answer(event, opened.plan)),)
        case Settled():
            return _end(event, opened, _achieved((*before, event), estate))


def forced(word: Forced) -> str:
    """Return a person's word as a sentence: who took what upon themselves, and what they were told."""
    told = f"; told: {' | '.join(word.told)}" if word.told else "; shown nothing before"
    return f"{listed(word.components)} forced: {word.person} takes the responsibility that nobody else writes{told}"


def _plan(plan: Plan) -> str:
    pivots = [s.action.component for s in plan.steps if s.pivot]
    pivot = f", pivot: promote {listed(pivots)}" if pivots else ""
    return f"{count(len(plan.steps), 'step')}, term {plan.term}{pivot}{''.join(f'. {n}' for n in plan.notes)}"


def _answer(event: Done | Failed, plan: Plan) -> str:
    step = plan.step(event.step)
    if isinstance(event, Failed):
        return sentences.failed(step, event.failure, event.reason, undo=event.undo, optional=step.optional)
    return sentences.undone(step) if event.undo else sentences.done(step, event.receipt)


def _achieved(events: Sequence[Event], estate: Estate | None) -> str:
    """What a run achieved for clients, in a few words; empty for one that they did not wait for."""
    if not measures.awaited(measures.opening(events).plan):
        return ""
    figures = (measures.recovery(events, estate), measures.loss(events, (), estate))
    return "".join(f". {m.name} {m.value}{f' (target {m.target})' if estate else ''}" for m in figures)


def _end(event: Settled, opened: Opened, achieved: str) -> tuple[Line, ...]:
    plan, took = opened.plan, span(event.at - opened.symptom_at)
    word = Word.STUCK if event.outcome is Outcome.STUCK else Word.DONE
    match event.outcome:
        case Outcome.COMPLETED:
            to = "" if plan.kind is RunKind.PROTECT else f" to {plan.target}"
            where = f"; {plan.before.primary} serves" if plan.kind is RunKind.SHIFT else ""
            text = f"{plan.kind} of {plan.group}{to} completed in {took}{where}{achieved}"
        case Outcome.ROLLED_BACK:
            text = f"{plan.kind} of {plan.group} rolled back in {took}: all is as before, in {plan.before.primary}"
        case Outcome.GAVE_WAY:
            text = f"{plan.kind} of {plan.group} gave way to a move after {took}"
        case Outcome.STUCK:
            text = f"{plan.kind} of {plan.group} is stuck after {took} and needs a person"
    if event.reasons:
        text += f": {'; '.join(event.reasons)}"
    return (
        _line(opened, event.at, word, text),
        _line(opened, event.at, Word.NEXT, f"report: evac report {opened.run}"),
    )


def _line(opened: Opened, at: Instant, word: Word, text: str) -> Line:
    return Line(at=at, since=opened.symptom_at, word=word, text=text, run=opened.run)
