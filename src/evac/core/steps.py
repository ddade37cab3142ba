"""Steps: what every plan is made of, and what it is made from.

What this is not: which steps a plan has (`planning`, `rejoining`, `shifting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from evac.core.assessment import answers
from evac.core.estate import Component, Estate, RegionId
from evac.core.fencing import is_standby
from evac.core.observation import Json
from evac.core.plan import Action, Phase, Placement, Step, StepId, Term, Verb
from evac.core.targets import Members
from evac.core.verdict import Assessment

LIMITS: Mapping[Verb, timedelta] = {
    Verb.PREPARE: timedelta(seconds=30),
    Verb.STOP: timedelta(seconds=20),
    Verb.REFUSE: timedelta(seconds=15),
    Verb.SWITCH_OFF: timedelta(minutes=2),
    Verb.EXPIRE: timedelta(seconds=15),
    Verb.CATCH_UP: timedelta(seconds=30),
    Verb.PROMOTE: timedelta(seconds=30),
    Verb.FOLLOW: timedelta(seconds=60),
    Verb.PROTECT: timedelta(seconds=15),
    Verb.SHIFT: timedelta(seconds=10),
    Verb.VERIFY: timedelta(seconds=15),
    Verb.REJOIN: timedelta(hours=4),
}
"""How long one try of each verb may take, beyond the wait for a lease. Rejoining may copy a whole database."""

FOLLOW_PATIENCE = timedelta(seconds=5)
"""How long a try of turning a standby goes on while that is not there, if the new primary will wait for it: writes wait
anyway until it is back, and a run that gave up at once would need a person for a database that restarts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a plan is made from."""

    estate: Estate
    assessment: Assessment
    members: Members
    placement: Placement

    def reachable(self, region: RegionId) -> bool:
        """Return whether the region's agent can be given orders now."""
        return answers(self.assessment, region, estate=self.estate)

    def standbys(self, component: Component, *not_these: RegionId) -> list[RegionId]:
        """Return the regions whose standby of a component can be given orders, in the order of its members."""
        return [
            r
            for r in component.members
            if r not in not_these and is_standby(self.members, component.id, r) and self.reachable(r)
        ]


def step_of(
    component: Component,
    region: RegionId,
    verb: Verb,
    phase: Phase,
    *,
    term: Term,
    needs: tuple[StepId, ...] = (),
    args: Mapping[str, Json] | None = None,
    retries: int = 1,
    undoable: bool = True,
    pivot: bool = False,
    optional: bool = False,
) -> Step:
    """Return the step that does a verb to a component's member in a region, within the verb's limit."""
    return Step(
        id=StepId(f"{verb}:{component.id}@{region}"),
        action=Action(component=component.id, region=region, verb=verb, term=term, args=args or {}),
        phase=phase,
        needs=needs,
        timeout=LIMITS[verb],
        undo_timeout=_undo_limit(component, verb),
        retries=retries,
        undoable=undoable,
        pivot=pivot,
        optional=optional,
    )


def patience(step: Step) -> timedelta:
    """Return how long one try of a step goes on at a member that cannot be reached."""
    return FOLLOW_PATIENCE if step.action.verb is Verb.FOLLOW and not step.optional else timedelta()


def _undo_limit(component: Component, verb: Verb) -> timedelta | None:
    """What had to lay a lease down to stop takes it back, and waits for it in full, before it starts again (ADR 20)."""
    held = component.held
    return LIMITS[verb] + held.timing.wait if verb is Verb.STOP and held is not None else None
