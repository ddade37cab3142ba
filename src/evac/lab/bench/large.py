"""Large estates as values, and all that is seen of them: what the bench of scale (`scale`) measures on.

Intuition: what a decision costs depends on how much is declared and how much is seen, and on nothing that is real. So
the estate, its cells and its members are made as values: no server, no store, no clock.

The shape: services in groups of `GROUP_SIZE`, each with a state in every region and a synchronous quorum, one router a
group. Each service in each region is seen by its own region's agent and by `OUTSIDE` vantage points outside (the next
regions in turn): nobody looks at everything from everywhere where there are 90,000 things to look at. With 10,000
observations a second each of these is then seen twice a minute, so that is the estate's interval, and what is fresh or
recent is measured by it.

What this is not: a lab, or a simulation of what happens in time (`evac.sim`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from evac.core.estate import (
    Component,
    ComponentId,
    Directs,
    Estate,
    GroupId,
    Objectives,
    Purpose,
    Region,
    RegionId,
    RegionRole,
    Replication,
    ReplicationMode,
    Service,
    ServiceId,
)
from evac.core.kinds import ServiceKind
from evac.core.observation import Heartbeat, Instant, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.core.plan import Placement, SyncSet, Term
from evac.core.policy import Detection

GROUP_SIZE = 10
OUTSIDE = 2
INTERVAL = timedelta(seconds=30)
MICROSECOND = timedelta(microseconds=1)
DETECTION = Detection(
    interval=INTERVAL, heartbeat_stale=2.5 * INTERVAL, gray_window=4 * INTERVAL, lossy_window=2 * INTERVAL
)
TOOK = timedelta(milliseconds=20)
CUT = MemberState(
    role=MemberRole.STANDBY, writable=False, timeline=1, position=4096, streaming=False, stream_silence=INTERVAL
)
"""What a standby says whose primary is lost."""


def estate_of(regions: int, services: int, *, group_size: int = GROUP_SIZE) -> Estate:
    """Return an estate of so many regions and services; each service but the first of its group needs that one."""
    where = tuple(RegionId(f"region-{n}") for n in range(1, regions + 1))
    made: list[Service] = []
    components: list[Component] = []
    home: dict[GroupId, RegionId] = {}
    for n in range(services):
        first = n - n % group_size
        group = GroupId(f"group-{n // group_size:04}")
        service = ServiceId(f"service-{n:05}")
        home.setdefault(group, where[n // group_size % regions])
        needs = () if n == first else (ServiceId(f"service-{first:05}"),)
        made.append(_service(service, group, where, needs))
        components.append(_state(service, where))
        if n == first:
            components.append(_router(service, where))
    return Estate(
        name=f"large-{regions}-{services}",
        regions={r: _region(r, n) for n, r in enumerate(where)},
        services={s.id: s for s in made},
        components={c.id: c for c in components},
        probes=(),
        home=home,
        detection=replace(DETECTION, quorum=min(OUTSIDE, regions - 1)),
    )


def _region(region: RegionId, n: int) -> Region:
    role = RegionRole.SECONDARY if n else RegionRole.PRIMARY
    return Region(id=region, provider="aws", latitude=8.0 * n, longitude=30.0 * n, jurisdiction="EU", role=role)


def _service(service: ServiceId, group: GroupId, where: tuple[RegionId, ...], needs: tuple[ServiceId, ...]) -> Service:
    promise = Objectives(rto=timedelta(minutes=1), rpo=timedelta(), mtpd=timedelta(hours=1))
    return Service(
        id=service, kind=ServiceKind.DATABASE, tier=1, objectives=promise, group=group, regions=where, needs=needs
    )


def _state(service: ServiceId, where: tuple[RegionId, ...]) -> Component:
    return Component(
        id=ComponentId(f"{service}-db"),
        service=service,
        driver="postgresql",
        purpose=Purpose.STATE,
        members=dict.fromkeys(where),
        replication=Replication(mode=ReplicationMode.SYNC, acks=1, lag_max=timedelta(seconds=30)),
        relays=True,
    )


def _router(service: ServiceId, where: tuple[RegionId, ...]) -> Component:
    return Component(
        id=ComponentId(f"{service}-lb"),
        service=service,
        driver="haproxy",
        purpose=Purpose.ROUTER,
        members=dict.fromkeys(where),
        directs=Directs.WORK,
    )


def placements_of(estate: Estate) -> dict[GroupId, Placement]:
    """Return every group at home, each primary waiting for one of all its standbys."""
    sync: dict[GroupId, dict[ComponentId, tuple[SyncSet, ...]]] = {group: {} for group in estate.home}
    for component in estate.components.values():
        if component.purpose is Purpose.STATE:
            group = estate.services[component.service].group
            others = tuple(r for r in component.members if r != estate.home[group])
            sync[group][component.id] = (SyncSet(acks=1, standbys=others),)
    return {g: Placement(group=g, primary=home, term=Term(1), sync=sync[g]) for g, home in estate.home.items()}


def beats(estate: Estate, at: Instant, *, lost: RegionId | None = None) -> Iterator[Heartbeat]:
    """Every agent's heartbeat; not that of a lost region."""
    return (Heartbeat(at=at, region=r) for r in estate.regions if r != lost)


