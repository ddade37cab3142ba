"""What was seen, by whom, and when: the only input of a decision.

Intuition: an observation is a sentence with a subject: "from us-west-2, at 12.5 s, the shop in us-east-1 answered in
61 ms". It is never a verdict; many of them, from several places, become one (`detector`, `assessment`).

Times are `Instant`: the age of the observing machine's boot clock, never wall time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from evac.core.estate import ComponentId, RegionId, ServiceId

Instant: TypeAlias = timedelta
"""A moment on a boot-time clock: the time since that clock's origin."""

Json: TypeAlias = "bool | int | float | str | tuple[Json, ...] | list[Json] | Mapping[str, Json] | None"
"""What a receipt or an order can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """One probe's answer: from `vantage`, `service` in `region` did its job, or did not and why."""

    at: Instant
    vantage: RegionId
    service: ServiceId
    region: RegionId
    ok: bool
    took: timedelta
    reason: str = ""
    as_client: bool = False
    answered: bool = False
    """Of one that did not: whether something there answered all the same (refused, hung up, told an error). Then the
    way there is whole; silence may be the fault of whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What load balancers counted of real clients in the `window` that ended `at`: of so many `requests` that they sent
    from `vantage` to `service` in `region`, so many `failed`.
    """

    at: Instant
    vantage: RegionId
    service: ServiceId
    region: RegionId
    window: timedelta
    requests: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The agent of `region` is alive, can act there, and can reach the store."""

    at: Instant
    region: RegionId


class MemberRole(StrEnum):
    """What a member of a replicated system is at this moment, as it says itself."""

    PRIMARY = "primary"
    STANDBY = "standby"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """What a member says of itself. `position` counts bytes of its log that are durable here (for PostgreSQL the
    flushed LSN), and is comparable between members of one timeline. None means it did not say.
    """

    role: MemberRole
    writable: bool
    timeline: int | None = None
    position: int | None = None
    term: int | None = None
    """The highest term this member has been told, where it can keep one."""
    upstream: RegionId | None = None
    """For a standby: whom it follows."""
    refuses: bool = False
    """For a standby: it was told to follow nobody, which is more than that it does not say whom."""
    streaming: bool = False
    """For a standby: its stream is up and was heard of lately. For a primary: at least one standby streams."""
    stream_silence: timedelta | None = None
    """For a standby: since when nothing came from upstream. Grows during a cut, not while idle."""
    lag: timedelta | None = None
    """For a standby: age of the newest change it has applied, measured against the primary's heartbeat row."""
    lag_bytes: int | None = None
    sync_standbys: tuple[RegionId, ...] = ()
    """For a primary: the members whose acknowledgement it waits for."""
    sync_acks: int = 0
    waiting: int = 0
    """For a primary: how many of its clients wait for that acknowledgement at this moment."""
    free_disk: float | None = None
    """Free part of the disk its data is on, 0 to 1."""
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSeen:
    """What the member of `component` in `region` said of itself to its own region's agent. `state` is None when it
    did not answer; `reason` then says how.
    """

    at: Instant
    component: ComponentId
    region: RegionId
    state: MemberState | None
    reason: str = ""


Observation: TypeAlias = Probed | Carried | Heartbeat | MemberSeen
