"""Rules about where things are: homes, members, standbys, addresses, jurisdictions, and who can see whom."""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.build import home_of, observed, replication, service_regions
from evac.config.groups import torn
from evac.config.scene import Found, Rule, Scene
from evac.config.source import KeyPath
from evac.config.spelling import listed
from evac.core.estate import ComponentId, RegionId, RegionRole, ReplicationMode, Strategy

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def groups_are_whole(scene: Scene) -> Iterator[Found]:
    """No service is tied to two named groups without saying which is its own."""
    for service, names in torn(scene.file.services).items():
        reason = f"is tied to the groups {listed(names)} and names none; say which by `group`"
        yield Found(path=("services", service), reason=reason)


def groups_have_one_home(scene: Scene) -> Iterator[Found]:
    """Each group has exactly one home."""
    for group, services in scene.groups.items():
        said = [(s, home) for s in services if (home := scene.file.services[s].home) is not None]
        for service, home in said[1:]:
            if home != said[0][1]:
                reason = f"group {group} already has its home in {said[0][1]} (service {said[0][0]}); keep one"
                yield Found(path=("services", service, "home"), reason=reason)
        if home_of(scene.file, services) is None:
            primary = [name for name, region in scene.file.regions.items() if region.role is RegionRole.PRIMARY]
            why = f"the role primary is held by {listed(primary)}" if primary else "no region has the role primary"
            path: KeyPath = ("services", services[0]) if primary else ("regions",)
            yield Found(path=path, reason=f"group {group} has no home: {why}; say `home` on one of its services")


def homes_are_served(scene: Scene) -> Iterator[Found]:
    """A group's home is a region its services run in, with a member of everything that holds state."""
    for services in scene.groups.values():
        home = home_of(scene.file, services)
        if home is None or home not in scene.regions:
            continue
        for service in services:
            section = scene.file.services[service]
            if home not in service_regions(scene.file, section):
                reason = f"does not run in {home}, its group's home; add it to regions or move the home"
                yield Found(path=("services", service), reason=reason)
                continue
            for name, component in section.components.items():
                if scene.holds_state(name) and home not in component.members:
                    reason = f"has no member in {home}, its group's home; add one or move the home"
                    yield Found(path=("services", service, "components", name, "members"), reason=reason)


def members_are_where_services_are(scene: Scene) -> Iterator[Found]:
    """Members and probes are in regions the service lists."""
    for service, section in scene.file.services.items():
        if not section.regions:
            continue
        allowed = listed(section.regions)
        named: list[tuple[KeyPath, str]] = [
            (("services", service, "components", name, "members", region), region)
            for name, component in section.components.items()
            for region in component.members
        ]
        named += [
            (("services", service, "probes", position, "regions", region), region)
            for position, probe in enumerate(section.probes)
            for region in probe.regions
        ]
        for path, region in named:
            if region in scene.regions and region not in section.regions:
                reason = (
                    f"service {service} does not run in {region}, only in {allowed}; add it to regions or take it out"
                )
                yield Found(path=path, reason=reason)


def state_has_a_standby(scene: Scene) -> Iterator[Found]:
    """What holds state has at least two members, and every region of its service has one."""
    for path, service, name, section in scene.components():
        if not scene.holds_state(name):
            continue
        at: KeyPath = (*path, "members")
        strategy = scene.file.services[service].strategy
        if len(section.members) == 1 and strategy is not Strategy.BACKUP_RESTORE:
            reason = f"has one member only, in {listed(section.members)}: nothing can be promoted; add a standby"
            yield Found(path=at, reason=reason)
        missing = [r for r in scene.file.services[service].regions if r not in section.members and r in scene.regions]
        if missing:
            reason = f"has no member in {listed(missing)}, where its service runs: no failover can go there"
            yield Found(path=at, reason=reason, warning=True)


def acknowledgements_can_come(scene: Scene) -> Iterator[Found]:
    """A primary waits for no more standbys than there are, and a synchronous one for at least one."""
    for path, _, name, section in scene.components():
        if name in scene.members.purposes and not scene.holds_state(name) and section.replication is not None:
            reason = f"is for systems that hold state, and {section.driver} carries traffic; remove it"
            yield Found(path=(*path, "replication"), reason=reason)
        if scene.holds_state(name) and section.directs is not None:
            reason = f"is for routers, and {section.driver} holds state; remove it"
            yield Found(path=(*path, "directs"), reason=reason)
        if not scene.holds_state(name):
            continue
        said, standbys = replication(section), len(section.members) - 1
        at: KeyPath = (*path, "replication", "acks")
        if said.acks > standbys > 0:
            have = "is 1 standby" if standbys == 1 else f"are {standbys} standbys"
            reason = (
                f"waits for {said.acks} standbys, and there {have}: no write would ever be acknowledged; lower acks"
            )
            yield Found(path=at, reason=reason)
        if said.mode is ReplicationMode.SYNC and said.acks == 0:
            yield Found(path=at, reason="is 0 with mode: sync, which waits for nobody; say 1 or more, or mode: async")


