"""Deciding: what is to be done about each group now, or why nothing is.

Intuition: for each group ask in this order: is a run under way that gives way to nothing; is the region that holds the
primaries in trouble of a kind that moving cures, or only the way in for clients, and can they come in by another door;
if neither, has a trigger been true for long enough; if not, does evac still owe something (a standby that left the set
or is back, clients to bring home, a returned region to rebuild); may evac act by itself; is there somewhere to go; can
the old primary be fenced. The first "no" is the answer, and is recorded with the same care as a move.

What this is not: the steps (`planning`), what a trigger asks for (`urging`), or whose word it takes (`permission`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core import traffic
from evac.core.assessment import answers
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move, View
from evac.core.estate import GroupId
from evac.core.fencing import loses_nothing, stops_cleanly, unfenceable
from evac.core.observation import Instant
from evac.core.permission import by_hand, permitted
from evac.core.plan import Placement, RunKind
from evac.core.targets import choose
from evac.core.traffic import Shift
from evac.core.trying import AFRESH_AFTER, after_failure, after_turning_back
from evac.core.upkeep import starving, stay, upkeep, waits_for_acknowledgement
from evac.core.urging import stays_away, unheard, urged
from evac.core.verdict import Diagnosis, Verdict

LOST_AFTER = timedelta(seconds=10)
"""A region that cannot be judged and has been silent for so long is told to a person."""


def decide(view: View, *, now: Instant) -> tuple[Decision, ...]:
    """Return one decision for each group; the group whose region is worst comes first."""
    order = sorted(view.placements.values(), key=lambda p: (view.assessment.verdicts[p.primary].availability, p.group))
    return tuple(_decide_group(view, placement, now) for placement in order)


def _decide_group(view: View, placement: Placement, now: Instant) -> Decision:
    group = placement.group
    run = view.active.get(group)
    under_way = Hold(group=group, reasons=(f"run {run} is under way",))
    if run and group not in view.giving_way:
        return under_way
    urgent = _held_back(view, group, now) or _troubled(view, placement, now) or urged(view, placement, now=now)
    if run:
        presses = isinstance(urgent, Move | CallPerson) or (isinstance(urgent, Ask) and isinstance(urgent.move, Move))
        return urgent if urgent and presses else under_way
    if urgent:
        return urgent
    quiet = _quiet(view, placement, view.assessment.verdicts[placement.primary], now)
    return unheard(view, placement, quiet, now=now)


def _held_back(view: View, group: GroupId, now: Instant) -> Hold | CallPerson | None:
    """What keeps evac from acting for a group, whatever ails it: an earlier run's end."""
    if group in view.stuck:
        run = view.stuck[group]
        return Hold(group=group, reasons=(f"run {run} is stuck and waits for a person: evac report {run}",))
    tries = view.tries.get(group)
    return after_failure(group, tries, now=now) if tries else None


def _troubled(view: View, placement: Placement, now: Instant) -> Decision | None:
    """Return what is done about what ails a group; None if nothing does."""
    group = placement.group
    verdict = view.assessment.verdicts[placement.primary]
    shut = traffic.door_trouble(view.estate, view.assessment, placement, view.members)
    trouble = "" if _goes_round(view, placement, verdict, shut) else _trouble(view, placement, verdict)
    if not trouble and not shut:
        return None
    of_doors = _is_shut_out(view, placement, verdict) or not trouble
    sick = view.assessment.verdicts[placement.door] if shut and of_doors else verdict
    reasons = tuple(r for r in (trouble, shut if of_doors else "") if r)
    if now - sick.since < _dwell(view, placement, sick):
        return Hold(group=group, reasons=(f"{reasons[-1]}: watched for the dwell before acting",), watching=True)
    if of_doors:
        shifted = _shift(view, placement, sick, reasons, now)
        if not isinstance(shifted, str):
            return shifted
        reasons = (*reasons, f"traffic alone cannot be shifted: {shifted}")
    there = answers(view.assessment, placement.primary, estate=view.estate)
    if there and (held := after_turning_back(group, reasons, view.turned_back_at.get(group), now=now)):
        return held
    kind, why = _way_out(view, placement, now) if of_doors else (RunKind.FAILOVER, ())
    starved = starving(view, placement, reasons[0], now=now)
    return starved or _move(view, placement, sick, (*reasons, *why), now, kind=kind)


