"""Choosing where to go: every region but the failing one, scored, and each that is not chosen with its reason.

Intuition: first what must hold (somebody is there, it holds a standby that is close enough, the data may be there, it
can carry the load), then what is better: health, closeness of its copy, room, the order its owner wrote, price,
distance.

What this is not: the promise that nothing is lost. Which standby holds most is found out after the fence
(`Verb.CATCH_UP`), when nothing can move any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import asin, cos, radians, sin, sqrt

from evac.core.estate import Component, ComponentId, Estate, GroupId, Purpose, Region, RegionId
from evac.core.observation import MemberRole, MemberSeen
from evac.core.plan import Placement
from evac.core.verdict import Assessment, Diagnosis

WEIGHTS: Mapping[str, float] = {
    "health": 0.40,
    "closeness": 0.25,
    "capacity": 0.15,
    "preference": 0.10,
    "cost": 0.05,
    "distance": 0.05,
}
FREE_DISK_MIN = 0.05
"""A standby whose disk is fuller than this would stop soon after its promotion."""
EARTH_HALF_KM = 20015.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A region that is not the target, and why."""

    region: RegionId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The best target, its score, and all others."""

    target: RegionId | None
    score: float
    rejected: tuple[Rejected, ...]


Members = Mapping[tuple[ComponentId, RegionId], MemberSeen]


def choose(
    estate: Estate, assessment: Assessment, placement: Placement, members: Members, *, wanted: RegionId | None = None
) -> Choice:
    """Return the best region for a group to move to; with `wanted`, that one or none."""
    rejected: list[Rejected] = []
    scores: dict[RegionId, Mapping[str, float]] = {}
    for region in _candidates(estate, placement.group):
        if region == placement.primary:
            continue
        if wanted is not None and region != wanted:
            rejected.append(Rejected(region=region, reason=f"{wanted} was asked for"))
        elif reason := obstacle(estate, assessment, placement, members, region):
            rejected.append(Rejected(region=region, reason=reason))
        else:
            scores[region] = _score(estate, assessment, placement, members, region)
    totals = {r: sum(parts.values()) for r, parts in scores.items()}
    for region in [r for r, total in totals.items() if total < estate.guard.target_score_min]:
        low = f"scores {totals.pop(region):.2f}, below {estate.guard.target_score_min:.2f}"
        rejected.append(Rejected(region=region, reason=low))
    if not totals:
        return Choice(target=None, score=0.0, rejected=tuple(rejected))
    target = max(totals, key=lambda r: (round(totals[r], 6), -_rank(estate, placement.group, r)))
    others = [r for r in totals if r != target]
    rejected += [Rejected(region=r, reason=_compare(scores[r], scores[target])) for r in others]
    return Choice(target=target, score=totals[target], rejected=tuple(rejected))


def obstacle(estate: Estate, assessment: Assessment, placement: Placement, members: Members, region: RegionId) -> str:
    """Return why a region cannot be the target; empty if it can."""
    if region not in _candidates(estate, placement.group):
        return f"is not a region that all of {placement.group} can run in"
    verdict = assessment.verdicts[region]
    if region in assessment.voiceless:
        return assessment.voiceless[region]
    if verdict.diagnosis not in (Diagnosis.WELL, Diagnosis.LINK_CUT, Diagnosis.UNKNOWN):
        return f"is itself {verdict.diagnosis}"
    if region in placement.awaiting_rejoin:
        return "was a primary and has not been rebuilt"
    for service in estate.group_services(placement.group):
        where = estate.regions[region].jurisdiction
        if service.jurisdictions and where not in service.jurisdictions:
            return f"{service.id}'s data may not be in {where}, only in {', '.join(service.jurisdictions)}"
    needed = estate.regions[placement.primary].capacity.requests_per_second
    has = estate.regions[region].capacity.requests_per_second
    if has and needed and has < 0.5 * needed:
        return f"can carry {has:g} requests/s, {needed:g} are served now"
    for component in estate.group_components(placement.group, Purpose.STATE):
        if reason := _member_obstacle(component, placement, members, region):
            return f"{component.id} there {reason}"
    return ""


def _member_obstacle(component: Component, placement: Placement, members: Members, region: RegionId) -> str:
    """Why this standby cannot be promoted; empty if it can."""
    seen = members.get((component.id, region))
    if seen is None:
        return "has never been seen"
    if seen.state is None:
        return f"does not answer: {seen.reason}"
    state = seen.state
    if state.role is not MemberRole.STANDBY:
        return f"is {state.role}, not a standby"
    if state.upstream not in (None, placement.primary):
        return f"follows {state.upstream}, not {placement.primary}"
    if state.free_disk is not None and state.free_disk < FREE_DISK_MIN:
        return f"has {state.free_disk:.1%} of its disk free, below {FREE_DISK_MIN:.0%}"
    assert component.replication is not None, "state components are replicated, which loading checks"
    newest = _timeline(members, component, placement.primary)
    if not component.replication.acks and state.timeline is not None and state.timeline < newest:
        return f"has log of timeline {state.timeline}, {placement.primary} was on {newest}: it missed that promotion"
    lag = lag_before_silence(seen)
    if lag is not None and lag > component.replication.lag_max:
        limit = component.replication.lag_max.total_seconds()
        return f"lagged {lag.total_seconds():.1f} s when its stream was last heard, limit {limit:g} s"
    return ""


def _timeline(members: Members, component: Component, region: RegionId) -> int:
    """The timeline that a member was on when it was heard last; 0 where it did not say."""
    seen = members.get((component.id, region))
    return 0 if seen is None or seen.state is None else seen.state.timeline or 0


def lag_before_silence(seen: MemberSeen) -> timedelta | None:
    """Return a standby's lag at the moment its upstream was last heard: a dead primary makes no standby laggard."""
    if seen.state is None or seen.state.lag is None:
        return None
    return max(timedelta(), seen.state.lag - (seen.state.stream_silence or timedelta()))


