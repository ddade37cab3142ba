"""The decision: what is to be done about each group now, or why nothing is.

Intuition: for each group ask in this order: is a run under way; is the region that holds the primaries in trouble of a
kind that moving cures, or only the way in for clients, and can they come in by another door; if neither, does evac
still owe something (a standby that left the set or is back, clients to bring home, a returned region to rebuild); may
evac act by itself; is there somewhere to go; can the old primary be fenced. The first "no" is the answer, and is
recorded with the same care as a move.

What this is not: the steps (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from evac.core import traffic
from evac.core.assessment import Assessment, Diagnosis, Evidence, Verdict, answers
from evac.core.estate import Automation, Component, ComponentId, Estate, GroupId, Guard, Purpose, RegionId
from evac.core.observation import Instant, MemberRole
from evac.core.plan import Placement, RunKind
from evac.core.protection import Alone, Protect, Scene, Streams, alone, astray, findings, short
from evac.core.run import RunId
from evac.core.targets import Members, Rejected, choose
from evac.core.traffic import Shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaps:
    """How restless a group has been: points that halve with time (RFC 2439)."""

    points: float = 0.0
    at: Instant = timedelta()

    def now(self, now: Instant, half_life: timedelta) -> float:
        """Return the points left at `now`."""
        return float(self.points * 0.5 ** ((now - self.at) / half_life))

    def suppressed(self, now: Instant, guard: Guard) -> bool:
        """Return whether the points once passed the limit and have not yet fallen to where it is free again."""
        return self.points >= guard.flap_suppress and self.now(now, guard.flap_half_life) >= guard.flap_reuse


TRIES_MAX = 3
"""After so many runs in a row that did not complete, a person is called."""
TRY_AGAIN_AFTER = timedelta(seconds=10)
"""Twice as long after each further one."""
PATIENCE_DOUBLINGS_MAX = 6
"""No wait for a standby to come back, or for another try, is doubled more often."""

LOST_AFTER = timedelta(seconds=10)
"""A region that cannot be judged and has been silent for so long is told to a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How many runs of a group in a row ended without completing, and when the last one did."""

    count: int
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All a decision rests on: what is declared, what was seen, and what evac itself has done."""

    estate: Estate
    assessment: Assessment
    members: Members
    placements: Mapping[GroupId, Placement]
    active: Mapping[GroupId, RunId] = field(default_factory=dict)
    stuck: Mapping[GroupId, RunId] = field(default_factory=dict)
    last_move_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    flaps: Mapping[GroupId, Flaps] = field(default_factory=dict)
    tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Moves in a row that did not complete."""
    rejoin_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Rebuilds in a row that did not complete; they never keep a group from being moved."""
    shift_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Shifts to another door in a row that did not complete: such a group is moved."""
    return_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Shifts back to the primary's own door in a row that did not complete."""
    shift_flaps: Mapping[GroupId, Flaps] = field(default_factory=dict)
    """How restless the way in to each group has been; it holds back the return, and no move."""
    sent_by: Mapping[GroupId, str] = field(default_factory=dict)
    """Who sent a group's clients to another door by hand: there they stay until somebody sends them back."""
    protect_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Changes of the set that must acknowledge, in a row, that did not complete."""
    settled_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    """When each group's last run ended: who was away while it ran, perhaps because of it, is given time anew."""
    leavings: Mapping[GroupId, Flaps] = field(default_factory=dict)
    """How restless a group's standbys have been: points for each time a set shrank."""
    streams: Streams = field(default_factory=dict)
    heard_since: Mapping[RegionId, Instant] = field(default_factory=dict)
    """Since when each region's heartbeat has come without a gap."""
    paused: str = ""
    """Why automation is off; empty when it is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Do nothing, and why. `watching` is False when all is well."""

    group: GroupId
    reasons: tuple[str, ...]
    watching: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Move a group from `source` to `target`. `accept_loss` is a person's word in place of a fence."""

    group: GroupId
    kind: RunKind
    source: RegionId
    target: RegionId
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    symptom_at: Instant = timedelta()
    decided_by: str = "evac"
    accept_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A move, or a shift of traffic, that waits for a person's word."""

    group: GroupId
    move: Move | Shift
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPerson:
    """Something is wrong that evac cannot or may not mend; what a person can do is in the reasons."""

    group: GroupId
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin:
    """Make a returned region a standby: rebuild what was a primary there, or turn to the primary what missed a move.

    `missed` are the components of a region that held no primary and stands by for one that was left.
    """

    group: GroupId
    region: RegionId
    reasons: tuple[str, ...]
    missed: tuple[ComponentId, ...] = ()


