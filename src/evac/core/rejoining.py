"""Rejoining: the plan by which a region that has returned becomes a standby again.

What this is not: when that is wanted (`upkeep`), or how one member is rebuilt (`rebuilding`).
"""

from __future__ import annotations

from dataclasses import replace

from evac.core.decision import Move, Rejoin
from evac.core.estate import Component, Purpose
from evac.core.fencing import is_standby
from evac.core.observation import Json
from evac.core.plan import Phase, Placement, Plan, RunKind, Step, Term, Verb, in_order
from evac.core.planning import shifts_of, switch_chain
from evac.core.protection import set_of
from evac.core.rebuilding import rebuild, standbys_then
from evac.core.steps import Situation, step_of


def plan_rejoin(rejoin: Rejoin, situation: Situation, *, term: Term) -> Plan:
    """Return the plan that makes a returned region a standby again: traffic off and stop at once, rebuild, protect.

    A component that the failover had to leave behind (it could not be fenced, and was merely wanted) is still primary
    there: now that its agent answers, it is switched over first. One that merely missed a move was no primary, so there
    is nothing to stop; of routers that missed it nothing is rebuilt.
    """
    placement = situation.placement
    assert term >= placement.term, "a term never falls"
    steps: list[Step] = []
    shift = Move(
        group=rejoin.group, kind=RunKind.REJOIN, source=rejoin.region, target=placement.primary, reasons=rejoin.reasons
    )
    shifts, _ = shifts_of(shift, situation, term=term, only=rejoin.region)
    # Never undone: traffic must not go back to a region that is being rebuilt. Of a router that missed a move it is the
    # whole of the run.
    steps += [replace(s, undoable=False, optional=s.action.component not in rejoin.missed) for s in shifts]
    for component in situation.estate.group_components(rejoin.group, Purpose.STATE):
        if rejoin.region not in component.members or (rejoin.missed and component.id not in rejoin.missed):
            continue
        if rejoin.missed:
            fence: tuple[Step, ...] = ()
        elif is_standby(situation.members, component.id, placement.primary):
            fence = _switched(component, shift, situation, term=term)
        else:
            kill: dict[str, Json] = {"mode": "kill"}
            fence = (step_of(component, rejoin.region, Verb.STOP, Phase.FENCE, term=term, args=kill, undoable=False),)
        steps += fence
        needs = tuple(s.id for s in fence if s.pivot or len(fence) == 1)
        steps += rebuild(component, rejoin.region, placement.primary, situation, needs, term=term)
    return Plan(
        kind=RunKind.REJOIN,
        group=rejoin.group,
        source=rejoin.region,
        target=placement.primary,
        term=term,
        steps=in_order(steps),
        before=placement,
        after=_after_rejoin(rejoin, situation, term=term),
    )


def _switched(component: Component, move: Move, situation: Situation, *, term: Term) -> tuple[Step, ...]:
    """Switch over what was left behind. The failover that left it may have had its standby refuse it: until that
    follows it once more there is nothing to prepare.
    """
    follow = step_of(
        component, move.target, Verb.FOLLOW, Phase.PREPARE, term=term, args={"primary": move.source}, retries=3
    )
    first, *rest = switch_chain(component, move, situation, term=term)
    return (follow, replace(first, needs=(*first.needs, follow.id)), *rest)


def _after_rejoin(rejoin: Rejoin, situation: Situation, *, term: Term) -> Placement:
    placement, region = situation.placement, rejoin.region
    sync = dict(placement.sync)
    for component in situation.estate.group_components(placement.group, Purpose.STATE):
        standbys = standbys_then(component, situation, placement.primary, with_region=region)
        concerned = not rejoin.missed or component.id in rejoin.missed
        if concerned and (waits := set_of(component, standbys)):
            sync[component.id] = (waits,)
    waiting = tuple(r for r in placement.awaiting_rejoin if r != region)
    return replace(placement, term=term, sync=sync, awaiting_rejoin=waiting)
