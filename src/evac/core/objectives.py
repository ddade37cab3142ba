"""RTO and RPO of this very moment: how long it would take, and what would be lost, if the region died now.

Intuition: the time to recover is the time to be sure plus the longest chain of steps before clients are served again,
each as long as it has lately been; what would be lost is what no standby holds. Both come with where they stem from:
a figure that rests on nothing measured says so.

What this is not: what was achieved in a run (the report), or a promise (`estate.Objectives`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from statistics import median, quantiles
from typing import TypeAlias

from evac.core.estate import Component, ComponentId, Estate, Purpose, ReplicationMode
from evac.core.fencing import unstarvable
from evac.core.observation import MemberRole, MemberState
from evac.core.plan import Barrier, Phase, Placement, Plan, Step, StepId, Verb
from evac.core.policy import Detection
from evac.core.protection import synchronous
from evac.core.targets import Members
from evac.core.verdict import Assessment

Durations: TypeAlias = Mapping[tuple[str, Verb], Sequence[timedelta]]
"""How long a driver's verb lately took, newest last."""

SAMPLES_MIN = 3
"""Fewer recorded durations than this are not trusted more than what is shipped."""
SHIPPED: Mapping[Verb, tuple[timedelta, timedelta]] = {
    Verb.PREPARE: (timedelta(seconds=0.3), timedelta(seconds=2)),
    Verb.STOP: (timedelta(seconds=0.3), timedelta(seconds=2)),
    Verb.REFUSE: (timedelta(seconds=0.2), timedelta(seconds=1)),
    Verb.SWITCH_OFF: (timedelta(seconds=3), timedelta(seconds=15)),
    Verb.EXPIRE: (timedelta(seconds=5), timedelta(seconds=10)),
    Verb.CATCH_UP: (timedelta(seconds=0.1), timedelta(seconds=1)),
    Verb.PROMOTE: (timedelta(seconds=0.4), timedelta(seconds=2)),
    Verb.FOLLOW: (timedelta(seconds=0.6), timedelta(seconds=3)),
    Verb.PROTECT: (timedelta(seconds=0.2), timedelta(seconds=1)),
    Verb.SHIFT: (timedelta(seconds=0.2), timedelta(seconds=1)),
    Verb.VERIFY: (timedelta(seconds=0.3), timedelta(seconds=1)),
    Verb.REJOIN: (timedelta(seconds=10), timedelta(minutes=10)),
}
"""Median and 95th percentile of each verb before anything was recorded."""
SERVING = frozenset({Phase.PREPARE, Phase.FENCE, Phase.PROMOTE, Phase.SHIFT})
"""The phases that clients wait for; the proof and the rebuilding come after."""
SEEN_WITHIN = timedelta(seconds=10)
"""What a member said longer ago than this says nothing of what would be lost now."""
DECIDE = timedelta(milliseconds=100)
"""Longest time until the controller looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A part of a failover and how long it may take. `phases` are the plan's phases booked on it."""

    name: str
    limit: timedelta
    phases: frozenset[Phase] = frozenset()


BUDGETS: tuple[Budget, ...] = (
    Budget(name="detect", limit=timedelta(seconds=30)),
    Budget(name="decide", limit=timedelta(seconds=60)),
    Budget(name="restart", limit=timedelta(minutes=2), phases=frozenset({Phase.PREPARE, Phase.FENCE, Phase.PROMOTE})),
    Budget(name="dns", limit=timedelta(minutes=2), phases=frozenset({Phase.SHIFT})),
    Budget(name="total", limit=timedelta(minutes=5), phases=SERVING),
)
"""What a failover may take, part by part. Requirement A5: the parts are limits each, not a sum."""


class RpoBasis(StrEnum):
    """Where a forecast of loss comes from."""

    QUORUM = "quorum"
    LAG = "lag"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What of one component would be lost. `time` and `size` (bytes) are None where that is not known."""

    component: ComponentId
    basis: RpoBasis
    time: timedelta | None
    size: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan would take and lose if it ran now. `rpo` is the worst component's; None: not known."""

    rto: timedelta
    rto_p95: timedelta
    critical_path: tuple[StepId, ...]
    rpo: timedelta | None
    rpo_basis: tuple[Loss, ...]


def forecast(plan: Plan, *, estate: Estate, assessment: Assessment, members: Members, durations: Durations) -> Forecast:
    """Return the forecast of a plan from what is known at the assessment's moment."""
    usual = {s.id: _usual(s, estate, durations) for s in plan.steps}
    path, middle = _longest(plan, {i: m for i, (m, _) in usual.items()})
    _, high = _longest(plan, {i: p for i, (_, p) in usual.items()})
    sure = detection_bound(estate.detection)
    losses = losses_now(plan.before, estate=estate, assessment=assessment, members=members)
    times = [loss.time for loss in losses]
    known = [t for t in times if t is not None]
    return Forecast(
        rto=sure + middle,
        rto_p95=sure + high,
        critical_path=path,
        rpo=max(known, default=timedelta()) if len(known) == len(times) else None,
        rpo_basis=losses,
    )


