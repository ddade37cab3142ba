"""The estate: what is declared, as values.

Intuition: an estate is a set of regions; services run in several of them; a service's state lives in components, and
routers carry clients to where the service is. Services that depend on one another move together: that is a group,
and a group is the unit that fails over.

What this is not: the file format (`evac.config` reads and checks it), or what is really out there (`observation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from enum import StrEnum
from typing import NewType

from evac.core.kinds import ServiceKind
from evac.core.policy import Detection, Guard
from evac.core.timing import Holding
from evac.core.trigger import Trigger

RegionId = NewType("RegionId", str)
ServiceId = NewType("ServiceId", str)
ComponentId = NewType("ComponentId", str)
GroupId = NewType("GroupId", str)


class RegionRole(StrEnum):
    """What a region is for when all is well."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    TERTIARY = "tertiary"
    BACKUP = "backup"
    ACTIVE = "active"


class Automation(StrEnum):
    """Who may start a failover."""

    AUTOMATIC = "automatic"
    SEMI_AUTOMATIC = "semi-automatic"
    MANUAL = "manual"


class Strategy(StrEnum):
    """How a service survives the loss of a region."""

    ACTIVE_ACTIVE = "active-active"
    ACTIVE_PASSIVE = "active-passive"
    PILOT_LIGHT = "pilot-light"
    BACKUP_RESTORE = "backup-restore"


class ReplicationMode(StrEnum):
    """Whether an acknowledged write has reached a standby (`SYNC`) or only the primary (`ASYNC`)."""

    SYNC = "sync"
    ASYNC = "async"


class WhenAlone(StrEnum):
    """What a synchronous primary does when no standby is left to acknowledge: its writes wait, or it goes on alone
    and the promise to lose nothing is off until a standby streams again.
    """

    WAIT = "wait"
    DEGRADE = "degrade"


class Purpose(StrEnum):
    """What a component is in a plan: it holds state with one writer, or it carries traffic to a region."""

    STATE = "state"
    ROUTER = "router"


