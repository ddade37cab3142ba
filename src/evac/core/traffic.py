"""Traffic alone: which region's door clients come in by, and when another one would serve them better.

Intuition: where clients enter and where they are served are two choices, made by two kinds of routers. When only the
way in to the primary's region is broken, clients can come in by another region's door, whose load balancer carries
them on over the private link: nothing is fenced, nothing is promoted, and the way back is as short. That needs a
router that chooses the door, another door that is seen open, and a link that holds: the standbys there stream.

What this is not: moving the primaries (`targets`), deciding when (`deciding`), or the steps (`shifting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from evac.core.estate import Component, Directs, Estate, GroupId, Purpose, RegionId, ServiceId
from evac.core.observation import Instant, MemberState
from evac.core.plan import Placement
from evac.core.targets import Members, Rejected, distance_km
from evac.core.triggers import Fired
from evac.core.verdict import Assessment, Diagnosis, Evidence, Verdict

OF_SERVICES = (Diagnosis.GRAY, Diagnosis.SERVICE_DOWN, Diagnosis.INGRESS_FAILED)
"""What is said of some services of a region, and says nothing against the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Send a group's clients in by `target`'s door instead of `source`'s. Its primaries stay where they are."""

    group: GroupId
    source: RegionId
    target: RegionId
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    symptom_at: Instant = timedelta()
    decided_by: str = "evac"
    trigger: Fired | None = None
    """The trigger that asked for it, where one did; the views in `evidence` are then what it read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The door to send clients to, and all others with their reasons; or `why` there is none."""

    target: RegionId | None
    rejected: tuple[Rejected, ...] = ()
    why: str = ""


def by_another_door(
    placement: Placement,
    doors: Doors,
    *,
    reasons: tuple[str, ...],
    evidence: tuple[Evidence, ...],
    symptom_at: Instant,
    trigger: Fired | None = None,
) -> Shift:
    """Return the shift to the door that was chosen, while the primaries stay."""
    assert doors.target is not None, "a door was chosen"
    return Shift(
        group=placement.group,
        source=placement.door,
        target=doors.target,
        reasons=(*reasons, f"{doors.target}'s door is open; {placement.primary} still serves"),
        rejected=doors.rejected,
        evidence=evidence,
        symptom_at=symptom_at,
        trigger=trigger,
    )


def concerned(estate: Estate, group: GroupId, verdict: Verdict) -> frozenset[ServiceId]:
    """Return the services that a verdict is about, and that a group requires: what is merely wanted is not counted."""
    return _required(estate, group).intersection(verdict.services)


def routers(estate: Estate, group: GroupId, directs: Directs) -> tuple[Component, ...]:
    """Return the group's routers that choose one thing."""
    return tuple(r for r in estate.group_components(group, Purpose.ROUTER) if r.directs is directs)


def choose_door(
    estate: Estate,
    assessment: Assessment,
    placement: Placement,
    members: Members,
    *,
    wanted: RegionId | None = None,
) -> Doors:
    """Return the nearest region whose door is open; with `wanted`, that one or none.

    The primary's own door is among them while clients enter elsewhere: it is the nearest of all.
    """
    if not routers(estate, placement.group, Directs.ENTRY):
        return Doors(target=None, why=f"no router of {placement.group} chooses where clients enter")
    home = estate.regions[placement.primary]
    rejected: list[Rejected] = []
    able: dict[RegionId, float] = {}
    for region in estate.regions:
        if region == placement.door == placement.primary:
            continue
        if wanted is not None and region != wanted:
            rejected.append(Rejected(region=region, reason=f"{wanted} was asked for"))
        elif reason := obstacle(estate, assessment, placement, members, region):
            rejected.append(Rejected(region=region, reason=reason))
        else:
            able[region] = distance_km(estate.regions[region], home)
    if not able:
        mine = [r for r in rejected if wanted in (None, r.region)]
        said = "; ".join(f"{r.region} {r.reason}" for r in mine)
        return Doors(target=None, rejected=tuple(rejected), why=said or "clients enter there already")
    target = min(able, key=lambda r: able[r])
    farther = [
        Rejected(region=r, reason=f"is {km:.0f} km from {home.id}, {target} {able[target]:.0f}")
        for r, km in able.items()
        if r != target
    ]
    return Doors(target=target, rejected=(*rejected, *farther))