def probes(estate: Estate, at: Instant, *, lost: RegionId | None = None) -> Iterator[Probed]:
    """One look of everybody at what they look at. Of a lost region nothing answers, and nothing comes from it."""
    where = list(estate.regions)
    for service in estate.services:
        for n, region in enumerate(where):
            for step in range(min(OUTSIDE, len(where) - 1) + 1):
                vantage = where[(n + step) % len(where)]
                if vantage != lost:
                    yield Probed(
                        at=at,
                        vantage=vantage,
                        service=service,
                        region=region,
                        ok=region != lost,
                        took=TOOK,
                        reason="no answer within 1 s" if region == lost else "",
                    )


def tellings(estate: Estate, at: Instant, *, lost: RegionId | None = None) -> Iterator[MemberSeen]:
    """What every member of a state says of itself: the primary at home, all others streaming from it."""
    for component in estate.components.values():
        if component.purpose is Purpose.STATE:
            home = estate.home[estate.services[component.service].group]
            for region in component.members:
                if region != lost:
                    yield MemberSeen(at=at, component=component.id, region=region, state=_says(region, home))


def _says(region: RegionId, home: RegionId) -> MemberState:
    if region == home:
        return MemberState(role=MemberRole.PRIMARY, writable=True, timeline=1, position=4096, streaming=True)
    return MemberState(
        role=MemberRole.STANDBY,
        writable=False,
        timeline=1,
        position=4096,
        upstream=home,
        streaming=True,
        stream_silence=timedelta(),
        lag=timedelta(),
    )


def everything(estate: Estate, at: Instant, *, lost: RegionId | None = None) -> Iterator[Observation]:
    """All that is seen of an estate in one interval."""
    yield from beats(estate, at, lost=lost)
    yield from probes(estate, at, lost=lost)
    yield from tellings(estate, at, lost=lost)


def seen_from(estate: Estate, vantage: RegionId, at: Instant, *, lost: RegionId | None = None) -> Iterator[Observation]:
    """One look from one region: an observer's answer of all it watches, and what each member there says, a moment after
    the one before.
    """
    where = list(estate.regions)
    here = where.index(vantage)
    for service in estate.services:
        for step in range(min(OUTSIDE, len(where) - 1) + 1):
            region = where[here - step]
            ok = region != lost
            reason = "" if ok else "no answer within 1 s"
            yield Probed(at=at, vantage=vantage, service=service, region=region, ok=ok, took=timedelta(), reason=reason)
    for n, component in enumerate(estate.components.values()):
        if component.purpose is Purpose.STATE:
            home = estate.home[estate.services[component.service].group]
            state = replace(CUT, upstream=home) if home == lost else _says(vantage, home)
            yield MemberSeen(at=at - n * MICROSECOND, component=component.id, region=vantage, state=state)
