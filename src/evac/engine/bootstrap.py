"""The placement of a group by its members alone: before evac has moved anything, and where its record was lost.

Intuition: the estate says where home is, the systems say where they are. Only when every state component of a group
has one writable primary, all in one region, and the standbys it waits for are those declared, is that recorded; until
then evac watches and says what is missing. After the first record the record counts, and what disagrees with it is
drift; but a primary in another region that was promoted at a higher term than the record's was promoted by evac, after
the record was written. Then the store is a backup's, and the record of a time that is over.
"""

from __future__ import annotations

from dataclasses import replace

from evac.core.estate import Component, ComponentId, Estate, GroupId, Purpose, RegionId, ReplicationMode
from evac.core.observation import MemberRole
from evac.core.plan import Placement, SyncSet, Term
from evac.core.targets import Members


def first_placement(estate: Estate, group: GroupId, members: Members) -> Placement | tuple[str, ...]:
    """Return a group's placement as its members report it, or what still keeps it from being known."""
    missing: list[str] = []
    sync: dict[ComponentId, tuple[SyncSet, ...]] = {}
    where: dict[ComponentId, RegionId] = {}
    for component in estate.group_components(group, Purpose.STATE):
        primaries = _primaries(component, members)
        if len(primaries) != 1:
            found = ", ".join(primaries) or "none"
            missing.append(f"{component.id}: one primary expected, found: {found}")
            continue
        where[component.id] = primaries[0]
        found_set = _sync_set(component, primaries[0], members)
        if isinstance(found_set, str):
            missing.append(found_set)
        elif found_set is not None:
            sync[component.id] = (found_set,)
    if len(set(where.values())) > 1:
        spread = ", ".join(f"{c} in {r}" for c, r in where.items())
        missing.append(f"the primaries of group {group} are in several regions: {spread}; move them together first")
    if missing:
        return tuple(missing)
    primary = next(iter(where.values()), estate.home[group])
    return Placement(group=group, primary=primary, term=highest_term(estate, group, members), sync=sync)


def highest_term(estate: Estate, group: GroupId, members: Members) -> Term:
    """Return the highest term that any member of a group has been told, as far as it is known; 1 where none is."""
    mine = (members.get((c.id, r)) for c in estate.group_components(group, Purpose.STATE) for r in c.members)
    terms = (seen.state.term for seen in mine if seen is not None and seen.state)
    return Term(max((term for term in terms if term), default=1))


def overtaken(placement: Placement, estate: Estate, members: Members) -> Placement | None:
    """Return where a group is by its members, if its record is of a time before it was moved there; None if it is not.

    What is seen late proves nothing against a record: a promotion that the record knows of is of no higher term. Who
    led by the record, or was to be rebuilt by it, is rebuilt, unless all its members stand by for somebody.
    """
    components = estate.group_components(placement.group, Purpose.STATE)
    if any(placement.primary in _primaries(c, members) for c in components):
        return None  # asked at every evaluation, of every group: mostly one look tells
    found = first_placement(estate, placement.group, members)
    if not isinstance(found, Placement) or found.primary == placement.primary:
        return None
    states = [members[c.id, found.primary].state for c in components]
    terms = [state.term or 0 for state in states if state is not None]
    if min(terms, default=0) <= placement.term:
        return None
    left = [r for r in (placement.primary, *placement.awaiting_rejoin) if r != found.primary]
    return replace(found, awaiting_rejoin=tuple(r for r in left if not _stands_by(r, estate, placement.group, members)))


def _stands_by(region: RegionId, estate: Estate, group: GroupId, members: Members) -> bool:
    seen = (members.get((c.id, region)) for c in estate.group_components(group, Purpose.STATE) if region in c.members)
    return all(
        s is not None and s.state is not None and s.state.role is MemberRole.STANDBY and not s.state.refuses
        for s in seen
    )


def _primaries(component: Component, members: Members) -> list[RegionId]:
    return [
        r
        for r in component.members
        if (seen := members.get((component.id, r))) and seen.state and seen.state.role is MemberRole.PRIMARY
    ]


def _sync_set(component: Component, primary: RegionId, members: Members) -> SyncSet | str | None:
    """The set the primary really waits for; a sentence when it is weaker than what is declared."""
    replication = component.replication
    assert replication is not None, "state components are replicated, which loading checks"
    seen = members[component.id, primary]
    assert seen.state is not None, "a primary has said so itself"
    if replication.acks == 0:
        return None
    if seen.state.sync_acks < replication.acks or not seen.state.sync_standbys:
        mode = "waits for" if replication.mode is ReplicationMode.SYNC else "requires"
        return (
            f"{component.id} in {primary} {mode} {seen.state.sync_acks} standbys, the estate declares"
            f" {replication.acks}: set it on the server, then evac goes on"
        )
    return SyncSet(acks=seen.state.sync_acks, standbys=seen.state.sync_standbys)
