"""The set that must acknowledge: who has left it, who is back, and the plan that changes it.

Intuition: with `ANY 1 (b, c)` and c gone for hours, the loss of the primary's region needs two refusals and finds one,
so a person is called although b holds everything. So a standby that stays away leaves the set, and comes back into it
when it streams again. Leaving takes long enough that a restart does not count, coming back takes longer each time.

A change is one step, `Verb.PROTECT`, whose receipt says two things: every process of the primary waits for the new set,
and so many of it hold all that was written until then. While it runs the record has both sets, so whoever promotes
starves both; after it the new set alone starves the primary *and* has every write that any earlier set acknowledged
(`docs/design/safety.md` 3, `docs/adr/0009`). That holds for shrinking and for widening, so there is one plan for both.

What this is not: when to look (`upkeep`), or a cure for components that acknowledge before they replicate: their
primaries count whoever is connected, so no standby can be left out of a set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from evac.core.detector import Stream
from evac.core.errors import UnsafePlan
from evac.core.estate import Component, ComponentId, Estate, GroupId, Purpose, RegionId, ReplicationMode, WhenAlone
from evac.core.observation import Instant, Json, MemberRole, MemberSeen
from evac.core.plan import Action, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb

NOW = timedelta(seconds=3)
"""What was said or heard within this is so now."""
CLOSE = timedelta(seconds=3)
"""A standby whose newest change is older than this is still catching up: waiting for it would hold every write."""
LIMIT = timedelta(seconds=6)
"""How long one try of a change may take. Short, and not repeated: while it runs, its group cannot be moved."""
NOBODY = SyncSet(acks=0, standbys=())

Members = Mapping[tuple[ComponentId, RegionId], MemberSeen]
Streams = Mapping[tuple[ComponentId, RegionId], Stream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """Let a component's primary, in `region`, wait for `sync` from now on, instead of for what the record has."""

    group: GroupId
    component: ComponentId
    region: RegionId
    sync: SyncSet
    reasons: tuple[str, ...]
    decided_by: str = "evac"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """No standby is left to acknowledge a component's writes: they wait, or are acknowledged by the primary alone."""

    component: ComponentId
    waits: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the sets of a group are judged on. `patience` is how long a standby must stream before it comes back."""

    estate: Estate
    placement: Placement
    members: Members
    streams: Streams
    now: Instant
    watched_since: Instant
    """Since when the primary's own region has been heard without a gap, and no run changed anything: who was away
    before that is given time anew."""
    patience: timedelta


def findings(scene: Scene) -> tuple[Protect | Alone, ...]:
    """Return what is to be changed, or to be told, of each synchronous component of the group; () when all is well."""
    components = scene.estate.group_components(scene.placement.group, Purpose.STATE)
    return tuple(f for c in components if synchronous(c) and (f := _judge(scene, c)) is not None)


def short(scene: Scene) -> tuple[str, ...]:
    """Return which writes wait for standbys that do not stream while others do: what ails such a primary is its set,
    and moving it would cure nothing that a change of the set does not. Where nobody streams, it may be the primary.
    """
    found: list[str] = []
    for component in scene.estate.group_components(scene.placement.group, Purpose.STATE):
        there = {r for r in component.members if _streams_now(scene, component, r)}
        if not (synchronous(component) and there and _leads(scene, component)):
            continue
        counts = ((s, len(there.intersection(s.standbys))) for s in scene.placement.sync.get(component.id, ()))
        found += (f"{component.id} waits for {say_set(s)}, of which {n} stream" for s, n in counts if n < s.acks)
    return tuple(found)


def synchronous(component: Component) -> bool:
    """Return whether a component's acknowledged writes are promised to be on standbys."""
    assert component.replication is not None, "state components are replicated, which loading checks"
    return component.replication.mode is ReplicationMode.SYNC and component.replication.acks > 0


def alone(component: Component, placement: Placement) -> bool:
    """Return whether a synchronous component's primary acknowledges without waiting for anybody, by evac's record."""
    return synchronous(component) and not placement.sync.get(component.id)


def set_of(component: Component, standbys: Sequence[RegionId]) -> SyncSet | None:
    """Return whom a primary waits for with these standbys: as many as declared and possible; None without any."""
    assert component.replication is not None, "state components are replicated, which loading checks"
    acks = min(component.replication.acks, len(standbys))
    return SyncSet(acks=acks, standbys=tuple(standbys)) if acks else None


