"""The plan of a shift of traffic: clients come in by another region's door, or by the primary's own again.

Intuition: every router is asked first, and the new door is tried as a client would; then all names are turned, by
compare-and-set on the term, and the door is tried again. Every step can be undone, and nothing that holds state is
touched: the run carries the group's next term only so that no router can obey an older plan afterwards.

What this is not: whether and where to (`traffic`, `deciding`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evac.core.barriers import standing
from evac.core.errors import UnsafePlan
from evac.core.estate import Component, Directs, Estate, RegionId
from evac.core.observation import Json
from evac.core.plan import Action, Barrier, Phase, Placement, Plan, RunKind, Step, StepId, Term, Verb, in_order
from evac.core.steps import LIMITS, Situation
from evac.core.traffic import Shift, carriers, choose_door, obstacle, routers
from evac.core.verdict import Diagnosis


def plan_shift(shift: Shift, situation: Situation, *, term: Term) -> Plan:
    """Return the plan that sends a group's clients in by another door. Raises `UnsafePlan`."""
    placement = situation.placement
    assert term > placement.term, "a shift raises the term"
    reason = obstacle(situation.estate, situation.assessment, placement, situation.members, shift.target)
    if reason:
        raise UnsafePlan((f"{shift.target} {reason}",))
    turns, notes = _turns(shift, situation, term=term)
    tries = _tries(shift, situation, term=term)
    if not tries:
        notes.append(f"nothing tries {shift.target}'s door as a client does: evac's client probes alone watch it")
    asked = [*map(_asked_first, turns), *map(_asked_first, tries)]
    own = {(s.action.component, s.action.region): (s.id,) for s in asked}
    turns = [replace(s, needs=own[s.action.component, s.action.region], behind=(Barrier.PREPARED,)) for s in turns]
    steps = (
        *(standing(s, before=None if s.optional else Barrier.PREPARED) for s in asked),
        *(standing(s, before=None if s.optional else Barrier.TURNED) for s in turns),
        *(standing(s, behind=Barrier.TURNED) for s in tries),
    )
    return Plan(
        kind=RunKind.SHIFT,
        group=shift.group,
        source=shift.source,
        target=shift.target,
        term=term,
        steps=in_order(steps),
        before=placement,
        after=replace(placement, term=term, entry=None if shift.target == placement.primary else shift.target),
        notes=tuple(notes),
    )


def wished_shift(situation: Situation, *, to: RegionId | None, by: str, reasons: tuple[str, ...]) -> Shift:
    """Return the shift a person asks for: to the door named, or to the nearest other one. Raises `UnsafePlan`."""
    placement = situation.placement
    if to == placement.door:
        raise UnsafePlan((f"clients of {placement.group} enter by {to} already",))
    doors = choose_door(situation.estate, situation.assessment, placement, situation.members, wanted=to)
    if doors.target is None:
        raise UnsafePlan((f"traffic alone cannot be shifted: {doors.why}",))
    if doors.target == placement.door:
        raise UnsafePlan((f"clients of {placement.group} enter by {placement.door}, and no nearer door is open",))
    return Shift(
        group=placement.group,
        source=placement.door,
        target=doors.target,
        reasons=reasons,
        rejected=doors.rejected,
        evidence=situation.assessment.verdicts[placement.door].evidence,
        symptom_at=situation.assessment.at,
        decided_by=by,
    )


def comes_home_alone(estate: Estate, placement: Placement) -> bool:
    """Return whether a group's traffic is away from home, and nothing else of it: a failback is a shift then."""
    return placement.entry is not None and placement.primary == estate.home[placement.group]


def _turns(shift: Shift, situation: Situation, *, term: Term) -> tuple[list[Step], list[str]]:
    """Every router that chooses the door sends clients to the new one; those of regions that ail are merely wanted."""
    verdicts = situation.assessment.verdicts
    may_fail = {r for r, v in verdicts.items() if v.diagnosis is not Diagnosis.WELL and r != shift.target}
    turns: list[Step] = []
    notes: list[str] = []
    for router in routers(situation.estate, shift.group, Directs.ENTRY):
        served = situation.estate.services[router.service].regions
        weights: dict[str, Json] = {r: 100 if r == shift.target else 0 for r in served}
        mine = [
            _step(router, region, Verb.SHIFT, term=term, args={"weights": weights}, optional=region in may_fail)
            for region in router.members
            if situation.reachable(region)
        ]
        notes += [
            f"{router.id} in {region} cannot be reached: whoever asks it still enters by {shift.source}"
            for region in router.members
            if not situation.reachable(region)
        ]
        if not mine:
            raise UnsafePlan((f"{router.id} cannot be reached in any region",))
        turns += mine if not all(s.optional for s in mine) else [replace(s, optional=False) for s in mine]
    return turns, notes


def _tries(shift: Shift, situation: Situation, *, term: Term) -> list[Step]:
    """A client's request at the new door, which must be served by the primary's region."""
    primary = situation.placement.primary
    return [
        _step(router, shift.target, Verb.VERIFY, term=term, args={"serves": primary})
        for router in carriers(situation.estate, shift.group, shift.target)
        if router.verifiable
    ]


def _asked_first(step: Step) -> Step:
    """The step that asks a router, before anything is changed, whether the later one would be done."""
    return replace(
        step,
        id=StepId(f"{Verb.PREPARE}:{step.action.component}@{step.action.region}"),
        action=replace(step.action, verb=Verb.PREPARE),
        phase=Phase.PREPARE,
        timeout=LIMITS[Verb.SHIFT],
        undoable=False,
    )


def _step(
    router: Component,
    region: RegionId,
    verb: Verb,
    *,
    term: Term,
    args: Mapping[str, Json],
    optional: bool = False,
) -> Step:
    """One try and one more: while this run is under way nothing else is done for its group."""
    return Step(
        id=StepId(f"{verb}:{router.id}@{region}"),
        action=Action(component=router.id, region=region, verb=verb, term=term, args=args),
        phase=Phase.SHIFT if verb is Verb.SHIFT else Phase.VERIFY,
        timeout=LIMITS[verb],
        optional=optional,
    )
