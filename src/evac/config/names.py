"""Rules about names: each leads somewhere, none is taken twice, and dependencies do not run in circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evac.config.groups import groups, ties
from evac.config.scene import Found, Rule, Scene
from evac.config.source import KeyPath
from evac.config.spelling import listed, meant


def _undeclared(names: Iterable[tuple[KeyPath, str]], known: tuple[str, ...], what: str) -> Iterator[Found]:
    for path, name in names:
        if name not in known:
            yield Found(
                path=path,
                reason=f"{name} is not a declared {what}{meant(name, known)}; declared: {listed(known)}",
            )


def regions_are_declared(scene: Scene) -> Iterator[Found]:
    """Every region that something else of the file names is one of the estate's."""
    yield from _undeclared(_named_regions(scene), scene.regions, "region")


def _named_regions(scene: Scene) -> Iterator[tuple[KeyPath, str]]:
    for one, others in scene.file.round_trips.items():
        yield ("round_trips", one), one
        yield from ((("round_trips", one, other), other) for other in others)
    for name, observer in scene.file.observers.items():
        yield from ((("observers", name, "vantages", r), r) for r in observer.vantages)
    for position, window in enumerate(scene.file.maintenance):
        yield from ((("maintenance", position, "regions", i), r) for i, r in enumerate(window.regions))
    for name, trigger in scene.file.triggers.items():
        yield from ((("triggers", name, "regions", i), r) for i, r in enumerate(trigger.regions))
    for name, service in scene.file.services.items():
        at: KeyPath = ("services", name)
        if service.home is not None:
            yield (*at, "home"), service.home
        yield from (((*at, "regions", i), region) for i, region in enumerate(service.regions))
        yield from (((*at, "endpoints", region), region) for region in service.endpoints)
        for position, probe in enumerate(service.probes):
            yield from (((*at, "probes", position, "regions", r), r) for r in probe.regions)
        for component, section in service.components.items():
            yield from (((*at, "components", component, "members", r), r) for r in section.members)


def groups_are_declared(scene: Scene) -> Iterator[Found]:
    """Every group that maintenance or a trigger names is one of the estate's."""
    known = tuple(groups(scene.file.services))
    for name, trigger in scene.file.triggers.items():
        yield from _undeclared(
            ((("triggers", name, "groups", i), g) for i, g in enumerate(trigger.groups)), known, "group"
        )
    for position, window in enumerate(scene.file.maintenance):
        named = ((("maintenance", position, "groups", i), group) for i, group in enumerate(window.groups))
        yield from _undeclared(named, known, "group")


def services_are_declared(scene: Scene) -> Iterator[Found]:
    """Every service that another needs or wants, or that is observed, is one of the estate's."""
    for name, observer in scene.file.observers.items():
        observed = ((("observers", name, "services", i), service) for i, service in enumerate(observer.services))
        yield from _undeclared(observed, scene.services, "service")
    for name, service in scene.file.services.items():
        for key, others in (("needs", service.needs), ("wants", service.wants)):
            named = (((("services", name, key, i)), other) for i, other in enumerate(others))
            yield from _undeclared(named, scene.services, "service")


def dependencies_do_not_cycle(scene: Scene) -> Iterator[Found]:
    """No service needs or wants itself, by whatever detour. Each circle is named in full, once."""
    graph = {name: [t for t in ties(s) if t in scene.file.services] for name, s in scene.file.services.items()}
    seen: set[frozenset[str]] = set()
    for start in graph:
        circle = _circle(graph, start)
        if circle and frozenset(circle) not in seen:
            seen.add(frozenset(circle))
            key = "needs" if circle[1] in scene.file.services[start].needs else "wants"
            path = ("services", start, key)
            yield Found(path=path, reason=f"runs in a circle: {' → '.join(circle)}; take one of these ties out")


def _circle(graph: dict[str, list[str]], start: str) -> list[str]:
    """Return a shortest way from a service back to itself, both ends included; empty if there is none."""
    ways = [[start]]
    reached: set[str] = set()
    while ways:
        longer: list[list[str]] = []
        for way in ways:
            for after in graph[way[-1]]:
                if after == start:
                    return [*way, start]
                if after not in reached:
                    reached.add(after)
                    longer.append([*way, after])
        ways = longer
    return []


def nothing_is_listed_twice(scene: Scene) -> Iterator[Found]:
    """A list of names holds each once."""
    for name, service in scene.file.services.items():
        for key, names in (("regions", service.regions), ("needs", service.needs), ("wants", service.wants)):
            for position, listed_name in enumerate(names):
                if listed_name in names[:position]:
                    reason = f"{listed_name} is listed twice; keep one"
                    yield Found(path=("services", name, key, position), reason=reason)
        for position, wanted in enumerate(service.wants):
            if wanted in service.needs:
                reason = f"{wanted} is needed and wanted; keep it under needs, which is the stronger"
                yield Found(path=("services", name, "wants", position), reason=reason)


def components_have_their_own_names(scene: Scene) -> Iterator[Found]:
    """A component's name is unique in the estate: orders and receipts are kept under it."""
    first: dict[str, str] = {}
    for path, service, name, _ in scene.components():
        if name in first:
            reason = f"is also a component of {first[name]}; names of components are unique, rename one"
            yield Found(path=path, reason=reason)
        first.setdefault(name, service)


NAMES: tuple[Rule, ...] = (
    regions_are_declared,
    groups_are_declared,
    services_are_declared,
    dependencies_do_not_cycle,
    nothing_is_listed_twice,
    components_have_their_own_names,
)
