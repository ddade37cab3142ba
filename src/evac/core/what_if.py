"""If a region died now: what evac would decide, how it would go, what it would cost, and what stands in the way.

Intuition: let it die in thought. From what is seen now, every answer from that region and of it turns into a failure,
everything else goes on as it is, for as long as it takes to be sure; and what then is seen is judged, decided on and
planned by the very functions that would do so in earnest. So whatever would hold evac back then (a pause, a hold-down,
a primary that nobody can fence, nobody to go to) shows now, while there is time to mend it.

What this is not: a promise. What else fails together with the region is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin, View
from evac.core.detector import Again, Cell, Detector, fold, go_on
from evac.core.errors import UnsafePlan
from evac.core.estate import GroupId, RegionId, ServiceId
from evac.core.objectives import Durations, Forecast, Loss, detection_bound, forecast, losses_now
from evac.core.observation import Heartbeat, Instant, MemberSeen
from evac.core.plan import Plan, RunKind
from evac.core.protection import Protect
from evac.core.sights import Line, Sights
from evac.core.steps import Situation
from evac.core.targets import choose
from evac.core.traffic import Shift

SILENT = "lost, in thought"
AT_ONCE = 10_000
"""How many observations in thought there are at one moment, of the millions that a large estate makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What the loss of a region would come to for one group. `serves` says whether the group's primaries are there.

    `plan` and `forecast` are those of the move that would be made, with or without a person's approval. Where evac
    would not move the primaries by itself `blocks` says why, and they are those of a failover by a person's hand; none
    where nothing can be planned. `losses` is what would be lost of each component, whatever is done.
    """

    region: RegionId
    group: GroupId
    serves: bool
    decision: Decision
    plan: Plan | None = None
    forecast: Forecast | None = None
    blocks: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def stays(self) -> bool:
        """Return whether primaries would be left in the lost region until a person acts."""
        return self.serves and (self.plan is None or isinstance(self.decision, Hold | CallPerson))


Planner: TypeAlias = Callable[[Move | Shift, Situation], Plan]
"""Returns the plan of a move, or raises `UnsafePlan`."""


def what_if(
    region: RegionId,
    *,
    detector: Detector,
    view: View,
    now: Instant,
    durations: Durations,
    planner: Planner,
) -> Iterator[WhatIf | None]:
    """Say what would come of a region's loss for each group that has somebody there; `view` is what evac sees.

    One after the other: in a large estate, all plans there would be are more than anybody wants to hold at once. And it
    takes seconds there, so now and then a None is given: whoever thinks may see to something else.
    """
    later = _be_sure_at(detector, now)
    then = yield from _in_thought(region, detector, view, now=now, until=later)
    here = {view.estate.services[c.service].group for c in view.estate.components.values() if region in c.members}
    for decision in decide(then, now=later):
        if decision.group in here:
            yield _consequence(region, decision, view=view, then=then, planner=planner, durations=durations)


def _be_sure_at(detector: Detector, now: Instant) -> Instant:
    """When at the latest it would be certain; a round later, so that a dwell which ends there has ended."""
    return now + detection_bound(detector.policy) + detector.policy.interval


def _as_now(cell: Cell) -> Again:
    """What is found of a target that goes on as it is."""
    return Again(ok=bool(cell.up), took=cell.took, reason=cell.reason, answered=cell.answered > 0)


def _in_thought(
    region: RegionId, detector: Detector, view: View, *, now: Instant, until: Instant
) -> Generator[None, None, View]:
    """What would be known when it is certain, after as many rounds of looks as make it so.

    What was looked at is judged before the members are heard, and forgotten: each is as much as all that evac knows.
    """
    policy = detector.policy
    rounds = max(policy.failures, math.ceil(2 * (until - now) / policy.heartbeat_stale))
    moments = tuple(now + (until - now) * n / rounds for n in range(1, rounds + 1))

    def finding(line: Line, cell: Cell) -> Again | None:
        if line.vantage == region:
            return None
        if line.region == region:
            return Again(ok=False, took=timedelta(), reason=SILENT)
        return None if cell.up is None else _as_now(cell)

    there = fold(detector, *_beats(region, detector, now=now, moments=moments))
    lines: dict[Line, Mapping[ServiceId, Cell]] = {}
    for line, known in detector.cells.lines().items():
        lines[line] = go_on(line, known, finding=finding, at=moments, policy=policy)
        yield
    assessment = assess(replace(there, cells=Sights(lines)), now=until, estate=view.estate)
    del lines
    told = (_after(region, seen, at=until) for seen in detector.members.values())
    while batch := tuple(islice(told, AT_ONCE)):
        yield
        there = fold(there, *batch)
    yield
    return replace(
        view,
        assessment=assessment,
        members=there.members,
        streams=there.streams,
        heard_since=there.fresh_since,
        triggers={},  # what they would read then is not known
    )


def _beats(region: RegionId, detector: Detector, *, now: Instant, moments: Sequence[Instant]) -> Iterator[Heartbeat]:
    """What would be heard from now on of the agents that are heard now, but for the region's own."""
    for at in moments:
        for other in detector.heartbeats.keys() - {region}:
            if now - detector.heartbeats[other] <= detector.policy.heartbeat_stale:
                yield Heartbeat(at=at, region=other)