class Directs(StrEnum):
    """What a router chooses for clients: the region whose door they come in by (`ENTRY`: a name in DNS), or the region
    that serves them once they are in (`WORK`: the weights of a load balancer behind each door).
    """

    ENTRY = "entry"
    WORK = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a region can carry. Zero means not declared."""

    users: int = 0
    requests_per_second: float = 0.0
    storage_gb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place where services run. `cost` is relative: 1.0 is the cheapest region's price level."""

    id: RegionId
    provider: str
    latitude: float
    longitude: float
    jurisdiction: str
    role: RegionRole
    capacity: Capacity = Capacity()
    cost: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What was promised: time to recover, data that may be lost, and the longest outage that can be survived."""

    rto: timedelta
    rpo: timedelta
    mtpd: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """How a component's state is copied.

    `acks` is k of n: a synchronous primary acknowledges a write when k standbys hold it; an asynchronous one with
    `acks` above 0 stops accepting writes when fewer than k standbys have been heard of lately (Valkey's
    `min-replicas-to-write`). Either way n - k + 1 durable refusals starve it.
    """

    mode: ReplicationMode
    acks: int
    lag_max: timedelta
    when_alone: WhenAlone = WhenAlone.WAIT
    held: Holding | None = None
    """The lease that an asynchronous primary is held under; None where nothing enforces one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A system inside a service: one member a region.

    `members` maps a region to that member's settings, a frozen value only its driver understands. `replication` is
    set for state and None for routers. `directs` is what a router chooses; None where nobody has said.
    """

    id: ComponentId
    service: ServiceId
    driver: str
    purpose: Purpose
    members: Mapping[RegionId, object]
    replication: Replication | None = None
    devices: Mapping[RegionId, object] = field(default_factory=dict)
    """What can switch a member's host off from outside, by region; values that only devices understand."""
    directs: Directs | None = None
    verifiable: bool = False
    """Whether its driver can be told to do what a client does (`Verb.VERIFY`)."""
    relays: bool = False
    """Whether a standby that refuses the old primary can be followed at once. Elsewhere only a primary can: a follower
    would get nothing before, and lose what it has more than who it follows."""

    @property
    def held(self) -> Holding | None:
        """How its primary is held under a lease; None where it is not."""
        return self.replication.held if self.replication is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One way to ask a service in one region whether it does its job.

    `settings` is a frozen value only the probe's kind understands (`evac.drivers.probes`). A probe `as_client` opens a
    new connection through the public entry, as a client would: a part of these failing is what a gray failure is.
    """

    kind: str
    service: ServiceId
    region: RegionId
    settings: object
    as_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Something that already watches many services, asked by one region's agent for all of them at once.

    `vantage` is where it watches from, and so whose word it is; `settings` is a frozen value only its kind understands.
    It is asked every `every`, and what it has not answered `within` is unknown. `targets` is all it may tell of.
    """

    name: str
    kind: str
    vantage: RegionId
    settings: object
    targets: frozenset[tuple[ServiceId, RegionId]]
    every: timedelta = timedelta(seconds=1)
    within: timedelta = timedelta(seconds=2)
    as_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A unit that is promised to its users. `regions` are those it can run in, in order of preference."""

    id: ServiceId
    kind: ServiceKind
    tier: int
    objectives: Objectives
    group: GroupId
    regions: tuple[RegionId, ...]
    needs: tuple[ServiceId, ...] = ()
    """Services this one cannot work without: clients are sent to a region once these are promoted there."""
    wants: tuple[ServiceId, ...] = ()
    """Services this one is better with: they move along, and clients do not wait for them."""
    strategy: Strategy = Strategy.ACTIVE_PASSIVE
    automation: Automation = Automation.AUTOMATIC
    data_class: str = "internal"
    jurisdictions: tuple[str, ...] = ()
    """Where its data may be; empty means anywhere."""
    tags: tuple[str, ...] = ()
    endpoints: Mapping[RegionId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """Maintenance that comes back: on some days of the week (0 is Monday), from a time of day, in a zone of the IANA's
    database. It disturbs these groups, and what has its primaries in these regions; all, where neither is named.
    """

    reason: str
    days: frozenset[int]
    at: time
    lasts: timedelta
    zone: str = "UTC"
    groups: tuple[GroupId, ...] = ()
    regions: tuple[RegionId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """All that is declared. Built by `evac.config`, which has checked that every name resolves and nothing cycles."""

    name: str
    regions: Mapping[RegionId, Region]
    services: Mapping[ServiceId, Service]
    components: Mapping[ComponentId, Component]
    probes: tuple[Probe, ...]
    home: Mapping[GroupId, RegionId]
    """Where each group's primaries are when all is well."""
    detection: Detection = field(default_factory=Detection)
    guard: Guard = field(default_factory=Guard)
    round_trips: Mapping[tuple[RegionId, RegionId], timedelta] = field(default_factory=dict)
    """Expected round trips between regions, where declared; used to choose and to forecast."""
    observers: tuple[Observer, ...] = ()
    maintenance: tuple[Recurring, ...] = ()
    """The windows in which work is expected to disturb something."""
    rejoin_automatic: bool = True
    """Whether a returned region is made a standby again without asking."""
    triggers: tuple[Trigger, ...] = ()
    """What is a reason to act beside what is detected without being told to."""
    _lookup: _Lookup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookup", _look_up(self.services.values(), self.components.values()))

    @property
    def held(self) -> tuple[ComponentId, ...]:
        """The components whose primary is held under a lease."""
        return tuple(c.id for c in self.components.values() if c.held)

    def without_leases(self) -> Estate:
        """Return the estate as those see it who cannot hold a lease: evac without an agent in every region."""
        free = {
            c.id: replace(c, replication=replace(c.replication, held=None)) if c.replication else c
            for c in self.components.values()
        }
        return replace(self, components=free)

    def group_services(self, group: GroupId) -> tuple[Service, ...]:
        """Return the services of a group, those that others need first."""
        return self._of(group).services

    def promised(self, group: GroupId) -> Objectives:
        """Return what a group as a whole must keep: of each promise of its services the strictest."""
        promises = [s.objectives for s in self._of(group).services]
        return Objectives(
            rto=min(p.rto for p in promises), rpo=min(p.rpo for p in promises), mtpd=min(p.mtpd for p in promises)
        )

    def resting_on(self, service: ServiceId) -> frozenset[ServiceId]:
        """Return a service and all that it needs, directly or not."""
        needed = {n for direct in self.services[service].needs for n in self.resting_on(direct)}
        return frozenset({service} | needed)

    def wanted_only(self, group: GroupId) -> frozenset[ServiceId]:
        """Return the services of a group that others merely want: a failover does not wait for them."""
        return self._of(group).wanted_only

    def group_components(self, group: GroupId, purpose: Purpose) -> tuple[Component, ...]:
        """Return a group's components of one purpose, in the order of its services' dependencies."""
        return self._of(group).components[purpose]

    def service_components(self, service: ServiceId) -> tuple[Component, ...]:
        """Return a service's components, in the order they are declared in."""
        return self._lookup.components.get(service, ())

    def _of(self, group: GroupId) -> _Group:
        """What follows for a group from what is declared; worked out when it is first asked for."""
        known = self._lookup.groups.get(group)
        if known is None:
            known = self._lookup.groups[group] = _group(group, self._lookup)
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What is asked of a group again and again."""

    services: tuple[Service, ...]
    wanted_only: frozenset[ServiceId]
    components: Mapping[Purpose, tuple[Component, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    """What is declared, by what it belongs to, so that a question about one group does not read all the others."""

    services: Mapping[GroupId, tuple[Service, ...]]
    components: Mapping[ServiceId, tuple[Component, ...]]
    groups: dict[GroupId, _Group] = field(default_factory=dict)
    """The groups that were asked for. What is declared never changes, so neither do they."""


def _look_up(services: Iterable[Service], components: Iterable[Component]) -> _Lookup:
    by_group: dict[GroupId, list[Service]] = {}
    for service in services:
        by_group.setdefault(service.group, []).append(service)
    by_service: dict[ServiceId, list[Component]] = {}
    for component in components:
        by_service.setdefault(component.service, []).append(component)
    return _Lookup(
        services={g: tuple(found) for g, found in by_group.items()},
        components={s: tuple(found) for s, found in by_service.items()},
    )


def _group(group: GroupId, lookup: _Lookup) -> _Group:
    services = _in_order(group, lookup.services.get(group, ()))
    needed = {n for s in services for n in s.needs}
    parts = [c for s in services for c in sorted(lookup.components.get(s.id, ()), key=lambda c: c.id)]
    return _Group(
        services=services,
        wanted_only=frozenset(w for s in services for w in s.wants if w not in needed),
        components={purpose: tuple(c for c in parts if c.purpose is purpose) for purpose in Purpose},
    )


def _in_order(group: GroupId, services: Iterable[Service]) -> tuple[Service, ...]:
    """The services of a group, those that others need first: again and again, all whose needs are there."""
    left = {s.id: s for s in services}
    ordered: list[Service] = []
    while left:
        ready = [s for s in left.values() if not any(n in left for n in (*s.needs, *s.wants))]
        assert ready, f"group {group} has a cycle, which loading refuses"
        ordered += ready
        for service in ready:
            del left[service.id]
    return tuple(ordered)
