"""What people ask of a running controller, through the store like everything else.

Intuition: a request is a record; the controller takes it, does it or refuses it with reasons, and writes the reply in
its place. A controller that dies in between leaves the request where it was; the next one takes it, unless it is so old
that nobody waits for the answer: what was wished for an hour ago may be wrong now.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from evac.core.decision import Ask, Move, Rejoin
from evac.core.errors import Conflict, StoreUnavailable, UnsafePlan
from evac.core.estate import GroupId
from evac.core.plan import Placement, RunKind
from evac.core.protection import Protect, degrading
from evac.core.run import RunId
from evac.core.shifting import comes_home_alone, wished_shift
from evac.core.snapshot import UNSEEN, Reply, Request, Wish
from evac.core.targets import choose
from evac.core.traffic import Shift
from evac.core.upkeep import missed_in, waiting_alone
from evac.core.verdict import Assessment
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.quiet import PAUSE, begin_maintenance, end_maintenance, pause
from evac.ports import Clock, Record, Store

ANSWERED_WITHIN = timedelta(seconds=20)
"""How long whoever asks waits for the answer."""


async def attend(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Answer every request, those left from before first, without end."""
    await controller.recalled.wait()
    after = await store.revision()
    for record in await store.list("requests/"):
        await _answer(controller, store, clock, record)
    async for change in store.watch("requests/", after=after):
        if change.record is not None:
            await _answer(controller, store, clock, change.record)


async def _answer(controller: Controller, store: Store, clock: Clock, record: Record) -> None:
    """Do what is asked, and write the reply while taking the request away; opening a run has done both already."""
    asked = record.key.removeprefix("requests/")
    try:
        request = decode(record.value, Request)
    except ValueError as trouble:
        why = f"whoever leads cannot read it ({trouble}): run one version of evac everywhere"
        await _reply(store, Reply(request=asked, refused=(why,)))
        return
    try:
        wall = clock.wall()
        _still_wanted(request, age=wall - request.wall)
        if await _do(controller, store, request, wall=wall) is not None:
            return
        reply = Reply(request=request.id)
    except UnsafePlan as refusal:
        reply = Reply(request=request.id, refused=refusal.reasons)
    except (Conflict, StoreUnavailable) as trouble:
        reply = Reply(request=request.id, refused=(f"the store did not take it: {trouble}; ask again",))
    await _reply(store, reply)


async def _reply(store: Store, reply: Reply) -> None:
    await store.commit(
        expect={}, put={f"replies/{reply.request}": encode(reply)}, delete=(f"requests/{reply.request}",)
    )


def _still_wanted(request: Request, *, age: timedelta) -> None:
    """Refuse a request that its asker has given up. Raises `UnsafePlan`."""
    if age > ANSWERED_WITHIN:
        raise UnsafePlan(
            (f"{request.by} asked for it {age.total_seconds():.0f} s ago; ask again if it is still right",)
        )


async def _do(controller: Controller, store: Store, request: Request, *, wall: datetime) -> RunId | None:
    """Carry one request out at `wall`. What is told the store is remembered once that has taken it.

    Raises `UnsafePlan` when it cannot be done.
    """
    assessment, known = controller.assess(), controller.known
    match request.wish:
        case Wish.FAILOVER | Wish.SWITCHOVER:
            return await controller.start_at_once(
                lambda: wished_move(controller, request, controller.assess()), request=request.id
            )
        case Wish.FAILBACK | Wish.SHIFT:
            act = wished_act(controller, request, assessment)
            return await controller.start(act, assessment, request=request.id)
        case Wish.REJOIN:
            rejoin = wished_rejoin(controller, request, assessment)
            return await controller.start(rejoin, assessment, request=request.id)
        case Wish.DEGRADE:
            degrade = wished_degrading(controller, request, assessment)
            return await controller.start(degrade, assessment, request=request.id)
        case Wish.PAUSE:
            known.pause = await pause(store, request, wall=wall)
        case Wish.MAINTAIN:
            known.windows = await begin_maintenance(store, known.windows, request, wall=wall)
        case Wish.MAINTAINED:
            known.windows = await end_maintenance(store, known.windows, request, wall=wall)
        case Wish.RESUME:
            await store.commit(expect={}, put={}, delete=(PAUSE,))
            known.resumed()
        case Wish.APPROVE:
            asked = known.decisions.get(wished_group(controller, request))
            if not isinstance(asked, Ask):
                raise UnsafePlan(("nothing waits for approval",))
            if isinstance(move := asked.move, Shift):
                return await controller.start(move, assessment, request=request.id)
            return await controller.start_at_once(lambda: move, request=request.id)
        case Wish.RESOLVE:  # pragma: no branch (the union is closed)
            group, run = wished_stuck(controller, request)
            await store.commit(expect={}, put={f"resolved/{run}": request.by.encode()})
            known.resolved(group)
    return None