Decision: TypeAlias = Hold | Move | Shift | Ask | CallPerson | Rejoin | Protect


def decide(view: View, *, now: Instant) -> tuple[Decision, ...]:
    """Return one decision for each group; the group whose region is worst comes first."""
    order = sorted(view.placements.values(), key=lambda p: (view.assessment.verdicts[p.primary].availability, p.group))
    return tuple(_decide_group(view, placement, now) for placement in order)


def _decide_group(view: View, placement: Placement, now: Instant) -> Decision:
    group = placement.group
    if group in view.active:
        return Hold(group=group, reasons=(f"run {view.active[group]} is under way",))
    if group in view.stuck:
        run = view.stuck[group]
        return Hold(group=group, reasons=(f"run {run} is stuck and waits for a person: evac report {run}",))
    if (tries := view.tries.get(group)) and (wait := _after_failure(group, tries, now)):
        return wait
    verdict = view.assessment.verdicts[placement.primary]
    shut = traffic.door_trouble(view.estate, view.assessment, placement, view.members)
    trouble = "" if _goes_round(view, placement, verdict, shut) else _trouble(view, placement, verdict)
    if not trouble and not shut:
        return _quiet(view, placement, verdict, now)
    of_doors = verdict.ingress_only or not trouble
    sick = view.assessment.verdicts[placement.door] if shut and of_doors else verdict
    reasons = tuple(r for r in (trouble, shut if of_doors else "") if r)
    if now - sick.since < _dwell(view, sick):
        return Hold(group=group, reasons=(f"{reasons[-1]}: watched for the dwell before acting",), watching=True)
    if of_doors:
        shifted = _shift(view, placement, sick, reasons, now)
        if not isinstance(shifted, str):
            return shifted
        reasons = (*reasons, f"traffic alone cannot be shifted: {shifted}")
    return _starving(view, placement, reasons[0], now) or _move(view, placement, sick, reasons, now)


def _quiet(view: View, placement: Placement, verdict: Verdict, now: Instant) -> Decision:
    """Nothing ails the group: what is evac still owing?"""
    if lost := _lost(placement.group, verdict):
        return lost
    back = _come_back(view, placement, verdict, now)
    if back is not None and not isinstance(back, Hold):
        return back
    return _upkeep(view, placement, now) or back or Hold(group=placement.group, reasons=(_calm(verdict),))


def _dwell(view: View, verdict: Verdict) -> timedelta:
    """How long a verdict is watched before anything acts on it."""
    policy = view.estate.detection
    return policy.dwell if verdict.corroborated else policy.ingress_dwell


def _after_failure(group: GroupId, tries: Tries, now: Instant) -> Decision | None:
    """Runs that ended without completing are tried again, later each time, and not for ever."""
    if tries.count >= TRIES_MAX:
        advice = "see why with evac runs, mend it, then move by hand: evac failover, or evac rejoin"
        return CallPerson(group=group, reasons=(f"{tries.count} runs in a row did not complete", advice))
    wait = TRY_AGAIN_AFTER * 2 ** (tries.count - 1)
    if now - tries.at < wait:
        left = (wait - (now - tries.at)).total_seconds()
        return Hold(
            group=group, reasons=(f"the last run did not complete; tried again in {left:.0f} s",), watching=True
        )
    return None


