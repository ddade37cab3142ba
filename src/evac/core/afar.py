"""Fences from afar: what proves that a silent primary has ended, with neither its region nor its standbys asked.

Intuition: a device switches its host off and says so, or its lease runs out and its watchdog has killed it. Each is
waited for by the agent of the target, and each leaves something uncovered, which the plan says.

What this is not: whether there is one (`fencing.from_afar`), or the waiting (`engine.switching`, `engine.holding`).
"""

from __future__ import annotations

from dataclasses import replace

from evac.core.estate import Component, RegionId
from evac.core.observation import Json
from evac.core.plan import Phase, Step, Term, Verb
from evac.core.steps import step_of
from evac.core.timing import LeaseTiming


def fence_from_afar(component: Component, verb: Verb, *, old: RegionId, target: RegionId, term: Term) -> Step:
    """Return the step by which `target` has the old primary switched off, or waits for the end of its lease."""
    args: dict[str, Json] = {"old": old}
    step = step_of(component, target, verb, Phase.FENCE, term=term, args=args, retries=3, undoable=False)
    return replace(step, timeout=step.timeout + _lease(component).wait) if verb is Verb.EXPIRE else step


def uncovered(component: Component, fence: Step) -> str:
    """Return what a fence from afar proves nothing of: a person who reads the plan may know better."""
    old = fence.action.args["old"]
    if fence.action.verb is Verb.SWITCH_OFF:
        return (
            f"{component.id}: promoted when a device says that its host in {old} is off; not covered: whoever switches"
            " that on again before evac has rebuilt it, if the server starts by itself"
        )
    timing = _lease(component)
    return (
        f"{component.id}: promoted {timing.wait.total_seconds():g} s after {old}'s last renewal of its lease; not"
        f" covered: a machine paused for more than {timing.freeze.total_seconds():g} s, or a watchdog that died with"
        " its agent"
    )


def _lease(component: Component) -> LeaseTiming:
    assert component.held is not None, "what has no lease is refused"
    return component.held.timing