def _quiet(view: View, placement: Placement, verdict: Verdict, now: Instant) -> Decision:
    """Nothing ails the group: what is evac still owing?"""
    if lost := _lost(placement.group, verdict):
        return lost
    back = _come_back(view, placement, verdict, now)
    if back is not None and not isinstance(back, Hold):
        return back
    return upkeep(view, placement, now=now) or back or Hold(group=placement.group, reasons=(_calm(verdict),))


def _dwell(view: View, placement: Placement, verdict: Verdict) -> timedelta:
    """How long a verdict is watched before anything acts on it.

    Where a primary answers all the while, and its writes wait for standbys, it is the network between them that fails:
    a stream that lost packets comes back by itself within seconds, and a move meets the same network. Nor is anything
    left in a hurry that answers again: the wait may be over, and its end must not be what lets a move begin. And where
    what is down inside is merely wanted, it is by the way in that the rest is met, as one that is just back is.
    """
    policy = view.estate.detection
    quick = verdict.corroborated and not verdict.easing and not waits_for_acknowledgement(view, placement, verdict)
    if verdict.diagnosis is Diagnosis.SERVICE_DOWN:
        quick = quick and not traffic.concerned(view.estate, placement.group, verdict).isdisjoint(verdict.down_inside)
    return policy.dwell if quick else policy.ingress_dwell


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
    hit = sorted(traffic.concerned(view.estate, placement.group, verdict))
    region = verdict.region
    match verdict.diagnosis:
        case Diagnosis.UNREACHABLE:
            voters = sum(e.votes and e.view == "down" for e in verdict.evidence)
            return f"{region} unreachable: {voters} outside views agree, agent heartbeat stale"
        case Diagnosis.SERVICES_DOWN:
            return f"all services of {region} are down, seen from outside and from inside"
        case Diagnosis.SERVICE_DOWN if down := [s for s in hit if s in verdict.down_inside]:
            return f"{', '.join(down)} in {region} down, seen from outside and from inside"
        case Diagnosis.SERVICE_DOWN if not set(hit).issubset(verdict.shut_out):
            return f"{', '.join(hit)} in {region} failing as seen from outside" if hit else ""
        case Diagnosis.SERVICE_DOWN | Diagnosis.INGRESS_FAILED:
            return f"{', '.join(hit)} in {region} well inside, not reachable from outside" if hit else ""
        case Diagnosis.GRAY:
            return f"clients of {', '.join(hit)} in {region} fail too often, seen from a quorum" if hit else ""
        case Diagnosis.WELL | Diagnosis.LINK_CUT | Diagnosis.UNKNOWN:  # pragma: no branch (the union is closed)
            return ""


def _is_shut_out(view: View, placement: Placement, verdict: Verdict) -> bool:
    """Whether only the way to what this group requires fails: it is well inside, whatever ails what is wanted."""
    if verdict.diagnosis is not Diagnosis.SERVICE_DOWN:
        return verdict.ingress_only
    hit = traffic.concerned(view.estate, placement.group, verdict)
    return bool(hit) and hit.issubset(verdict.shut_out)


def _goes_round(view: View, placement: Placement, verdict: Verdict, shut: str) -> bool:
    """Whether clients go round the broken way in already: by another door, all of them, and nothing ails that one."""
    half_done = placement.group in view.shift_tries or placement.group in view.return_tries
    shut_out = _is_shut_out(view, placement, verdict)
    return shut_out and placement.entry is not None and not shut and not half_done


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
    shift = traffic.by_another_door(
        placement, doors, reasons=reasons, evidence=sick.evidence, symptom_at=sick.symptom_at
    )
    return permitted(view, shift, now)