def _lost(group: GroupId, verdict: Verdict) -> CallPerson | None:
    """A region that nobody can judge, and whose agent is silent: evac moves nothing that it cannot judge."""
    age = verdict.heartbeat_age
    if verdict.diagnosis is not Diagnosis.UNKNOWN or age is None or age < LOST_AFTER:
        return None
    silent = f"{verdict.region} cannot be judged, and its agent has been silent for {age.total_seconds():.0f} s"
    advice = f"if {verdict.region} is gone: evac failover {verdict.region}; if evac itself is cut off: mend that first"
    return CallPerson(group=group, reasons=(silent, advice))


def _calm(verdict: Verdict) -> str:
    match verdict.diagnosis:
        case Diagnosis.WELL:
            return f"{verdict.region} is well"
        case Diagnosis.LINK_CUT:
            return f"{verdict.region}: only a minority of outside views fail; a link is cut, the region is not"
        case Diagnosis.UNKNOWN:
            return f"{verdict.region} cannot be judged: too little has been seen of it, from outside or from inside"
        case (  # pragma: no branch (the union is closed)
            Diagnosis.GRAY
            | Diagnosis.SERVICE_DOWN
            | Diagnosis.SERVICES_DOWN
            | Diagnosis.INGRESS_FAILED
            | Diagnosis.UNREACHABLE
        ):
            return f"{verdict.region} is {verdict.diagnosis}, of no concern to this group"


def _trouble(view: View, placement: Placement, verdict: Verdict) -> str:
    """What ails the primary's region that moving this group would cure; empty if nothing."""
    mine = {s.id for s in view.estate.group_services(placement.group)}
    required = mine - view.estate.wanted_only(placement.group)
    hit = sorted(required.intersection(verdict.services))
    region = verdict.region
    match verdict.diagnosis:
        case Diagnosis.UNREACHABLE:
            voters = sum(e.votes and e.view == "down" for e in verdict.evidence)
            return f"{region} unreachable: {voters} outside views agree, agent heartbeat stale"
        case Diagnosis.SERVICES_DOWN:
            return f"all services of {region} are down, seen from outside and from inside"
        case Diagnosis.SERVICE_DOWN:
            return f"{', '.join(hit)} in {region} down, seen from outside and from inside" if hit else ""
        case Diagnosis.INGRESS_FAILED:
            return f"{', '.join(hit)} in {region} well inside, not reachable from outside" if hit else ""
        case Diagnosis.GRAY:
            return f"clients of {', '.join(hit)} in {region} fail too often, seen from a quorum" if hit else ""
        case Diagnosis.WELL | Diagnosis.LINK_CUT | Diagnosis.UNKNOWN:  # pragma: no branch (the union is closed)
            return ""


def _goes_round(view: View, placement: Placement, verdict: Verdict, shut: str) -> bool:
    """Whether clients go round the broken way in already: by another door, all of them, and nothing ails that one."""
    half_done = placement.group in view.shift_tries or placement.group in view.return_tries
    return verdict.ingress_only and placement.entry is not None and not shut and not half_done


def _shift(view: View, placement: Placement, sick: Verdict, reasons: tuple[str, ...], now: Instant) -> Decision | str:
    """Clients come in by another door; or why they cannot, so that the group is moved."""
    group, guard = placement.group, view.estate.guard
    tries = view.shift_tries.get(group)
    if tries and now - tries.at < guard.hold_down:
        return f"it did not help {(now - tries.at).total_seconds():.0f} s ago"
    if reason := traffic.beyond_doors(view.estate, group, sick):
        return reason
    doors = traffic.choose_door(view.estate, view.assessment, placement, view.members)
    if doors.target is None:
        return doors.why
    shift = Shift(
        group=group,
        source=placement.door,
        target=doors.target,
        reasons=(*reasons, f"{doors.target}'s door is open; {placement.primary} still serves"),
        rejected=doors.rejected,
        evidence=sick.evidence,
        symptom_at=sick.symptom_at,
    )
    return _permitted(view, shift, now)