def _after(region: RegionId, seen: MemberSeen, *, at: Instant) -> MemberSeen:
    """What a member would say then: nothing, if it is in the region; else as now, its stream from there cut."""
    if seen.region == region:
        return replace(seen, at=at, state=None, reason=SILENT)
    if seen.state is not None and seen.state.upstream == region:
        return replace(seen, at=at, state=replace(seen.state, streaming=False))
    return replace(seen, at=at)


def _consequence(
    region: RegionId, decision: Decision, *, view: View, then: View, planner: Planner, durations: Durations
) -> WhatIf:
    serves = view.placements[decision.group].primary == region
    found = WhatIf(
        region=region,
        group=decision.group,
        serves=serves,
        decision=decision,
        losses=_losses(view, decision.group) if serves else (),
    )
    match decision:
        case Move() | Shift():
            move: Move | Shift | None = decision
        case Ask():
            move = decision.move
        case CallPerson():
            found, move = replace(found, blocks=decision.reasons), _by_hand(then, decision.group) if serves else None
        case Hold() | Rejoin() | Protect():  # pragma: no branch (the union is closed)
            if not serves:
                return found
            found, move = replace(found, blocks=decision.reasons), _by_hand(then, decision.group)
    return _planned(found, move, view=view, then=then, planner=planner, durations=durations) if move else found


def _by_hand(then: View, group: GroupId) -> Move | None:
    """The failover that a person could ask for then; None where there is nobody to move to."""
    placement = then.placements[group]
    choice = choose(then.estate, then.assessment, placement, then.members)
    if choice.target is None:
        return None
    return Move(
        group=group,
        kind=RunKind.FAILOVER,
        source=placement.primary,
        target=choice.target,
        reasons=("by a person's hand",),
        rejected=choice.rejected,
    )


def _planned(
    found: WhatIf, move: Move | Shift, *, view: View, then: View, planner: Planner, durations: Durations
) -> WhatIf:
    """The same with the plan as it would be made then, and its forecast by what is known now."""
    placement = then.placements[move.group]
    situation = Situation(estate=then.estate, assessment=then.assessment, members=then.members, placement=placement)
    try:
        plan = planner(move, situation)
    except UnsafePlan as refusal:
        return replace(found, blocks=found.blocks or refusal.reasons)
    said = forecast(plan, estate=view.estate, assessment=view.assessment, members=view.members, durations=durations)
    return replace(found, plan=plan, forecast=said)


def _losses(view: View, group: GroupId) -> tuple[Loss, ...]:
    return losses_now(view.placements[group], estate=view.estate, assessment=view.assessment, members=view.members)