def say_set(sync: SyncSet) -> str:
    """Return a set in words: `any 1 of us-west-2, eu-west-1`."""
    return f"any {sync.acks} of {', '.join(sync.standbys)}" if sync.acks else "nobody"


def astray(scene: Scene, region: RegionId, *, after: timedelta) -> tuple[tuple[ComponentId, str], ...]:
    """Return the components whose member in a region has stood by for another than the primary for so long, or for a
    past of it; each with how that shows.

    It missed the move: its region was away then. Nobody told it since, and it does not find out by itself.
    """
    components = scene.estate.group_components(scene.placement.group, Purpose.STATE)
    return tuple((c.id, how) for c in components if (how := _how_astray(scene, c, region, after=after)))


def degrading(found: Alone, group: GroupId, primary: RegionId, *, why: str, by: str) -> Protect:
    """Return the change by which a primary that waits for nobody's return goes on alone, on a person's word."""
    assert found.waits, "who does not wait is alone already"
    return Protect(
        group=group,
        component=found.component,
        region=primary,
        sync=NOBODY,
        reasons=(_what(found.component, primary, NOBODY), why, *found.reasons[1:]),
        decided_by=by,
    )


def plan_protect(protect: Protect, placement: Placement, *, term: Term) -> Plan:
    """Return the plan of one change. Raises `UnsafePlan` when the primary is no longer where the change is for."""
    if placement.primary != protect.region:
        raise UnsafePlan((f"{protect.group}'s primaries are in {placement.primary}, not in {protect.region}",))
    args: dict[str, Json] = {"acks": protect.sync.acks, "standbys": list(protect.sync.standbys)}
    step = Step(
        id=StepId(f"{Verb.PROTECT}:{protect.component}@{protect.region}"),
        action=Action(component=protect.component, region=protect.region, verb=Verb.PROTECT, term=term, args=args),
        phase=Phase.RESTORE,
        timeout=LIMIT,
        retries=0,
    )
    sync = {c: sets for c, sets in placement.sync.items() if c != protect.component}
    if protect.sync.acks:
        sync[protect.component] = (protect.sync,)
    notes = () if protect.sync.acks else (f"{protect.component} acknowledges alone: what it writes may be lost",)
    return Plan(
        kind=RunKind.PROTECT,
        group=protect.group,
        source=protect.region,
        target=protect.region,
        term=term,
        steps=(step,),
        before=placement,
        after=replace(placement, term=term, sync=sync),
        notes=notes,
    )


def shrinks(plan: Plan) -> bool:
    """Return whether somebody leaves a set by this plan."""
    before = {(c, r) for c, sets in plan.before.sync.items() for sync in sets for r in sync.standbys}
    after = {(c, r) for c, sets in plan.after.sync.items() for sync in sets for r in sync.standbys}
    return bool(before - after)


def _judge(scene: Scene, component: Component) -> Protect | Alone | None:
    """Whether one component's set is as it should be."""
    if not _leads(scene, component):
        return None
    held = scene.placement.sync.get(component.id, ())
    inside = {r for sync in held for r in sync.standbys}
    gone = {r: why for r in component.members if r in inside and (why := _away(scene, component, r))}
    back = {r: why for r in component.members if r not in inside and (why := _returned(scene, component, r))}
    stay = [r for r in component.members if (r in inside and r not in gone) or r in back]
    if held and not stay:  # writes wait: whoever streams may end that, without patience
        back = {r: f"{r} streams" for r in component.members if r not in inside and _may_return(scene, component, r)}
        stay = [*back]
    wanted = set_of(component, stay)
    if wanted is None:
        return _nobody(scene, component, held, tuple(gone.values()))
    if len(held) == 1 and not gone and not back:
        return None
    if sum(_streams_now(scene, component, r) for r in stay) < wanted.acks:
        return None
    unclear = ("an earlier change was left half done",) if len(held) > 1 else ()
    return _change(scene, component, wanted, (*gone.values(), *back.values(), *unclear))


def _nobody(scene: Scene, component: Component, held: tuple[SyncSet, ...], gone: tuple[str, ...]) -> Protect | Alone:
    """Nobody is left: by what the estate says the writes wait, or go on and may be lost."""
    assert component.replication is not None, "state components are replicated, which loading checks"
    if not held:
        off = "it acknowledges alone: the promise to lose nothing is off until a standby streams again"
        return Alone(component=component.id, waits=False, reasons=(f"{component.id}: {off}",))
    match component.replication.when_alone:
        case WhenAlone.DEGRADE:
            return _change(scene, component, NOBODY, gone)
        case WhenAlone.WAIT:  # pragma: no branch (the union is closed)
            waits = f"{component.id}: no standby is left to acknowledge, so its writes wait"
            return Alone(component=component.id, waits=True, reasons=(waits, *gone))