def _come_back(view: View, placement: Placement, verdict: Verdict, now: Instant) -> Decision | None:
    """Clients enter by another door: back to the primary's own once that has been open for long enough."""
    if placement.entry is None:
        return None
    group, guard, home = placement.group, view.estate.guard, placement.primary
    round_about = f"clients enter by {placement.entry}, which carries them on to {home}"
    now_by_hand = f"now: {_by_hand(view, group, home)}"

    def wait(why: str) -> Hold:
        return Hold(group=group, reasons=(round_about, why), watching=True)

    if by := view.sent_by.get(group):
        return wait(f"{by} sent them there, and they stay; {now_by_hand}")
    if view.paused:
        return wait(f"automation is paused: {view.paused}; {now_by_hand}")
    held = guard.recover_for.total_seconds()
    if shut := traffic.obstacle(view.estate, view.assessment, placement, view.members, home):
        return wait(f"{home} {shut}; they come back by themselves once its own door has been open for {held:g} s")
    if verdict.entered_since is None or now - verdict.entered_since < guard.recover_for:
        return wait(f"{home}'s own door is open again; they come back once it has been for {held:g} s")
    tries = view.return_tries.get(group)
    if tries and (again := _after_failure(group, tries, now)):
        return again
    flaps = view.shift_flaps.get(group, Flaps())
    if flaps.suppressed(now, guard):
        points = flaps.now(now, guard.flap_half_life)
        return wait(f"the way in is restless: {points:.0f} points, back below {guard.flap_reuse:.0f}; {now_by_hand}")
    shift = Shift(
        group=group,
        source=placement.entry,
        target=home,
        reasons=(f"{home}'s own door has been open for {held:g} s",),
        symptom_at=now,
    )
    return _permitted(view, shift, now)


def _move(view: View, placement: Placement, verdict: Verdict, reasons: tuple[str, ...], now: Instant) -> Decision:
    """Something must be done: may it be, and where to?"""
    group = placement.group
    choice = choose(view.estate, view.assessment, placement, view.members)
    if choice.target is None:
        nobody = (*reasons, "no region can take over:", *(f"{r.region} {r.reason}" for r in choice.rejected))
        return _stay(view, placement, nobody, now)
    move = Move(
        group=group,
        kind=RunKind.FAILOVER,
        source=placement.primary,
        target=choice.target,
        reasons=(*reasons, f"{choice.target} scores {choice.score:.2f}"),
        rejected=choice.rejected,
        evidence=verdict.evidence,
        symptom_at=verdict.symptom_at,
    )
    if reason := unfenceable(view.estate, view.assessment, placement, view.members):
        return CallPerson(
            group=group,
            reasons=(
                *reasons,
                reason,
                f"if you are sure that it writes no more: evac failover {placement.primary} --to {choice.target}"
                " --accept-loss",
            ),
        )
    return _permitted(view, move, now)


def _starving(view: View, placement: Placement, trouble: str, now: Instant) -> Decision | None:
    """A primary that fails because it waits for standbys that are away, while others stream, is given another set."""
    if view.paused or not _judges(view, placement, now):
        return None
    scene = _scene(view, placement, now)
    tries = view.protect_tries.get(placement.group)
    if not (waits := short(scene)) or (tries is not None and tries.count > 1):
        return None
    change = _protect(view, placement, findings(scene), now)
    return change or Hold(group=placement.group, reasons=(trouble, *waits), watching=True)