def quorum_can_be_reached(scene: Scene) -> Iterator[Found]:
    """There is somewhere to go, and enough outside vantage points to say so."""
    count = len(scene.regions)
    if count == 1:
        yield Found(path=("regions",), reason="holds one region only: there is nowhere to move to; declare another")
        return
    if scene.file.detection.quorum > count - 1:
        reason = (
            f"is {scene.file.detection.quorum}, and of {count} regions only {count - 1} are outside the one "
            f"that fails: it can never be reached; say at most {count - 1}, or 0 for a majority"
        )
        yield Found(path=("detection", "quorum"), reason=reason)
    elif count == 2:
        reason = "holds two regions: one outside view decides alone; a third one, even without services, makes it safer"
        yield Found(path=("regions",), reason=reason, warning=True)


def data_stays_where_it_may(scene: Scene) -> Iterator[Found]:
    """No service runs in a region whose jurisdiction it does not allow."""
    for name, service in scene.file.services.items():
        if not service.jurisdictions:
            continue
        for position, region in enumerate(service_regions(scene.file, service)):
            law = scene.file.regions[region].jurisdiction if region in scene.file.regions else None
            if law is not None and law not in service.jurisdictions:
                allowed = listed(service.jurisdictions)
                path: KeyPath = ("services", name, "regions", position) if service.regions else ("services", name)
                reason = (
                    f"{region} is under {law}, and the data of {name} may be in {allowed} only; take one of them out"
                )
                yield Found(path=path, reason=reason)


def addresses_differ(scene: Scene) -> Iterator[Found]:
    """No two members are one and the same server: of one component never, of several not if they hold state."""
    first: dict[tuple[str, ...], tuple[str, str]] = {}
    for path, _, name, section in scene.components():
        for region in section.members:
            address = _address(scene, name, region)
            if address is None:
                continue
            kind = "state" if scene.holds_state(name) else name
            other = first.setdefault((kind, *address), (name, region))
            if other != (name, region):
                reason = f"has the address of {other[0]} in {other[1]}, {address[0]}:{address[1]}; each needs its own"
                yield Found(path=(*path, "members", region), reason=reason)


def _address(scene: Scene, component: str, region: str) -> tuple[str, ...] | None:
    """Return host and port of a member, and the place they are seen from where the host means that place itself."""
    settings = scene.members.components.get(ComponentId(component), {}).get(RegionId(region))
    host, port = getattr(settings, "host", None), getattr(settings, "port", None)
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    declared = scene.file.regions.get(region)
    ssh = declared.place.ssh if declared is not None else None
    seen_from = f"{ssh.host}:{ssh.port}" if ssh is not None and host in _LOOPBACK else ""
    return host, str(port), seen_from


def places_differ(scene: Scene) -> Iterator[Found]:
    """Each region is looked at from a place of its own."""
    first: dict[str, str] = {}
    for name, region in scene.file.regions.items():
        ssh = region.place.ssh
        key = "local" if ssh is None else f"{ssh.host}:{ssh.port}"
        other = first.setdefault(key, name)
        if other != name and ssh is not None:
            reason = f"is the place of {other} too, {key}: two regions on one host fail together; give each its own"
            yield Found(path=("regions", name, "place"), reason=reason)
        elif other != name:
            reason = f"stands on this host like {other}: it is no vantage point of its own; give it an ssh place there"
            yield Found(path=("regions", name), reason=reason, warning=True)


def services_are_looked_at(scene: Scene) -> Iterator[Found]:
    """A service without probes that nothing observes fails unseen, as long as its region answers."""
    observers = [name for name, kind in scene.members.observer_kinds.items() if not kind.counts]
    seen = {service for name in observers for service in observed(scene.file, name, counts=False)}
    for name, service in scene.file.services.items():
        if not service.probes and name not in seen:
            reason = "has no probes: that it fails while its region is well would not be seen; add one"
            yield Found(path=("services", name), reason=reason, warning=True)


LAYOUT: tuple[Rule, ...] = (
    groups_are_whole,
    groups_have_one_home,
    homes_are_served,
    members_are_where_services_are,
    state_has_a_standby,
    acknowledgements_can_come,
    quorum_can_be_reached,
    data_stays_where_it_may,
    addresses_differ,
    places_differ,
    services_are_looked_at,
)
