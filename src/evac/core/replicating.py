"""How a component replicates: who streams from whom, how far behind, how quickly, and whether somebody waits for it.

Intuition: every member speaks for itself, to its own region's agent, and names whom it follows; so the topology is what
standbys say, link by link, whatever the record has. How far one is behind is counted against the primary, however many
relay in between: that is what would be lost.

What this is not: whether it may be promoted (`targets`, `readiness`), or the drawing (`report.topology`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from evac.core.estate import Component, ComponentId, Estate, GroupId, Purpose, RegionId, ReplicationMode
from evac.core.observation import Instant, MemberRole, MemberSeen
from evac.core.tracks import Rate, Track, behind, in_order, rate, track

SAID_WITHIN = timedelta(seconds=3)
"""What a member said longer ago is what it was, not what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One member, by its newest word at `told`. None is unknown, throughout.

    `lag` is how much older than the primary's what it holds is, by the positions of both; `lag_over` what it is more
    than, where it began before anybody looked. `applied_lag` is the age of the newest change that it has applied, as
    the system itself reports it. `lag_bytes` is what it does not hold of the primary's log, `unapplied_bytes` what it
    has been told of and has not applied. `in_sync_at` is the newest moment as of which it holds all that the primary
    had. `silence` is for how long nothing has come from upstream.
    """

    region: RegionId
    role: MemberRole | None
    told: Instant | None
    fresh: bool
    """Whether its newest word is new enough to be what is so now."""
    reason: str = ""
    """Why it did not answer its agent, or that nothing was ever told of it."""
    upstream: RegionId | None = None
    refuses: bool = False
    """A standby that was told to follow nobody."""
    streaming: bool | None = None
    lag: timedelta | None = None
    lag_over: timedelta | None = None
    applied_lag: timedelta | None = None
    lag_bytes: int | None = None
    unapplied_bytes: int | None = None
    rate: Rate | None = None
    """Bytes a second that its log grew by: of the primary what it writes, of a standby what came over its stream."""
    in_sync_at: Instant | None = None
    silence: timedelta | None = None
    waited_for: bool | None = None
    """Whether the primary, by its own word, waits for this one's acknowledgement, alone or with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A component's members, in the estate's order, and whom its primary says it waits for: `acks` of `sync`."""

    group: GroupId
    component: ComponentId
    driver: str
    mode: ReplicationMode
    primary: RegionId | None
    """Where the record has the primary; None where it has none."""
    acks: int | None
    sync: tuple[RegionId, ...]
    replicas: tuple[Replica, ...]

    @property
    def well(self) -> bool:
        """Return whether every member is known, and all stream from the one primary, where the record has it."""
        streams = all(r.fresh and (r.role is MemberRole.PRIMARY or r.streaming is True) for r in self.replicas)
        return streams and not self.odd

    @property
    def odd(self) -> str:
        """Return what is wrong with the topology as a whole; empty if all that streams leads to the one primary."""
        primaries = [r.region for r in self.replicas if r.role is MemberRole.PRIMARY]
        if len(primaries) != 1:
            return f"{len(primaries)} primaries: {', '.join(primaries)}" if primaries else "no primary is seen"
        (primary,) = primaries
        if self.primary not in (None, primary):
            return f"its primary is in {primary}, and the record has it in {self.primary}"
        upstream = {r.region: r.upstream for r in self.replicas}
        lost = [r.region for r in self.replicas if r.streaming and not _leads(r.region, to=primary, by=upstream)]
        return f"not by way of the primary: {', '.join(lost)}" if lost else ""


def _leads(region: RegionId, *, to: RegionId, by: Mapping[RegionId, RegionId | None]) -> bool:
    """Whether who is followed, and whom that one follows, comes to a region."""
    seen: set[RegionId] = set()
    at: RegionId | None = region
    while at is not None and at != to and at not in seen:
        seen.add(at)
        at = by.get(at)
    return at == to


def topologies(
    estate: Estate, looks: Iterable[MemberSeen], *, primaries: Mapping[GroupId, RegionId], now: Instant
) -> tuple[Topology, ...]:
    """Return how each component with state replicates, by the looks of some seconds, in the estate's order."""
    said: dict[tuple[ComponentId, RegionId], list[MemberSeen]] = {}
    for look in in_order(looks):
        said.setdefault((look.component, look.region), []).append(look)
    return tuple(
        _topology(group, c, {r: said.get((c.id, r), []) for r in c.members}, primaries.get(group), now=now)
        for group in estate.home
        for c in estate.group_components(group, Purpose.STATE)
    )


