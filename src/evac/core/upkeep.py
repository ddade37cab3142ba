"""Upkeep: what is owed to a group beside moving it. Its set is kept right, its returned regions are rebuilt.

Intuition: mostly nothing burns, so everything here waits until it can be judged: a standby that stays away, or that is
back for good; a region that has answered for a while. But a set is also what ails a primary that waits for standbys
that are away; then another set cures it, and a move does not. What evac cannot mend itself is told to a person.

What this is not: the rules by which a set is judged (`protection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from evac.core.assessment import answers
from evac.core.decision import CallPerson, Decision, Flaps, Hold, Rejoin, View
from evac.core.estate import ComponentId, GroupId, Purpose, RegionId
from evac.core.misdirected import misdirected
from evac.core.observation import Instant, MemberRole
from evac.core.plan import Placement
from evac.core.protection import Alone, Protect, Scene, astray, findings, short
from evac.core.trying import AFRESH_AFTER, PATIENCE_DOUBLINGS_MAX, TRY_AGAIN_AFTER, after_failure
from evac.core.verdict import Diagnosis, Verdict


def upkeep(view: View, placement: Placement, *, now: Instant) -> Decision | None:
    """Return what is owed to a group whose primary is well; None if nothing.

    A set is changed first: it takes a moment, and until then the loss of the primary may not be survived.
    """
    scene = _scene(view, placement, now)
    found = findings(scene) if _judges(view, placement, now) else ()
    if change := _protect(view, placement, found, now):
        return change
    rebuild, alone = _rejoin(view, placement, scene, now), _alone(placement, found)
    if not isinstance(alone, CallPerson) or isinstance(rebuild, Rejoin):
        return rebuild or alone
    called = rebuild.reasons if isinstance(rebuild, CallPerson) else ()
    return replace(alone, reasons=(*called, *alone.reasons))


def starving(view: View, placement: Placement, trouble: str, *, now: Instant) -> Decision | None:
    """Return the cure of a primary that fails because it waits for standbys that are away, while others stream: another
    set, or the wait for it; None if that is not what ails it.
    """
    if view.paused or not _judges(view, placement, now):
        return None
    scene = _scene(view, placement, now)
    tries = view.protect_tries.get(placement.group)
    if not (waits := short(scene)) or (tries is not None and tries.count > 1):
        return None
    change = _protect(view, placement, findings(scene), now)
    return change or Hold(group=placement.group, reasons=(trouble, *waits), watching=True)


def stay(view: View, placement: Placement, nobody: tuple[str, ...], *, now: Instant) -> Decision:
    """Return what is done where nobody can take over, for the reasons in `nobody`.

    Where that is because all standbys are away, the primary's writes may merely wait for them: then it goes on alone,
    if the estate says so, or a person is told how.
    """
    found = findings(_scene(view, placement, now)) if _judges(view, placement, now) else ()
    lonely = tuple(f for f in found if isinstance(f, Alone) and f.waits)
    if told := _alone(placement, lonely):
        return CallPerson(group=placement.group, reasons=(*nobody, *told.reasons))
    gives_up = tuple(f for f in found if isinstance(f, Protect) and not f.sync.acks)
    return _protect(view, placement, gives_up, now) or CallPerson(group=placement.group, reasons=nobody)


def waiting_alone(view: View, group: GroupId, *, now: Instant) -> tuple[Alone, ...]:
    """Return the components of a group whose writes wait although no standby is left to acknowledge them."""
    placement = view.placements[group]
    found = findings(_scene(view, placement, now)) if _judges(view, placement, now) else ()
    return tuple(f for f in found if isinstance(f, Alone) and f.waits)


def waits_for_acknowledgement(view: View, placement: Placement, verdict: Verdict) -> bool:
    """Return whether services count as down only because a primary that they rest on, and that has answered since the
    first failure, waits for its standbys to acknowledge, or did a moment ago: until clients' probes have seen that it
    is over.
    """
    if verdict.diagnosis not in (Diagnosis.SERVICE_DOWN, Diagnosis.SERVICES_DOWN):
        return False
    waiting = {
        component.service
        for component in view.estate.group_components(placement.group, Purpose.STATE)
        if _waits(view, component.id, placement.primary, since=verdict.symptom_at)
    }
    down = verdict.down_inside or verdict.services  # what clients fail at as well says nothing of what is down
    hit = {service.id for service in view.estate.group_services(placement.group)}.intersection(down)
    return bool(hit) and all(waiting & view.estate.resting_on(service) for service in hit)


def _waits(view: View, component: ComponentId, region: RegionId, *, since: Instant) -> bool:
    seen = view.members.get((component, region))
    policy = view.estate.detection
    if seen is None or seen.state is None or seen.at < since + policy.interval:
        return False
    stream = view.streams.get((component, region))
    waited = stream.waited if stream is not None else None
    seen_until = policy.client_timeout + policy.successes * policy.client_interval
    lately = waited is not None and waited >= since and seen.at - waited <= seen_until
    return seen.state.role is MemberRole.PRIMARY and (seen.state.waiting > 0 or lately)


def missed_in(view: View, group: GroupId, region: RegionId, *, now: Instant) -> tuple[tuple[ComponentId, str], ...]:
    """Return the components of a group whose member in a region missed a move, each with how that shows."""
    return _missed(view, _scene(view, view.placements[group], now), region)


def _missed(view: View, scene: Scene, region: RegionId) -> tuple[tuple[ComponentId, str], ...]:
    """What in a region missed a move, where it has been heard of for long enough that nothing is just under way."""
    after = view.estate.guard.recover_for
    found = astray(scene, region, after=after)
    if scene.now - max(view.heard_since.get(region, scene.now), scene.watched_since) >= after:
        found += misdirected(view.estate, scene.placement, view.members, region, now=scene.now)
    return found


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


def _unheard_since(view: View, placement: Placement, now: Instant) -> bool:
    """Whether a new primary has not spoken yet since the run that made it one. What it said before, as a standby, would
    have it switched over to, as if its promotion had been left out. One that says nothing at all is not waited for.
    """
    settled = view.settled_at.get(placement.group)
    if settled is None or now - settled >= view.estate.guard.recover_for:
        return False
    mine = {c.id for c in view.estate.group_components(placement.group, Purpose.STATE)}
    return any(c in mine and r == placement.primary and seen.at <= settled for (c, r), seen in view.members.items())


def _no_source(view: View, placement: Placement) -> tuple[str, ...]:
    """Why nothing is rebuilt from a group's primary: it does not run by its own agent's word, so it is mended or left
    first. Where its agent says nothing, or cannot say, it is what others see of its region that counts.
    """
    primary, settled = placement.primary, view.settled_at.get(placement.group, timedelta.min)
    well = view.assessment.verdicts[primary].diagnosis is Diagnosis.WELL
    gone: list[str] = []
    for component in view.estate.group_components(placement.group, Purpose.STATE):
        seen = view.members.get((component.id, primary))
        if seen is None or seen.at <= settled:
            continue
        if seen.state is None and not well:
            gone.append(f"{component.id} in {primary} cannot be asked, so nothing is rebuilt from it: {seen.reason}")
        elif seen.state is not None and seen.state.role is MemberRole.STOPPED:
            said = f"{component.id} in {primary} does not run, so nothing is rebuilt from it: {seen.reason}"
            gone.append(said.rstrip(": "))
    if not (well or answers(view.assessment, primary, estate=view.estate)):
        gone.append(f"the agent of {primary} does not answer, so nothing is rebuilt from there")
    return tuple(gone)


def _wait_for_source(
    view: View, placement: Placement, waiting: Sequence[RegionId], gone: tuple[str, ...], now: Instant
) -> Hold | CallPerson:
    """A rebuild waits for its source. One that is seen ailing for long while a region is there and waits is a person's
    matter; a restart is none, nor is a region that is still away itself.
    """
    verdict = view.assessment.verdicts[placement.primary]
    settled = view.settled_at.get(placement.group, timedelta.min)
    there = [r for r in waiting if r in view.heard_since and answers(view.assessment, r, estate=view.estate)]
    since = max(settled, verdict.since, min((view.heard_since[region] for region in there), default=now))
    if verdict.diagnosis is Diagnosis.WELL or now - since < AFRESH_AFTER:
        return Hold(group=placement.group, reasons=gone, watching=True)
    rebuilt = f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} rebuilt"
    advice = f"mend it, then {rebuilt}; or leave {placement.primary}: evac failover {placement.primary}"
    return CallPerson(group=placement.group, reasons=(*gone, advice))


def _rejoin(view: View, placement: Placement, scene: Scene, now: Instant) -> Decision | None:
    """A region that held a primary and has answered for a while is rebuilt; one that missed a move is told of it."""
    if not view.estate.rejoin_automatic or view.paused:
        return None
    after = view.estate.guard.recover_for
    others = (r for r in view.estate.regions if r not in placement.awaiting_rejoin)
    missed = next(((r, m) for r in others if (m := _missed(view, scene, r))), None)
    if not placement.awaiting_rejoin and missed is None:
        return None
    tries = view.rejoin_tries.get(placement.group)
    if tries and (wait := after_failure(placement.group, tries, now=now)):
        return wait
    waiting = placement.awaiting_rejoin or ((missed[0],) if missed else ())
    if gone := _no_source(view, placement):
        return _wait_for_source(view, placement, waiting, gone, now)
    for region in placement.awaiting_rejoin:
        since = view.heard_since.get(region)
        fresh = region not in view.assessment.voiceless
        if fresh and since is not None and now - since >= after and not _unheard_since(view, placement, now):
            held = (now - since).total_seconds()
            return Rejoin(
                group=placement.group, region=region, reasons=(f"{region} has answered for {held:.0f} s without a gap",)
            )
    if missed is None:
        return None
    region, followed = missed
    reasons = tuple(f"{c} in {region} missed the move: {how}" for c, how in followed)
    return Rejoin(group=placement.group, region=region, reasons=reasons, missed=tuple(c for c, _ in followed))