def _change(scene: Scene, component: Component, sync: SyncSet, why: tuple[str, ...]) -> Protect:
    primary = scene.placement.primary
    what = _what(component.id, primary, sync)
    return Protect(group=scene.placement.group, component=component.id, region=primary, sync=sync, reasons=(what, *why))


def _what(component: ComponentId, primary: RegionId, sync: SyncSet) -> str:
    return f"{component} in {primary} waits for {say_set(sync)}"


def _leads(scene: Scene, component: Component) -> bool:
    """Whether the primary that the record names says lately that it is one."""
    seen = scene.members.get((component.id, scene.placement.primary))
    fresh = seen is not None and scene.now - seen.at <= NOW
    return fresh and seen is not None and seen.state is not None and seen.state.role is MemberRole.PRIMARY


def _how_astray(scene: Scene, component: Component, region: RegionId, *, after: timedelta) -> str:
    stream = scene.streams.get((component.id, region))
    if stream is None or region == scene.placement.primary or not _leads(scene, component):
        return ""
    since = max(stream.since, scene.watched_since)  # what was seen before the last run ended says nothing of now
    still = scene.now - stream.told <= NOW and scene.now - since >= after
    state = scene.members[component.id, region].state
    if not still or state is None or state.role is not MemberRole.STANDBY:
        return ""
    if stream.upstream not in (None, region, scene.placement.primary):
        # what streams from another standby is left so where nobody is promised that it acknowledges
        return f"it follows {stream.upstream}" if synchronous(component) or not stream.flows else ""
    if state.refuses and not stream.flows:
        return "it refuses everybody, as it was told to before a move that came to nothing"
    return "it went on by itself where the primary did not" if stream.behind else ""


def _streams_now(scene: Scene, component: Component, region: RegionId) -> bool:
    """Whether a standby streams from the primary, and something came over it just now."""
    stream = scene.streams.get((component.id, region))
    if stream is None or stream.heard is None or stream.upstream not in (None, scene.placement.primary):
        return False
    return stream.flows and scene.now - stream.heard <= NOW


def _last_there(scene: Scene, component: Component, region: RegionId) -> Instant:
    """When a standby was last known to follow the primary: by what came over its stream, or when it turned away."""
    stream = scene.streams.get((component.id, region))
    if stream is None:
        return scene.watched_since
    strays = stream.upstream not in (None, scene.placement.primary)
    last = stream.since if strays else stream.heard
    return scene.watched_since if last is None else max(last, scene.watched_since)


def _away(scene: Scene, component: Component, region: RegionId) -> str:
    """Why a standby counts as away, in words; empty if it does not."""
    away = scene.now - _last_there(scene, component, region)
    if away < scene.estate.guard.standby_leaves_after:
        return ""
    return f"{region} has been away for {away.total_seconds():.0f} s: {_how_away(scene, component, region)}"


def _how_away(scene: Scene, component: Component, region: RegionId) -> str:
    seen = scene.members.get((component.id, region))
    if seen is None or scene.now - seen.at > NOW:
        return "its agent is silent"
    if seen.state is None:
        return f"it does not answer ({seen.reason})"
    if seen.state.role is not MemberRole.STANDBY:
        return f"it is {seen.state.role}"
    if seen.state.upstream not in (None, scene.placement.primary):
        return f"it follows {seen.state.upstream}"
    return "nothing comes over its stream"


def _may_return(scene: Scene, component: Component, region: RegionId) -> bool:
    """Whether a standby outside the set streams closely enough to be waited for."""
    if region in (scene.placement.primary, *scene.placement.awaiting_rejoin):
        return False
    state = scene.members[component.id, region].state if _streams_now(scene, component, region) else None
    return state is not None and (state.lag is None or state.lag <= CLOSE)


def _returned(scene: Scene, component: Component, region: RegionId) -> str:
    """Why a standby outside the set comes into it, in words; empty if it does not."""
    if not _may_return(scene, component, region):
        return ""
    streamed = scene.now - scene.streams[component.id, region].since
    if streamed < scene.patience:
        return ""
    return f"{region} has streamed for {streamed.total_seconds():.0f} s without a gap"
