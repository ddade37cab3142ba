"""Whether the old primaries of a group can be fenced without a person, or can be asked to stop by themselves, as far as
can be told before it is tried.

What this is not: the proof that they are (a fence receipt, `core.run`).
"""

from __future__ import annotations

from evac.core.assessment import answers
from evac.core.estate import Component, ComponentId, Estate, Purpose, RegionId, ReplicationMode
from evac.core.observation import MemberRole
from evac.core.plan import Placement, Verb
from evac.core.protection import alone
from evac.core.targets import Members
from evac.core.verdict import Assessment


def unfenceable(estate: Estate, assessment: Assessment, placement: Placement, members: Members) -> str:
    """Return why the old primaries cannot be fenced without a person; empty if they can.

    A source whose agent answers can stop what it hosts, and for a silent one a device or the end of a lease does it:
    enough where nothing else was promised. Services that are merely wanted do not count: a plan leaves out what it
    cannot fence of them.
    """
    alive = answers(assessment, placement.primary, estate=estate)
    wanted = estate.wanted_only(placement.group)
    for component in estate.group_components(placement.group, Purpose.STATE):
        if component.service in wanted:
            continue
        if not keeps_all(component, placement) and (alive or from_afar(component, placement.primary)):
            continue
        if reason := unstarvable(component, estate, assessment, placement, members):
            return reason
    return ""


def loses_nothing(estate: Estate, assessment: Assessment, placement: Placement, members: Members) -> bool:
    """Return whether a failover loses nothing that was acknowledged: standbys hold all of it, and enough of them can
    starve the old primaries. What is merely wanted does not count.
    """
    wanted = estate.wanted_only(placement.group)
    required = [c for c in estate.group_components(placement.group, Purpose.STATE) if c.service not in wanted]
    kept = all(keeps_all(component, placement) for component in required)
    return kept and not unfenceable(estate, assessment, placement, members)


def stops_cleanly(estate: Estate, assessment: Assessment, placement: Placement, members: Members) -> bool:
    """Return whether the old primaries can be asked to stop cleanly, after which their standbys hold all they wrote:
    their agent is heard, and each of them says that it takes writes.
    """
    if not answers(assessment, placement.primary, estate=estate):
        return False
    seen = [members.get((c.id, placement.primary)) for c in estate.group_components(placement.group, Purpose.STATE)]
    states = [s.state for s in seen if s is not None]
    return len(states) == len(seen) and all(s is not None and s.role is MemberRole.PRIMARY for s in states)


def keeps_all(component: Component, placement: Placement) -> bool:
    """Return whether standbys hold every acknowledged write of a component, so that a failover must ask enough of them.

    What acknowledges first, or alone, may lose its last writes whoever is asked.
    """
    assert component.replication is not None, "state components are replicated, which loading checks"
    return component.replication.mode is ReplicationMode.SYNC and component.id in placement.sync


def from_afar(component: Component, primary: RegionId) -> Verb | None:
    """Return how a silent old primary is fenced without its region and without its standbys; None: by nobody.

    That a device or a lease really is there, whoever asks it sees.
    """
    if primary in component.devices:
        return Verb.SWITCH_OFF
    return Verb.EXPIRE if component.held else None


def unstarvable(
    component: Component, estate: Estate, assessment: Assessment, placement: Placement, members: Members
) -> str:
    """Return why the old primary of a component cannot be starved of its standbys; empty if it can."""
    sets = placement.sync.get(component.id, ())
    if not sets:
        how = "acknowledges alone" if alone(component, placement) else "is asynchronous"
        return f"{component.id} {how} and {placement.primary} cannot be reached: nothing proves it stopped"
    for sync in sets:
        able = [
            r for r in sync.standbys if is_standby(members, component.id, r) and answers(assessment, r, estate=estate)
        ]
        if len(able) < sync.refusals_needed:
            return (
                f"{component.id}: {sync.refusals_needed} of {', '.join(sync.standbys)} must refuse the old primary,"
                f" {len(able)} can be reached"
            )
    return ""


def is_standby(members: Members, component: ComponentId, region: RegionId) -> bool:
    """Return whether a member answered when it was last asked, and is a standby."""
    seen = members.get((component, region))
    return seen is not None and seen.state is not None and seen.state.role is MemberRole.STANDBY