def _candidates(estate: Estate, group: GroupId) -> list[RegionId]:
    """Regions every service of the group can run in, in the order of preference."""
    services = estate.group_services(group)
    return [r for r in services[0].regions if all(r in s.regions for s in services)]


def _rank(estate: Estate, group: GroupId, region: RegionId) -> int:
    return _candidates(estate, group).index(region)


def behind(estate: Estate, group: GroupId, members: Members, region: RegionId) -> int:
    """Return by how many bytes a region's copies are behind the most advanced standby's, all components together."""
    total = 0
    for component in estate.group_components(group, Purpose.STATE):
        positions = {
            r: seen.state.position
            for r in component.members
            if (seen := members.get((component.id, r))) is not None
            and seen.state is not None
            and seen.state.role is MemberRole.STANDBY
            and seen.state.position is not None
        }
        total += max(positions.values(), default=0) - positions.get(region, 0) if region in positions else 0
    return total


def _score(
    estate: Estate, assessment: Assessment, placement: Placement, members: Members, region: RegionId
) -> Mapping[str, float]:
    """Each part weighted; they add up to at most 1."""
    here, home = estate.regions[region], estate.regions[placement.primary]
    needed, has = home.capacity.requests_per_second, here.capacity.requests_per_second
    cheapest = min(r.cost for r in estate.regions.values())
    parts = {
        "health": assessment.verdicts[region].availability,
        "closeness": 1.0 / (1.0 + behind(estate, placement.group, members, region) / 2**24),
        "capacity": min(1.0, has / needed) if has and needed else 1.0,
        "preference": 1.0 - _rank(estate, placement.group, region) / len(estate.regions),
        "cost": cheapest / here.cost,
        "distance": 1.0 - distance_km(here, home) / EARTH_HALF_KM,
    }
    return {name: WEIGHTS[name] * part for name, part in parts.items()}


def _compare(loser: Mapping[str, float], winner: Mapping[str, float]) -> str:
    """Say what made the difference."""
    gaps = {name: winner[name] - loser[name] for name in WEIGHTS if winner[name] - loser[name] > 0.001}
    most = sorted(gaps, key=lambda n: -gaps[n])[:2]
    by = f", less by {' and '.join(most)}" if most else ""
    return f"scores {sum(loser.values()):.2f} against {sum(winner.values()):.2f}{by}"


def distance_km(a: Region, b: Region) -> float:
    """Return the great-circle distance between two regions in kilometres (haversine)."""
    lat_a, lat_b = radians(a.latitude), radians(b.latitude)
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin(radians(b.longitude - a.longitude) / 2) ** 2
    return 2 * 6371.0 * asin(min(1.0, sqrt(half)))
