"""An incident: what kind of thing has failed in a region, how bad that is, and whom it hits.

Intuition: a verdict says which row of a table fits; who is woken asks what has failed, how urgent it is, who feels it
and what could be lost. That follows from the verdicts, from where the primaries are and what their routers carry.

Dead and cut off look alike from outside: a region of which nothing is heard counts as infrastructure. Where its agent
answers and its services do not, it is they that have failed. What no probe can see (data that are wrong, a break-in, a
mistake) is no class here: a person moves a group for it, and says why.

What this is not: what is done about it (`deciding`), or the loss if the primaries move (`objectives`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.health import ServiceHealth
from evac.core.plan import Placement
from evac.core.verdict import Diagnosis, Verdict


class FailureClass(StrEnum):
    """What kind of thing has failed."""

    APPLICATION = "application"
    INFRASTRUCTURE = "infrastructure"
    PARTITION = "network partition"
    GRAY = "gray failure"
    OBSERVER = "isolated observer"
    AGENT = "agent away"
    PROVIDER = "provider outage"


class Severity(StrEnum):
    """How bad it is. Critical: clients are not served. Major: they are served badly, or there is one region less to go
    to. Minor: nobody is hit yet.
    """

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A region's failure. `services` are those that fail there; `clients_of` those of them whose clients are sent
    there; of `unplaced` nobody knows yet where. `requests` is how many requests a second the region's routers carry for
    `clients_of`; None where none says it.
    """

    region: RegionId
    kind: FailureClass
    severity: Severity
    services: tuple[ServiceId, ...]
    clients_of: tuple[ServiceId, ...]
    requests: float | None
    unplaced: tuple[ServiceId, ...] = ()


LOST = frozenset({Diagnosis.UNREACHABLE, Diagnosis.SERVICES_DOWN})
"""All of a region is gone for those outside."""
_CLASSES: Mapping[Diagnosis, FailureClass] = {
    Diagnosis.LINK_CUT: FailureClass.PARTITION,
    Diagnosis.GRAY: FailureClass.GRAY,
    Diagnosis.SERVICE_DOWN: FailureClass.APPLICATION,
    Diagnosis.INGRESS_FAILED: FailureClass.PARTITION,
    Diagnosis.SERVICES_DOWN: FailureClass.APPLICATION,
    Diagnosis.UNREACHABLE: FailureClass.INFRASTRUCTURE,
}


def incident(
    verdict: Verdict,
    *,
    estate: Estate,
    verdicts: Iterable[Verdict],
    voiceless: Iterable[RegionId],
    placements: Iterable[Placement],
    health: Iterable[ServiceHealth],
) -> Incident | None:
    """Return a region's incident, given what is known of the others; None where nothing is known to have failed."""
    region = verdict.region
    kind = _kind(verdict, {v.region: v.diagnosis for v in verdicts}, frozenset(voiceless), estate)
    if kind is None:
        return None
    services = _failing(verdict, estate)
    placed = {p.group: p for p in placements}
    homes = {g for g, p in placed.items() if region in _hit_by(verdict, p)}
    clients_of = tuple(s for s in services if estate.services[s].group in homes)
    unplaced = tuple(s for s in services if estate.services[s].group not in placed)
    carried = [
        h.throughput for h in health if h.region == region and h.service in clients_of and h.throughput is not None
    ]
    return Incident(
        region=region,
        kind=kind,
        severity=_severity(verdict, kind, clients_of, bool(homes), estate),
        services=services,
        clients_of=clients_of,
        requests=sum(carried) if carried else None,
        unplaced=unplaced,
    )


def _hit_by(verdict: Verdict, placement: Placement) -> tuple[RegionId, ...]:
    """Where clients feel a failure like this one: a broken way in, at the door that they are sent in by."""
    only_the_door = verdict.diagnosis is Diagnosis.INGRESS_FAILED or verdict.ingress_only
    return (placement.door,) if only_the_door else (placement.primary, placement.door)


def _kind(
    verdict: Verdict, all_: Mapping[RegionId, Diagnosis], voiceless: frozenset[RegionId], estate: Estate
) -> FailureClass | None:
    """A provider's outage is one that no region of a provider with several escapes."""
    provider = estate.regions[verdict.region].provider
    its = [r for r, each in estate.regions.items() if each.provider == provider]
    if len(its) > 1 and all(all_.get(r) is Diagnosis.UNREACHABLE for r in its):
        return FailureClass.PROVIDER
    kind = _CLASSES.get(verdict.diagnosis)
    if verdict.region in voiceless and kind in (None, FailureClass.PARTITION):
        age = verdict.heartbeat_age
        heard = age is not None and age <= estate.detection.heartbeat_stale
        return FailureClass.OBSERVER if heard else FailureClass.AGENT
    return kind


def _failing(verdict: Verdict, estate: Estate) -> tuple[ServiceId, ...]:
    if verdict.diagnosis in LOST:
        return tuple(s for s, each in estate.services.items() if verdict.region in each.regions)
    return tuple(s for s in verdict.services if s in estate.services)


def _severity(
    verdict: Verdict, kind: FailureClass, clients_of: tuple[ServiceId, ...], home: bool, estate: Estate
) -> Severity:
    """What others merely want is missed, but its clients are those of who wants it, and they are served. Where the
    agent is away nothing can be ordered at a primary, and one under a lease is about to be killed.
    """
    needed = [s for s in clients_of if s not in estate.wanted_only(estate.services[s].group)]
    if needed and verdict.diagnosis is not Diagnosis.GRAY:
        return Severity.CRITICAL
    away = kind is FailureClass.AGENT and home
    return Severity.MAJOR if clients_of or away or verdict.diagnosis in LOST else Severity.MINOR
