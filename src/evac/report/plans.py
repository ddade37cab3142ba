"""A plan for people to read before anything is done: what it is for, its steps as a graph, what it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from evac.core.catching_up import UNLESS_HIGHEST
from evac.core.objectives import Forecast
from evac.core.plan import Phase, Plan, RunKind, Step, StepId, in_order
from evac.report.words import span


def plan_lines(plan: Plan, forecast: Forecast) -> list[str]:
    """Return a plan's lines: the heading, one line a step with what it waits for, notes, the forecast."""
    stays = f", {plan.before.primary} serves" if plan.kind is RunKind.SHIFT else ""
    lines = [f"{plan.kind} of {plan.group} from {plan.source} to {plan.target}{stays}, term {plan.term}", ""]
    numbers = {step.id: number for number, step in enumerate(in_order(plan.steps), start=1)}
    lines += [_step(step, numbers) for step in in_order(plan.steps)]
    lines += ["", *(f"note: {note}" for note in plan.notes)]
    path = " > ".join(str(numbers[s]) for s in forecast.critical_path)
    rto = f"RTO {span(forecast.rto)}, p95 {span(forecast.rto_p95)}, critical path: steps {path}"
    lines += [f"forecast: {rto}", f"          RPO {rpo(forecast)}"]
    return lines


def rpo(forecast: Forecast) -> str:
    """Return the forecast loss in words: `0 (quorum)`, or the worst component's with its reason."""
    if forecast.rpo == timedelta():
        return "0 (quorum)" if forecast.rpo_basis else "0 (no state)"
    value = "unknown" if forecast.rpo is None else span(forecast.rpo)
    worst = [f"{loss.component}: {loss.why}" for loss in forecast.rpo_basis if loss.time is None or loss.time]
    return f"{value} ({'; '.join(worst)})"


def _step(step: Step, numbers: Mapping[StepId, int]) -> str:
    action = step.action
    after = ", ".join(str(numbers[n]) for n in step.needs)
    marks = [
        "pivot: no way back after this" if step.pivot else "",
        "may fail" if step.optional else "",
        "left out if nothing is missing there" if action.args.get(UNLESS_HIGHEST) else "",
        "can be undone" if step.undoable and step.phase is not Phase.VERIFY else "",
    ]
    said = ", ".join(mark for mark in marks if mark)
    number = numbers[step.id]
    order = "; ".join(part for part in (f"after {after}" if after else "at once", said) if part)
    return f"{number:>3}  {step.phase:<8} {action.verb} {action.component} in {action.region}  ({order})"