def _come_back(view: View, placement: Placement, verdict: Verdict, now: Instant) -> Decision | None:
    """Clients enter by another door: back to the primary's own once that has been open for long enough."""
    if placement.entry is None:
        return None
    group, guard, home = placement.group, view.estate.guard, placement.primary
    round_about = f"clients enter by {placement.entry}, which carries them on to {home}"
    now_by_hand = f"now: {by_hand(view, group, home)}"

    def wait(why: str) -> Hold:
        return Hold(group=group, reasons=(round_about, why), watching=True)

    if by := view.sent_by.get(group):
        return wait(f"{by} sent them there, and they stay; {now_by_hand}")
    if view.paused:
        return wait(f"automation is paused: {view.paused}; {now_by_hand}")
    if on := stays_away(view, placement, now=now):
        return wait(f"{on}; {now_by_hand}")
    held = guard.recover_for.total_seconds()
    if shut := traffic.obstacle(view.estate, view.assessment, placement, view.members, home):
        return wait(f"{home} {shut}; they come back once that is over and its own door open for {held:g} s")
    since = traffic.open_since(view.estate, group, verdict)
    if since is None or now - since < guard.recover_for:
        return wait(f"{home}'s own door is open again; they come back once it has been for {held:g} s")
    tries = view.return_tries.get(group)
    if tries and (again := after_failure(group, tries, now=now)):
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
    return permitted(view, shift, now)


def _way_out(view: View, placement: Placement, now: Instant) -> tuple[RunKind, tuple[str, ...]]:
    """How primaries that are well behind a broken way in are left: asked to stop cleanly, by which nothing is lost, or
    failed over, and why that. Where a failover loses nothing either it is the better way: it hangs on nothing they do.

    A move that did not complete lately is not asked for in the same way again: clients wait meanwhile.
    """
    if loses_nothing(view.estate, view.assessment, placement, view.members):
        return RunKind.FAILOVER, ()
    tries = view.tries.get(placement.group)
    if tries and now - tries.at < AFRESH_AFTER:
        ago = (now - tries.at).total_seconds()
        return RunKind.FAILOVER, (
            f"a move did not complete {ago:.0f} s ago: primaries are not asked to stop cleanly again",
        )
    if not stops_cleanly(view.estate, view.assessment, placement, view.members):
        return RunKind.FAILOVER, (f"not every primary in {placement.primary} can be asked to stop cleanly",)
    return RunKind.SWITCHOVER, ()


def _move(
    view: View, placement: Placement, verdict: Verdict, reasons: tuple[str, ...], now: Instant, *, kind: RunKind
) -> Decision:
    """Something must be done: may it be, and where to? What stops cleanly needs no other fence."""
    group = placement.group
    choice = choose(view.estate, view.assessment, placement, view.members)
    if choice.target is None:
        nobody = (*reasons, "no region can take over:", *(f"{r.region} {r.reason}" for r in choice.rejected))
        stays = stay(view, placement, nobody, now=now)
        return replace(stays, rejected=choice.rejected) if isinstance(stays, CallPerson) else stays
    move = Move(
        group=group,
        kind=kind,
        source=placement.primary,
        target=choice.target,
        reasons=(*reasons, f"{choice.target} scores {choice.score:.2f}"),
        rejected=choice.rejected,
        evidence=verdict.evidence,
        symptom_at=verdict.symptom_at,
    )
    fenced = kind is RunKind.SWITCHOVER
    if not fenced and (reason := unfenceable(view.estate, view.assessment, placement, view.members)):
        alive = answers(view.assessment, placement.primary, estate=view.estate)
        if_so = "to move without what only the others hold" if alive else "if you are sure that it writes no more"
        command = f"evac failover {placement.primary} --to {choice.target} --accept-loss"
        return CallPerson(group=group, reasons=(*reasons, reason, f"{if_so}: {command}"))
    return permitted(view, move, now)
