"""Which steps a step waits for, one by one: what its needs and its barriers come to."""

from __future__ import annotations

from collections.abc import Iterable

from evac.core.plan import Plan, Step, StepId


def waits_of(step: Step, steps: Iterable[Step]) -> tuple[StepId, ...]:
    """Return the steps that one waits for because it says so: what it needs, then all else in the plan's order."""
    return tuple(dict.fromkeys((*step.needs, *(s.id for s in steps if step.waits_for(s)))))


def waits(plan: Plan, step: str) -> set[StepId]:
    """Return the steps that the one of that id waits for because it says so."""
    return set(waits_of(plan.step(StepId(step)), plan.steps))
