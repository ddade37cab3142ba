"""What waits for what, listed step by step: how plans were made before they had barriers, and what these still mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from evac.core.estate import ComponentId, Estate, Purpose
from evac.core.fence import FROM_AFAR
from evac.core.plan import Phase, Plan, RunKind, Step, StepId, Verb
from fakes.waiting import waits_of

Waits = Mapping[StepId, frozenset[StepId]]


def listed(plan: Plan) -> Plan:
    """Return the same plan without barriers: each step names all that it waits for."""
    steps = tuple(replace(s, needs=waits_of(s, plan.steps), before=(), behind=()) for s in plan.steps)
    return replace(plan, steps=steps)


def waits_by_definition(plan: Plan, estate: Estate) -> Waits:
    """Return what each step of a plan is to wait for beside what its own chain says."""
    if plan.kind is RunKind.SHIFT:
        return _of_a_shift(plan.steps)
    wanted = estate.wanted_only(plan.group)
    vital = {c.id for c in estate.group_components(plan.group, Purpose.STATE) if c.service not in wanted}
    return _of_a_move(plan.steps, vital, planned=plan.kind is not RunKind.FAILOVER)


def _of_a_move(steps: Sequence[Step], vital: Collection[ComponentId], *, planned: bool) -> Waits:
    prepared = [s.id for s in steps if s.phase is Phase.PREPARE]
    stopped = [s.id for s in steps if s.action.verb is Verb.STOP]
    fences = [s for s in steps if s.phase is Phase.FENCE and not s.optional]
    from_afar = [s.id for s in fences if s.action.verb in FROM_AFAR]
    gate = [s.id for s in steps if s.pivot and s.action.component in vital]
    turned = [s.id for s in steps if s.action.verb is Verb.SHIFT and not s.optional]

    def others(step: Step) -> Sequence[StepId]:
        if step.pivot and planned:
            return stopped if step.action.component in vital else [*stopped, *gate]
        if step.pivot:
            return [f.id for f in fences] if step.optional else from_afar
        if step.action.verb is Verb.STOP:
            return prepared if planned else ()
        return gate if step.action.verb is Verb.SHIFT else turned if step.action.verb is Verb.VERIFY else ()

    return {s.id: frozenset((*s.needs, *others(s))) for s in steps}


def _of_a_shift(steps: Sequence[Step]) -> Waits:
    asked = [s.id for s in steps if s.phase is Phase.PREPARE and not s.optional]
    turned = [s.id for s in steps if s.phase is Phase.SHIFT and not s.optional]
    others: Mapping[Phase, Sequence[StepId]] = {Phase.SHIFT: asked, Phase.VERIFY: turned}
    return {s.id: frozenset((*s.needs, *others.get(s.phase, ()))) for s in steps}


def closure(waits: Waits) -> Waits:
    """Return what each step waits for, directly or not."""
    found: dict[StepId, frozenset[StepId]] = {}

    def of(step: StepId) -> frozenset[StepId]:
        if step not in found:
            found[step] = waits[step].union(*map(of, waits[step]))
        return found[step]

    return {step: of(step) for step in waits}


def check_waits(plan: Plan, estate: Estate) -> None:
    """Hold a plan's needs and barriers against the definition: who waits for whom, directly and in effect."""
    by_barriers = {s.id: frozenset(waits_of(s, plan.steps)) for s in plan.steps}
    by_lists = waits_by_definition(plan, estate)
    assert closure(by_barriers) == closure(by_lists)
    assert by_barriers == by_lists
    may_fail = {b for s in plan.steps if s.optional for b in s.before}
    assert all(may_fail.isdisjoint(s.behind) for s in plan.steps if s.optional), "nothing that may fail, behind such"
