"""Rebuilding: the steps by which a member becomes a standby again, and who stands by then.

What this is not: the plan of a region's return (`rejoining`), or of the move whose old primary is rebuilt (`planning`).
"""

from __future__ import annotations

from evac.core.estate import Component, RegionId
from evac.core.observation import Json
from evac.core.plan import Phase, Step, StepId, Term, Verb
from evac.core.protection import set_of
from evac.core.steps import Situation, step_of


def rebuild(
    component: Component,
    region: RegionId,
    primary: RegionId,
    situation: Situation,
    needs: tuple[StepId, ...],
    *,
    term: Term,
) -> list[Step]:
    """Rejoin, then let the primary wait for the wider set."""
    rejoin = step_of(
        component, region, Verb.REJOIN, Phase.RESTORE, term=term, needs=needs, args={"primary": primary}, undoable=False
    )
    standbys = standbys_then(component, situation, primary, with_region=region)
    sync = set_of(component, standbys)
    if sync is None:
        return [rejoin]
    args: dict[str, Json] = {"acks": sync.acks, "standbys": list(sync.standbys)}
    protect = step_of(component, primary, Verb.PROTECT, Phase.RESTORE, term=term, needs=(rejoin.id,), args=args)
    return [rejoin, protect]


def standbys_then(
    component: Component, situation: Situation, primary: RegionId, *, with_region: RegionId
) -> list[RegionId]:
    """Who will stand by once a region has rejoined, in the order the members are declared: those that do, and those
    that are waited for now, who may just not have been seen; who streams late comes into the set by itself.
    """
    placement = situation.placement
    away = set(placement.awaiting_rejoin) - {with_region}
    waited = {r for sync in placement.sync.get(component.id, ()) for r in sync.standbys}
    streaming = {r for r in situation.standbys(component) if _streams(situation, component, r)}
    known = {with_region, *waited, *streaming}
    return [r for r in component.members if r != primary and r in known and r not in away]


def _streams(situation: Situation, component: Component, region: RegionId) -> bool:
    """Whether a standby said when it was last asked that it streams from the primary."""
    state = situation.members[component.id, region].state
    assert state is not None, "a standby has said so itself"
    return state.streaming and state.upstream in (None, situation.placement.primary)
