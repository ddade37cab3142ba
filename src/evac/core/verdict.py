"""A verdict: what holds for a region, since when, and on whose word; and all verdicts of one moment.

What this is not: how it is come by (`assessment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from evac.core.estate import RegionId, ServiceId
from evac.core.observation import Instant


class Diagnosis(StrEnum):
    """What is wrong with a region, in the words of the table."""

    WELL = "well"
    UNKNOWN = "unknown"
    LINK_CUT = "link-cut"
    GRAY = "gray"
    SERVICE_DOWN = "service-down"
    INGRESS_FAILED = "ingress-failed"
    SERVICES_DOWN = "services-down"
    UNREACHABLE = "unreachable"


class Status(StrEnum):
    """How available a region's services are: healthy >= 95 %, degraded >= 80, critical >= 50, failed below."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    FAILED = "failed"
    UNKNOWN = "unknown"


def status_of(availability: float | None) -> Status:
    """Return what a share of answering services is called; unknown where nobody looked."""
    if availability is None:
        return Status.UNKNOWN
    for least, status in ((0.95, Status.HEALTHY), (0.8, Status.DEGRADED), (0.5, Status.CRITICAL)):
        if availability >= least:
            return status
    return Status.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One vantage point's view of one region, as it counts: `view` is up, down, partly down or unknown."""

    vantage: RegionId
    view: str
    votes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What holds for a region, since when, and why. `services` are those that a quorum sees down there, or gray; where
    one is down inside as well, both.
    """

    region: RegionId
    diagnosis: Diagnosis
    status: Status
    availability: float
    since: Instant
    """When the last of the conditions came true."""
    symptom_at: Instant
    """When the first sign of it was seen."""
    heartbeat_age: timedelta | None
    corroborated: bool = True
    """Whether more than outside views of evac's own probes supports it: the agent, an inside view, or clients."""
    easing: bool = False
    """Whether a quorum sees services down, but no longer fails at any: the newest answers were good, yet too few."""
    services: tuple[ServiceId, ...] = ()
    down_inside: tuple[ServiceId, ...] = ()
    """Those of `services` that are down inside as well."""
    shut_out: tuple[ServiceId, ...] = ()
    """Those of `services` that are well inside, as was seen since outside turned, and whose path loses nothing: only
    the way in to them is broken. What has not been looked at there since then is in neither."""
    gray: tuple[ServiceId, ...] = ()
    """Every service there that fails its clients too often, whatever the diagnosis is about."""
    ailing: tuple[ServiceId, ...] = ()
    """Every service there that anybody with a vote sees down, or a quorum gray, whatever the diagnosis is about."""
    evidence: tuple[Evidence, ...] = ()
    ingress_only: bool = False
    """Whether only the way in fails: inside all is well, the agent answers, and the path there loses nothing."""
    entered: Mapping[ServiceId, Instant] = field(default_factory=dict)
    """The services whose door there is open, as a quorum's client probes see it, each with since when they have met no
    failure at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All verdicts of one moment, and the observers that have no vote, each with the reason."""

    at: Instant
    verdicts: Mapping[RegionId, Verdict]
    voiceless: Mapping[RegionId, str]