def wished_group(controller: Controller, request: Request) -> GroupId:
    """Return the group a request means: the one it names, or the only one there is. Raises `UnsafePlan`."""
    placements = controller.known.placements
    if request.group is None and len(controller.estate.home) == 1:
        group = next(iter(controller.estate.home))
    elif request.group is not None and request.group in controller.estate.home:
        group = request.group
    else:
        names = ", ".join(sorted(controller.estate.home))
        raise UnsafePlan((f"name the group to move, one of: {names}",))
    if group not in placements:
        why = controller.known.unplaced.get(group, (UNSEEN,))
        raise UnsafePlan((f"where {group}'s primaries are is not known:", *why))
    urgent = request.wish in (Wish.FAILOVER, Wish.APPROVE) and group in controller.known.giving_way
    if group in controller.known.active and not urgent:
        raise UnsafePlan((f"run {controller.known.active[group]} of group {group} is under way; wait for it",))
    return group


def wished_rejoin(controller: Controller, request: Request, assessment: Assessment) -> Rejoin:
    """Return the rejoin of a region that waits for it or missed a move. Raises `UnsafePlan` for any other."""
    group, region = wished_group(controller, request), request.region
    waiting = controller.known.placements[group].awaiting_rejoin
    asked = f"asked for by {request.by}"
    if region in waiting:
        return Rejoin(group=group, region=region, reasons=(asked,))
    missed = missed_in(controller.view(assessment), group, region, now=assessment.at) if region else ()
    if region is None or not missed:
        raise UnsafePlan((f"regions of {group} that wait to be rebuilt: {', '.join(waiting) or 'none'}",))
    reasons = (asked, *(f"{c} in {region} {how}" for c, how in missed))
    return Rejoin(group=group, region=region, reasons=reasons, missed=tuple(c for c, _ in missed))


def wished_degrading(controller: Controller, request: Request, assessment: Assessment) -> Protect:
    """Return the change that lets a primary go on alone whose writes wait for nobody's return. Raises `UnsafePlan`."""
    group = wished_group(controller, request)
    primary = controller.known.placements[group].primary
    if request.region != primary:
        raise UnsafePlan((f"{group}'s primaries are in {primary}, not in {request.region}",))
    found = waiting_alone(controller.view(assessment), group, now=assessment.at)
    if not found:
        raise UnsafePlan(
            (
                f"no primary of {group} is known to wait for standbys that have all been away for a while;"
                " evac status says whom each waits for",
            )
        )
    why = f"asked for by {request.by}" + (f": {request.reason}" if request.reason else "")
    return degrading(found[0], group, primary, why=why, by=request.by)


def wished_act(controller: Controller, request: Request, assessment: Assessment) -> Move | Shift:
    """Return the shift of traffic a person asks for, or the way home: of the traffic alone where no more is away.

    Raises `UnsafePlan`.
    """
    group = wished_group(controller, request)
    _not_stuck(controller, group)
    placement = controller.known.placements[group]
    if request.wish is Wish.SHIFT:
        to = request.target
    elif comes_home_alone(controller.estate, placement):
        to = placement.primary
    else:
        return wished_move(controller, request, assessment)
    situation = controller.situation(group, assessment)
    return wished_shift(situation, to=to, by=request.by, reasons=_asked(request))


def _asked(request: Request) -> tuple[str, ...]:
    return (f"asked for by {request.by}" + (f": {request.reason}" if request.reason else ""),)


def _not_stuck(controller: Controller, group: GroupId) -> None:
    if stuck := controller.known.stuck.get(group):
        raise UnsafePlan((f"run {stuck} is stuck: mend what it names, then evac resolve {stuck}",))


def wished_stuck(controller: Controller, request: Request) -> tuple[GroupId, RunId]:
    """Return the stuck run a request means, and its group: the one it names, its group's, or the only one there is.

    Raises `UnsafePlan`.
    """
    stuck = controller.known.stuck
    meant = [(g, r) for g, r in stuck.items() if request.run in (None, r) and request.group in (None, g)]
    if len(meant) != 1:
        raise UnsafePlan((f"name the run to resolve; stuck are: {', '.join(sorted(stuck.values())) or 'none'}",))
    return meant[0]


def refuse_nonsense(placement: Placement, *, source: str | None, target: str | None) -> None:
    """Raise `UnsafePlan` for a move that leaves a region where the group is not, or goes where it is."""
    if source not in (None, placement.primary):
        raise UnsafePlan((f"{placement.group}'s primaries are in {placement.primary}, not in {source}",))
    if target == placement.primary:
        raise UnsafePlan((f"{placement.group} is in {target} already",))


def wished_move(controller: Controller, request: Request, assessment: Assessment) -> Move:
    """Return the move a person asks for, to the target named or to the best one. Raises `UnsafePlan`."""
    group = wished_group(controller, request)
    _not_stuck(controller, group)
    placement = controller.known.placements[group]
    home = controller.estate.home[group]
    target = home if request.wish is Wish.FAILBACK else request.target
    refuse_nonsense(placement, source=request.region, target=target)
    choice = choose(controller.estate, assessment, placement, controller.known.detector.members, wanted=target)
    if choice.target is None:
        raise UnsafePlan(tuple(f"{r.region}: {r.reason}" for r in choice.rejected))
    return Move(
        group=group,
        kind=RunKind(request.wish.value),
        source=placement.primary,
        target=choice.target,
        reasons=_asked(request),
        rejected=choice.rejected,
        evidence=assessment.verdicts[placement.primary].evidence,
        symptom_at=assessment.at,
        decided_by=request.by,
        accept_loss=request.accept_loss,
        told=request.told,
    )
