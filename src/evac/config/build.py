"""From what a file says to the core's values, with the defaults that depend on other sections.

What this is not: checking. `rules` has looked at everything before; what is built here is assumed to be consistent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import time, timedelta

from evac.config.groups import groups
from evac.config.members import Members
from evac.config.schema import (
    DAYS,
    ComponentSection,
    EstateFile,
    LeaseSection,
    MaintenanceSection,
    ReplicationSection,
    ServiceSection,
)
from evac.config.triggers import triggers
from evac.core.estate import (
    Capacity,
    Component,
    ComponentId,
    Estate,
    GroupId,
    Objectives,
    Observer,
    Probe,
    Purpose,
    Recurring,
    Region,
    RegionId,
    RegionRole,
    Replication,
    ReplicationMode,
    Service,
    ServiceId,
)
from evac.core.kinds import ServiceKind
from evac.core.objectives import detection_bound
from evac.core.plan import Verb
from evac.core.policy import Detection, Guard
from evac.core.timing import Holding, LeaseTiming
from evac.places.ssh import SshSettings

COOLDOWN = {
    ServiceKind.DATABASE: timedelta(minutes=60),
    ServiceKind.API: timedelta(minutes=30),
    ServiceKind.CACHE: timedelta(minutes=15),
}
"""How long after a failover nothing automatic follows, where the estate does not say."""
_PLATFORM = {
    1: Objectives(rto=timedelta(minutes=5), rpo=timedelta(minutes=1), mtpd=timedelta(hours=1)),
    2: Objectives(rto=timedelta(minutes=15), rpo=timedelta(minutes=5), mtpd=timedelta(hours=4)),
    3: Objectives(rto=timedelta(hours=1), rpo=timedelta(minutes=15), mtpd=timedelta(days=1)),
    4: Objectives(rto=timedelta(hours=4), rpo=timedelta(hours=1), mtpd=timedelta(days=3)),
}


def objectives(file: EstateFile, service: ServiceSection) -> Objectives | None:
    """Return a service's promises: its own, else its tier's, else the platform's; None if one of them is nowhere."""
    tier, platform = file.tiers.get(service.tier), _PLATFORM.get(service.tier)
    rto, rpo, mtpd = (
        next((o for level in (service, tier, platform) if (o := getattr(level, name, None)) is not None), None)
        for name in ("rto", "rpo", "mtpd")
    )
    if rto is None or rpo is None or mtpd is None:
        return None
    return Objectives(rto=rto, rpo=rpo, mtpd=mtpd)


def service_regions(file: EstateFile, service: ServiceSection) -> tuple[str, ...]:
    """Return the regions a service can run in: declared, else those with members, else all."""
    if service.regions:
        return service.regions
    members = {region for component in service.components.values() for region in component.members}
    return tuple(r for r in file.regions if r in members) or tuple(file.regions)


def home_of(file: EstateFile, services: tuple[str, ...]) -> str | None:
    """Return a group's home: said by one of its services, else the only primary region, of those it runs in if one of
    them is; None if there is neither.
    """
    said = next((home for s in services if (home := file.services[s].home) is not None), None)
    primary = [name for name, region in file.regions.items() if region.role is RegionRole.PRIMARY]
    served = {region for s in services for region in service_regions(file, file.services[s])}
    primary = [name for name in primary if name in served] or primary
    return said or (primary[0] if len(primary) == 1 else None)


def replication(section: ComponentSection) -> Replication:
    """Return how a component that holds state is replicated."""
    said = section.replication or ReplicationSection(mode=ReplicationMode.SYNC)
    acks = said.acks if said.acks is not None else int(said.mode is ReplicationMode.SYNC)
    held = holding(said.lease) if said.lease else None
    return Replication(mode=said.mode, acks=acks, lag_max=said.lag_max, when_alone=said.when_alone, held=held)


def holding(said: LeaseSection) -> Holding:
    """Return how a primary is held. Where no watchdog can be had its agent kills it, at the same age."""
    timing = LeaseTiming(
        renew=said.renew,
        hold=said.watchdog,
        demote=said.reset,
        watchdog=said.watchdog,
        reset=said.reset,
        freeze=said.freeze,
        wait=said.wait or timedelta(),
    )
    return Holding(timing=timing if said.wait else replace(timing, wait=timing.waiting_enough()), device=said.device)


def detection(file: EstateFile) -> Detection:
    """Return when views become a verdict."""
    return Detection(**dict(file.detection))


def places(file: EstateFile) -> Mapping[RegionId, SshSettings | None]:
    """Return where evac stands in each region; None is this host."""
    return {RegionId(name): region.place.ssh for name, region in file.regions.items()}


