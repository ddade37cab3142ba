"""Which services move together.

Intuition: a service and the one it needs are useless in different regions. So services tied by `needs` and `wants`
are one group, unless they say otherwise by `group`; a tie between two groups that were both named is not followed.

What this is not: the order in which a group moves (`core.planning`).
"""

from __future__ import annotations

from collections.abc import Mapping

from evac.config.schema import ServiceSection


def ties(service: ServiceSection) -> tuple[str, ...]:
    """Return the services one is tied to."""
    return (*service.needs, *service.wants)


def groups(services: Mapping[str, ServiceSection]) -> dict[str, tuple[str, ...]]:
    """Return the services of each group, by the group's name, in the order they are declared.

    When services without a group tie two named groups together, the first name is taken; `torn` reports it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for tied in _tied(services):
        names = [services[s].group for s in tied]
        name = next((n for n in names if n), tied[0])
        found[name] = (*found.get(name, ()), *tied)
    return found


def torn(services: Mapping[str, ServiceSection]) -> dict[str, tuple[str, ...]]:
    """Return services without a group that are tied to several named ones, with those names."""
    found: dict[str, tuple[str, ...]] = {}
    for tied in _tied(services):
        names = tuple(dict.fromkeys(n for s in tied if (n := services[s].group)))
        if len(names) > 1:
            found[next(s for s in tied if services[s].group is None)] = names
    return found


def _tied(services: Mapping[str, ServiceSection]) -> list[tuple[str, ...]]:
    together = {name: {name} for name in services}
    for name, service in services.items():
        for other in ties(service):
            if other in services and not _apart(service, services[other]):
                union = together[name] | together[other]
                for member in union:
                    together[member] = union
    seen: set[str] = set()
    found = []
    for name in services:
        if name not in seen:
            seen |= together[name]
            found.append(tuple(s for s in services if s in together[name]))
    return found


def _apart(one: ServiceSection, other: ServiceSection) -> bool:
    return one.group is not None and other.group is not None and one.group != other.group
