"""The decision: what is to be done about each group now, or why nothing is.

Intuition: for each group ask in this order: is a run under way; does evac still owe something (a returned region to
rebuild, a standby missing from the set); is the region that holds the primaries in trouble of a kind that moving
cures; may evac act by itself; is there somewhere to go; can the old primary be fenced. The first "no" is the answer,
and is recorded with the same care as a move.

What this is not: the steps (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from evac.core.assessment import Assessment, Diagnosis, Evidence, Verdict, answers
from evac.core.estate import Automation, Component, ComponentId, Estate, GroupId, Guard, Purpose, RegionId
from evac.core.observation import Instant, MemberRole
from evac.core.plan import Placement, RunKind
from evac.core.run import RunId
from evac.core.targets import Members, Rejected, choose


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
    """A move that waits for a person's word."""

    group: GroupId
    move: Move
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPerson:
    """Something is wrong that evac cannot or may not mend; what a person can do is in the reasons."""

    group: GroupId
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin:
    """Rebuild a returned region as a standby."""

    group: GroupId
    region: RegionId
    reasons: tuple[str, ...]


Decision: TypeAlias = Hold | Move | Ask | CallPerson | Rejoin


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
    trouble = _trouble(view, placement, verdict)
    if not trouble and (lost := _lost(group, verdict)):
        return lost
    if not trouble:
        return _rejoin(view, placement, now) or Hold(group=group, reasons=(_calm(verdict),))
    if now - verdict.since < _dwell(view, verdict):
        return Hold(group=group, reasons=(f"{trouble}: watched for the dwell before acting",), watching=True)
    return _move(view, placement, verdict, trouble, now)


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


def _move(view: View, placement: Placement, verdict: Verdict, trouble: str, now: Instant) -> Decision:
    """Something must be done: may it be, and where to?"""
    group = placement.group
    choice = choose(view.estate, view.assessment, placement, view.members)
    if choice.target is None:
        return CallPerson(
            group=group,
            reasons=(trouble, "no region can take over:", *(f"{r.region} {r.reason}" for r in choice.rejected)),
        )
    move = Move(
        group=group,
        kind=RunKind.FAILOVER,
        source=placement.primary,
        target=choice.target,
        reasons=(trouble, f"{choice.target} scores {choice.score:.2f}"),
        rejected=choice.rejected,
        evidence=verdict.evidence,
        symptom_at=verdict.symptom_at,
    )
    if reason := unfenceable(view.estate, view.assessment, placement, view.members):
        return CallPerson(
            group=group,
            reasons=(
                trouble,
                reason,
                f"if you are sure that it writes no more: evac failover {placement.primary} --to {choice.target}"
                " --accept-loss",
            ),
        )
    return _permitted(view, move, now)


def _permitted(view: View, move: Move, now: Instant) -> Decision:
    """May evac do this by itself, now?"""
    group = move.group
    if view.paused:
        return CallPerson(group=group, reasons=(*move.reasons, f"automation is paused: {view.paused}"))
    modes = {s.automation for s in view.estate.group_services(group)}
    if Automation.MANUAL in modes:
        advice = f"this group moves by hand only: evac failover {move.source} --to {move.target}"
        return CallPerson(group=group, reasons=(*move.reasons, advice))
    if Automation.SEMI_AUTOMATIC in modes:
        return Ask(group=group, move=move, reasons=(*move.reasons, "this group asks before it moves"))
    guard = view.estate.guard
    last = view.last_move_at.get(group)
    if last is not None and now - last < guard.hold_down:
        left = (guard.hold_down - (now - last)).total_seconds()
        advice = f"moved {(now - last).total_seconds():.0f} s ago; nothing automatic for another {left:.0f} s"
        by_hand = f"by hand: evac failover {move.source} --to {move.target}"
        return CallPerson(group=group, reasons=(*move.reasons, advice, by_hand))
    flaps = view.flaps.get(group, Flaps())
    if flaps.suppressed(now, guard):
        points = flaps.now(now, guard.flap_half_life)
        flapping = f"flapping: {points:.0f} points, nothing automatic above {guard.flap_reuse:.0f}"
        return CallPerson(group=group, reasons=(*move.reasons, flapping))
    return move


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
        return f"{component.id} is asynchronous and {placement.primary} cannot be reached: nothing proves it stopped"
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


def _rejoin(view: View, placement: Placement, now: Instant) -> Decision | None:
    """A region that held a primary and has answered for a while is rebuilt."""
    if not view.estate.rejoin_automatic or view.paused or not placement.awaiting_rejoin:
        return None
    tries = view.rejoin_tries.get(placement.group)
    if tries and (wait := _after_failure(placement.group, tries, now)):
        return wait
    for region in placement.awaiting_rejoin:
        since = view.heard_since.get(region)
        fresh = region not in view.assessment.voiceless
        if fresh and since is not None and now - since >= view.estate.guard.recover_for:
            held = (now - since).total_seconds()
            return Rejoin(
                group=placement.group, region=region, reasons=(f"{region} has answered for {held:.0f} s without a gap",)
            )
    return None