def obstacle(estate: Estate, assessment: Assessment, placement: Placement, members: Members, region: RegionId) -> str:
    """Return why clients cannot be sent in by a region's door; empty if they can. What is not seen is not open."""
    verdict = assessment.verdicts[region]
    if region in assessment.voiceless:
        return assessment.voiceless[region]
    elsewhere = verdict.diagnosis in OF_SERVICES and _required(estate, placement.group).isdisjoint(verdict.ailing)
    if verdict.diagnosis is not Diagnosis.WELL and not elsewhere:
        return f"is {verdict.diagnosis}"
    if region in placement.awaiting_rejoin:
        return "was a primary and has not been rebuilt"
    for router in routers(estate, placement.group, Directs.ENTRY):
        service = estate.services[router.service]
        where = estate.regions[region].jurisdiction
        if region not in service.regions:
            return f"is no region of {service.id}"
        if service.jurisdictions and where not in service.jurisdictions:
            return f"{service.id}'s data may not be in {where}, only in {', '.join(service.jurisdictions)}"
        if service.id not in verdict.entered:
            return f"has no door to {service.id} that a quorum of client probes sees open"
    return "" if region == placement.primary else _unlinked(estate, placement, members, region)


def _unlinked(estate: Estate, placement: Placement, members: Members, region: RegionId) -> str:
    """Why a region could not carry clients on to the primary's; empty if it could."""
    if not carriers(estate, placement.group, region):
        return f"has no router that carries clients on to {placement.primary}"
    for component in _followed(estate, placement, region):
        state = _state(members, component, region)
        if state is None or not state.streaming or state.upstream not in (None, placement.primary):
            return f"{component.id} there does not stream from {placement.primary}: the link between them may be broken"
    return ""


def carriers(estate: Estate, group: GroupId, region: RegionId) -> tuple[Component, ...]:
    """Return the routers behind a region's door, which choose where the clients that came in are served."""
    return tuple(r for r in routers(estate, group, Directs.WORK) if region in r.members)


def door_trouble(estate: Estate, assessment: Assessment, placement: Placement, members: Members) -> str:
    """Return what ails the other door that clients were sent in by; empty if nothing is seen to.

    To leave a door something must be seen against it; to choose one, it must be seen open (`obstacle`).
    """
    if placement.entry is None:
        return ""
    verdict = assessment.verdicts[placement.entry]
    served = {r.service for r in routers(estate, placement.group, Directs.ENTRY)}
    gone = verdict.diagnosis in (Diagnosis.UNREACHABLE, Diagnosis.SERVICES_DOWN)
    ill = served.intersection(concerned(estate, placement.group, verdict))
    if verdict.diagnosis is Diagnosis.SERVICE_DOWN:  # what is down there is carried on to the primary all the same
        ill -= verdict.entered.keys() & set(verdict.down_inside)
    shut = verdict.diagnosis in OF_SERVICES and ill
    if gone or shut:
        return f"clients enter by {placement.entry}, which is {verdict.diagnosis}"
    for component in _followed(estate, placement, placement.entry):
        state = _state(members, component, placement.entry)
        silence = state.stream_silence if state is not None and not state.streaming else None
        if silence is not None and silence >= estate.detection.ingress_dwell:
            return (
                f"clients enter by {placement.entry}, and {component.id} there has heard nothing from"
                f" {placement.primary} for {silence.total_seconds():.0f} s"
            )
    return ""


def beyond_doors(estate: Estate, group: GroupId, verdict: Verdict) -> str:
    """Return whose clients come in by no door that can be chosen, so that sending others elsewhere is no cure."""
    if verdict.diagnosis not in (Diagnosis.GRAY, Diagnosis.SERVICE_DOWN):
        return ""
    served = {r.service for r in routers(estate, group, Directs.ENTRY)}
    others = sorted(concerned(estate, group, verdict).intersection(verdict.gray) - served)
    return f"no router chooses where clients of {', '.join(others)} enter" if others and served else ""


def open_since(estate: Estate, group: GroupId, verdict: Verdict) -> Instant | None:
    """Return since when clients have met no failure at any door of a group's; None unless all of them are seen open."""
    since = [verdict.entered.get(r.service) for r in routers(estate, group, Directs.ENTRY)]
    return max((at for at in since if at is not None), default=None) if None not in since else None


def _required(estate: Estate, group: GroupId) -> frozenset[ServiceId]:
    return frozenset(s.id for s in estate.group_services(group)) - estate.wanted_only(group)


def _followed(estate: Estate, placement: Placement, region: RegionId) -> list[Component]:
    """The state that a region copies from the primary's and the group cannot work without."""
    wanted = estate.wanted_only(placement.group)
    state = estate.group_components(placement.group, Purpose.STATE)
    return [c for c in state if c.service not in wanted and region in c.members]


def _state(members: Members, component: Component, region: RegionId) -> MemberState | None:
    seen = members.get((component.id, region))
    return seen.state if seen is not None else None