def _stay(view: View, placement: Placement, nobody: tuple[str, ...], now: Instant) -> Decision:
    """Nobody can take over. Where that is because all standbys are away, the primary's writes may merely wait for them:
    then it goes on alone, if the estate says so, or a person is told how.
    """
    found = findings(_scene(view, placement, now)) if _judges(view, placement, now) else ()
    lonely = tuple(f for f in found if isinstance(f, Alone) and f.waits)
    if told := _alone(placement, lonely):
        return CallPerson(group=placement.group, reasons=(*nobody, *told.reasons))
    gives_up = tuple(f for f in found if isinstance(f, Protect) and not f.sync.acks)
    return _protect(view, placement, gives_up, now) or CallPerson(group=placement.group, reasons=nobody)


def _permitted(view: View, move: Move | Shift, now: Instant) -> Decision:
    """May evac do this by itself, now?"""
    group = move.group
    if isinstance(move, Shift):
        command = _by_hand(view, group, move.target)
    else:
        command = f"evac failover {move.source} --to {move.target}"
    if view.paused:
        return CallPerson(group=group, reasons=(*move.reasons, f"automation is paused: {view.paused}"))
    modes = {s.automation for s in view.estate.group_services(group)}
    if Automation.MANUAL in modes:
        advice = f"this group moves by hand only: {command}"
        return CallPerson(group=group, reasons=(*move.reasons, advice))
    if Automation.SEMI_AUTOMATIC in modes:
        return Ask(group=group, move=move, reasons=(*move.reasons, "this group asks before it moves"))
    guard = view.estate.guard
    last = view.last_move_at.get(group)
    if last is not None and now - last < guard.hold_down:
        left = (guard.hold_down - (now - last)).total_seconds()
        advice = f"moved {(now - last).total_seconds():.0f} s ago; nothing automatic for another {left:.0f} s"
        return CallPerson(group=group, reasons=(*move.reasons, advice, f"by hand: {command}"))
    flaps = view.flaps.get(group, Flaps())
    if flaps.suppressed(now, guard):
        points = flaps.now(now, guard.flap_half_life)
        flapping = f"flapping: {points:.0f} points, nothing automatic above {guard.flap_reuse:.0f}"
        return CallPerson(group=group, reasons=(*move.reasons, flapping))
    return move


def _by_hand(view: View, group: GroupId, door: RegionId) -> str:
    """The command by which a person sends a group's clients in by a door."""
    home = door == view.placements[group].primary == view.estate.home[group]
    return "evac failback" if home else f"evac shift {door}"


def unfenceable(estate: Estate, assessment: Assessment, placement: Placement, members: Members) -> str:
    """Return why the old primaries cannot be fenced without a person; empty if they can.

    A source whose agent answers can stop what it hosts. Services that are merely wanted do not count: a plan leaves
    out what it cannot fence of them.
    """
    if answers(assessment, placement.primary, estate=estate):
        return ""
    wanted = estate.wanted_only(placement.group)
    for component in estate.group_components(placement.group, Purpose.STATE):
        if component.service in wanted:
            continue
        if reason := unstarvable(component, estate, assessment, placement, members):
            return reason
    return ""


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


def _upkeep(view: View, placement: Placement, now: Instant) -> Decision | None:
    """What is owed to a group whose primary is well: its set kept right, its returned regions rebuilt, a person told.

    A set is changed first: it takes a moment, and until then the loss of the primary may not be survived.
    """
    scene = _scene(view, placement, now)
    found = findings(scene) if _judges(view, placement, now) else ()
    return _protect(view, placement, found, now) or _rejoin(view, placement, scene, now) or _alone(placement, found)


def waiting_alone(view: View, group: GroupId, *, now: Instant) -> tuple[Alone, ...]:
    """Return the components of a group whose writes wait although no standby is left to acknowledge them."""
    placement = view.placements[group]
    found = findings(_scene(view, placement, now)) if _judges(view, placement, now) else ()
    return tuple(f for f in found if isinstance(f, Alone) and f.waits)


