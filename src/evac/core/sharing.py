"""How what is known of a large estate is divided into shares, and what of a share a person would notice.

Intuition: groups are told of one by one, so a share has whole groups, as many as make it worth a record. A group that
is larger than a share by itself is told of in several: what holds for it as a whole is in the first of them.

Of what is known nearly everything changes all the time: a position grows, an answer took a millisecond more. The gist
leaves such figures out, or keeps their order of magnitude, so that it differs when somebody should look again.

What this is not: the writing (`engine.parts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from evac.core.decision import Decision
from evac.core.essence import essence, without_figures
from evac.core.estate import ComponentId, Estate, GroupId, ServiceId
from evac.core.health import ServiceHealth
from evac.core.observation import MemberSeen
from evac.core.plan import Placement
from evac.core.snapshot import Part

ROWS_MAX = 400
"""Members and services in regions that a share has at most: with some hundred bytes each, well below what fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one part of a snapshot is about. `groups` are those that it says everything of that holds as a whole."""

    groups: tuple[GroupId, ...]
    services: tuple[ServiceId, ...]
    components: tuple[ComponentId, ...]


def divide(estate: Estate, *, rows_max: int = ROWS_MAX) -> tuple[Share, ...]:
    """Return the shares of an estate; the same ones for the same estate, and one for a small one."""
    shares: list[Share] = []
    groups: list[GroupId] = []
    services: list[ServiceId] = []
    components: list[ComponentId] = []
    rows = 0

    def close() -> None:
        nonlocal rows
        if services:
            shares.append(Share(groups=tuple(groups), services=tuple(services), components=tuple(components)))
        for some in (groups, services, components):
            some.clear()
        rows = 0

    for group in estate.home:
        each = [(s.id, *_size(estate, s.id)) for s in estate.group_services(group)]
        if rows + sum(size for _, _, size in each) > rows_max:
            close()
        groups.append(group)
        for service, own, size in each:
            if rows + size > rows_max and services:
                close()
            services.append(service)
            components.extend(own)
            rows += size
    close()
    return tuple(shares)


def _size(estate: Estate, service: ServiceId) -> tuple[tuple[ComponentId, ...], int]:
    """A service's components, and how many rows it makes."""
    components = estate.service_components(service)
    return tuple(c.id for c in components), len(estate.services[service].regions) + sum(
        len(c.members) for c in components
    )


def gist(part: Part) -> int:
    """Return a number that differs, within one process, where a person would notice that a part differs."""
    return hash(
        (
            tuple(map(_of_placement, part.placements)),
            tuple(map(essence, part.decisions)),
            tuple((g, tuple(why)) for g, why in part.unplaced.items()),
            tuple((g, tuple((r.kind, without_figures(r.reason)) for r in held)) for g, held in part.restraints.items()),
            tuple((s.component, s.sets, s.missing, s.changed and s.changed.run) for s in part.sets),
            tuple(map(_of_member, part.members)),
            tuple(map(_of_health, part.health)),
        )
    )


def group_gist(share: Share, *, placements: Mapping[GroupId, Placement], decisions: Mapping[GroupId, Decision]) -> int:
    """Return the same of what is decided of a share's groups only: cheap enough to be asked for each time."""

    def each() -> Iterator[object]:
        for group in share.groups:
            placement, decision = placements.get(group), decisions.get(group)
            yield placement and _of_placement(placement)
            yield decision and essence(decision)

    return hash(tuple(each()))


def _of_placement(placement: Placement) -> object:
    sync = tuple((c, sets) for c, sets in placement.sync.items())
    return placement.group, placement.primary, placement.term, sync, placement.awaiting_rejoin, placement.entry


def _of_member(seen: MemberSeen) -> object:
    state = seen.state
    if state is None:
        return seen.component, seen.region, without_figures(seen.reason)
    return (
        *(seen.component, seen.region, state.role, state.writable, state.term, state.timeline, state.upstream),
        *(state.refuses, state.streaming, state.sync_standbys, state.sync_acks, state.waiting > 0),
        *(_magnitude(state.lag), _magnitude(state.stream_silence)),
    )


def _of_health(health: ServiceHealth) -> object:
    return health.service, health.region, _tenths(health.score), _tenths(health.error_rate)


def _tenths(part: float | None) -> int | None:
    return None if part is None else round(10 * part)


def _magnitude(span: timedelta | None) -> int | None:
    """How often a span has doubled since a second: below one it is all the same."""
    return None if span is None else (span // timedelta(seconds=1)).bit_length()
