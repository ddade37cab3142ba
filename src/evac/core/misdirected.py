"""Misdirected: routers that send clients where the group's primary, or its door, no longer is.

Intuition: a move turns every router that answers. One that did not (its region was away, one of its servers was down)
comes back with what it was told last, and nobody tells it since: its clients go to a region that turns them away.

What this is not: a balance. Weights that a person has set are left alone as long as somebody gets to the right region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evac.core.estate import Component, ComponentId, Directs, Estate, Purpose, RegionId
from evac.core.observation import Instant, Json, MemberSeen
from evac.core.plan import Placement
from evac.core.protection import NOW

SEVERAL = ("instances", "servers")
"""Where in a router's state its single servers stand, each with its own weights."""


def misdirected(
    estate: Estate,
    placement: Placement,
    members: Mapping[tuple[ComponentId, RegionId], MemberSeen],
    region: RegionId,
    *,
    now: Instant,
) -> tuple[tuple[ComponentId, str], ...]:
    """Return a region's routers by which nobody gets to where the group is, each with how that shows."""
    found: list[tuple[ComponentId, str]] = []
    for router in estate.group_components(placement.group, Purpose.ROUTER):
        seen = members.get((router.id, region))
        if seen is None or seen.state is None or now - seen.at > NOW:
            continue
        right = _right(router, placement)
        wrong = next((w for w in _each(seen.state.detail) if any(w.values()) and not any(map(w.get, right))), None)
        if wrong is not None:
            found.append((router.id, f"it sends clients to {', '.join(r for r, weight in wrong.items() if weight)}"))
    return tuple(found)


def _right(router: Component, placement: Placement) -> tuple[RegionId, ...]:
    """The regions from where clients are served. The record keeps another door for as long as any router has it."""
    return (placement.primary, placement.door) if router.directs is Directs.ENTRY else (placement.primary,)


def _each(detail: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The weights of the router, and of each of its servers."""
    several = (detail[name] for name in SEVERAL if name in detail)
    ones = [one for by_address in several if isinstance(by_address, Mapping) for one in by_address.values()]
    for one in (detail, *ones):
        if isinstance(one, Mapping) and isinstance(weights := one.get("weights"), Mapping):
            yield weights