def missed_in(view: View, group: GroupId, region: RegionId, *, now: Instant) -> tuple[tuple[ComponentId, str], ...]:
    """Return the components of a group whose member in a region missed a move, each with how that shows."""
    return astray(_scene(view, view.placements[group], now), region, after=view.estate.guard.recover_for)


def _scene(view: View, placement: Placement, now: Instant) -> Scene:
    guard = view.estate.guard
    shrank = view.leavings.get(placement.group, Flaps()).now(now, guard.flap_half_life) / guard.flap_penalty
    return Scene(
        estate=view.estate,
        placement=placement,
        members=view.members,
        streams=view.streams,
        now=now,
        watched_since=max(
            view.heard_since.get(placement.primary, now), view.settled_at.get(placement.group, timedelta.min)
        ),
        patience=guard.standby_returns_after * 2 ** min(max(shrank - 1, 0.0), PATIENCE_DOUBLINGS_MAX),
    )


def _judges(view: View, placement: Placement, now: Instant) -> bool:
    """Whether standbys can be judged: their stream is no better than its source, and than evac's view of it."""
    primary = placement.primary
    since = view.heard_since.get(primary)
    watched = since is not None and now - since >= view.estate.guard.standby_leaves_after
    known = view.assessment.verdicts[primary].diagnosis is not Diagnosis.UNKNOWN
    return watched and known and primary not in view.assessment.voiceless


def _protect(view: View, placement: Placement, found: tuple[Protect | Alone, ...], now: Instant) -> Protect | None:
    """The first set to be changed. One that could not be is tried again, later each time."""
    change = next((f for f in found if isinstance(f, Protect)), None)
    if change is None or view.paused:
        return None
    tries = view.protect_tries.get(placement.group)
    if tries and now - tries.at < TRY_AGAIN_AFTER * 2 ** min(tries.count - 1, PATIENCE_DOUBLINGS_MAX):
        return None
    return change


def _alone(placement: Placement, found: tuple[Protect | Alone, ...]) -> Hold | CallPerson | None:
    """Writes that wait for nobody's return are a person's matter; a promise that is off is at least told."""
    lonely = [f for f in found if isinstance(f, Alone)]
    reasons = tuple(reason for f in lonely for reason in f.reasons)
    if any(f.waits for f in lonely):
        advice = "bring one back, or let the primary go on alone, which ends the promise to lose nothing: evac degrade"
        return CallPerson(group=placement.group, reasons=(*reasons, f"{advice} {placement.primary}"))
    return Hold(group=placement.group, reasons=reasons, watching=True) if lonely else None


def _rejoin(view: View, placement: Placement, scene: Scene, now: Instant) -> Decision | None:
    """A region that held a primary and has answered for a while is rebuilt; one that missed a move is told of it."""
    if not view.estate.rejoin_automatic or view.paused:
        return None
    after = view.estate.guard.recover_for
    others = (r for r in view.estate.regions if r not in placement.awaiting_rejoin)
    missed = next(((r, m) for r in others if (m := astray(scene, r, after=after))), None)
    if not placement.awaiting_rejoin and missed is None:
        return None
    tries = view.rejoin_tries.get(placement.group)
    if tries and (wait := _after_failure(placement.group, tries, now)):
        return wait
    for region in placement.awaiting_rejoin:
        since = view.heard_since.get(region)
        fresh = region not in view.assessment.voiceless
        if fresh and since is not None and now - since >= after:
            held = (now - since).total_seconds()
            return Rejoin(
                group=placement.group, region=region, reasons=(f"{region} has answered for {held:.0f} s without a gap",)
            )
    if missed is None:
        return None
    region, followed = missed
    reasons = tuple(f"{c} in {region} missed the move: {how}" for c, how in followed)
    return Rejoin(group=placement.group, region=region, reasons=reasons, missed=tuple(c for c, _ in followed))