def build(file: EstateFile, members: Members) -> Estate:
    """Return the estate that a checked file declares."""
    by_group = groups(file.services)
    group_of = {service: GroupId(group) for group, services in by_group.items() for service in services}
    homes = {GroupId(group): home_of(file, services) for group, services in by_group.items()}
    return Estate(
        name=file.name,
        regions={RegionId(name): _region(file, name) for name in file.regions},
        services={ServiceId(name): _service(file, name, group_of[name]) for name in file.services},
        components={c.id: c for c in _components(file, members)},
        probes=tuple(_probes(file, members)),
        observers=tuple(_observers(file, members)),
        home={group: RegionId(home) for group, home in homes.items() if home is not None},
        detection=detection(file),
        guard=_guard(file),
        round_trips=_round_trips(file),
        maintenance=tuple(maintenance(section) for section in file.maintenance),
        rejoin_automatic=file.rejoin == "automatic",
        triggers=tuple(triggers(file, members)),
    )


def _guard(file: EstateFile) -> Guard:
    """A lost primary looks like standbys that are away, so these are given longer to be seen than it."""
    guard = Guard(**dict(file.guard))
    if not {"hold_down", "cooldown"} & file.guard.model_fields_set:
        guard = replace(guard, cooldown=COOLDOWN)
    if "standby_leaves_after" in file.guard.model_fields_set:
        return guard
    least = 2 * detection_bound(detection(file))
    return replace(guard, standby_leaves_after=max(guard.standby_leaves_after, least))


def maintenance(said: MaintenanceSection) -> Recurring:
    """Return the maintenance that a section declares."""
    return Recurring(
        reason=said.reason,
        days=frozenset(DAYS.index(day) for day in said.days),
        at=time.fromisoformat(said.at),
        lasts=said.lasts,
        zone=said.zone,
        groups=tuple(GroupId(g) for g in said.groups),
        regions=tuple(RegionId(r) for r in said.regions),
    )


def _region(file: EstateFile, name: str) -> Region:
    said = file.regions[name]
    return Region(
        id=RegionId(name),
        provider=said.provider,
        latitude=said.location[0],
        longitude=said.location[1],
        jurisdiction=said.jurisdiction,
        role=said.role,
        capacity=Capacity(**dict(said.capacity)),
        cost=said.cost,
    )


def _service(file: EstateFile, name: str, group: GroupId) -> Service:
    said = file.services[name]
    promised = objectives(file, said)
    assert promised is not None, f"service {name} has no objectives, which the rules refuse"
    return Service(
        id=ServiceId(name),
        kind=said.kind,
        tier=said.tier,
        objectives=promised,
        group=group,
        regions=tuple(RegionId(r) for r in service_regions(file, said)),
        needs=tuple(ServiceId(n) for n in said.needs),
        wants=tuple(ServiceId(w) for w in said.wants),
        strategy=said.strategy,
        automation=said.automation,
        data_class=said.data_class,
        jurisdictions=said.jurisdictions,
        tags=said.tags,
        endpoints={RegionId(region): address for region, address in said.endpoints.items()},
    )


def _components(file: EstateFile, members: Members) -> Iterator[Component]:
    for service_name, service in file.services.items():
        for name, section in service.components.items():
            component = ComponentId(name)
            purpose, support = members.purposes[component], members.supports[component]
            yield Component(
                id=component,
                service=ServiceId(service_name),
                driver=section.driver,
                purpose=purpose,
                members=members.components[component],
                replication=replication(section) if purpose is Purpose.STATE else None,
                devices={RegionId(region): device for region, device in section.devices.items()},
                directs=section.directs or support.directs,
                verifiable=Verb.VERIFY in support.verbs,
                relays=support.relays,
            )


def _probes(file: EstateFile, members: Members) -> Iterator[Probe]:
    for (service, position), by_region in members.probes.items():
        section = file.services[service].probes[position]
        for region, settings in by_region.items():
            yield Probe(
                kind=section.kind, service=service, region=region, settings=settings, as_client=section.as_client
            )


def observed(file: EstateFile, name: str, *, counts: bool) -> tuple[str, ...]:
    """Return the services an observer tells of: declared, else all that no probe asks in the same way. What counts real
    clients asks nobody, and so is in no probe's way.
    """
    section = file.observers[name]
    if counts:
        return section.services or tuple(file.services)
    asked = {s for s, service in file.services.items() if any(p.as_client == section.as_client for p in service.probes)}
    return section.services or tuple(s for s in file.services if s not in asked)


def _observers(file: EstateFile, members: Members) -> Iterator[Observer]:
    for name, by_region in members.observers.items():
        section = file.observers[name]
        targets = frozenset(
            (ServiceId(s), RegionId(r))
            for s in observed(file, name, counts=members.observer_kinds[name].counts)
            for r in service_regions(file, file.services[s])
        )
        for vantage, settings in by_region.items():
            yield Observer(
                name=name,
                kind=section.kind,
                vantage=vantage,
                settings=settings,
                targets=targets,
                every=section.interval,
                within=section.timeout,
                as_client=section.as_client,
            )


def _round_trips(file: EstateFile) -> dict[tuple[RegionId, RegionId], timedelta]:
    """Return every declared round trip in both directions."""
    found: dict[tuple[RegionId, RegionId], timedelta] = {}
    for one, others in file.round_trips.items():
        for other, duration in others.items():
            found[RegionId(one), RegionId(other)] = duration
            found[RegionId(other), RegionId(one)] = duration
    return found
