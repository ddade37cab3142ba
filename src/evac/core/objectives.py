"""What a loss of the primary's region would cost at this very moment: the recovery time, and the data.

Intuition: time to recover is time to be sure, plus the longest chain of steps until clients are served again. How
long each step takes is known from those that ran before; until some have, from what was measured in the lab. What
would be lost is read from the replication as it stands.

What this is not: what a run achieved; that is measured from its journal (`evac.report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from evac.core.estate import Component, Detection, Estate, Purpose, ReplicationMode
from evac.core.observation import MemberRole
from evac.core.plan import Phase, Placement, Plan, Step, StepId, Verb, in_order
from evac.core.targets import Members

SHIPPED: Mapping[Verb, timedelta] = {
    Verb.PREPARE: timedelta(milliseconds=400),
    Verb.STOP: timedelta(milliseconds=400),
    Verb.REFUSE: timedelta(milliseconds=400),
    Verb.CATCH_UP: timedelta(milliseconds=200),
    Verb.PROMOTE: timedelta(milliseconds=500),
    Verb.FOLLOW: timedelta(milliseconds=900),
    Verb.PROTECT: timedelta(milliseconds=300),
    Verb.SHIFT: timedelta(milliseconds=300),
    Verb.VERIFY: timedelta(milliseconds=500),
    Verb.REJOIN: timedelta(seconds=10),
}
"""What a step takes until this estate's own runs say better: medians of the lab's runs, rounded up."""
TAIL = 1.5
"""How much longer than the median the shipped figures say a bad run takes."""
PHASE_BUDGET: Mapping[str, timedelta] = {
    "detect": timedelta(seconds=30),
    "decide": timedelta(seconds=60),
    "dns": timedelta(minutes=2),
    "restart": timedelta(minutes=2),
    "total": timedelta(minutes=5),
}
"""The failover budget: how long each phase of a recovery may take at most."""
SERVING = frozenset({Phase.FENCE, Phase.PREPARE, Phase.PROMOTE, Phase.SHIFT})
"""The phases that clients wait for; what comes after proves or restores."""

Durations = Mapping[tuple[str, Verb], Sequence[timedelta]]
"""How long steps took, by driver and verb, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What to expect. `rpo` is None where nothing bounds it; `rpo_basis` says in words what it rests on."""

    rto: timedelta
    rto_p95: timedelta
    critical_path: tuple[StepId, ...]
    rpo: timedelta | None
    rpo_bytes: int | None
    rpo_basis: str


def detection_bound(detection: Detection) -> timedelta:
    """Return the longest time from a loss to its verdict: T = N * I + timeout + publishing + dwell."""
    rows = detection.failures * detection.interval + detection.timeout
    return max(rows, detection.heartbeat_stale) + detection.interval + detection.dwell


def forecast(plan: Plan, estate: Estate, *, members: Members, durations: Durations) -> Forecast:
    """Return what a plan leads to: when clients are served again, and what is lost until then."""
    sure = detection_bound(estate.detection)
    typical, path = _longest(plan, estate, durations, share=0.5)
    bad, _ = _longest(plan, estate, durations, share=0.95)
    rpo, lost_bytes, basis = exposure(estate, plan.before, members)
    return Forecast(
        rto=sure + typical,
        rto_p95=sure + bad,
        critical_path=path,
        rpo=rpo,
        rpo_bytes=lost_bytes,
        rpo_basis=basis,
    )


def _longest(plan: Plan, estate: Estate, durations: Durations, *, share: float) -> tuple[timedelta, tuple[StepId, ...]]:
    """The longest chain of the steps that clients wait for, each taking as long as that share of its runs did."""
    ends: dict[StepId, tuple[timedelta, tuple[StepId, ...]]] = {}
    for step in in_order(plan.steps):
        before = max((ends[n] for n in step.needs if n in ends), default=(timedelta(), ()))
        took = _takes(step, estate, durations, share=share)
        ends[step.id] = (before[0] + took, (*before[1], step.id))
    serving = [ends[s.id] for s in plan.steps if s.phase in SERVING and not s.optional]
    return max(serving, default=(timedelta(), ()))


def _takes(step: Step, estate: Estate, durations: Durations, *, share: float) -> timedelta:
    driver = estate.components[step.action.component].driver
    known = sorted(durations.get((driver, step.action.verb), ()))
    if not known:
        return SHIPPED[step.action.verb] * (1.0 if share <= 0.5 else TAIL)
    if share == 0.5:
        return timedelta(seconds=median(d.total_seconds() for d in known))
    return known[min(len(known) - 1, int(share * len(known)))]


def exposure(estate: Estate, placement: Placement, members: Members) -> tuple[timedelta | None, int | None, str]:
    """Return what would be lost now: the time and bytes of the worst component, and what that rests on, in words.

    Services that are merely wanted do not count here; their loss is in their own component's report.
    """
    wanted = estate.wanted_only(placement.group)
    parts = [
        _exposed(component, placement, members)
        for component in estate.group_components(placement.group, Purpose.STATE)
        if component.service not in wanted
    ]
    if not parts:
        return timedelta(), 0, "0 (no state)"
    return max(parts, key=lambda part: (part[0] is None, part[0] or timedelta()))


def _exposed(component: Component, placement: Placement, members: Members) -> tuple[timedelta | None, int | None, str]:
    assert component.replication is not None, "state components are replicated, which loading checks"
    standbys = [
        seen.state
        for (c, region), seen in members.items()
        if c == component.id and region != placement.primary and seen.state is not None
    ]
    streaming = [s for s in standbys if s.role is MemberRole.STANDBY and s.streaming]
    sets = placement.sync.get(component.id, ())
    if component.replication.mode is ReplicationMode.SYNC and sets:
        if len(streaming) >= max(s.acks for s in sets):
            return timedelta(), 0, "0 (quorum)"
        return timedelta(), 0, "0 (quorum; writes wait, too few standbys stream)"
    lags = [s.lag for s in streaming if s.lag is not None]
    if not lags:
        return None, None, f"unknown ({component.id}: no standby streams)"
    behind = min((s.lag_bytes for s in streaming if s.lag_bytes is not None), default=None)
    shown = "" if behind is None else f", {behind} bytes"
    return min(lags), behind, f"{min(lags).total_seconds():.2f} s ({component.id} is asynchronous{shown})"
