"""Readiness: could this region take over now, what stands in the way, and what would make it better.

Intuition: a region is ready when a plan to it would be made: its agent answers, it is well, its copies are close, and
every check of its systems passed. Each of these is a part of the score; what would stop a plan is blocking, however
high the score.

What this is not: a drill, which shows it by doing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evac.core.assessment import answers
from evac.core.estate import Component, Estate, Purpose, RegionId
from evac.core.plan import Placement
from evac.core.protection import alone, synchronous
from evac.core.targets import Members, lag_before_silence, obstacle
from evac.core.verdict import Assessment, Diagnosis

FREE_DISK_GOOD = 0.2
"""A standby with less of its disk free is told to make room."""
WEIGHTS: Mapping[str, float] = {"answers": 0.25, "well": 0.25, "able": 0.3, "checks": 0.2}


class Checked(Protocol):
    """One line of `evac check`, as the drivers find it."""

    @property
    def ok(self) -> bool: ...
    @property
    def what(self) -> str: ...
    @property
    def remedy(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """One region's readiness to hold a group's primaries. `score` is 0 to 1."""

    region: RegionId
    score: float
    blocking: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Return whether nothing stands in the way."""
        return not self.blocking


def readiness(
    estate: Estate,
    assessment: Assessment,
    placement: Placement,
    members: Members,
    *,
    checks: Mapping[RegionId, Sequence[Checked]] | None = None,
) -> tuple[Readiness, ...]:
    """Return each region's readiness for a group, in the estate's order; that of the primary's region too.

    `checks` are the newest findings of each region's systems; a region without any loses that part of the score.
    """
    return tuple(_region(estate, assessment, placement, members, r, (checks or {}).get(r, ())) for r in estate.regions)


def _region(
    estate: Estate,
    assessment: Assessment,
    placement: Placement,
    members: Members,
    region: RegionId,
    checks: Sequence[Checked],
) -> Readiness:
    heard = answers(assessment, region, estate=estate)
    well = assessment.verdicts[region].diagnosis is Diagnosis.WELL
    here = region == placement.primary
    stands_in_the_way = "" if here else obstacle(estate, assessment, placement, members, region)
    failed = [c for c in checks if not c.ok]
    parts = {
        "answers": float(heard),
        "well": float(well),
        "able": float(not stands_in_the_way),
        "checks": (len(checks) - len(failed)) / len(checks) if checks else 0.0,
    }
    blocking = [f"its agent does not answer: {assessment.voiceless.get(region, 'silent')}"] if not heard else []
    blocking += (
        [stands_in_the_way] if stands_in_the_way and stands_in_the_way not in assessment.voiceless.values() else []
    )
    advice = [] if checks else ["run evac check: nothing is known of its systems"]
    return Readiness(
        region=region,
        score=sum(WEIGHTS[name] * part for name, part in parts.items()),
        blocking=(*blocking, *(c.what for c in failed)),
        recommendations=(
            *(c.remedy for c in failed if c.remedy),
            *advice,
            *_advice(estate, placement, members, region),
        ),
    )


def _advice(estate: Estate, placement: Placement, members: Members, region: RegionId) -> list[str]:
    """What does not stand in the way yet, and could."""
    said: list[str] = []
    for component in estate.group_components(placement.group, Purpose.STATE):
        seen = members.get((component.id, region))
        if seen is None or seen.state is None:
            continue
        assert component.replication is not None, "state components are replicated, which loading checks"
        if seen.state.free_disk is not None and seen.state.free_disk < FREE_DISK_GOOD:
            said.append(f"{component.id} has {seen.state.free_disk:.0%} of its disk free: make room")
        lag = lag_before_silence(seen)
        if region == placement.primary and alone(component, placement):
            said.append(f"{component.id} acknowledges alone: bring a standby back, until then writes may be lost")
        if region != placement.primary and _outside(component, placement, region):
            said.append(f"{component.id} is not in the set that must acknowledge: see why it does not stream")
        if region != placement.primary and lag is not None and lag > component.replication.lag_max / 2:
            said.append(f"{component.id} lags {lag.total_seconds():.1f} s, more than half of what a move allows")
    if region == placement.entry:
        said.append(f"clients enter by it and are served by {placement.primary}: its loss would shut them out")
    if not estate.regions[region].capacity.requests_per_second:
        said.append("declare its capacity, so that evac can tell whether it carries the load")
    return said


def _outside(component: Component, placement: Placement, region: RegionId) -> bool:
    """Whether a synchronous standby is not waited for, now or by the change that runs."""
    waited = {r for sync in placement.sync.get(component.id, ()) for r in sync.standbys}
    return synchronous(component) and region in component.members and region not in waited
