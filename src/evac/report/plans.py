"""A plan for people to read before anything is done: what it is for, its steps as a graph, what it leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from evac.core.catching_up import UNLESS_HIGHEST
from evac.core.objectives import Forecast
from evac.core.plan import Barrier, Phase, Plan, RunKind, Step, StepId, in_order
from evac.report.words import span


def plan_lines(plan: Plan, forecast: Forecast) -> list[str]:
    """Return a plan's lines: the heading, one line a step with what it waits for, notes, the forecast."""
    stays = f", {plan.before.primary} serves" if plan.kind is RunKind.SHIFT else ""
    lines = [f"{plan.kind} of {plan.group} from {plan.source} to {plan.target}{stays}, term {plan.term}", ""]
    ordered = in_order(plan.steps)
    numbers = {step.id: number for number, step in enumerate(ordered, start=1)}
    before = {b: _ranges(numbers[s.id] for s in line) for b, line in plan.graph.before.items()}
    lines += [_step(step, numbers, _after(step, plan, numbers, before)) for step in ordered]
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


def _after(step: Step, plan: Plan, numbers: Mapping[StepId, int], before: Mapping[Barrier, str]) -> str:
    """The numbers of the steps that one waits for: what is not before a barrier anyway, then who is, as ranges."""
    own = [n for n in step.needs if not any(b in step.behind for b in plan.step(n).before)]
    return ", ".join((*(str(numbers[n]) for n in own), *(before[b] for b in step.behind if b in before)))


def _ranges(numbers: Iterable[int]) -> str:
    """Say numbers in their order, three and more in a row as `1-3`."""
    rows: list[list[int]] = []
    for number in sorted(numbers):
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in rows)


def _step(step: Step, numbers: Mapping[StepId, int], after: str) -> str:
    action = step.action
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