def _topology(
    group: GroupId,
    component: Component,
    said: Mapping[RegionId, Sequence[MemberSeen]],
    recorded: RegionId | None,
    *,
    now: Instant,
) -> Topology:
    assert component.replication is not None, "what holds state says how it is copied"
    plain = {r: _said(r, looks, now=now) for r, looks in said.items()}
    tracks = {r: track(looks) for r, looks in said.items()}
    lead = _lead(plain, recorded)
    heard = said[lead][-1].state if lead is not None and plain[lead].fresh else None
    against = tracks[lead] if lead is not None and heard is not None else None
    mode = component.replication.mode
    sync = heard.sync_standbys if heard is not None else ()
    waits = {r: mode is ReplicationMode.SYNC and r in sync for r in plain if heard is not None and r != lead}
    return Topology(
        group=group,
        component=component.id,
        driver=component.driver,
        mode=mode,
        primary=recorded,
        acks=heard.sync_acks if heard is not None else None,
        sync=sync,
        replicas=tuple(replace(_measured(plain[r], tracks[r], against), waited_for=waits.get(r)) for r in plain),
    )


def _said(region: RegionId, looks: Sequence[MemberSeen], *, now: Instant) -> Replica:
    """What a member said last."""
    if not looks:
        return Replica(region=region, role=None, told=None, fresh=False, reason="nothing was told of it")
    newest = looks[-1]
    fresh, state = now - newest.at <= SAID_WITHIN, newest.state
    if state is None:
        return Replica(region=region, role=None, told=newest.at, fresh=fresh, reason=newest.reason)
    follows = state.role is MemberRole.STANDBY
    return Replica(
        region=region,
        role=state.role,
        told=newest.at,
        fresh=fresh,
        upstream=state.upstream if follows else None,
        refuses=follows and state.refuses,
        streaming=state.streaming if follows else None,
        applied_lag=state.lag if follows else None,
        unapplied_bytes=state.lag_bytes if follows else None,
        silence=state.stream_silence if follows else None,
    )


def _lead(replicas: Mapping[RegionId, Replica], recorded: RegionId | None) -> RegionId | None:
    """The primary that the others are measured against: that of the record, else the only one there is."""
    found = [r for r, each in replicas.items() if each.role is MemberRole.PRIMARY]
    if recorded in found:
        return recorded
    return found[0] if len(found) == 1 else None


def _measured(replica: Replica, mine: Track | None, lead: Track | None) -> Replica:
    """What is said of a member, with what its positions tell; nothing of one that is silent now."""
    applied = _applied_at(replica)
    if mine is None or not replica.fresh or replica.role is None:
        return replace(replica, in_sync_at=applied)
    found = behind(lead, mine) if lead is not None and replica.role is MemberRole.STANDBY else None
    if found is None:
        return replace(replica, rate=rate(mine), in_sync_at=applied)
    return replace(
        replica,
        rate=rate(mine),
        lag=found.lag,
        lag_over=found.over,
        lag_bytes=found.size,
        in_sync_at=found.in_sync_at if found.in_sync_at is not None else applied,
    )


def _applied_at(replica: Replica) -> Instant | None:
    """As of when it has applied all that was written, by its own word."""
    if replica.applied_lag is None or replica.told is None:
        return None
    return replica.told - replica.applied_lag


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A member in the tree of who follows whom. `last` has an entry for each link above it: whether what hangs on that
    link is the last of its like.
    """

    replica: Replica
    last: tuple[bool, ...] = ()


def tree(replicas: Sequence[Replica]) -> tuple[Branch, ...]:
    """Return all members, each below the one it follows. Of some that follow one another in a ring, the first is on
    top.
    """
    regions = {r.region for r in replicas}
    below: dict[RegionId, list[Replica]] = {}
    tops: list[Replica] = []
    for each in replicas:
        if each.upstream is not None and each.upstream in regions:
            below.setdefault(each.upstream, []).append(each)
        else:
            tops.append(each)
    tops.sort(key=lambda r: r.role is not MemberRole.PRIMARY)
    found: dict[RegionId, Branch] = {}

    def grow(replica: Replica, last: tuple[bool, ...]) -> None:
        found[replica.region] = Branch(replica=replica, last=last)
        followers = [r for r in below.get(replica.region, ()) if r.region not in found]
        for follower in followers:
            grow(follower, (*last, follower is followers[-1]))

    for top in (*tops, *replicas):
        if top.region not in found:
            grow(top, ())
    return tuple(found.values())