def detection_bound(policy: Detection) -> timedelta:
    """Return the longest time from a region's death to the decision: N·I + τ, then to tell it, the dwell and one look.

    What is dead refuses or is silent: of a question asked at most I after the death the N-th miss comes τ + (N - 1)·I
    later (`engine.asking`). It is told within another I, as its agent's own silence is heard within that. (What still
    answers each question, but slowly and wrong, is not dead, and may take up to τ for each of the N.)
    """
    down = policy.failures * policy.interval + policy.timeout
    return max(down, policy.heartbeat_stale) + policy.interval + policy.dwell + DECIDE


def _usual(step: Step, estate: Estate, durations: Durations) -> tuple[timedelta, timedelta]:
    """Median and 95th percentile of a step."""
    driver = estate.components[step.action.component].driver
    seen = [d.total_seconds() for d in durations.get((driver, step.action.verb), ())]
    if len(seen) < SAMPLES_MIN:
        return SHIPPED[step.action.verb]
    high = quantiles(seen, n=20, method="inclusive")[-1]
    return timedelta(seconds=median(seen)), timedelta(seconds=high)


def _longest(plan: Plan, took: Mapping[StepId, timedelta]) -> tuple[tuple[StepId, ...], timedelta]:
    """The chain of steps that clients wait for longest, and its length. A plan's steps are in order."""
    best: dict[StepId | Barrier, tuple[timedelta, tuple[StepId, ...]]] = {}
    for step in plan.steps:
        waits: tuple[StepId | Barrier, ...] = (*step.needs, *step.behind)
        before = max((best[n] for n in waits if n in best), default=(timedelta(), ()))
        if step.phase in SERVING and not (step.optional or step.goes_last):
            mine = best[step.id] = (before[0] + took[step.id], (*before[1], step.id))
            best.update((b, max(mine, best.get(b, mine))) for b in step.before)
    length, path = max(best.values(), default=(timedelta(), ()))
    return path, length


def losses_now(placement: Placement, *, estate: Estate, assessment: Assessment, members: Members) -> tuple[Loss, ...]:
    """Return what of each state component would be lost if its primary's region died at the assessment's moment."""
    return tuple(
        _loss(component, placement, estate, assessment, members)
        for component in estate.group_components(placement.group, Purpose.STATE)
    )


def _loss(component: Component, placement: Placement, estate: Estate, assessment: Assessment, members: Members) -> Loss:
    assert component.replication is not None, "state components are replicated, which loading checks"
    if component.replication.mode is ReplicationMode.SYNC and not _waits_for_nobody(component, placement, members):
        if why := unstarvable(component, estate, assessment, placement, members):
            return Loss(component=component.id, basis=RpoBasis.UNKNOWN, time=None, size=None, why=why)
        held = "every acknowledged write is held by a standby that would refuse the old primary"
        return Loss(component=component.id, basis=RpoBasis.QUORUM, time=timedelta(), size=0, why=held)
    standbys = _standbys(component, placement, assessment, members)
    lags = [s.lag for s in standbys if s.lag is not None]
    size = _behind(component, placement, members, standbys)
    promise = "it acknowledges alone, the promise to lose nothing is off; " if synchronous(component) else ""
    if not lags:
        why = f"{promise}no standby says how far behind it is"
        return Loss(component=component.id, basis=RpoBasis.UNKNOWN, time=None, size=size, why=why)
    if any(s.streaming for s in standbys):
        why = f"{promise}lag of the closest standby"
    else:
        why = f"{promise}no standby streams: this grows until one does"
    return Loss(component=component.id, basis=RpoBasis.LAG, time=min(lags), size=size, why=why)


def _waits_for_nobody(component: Component, placement: Placement, members: Members) -> bool:
    """Whether the primary itself says that it acknowledges alone, whatever was declared."""
    seen = members.get((component.id, placement.primary))
    return seen is not None and seen.state is not None and not seen.state.sync_acks


def _standbys(
    component: Component, placement: Placement, assessment: Assessment, members: Members
) -> list[MemberState]:
    """What the standbys said of themselves lately."""
    return [
        seen.state
        for region in component.members
        if region != placement.primary
        and (seen := members.get((component.id, region))) is not None
        and seen.state is not None
        and seen.state.role is MemberRole.STANDBY
        and assessment.at - seen.at <= SEEN_WITHIN
    ]


def _behind(
    component: Component, placement: Placement, members: Members, standbys: Sequence[MemberState]
) -> int | None:
    """By how many bytes the closest standby is behind; what it says itself, or the difference of the positions."""
    seen = members.get((component.id, placement.primary))
    written = seen.state.position if seen is not None and seen.state is not None else None
    sizes = [size for s in standbys if (size := _size(s, written)) is not None]
    return min(sizes, default=None)


def _size(standby: MemberState, written: int | None) -> int | None:
    if standby.lag_bytes is not None or standby.position is None or written is None:
        return standby.lag_bytes
    return max(0, written - standby.position)
