"""Planning: from a decision to the steps that carry it out, or an `UnsafePlan` with reasons.

Intuition: every state component of the group goes through the same small chain (fence, catch up, promote, follow),
traffic is shifted once those it cannot do without are promoted, and a client's write at the end proves it. What
differs is the fence: a planned move stops the old primary and knows what it wrote last; an unplanned one takes the
standbys away from it. A planned move promotes nothing before everything is fenced, so that it can still turn back;
an unplanned one waits so for fences that may yet be refused only, and else lets each component go as fast as it can.

What this is not: whether and where to move (`deciding`, `targets`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evac.core.afar import fence_from_afar, uncovered
from evac.core.barriers import with_barrier, with_clients, with_way_back
from evac.core.catching_up import UNLESS_HIGHEST
from evac.core.decision import Move
from evac.core.errors import UnsafePlan
from evac.core.estate import Component, Directs, Purpose, RegionId, ReplicationMode
from evac.core.fence import FROM_AFAR, QUORUM, WORD
from evac.core.fencing import from_afar, keeps_all, unstarvable
from evac.core.observation import Json
from evac.core.plan import Phase, Placement, Plan, RunKind, Step, StepId, Term, Verb, in_order
from evac.core.protection import set_of
from evac.core.rebuilding import rebuild, standbys_then
from evac.core.steps import LIMITS, Situation, step_of
from evac.core.targets import obstacle
from evac.core.verdict import Diagnosis


def plan_move(move: Move, situation: Situation, *, term: Term) -> Plan:
    """Return the plan of a failover, switchover or failback. Raises `UnsafePlan`."""
    assert term > situation.placement.term, "a move raises the term"
    _check(move, situation)
    planned = move.kind is not RunKind.FAILOVER
    chains, left_out = _chains(move, situation, term=term, planned=planned)
    steps = [s for chain in chains for s in chain]
    shifts, notes = shifts_of(move, situation, term=term)
    steps = with_barrier([*map(_readiness, shifts), *steps]) if planned else with_way_back(steps)
    steps += shifts
    steps += _verifications(move, situation, chains, term=term)
    wanted = situation.estate.wanted_only(move.group)
    vital = {c.id for c in situation.estate.group_components(move.group, Purpose.STATE) if c.service not in wanted}
    steps = with_clients(steps, vital=vital, planned=planned)
    if planned:
        steps += _returns(move, situation, chains, term=term)
    after = _after(move, situation, chains, term=term, planned=planned)
    return Plan(
        kind=move.kind,
        group=move.group,
        source=move.source,
        target=move.target,
        term=term,
        steps=in_order(steps),
        before=situation.placement,
        after=after,
        notes=(*left_out, *notes),
    )


def _check(move: Move, situation: Situation) -> None:
    """Refuse a move that would break a promise, or that is no move."""
    reasons: list[str] = []
    placement = situation.placement
    if move.source != placement.primary:
        reasons.append(f"{move.group}'s primaries are in {placement.primary}, not in {move.source}")
    if move.target == move.source:
        reasons.append(f"{move.target} already holds {move.group}'s primaries")
    elif reason := obstacle(situation.estate, situation.assessment, placement, situation.members, move.target):
        reasons.append(f"{move.target} {reason}")
    if move.kind is not RunKind.FAILOVER and not situation.reachable(move.source):
        reasons.append(f"{move.source} does not answer, so nothing can be stopped there: use evac failover")
    if reasons:
        raise UnsafePlan(tuple(reasons))


Chain = tuple[Step, ...]


def _chains(move: Move, situation: Situation, *, term: Term, planned: bool) -> tuple[list[Chain], list[str]]:
    """One chain a state component; what cannot be fenced of the merely wanted is left out, with a note.

    In a failover the merely wanted never stands in the way: if its chain fails that is a finding, and what was left
    behind is moved when the lost region answers again.
    """
    chains: list[Chain] = []
    notes: list[str] = []
    wanted = situation.estate.wanted_only(move.group)
    for component in situation.estate.group_components(move.group, Purpose.STATE):
        if planned:
            chains.append(switch_chain(component, move, situation, term=term))
        elif component.service not in wanted:
            chains.append(_failover_chain(component, move, situation, term=term))
        else:
            try:
                chain = _failover_chain(component, move, situation, term=term)
            except UnsafePlan as refusal:
                notes.append(f"{component.id} stays where it is: {refusal}")
                continue
            chains.append(tuple(replace(step, optional=True) for step in chain))
        notes += [uncovered(component, s) for s in chains[-1] if s.action.verb in FROM_AFAR]
        if _unguarded(component, _followers(component, move, situation)):
            notes.append(
                f"{component.id}: no standby is left to acknowledge; the new primary writes alone until one is"
            )
    return chains, notes


def _unguarded(component: Component, followers: Sequence[RegionId]) -> bool:
    assert component.replication is not None, "state components are replicated, which loading checks"
    return component.replication.mode is ReplicationMode.SYNC and not followers


def _followers(component: Component, move: Move, situation: Situation) -> list[RegionId]:
    """The standbys that will follow the target: those that answer and are not waiting to be rebuilt."""
    waiting = situation.placement.awaiting_rejoin
    return [r for r in situation.standbys(component, move.source, move.target) if r not in waiting]


def _failover_chain(component: Component, move: Move, situation: Situation, *, term: Term) -> Chain:
    """Refuse (and stop what still answers), catch up, promote; the others turn to the target meanwhile.

    Where standbys relay, they turn to it with the refusal itself, while the target is still a standby: a stream over a
    long link takes longer to open than a promotion takes, and goes on across it.
    """
    fences = _fences(component, move, situation, term=term)
    receipts = tuple(s.id for s in fences if not s.optional)
    catch_up = step_of(
        component,
        move.target,
        Verb.CATCH_UP,
        Phase.PROMOTE,
        term=term,
        needs=receipts,
        args={UNLESS_HIGHEST: True},
        undoable=False,
    )
    promote = _promotion(component, move, situation, term=term, needs=(*receipts, catch_up.id))
    once_led = () if component.relays else (promote.id,)
    after = {s.action.region: (s.id, *once_led) for s in fences if s.action.verb is Verb.REFUSE}
    return (
        *fences,
        catch_up,
        promote,
        *_followings(component, move, situation, Phase.PROMOTE, after=after, term=term),
    )


def _fences(component: Component, move: Move, situation: Situation, *, term: Term) -> list[Step]:
    """The steps whose receipts prove that the old primary acknowledges nothing more."""
    alive = situation.reachable(move.source)
    lost = unstarvable(component, situation.estate, situation.assessment, situation.placement, situation.members)
    keeps = keeps_all(component, situation.placement)
    person = move.accept_loss
    afar = from_afar(component, move.source)
    if lost and not person and (keeps or not (alive or afar)):
        raise UnsafePlan((lost,))
    onward = _followers(component, move, situation) if component.relays else []
    refusals = [
        step_of(
            component,
            r,
            Verb.REFUSE,
            Phase.FENCE,
            term=term,
            args={"old": move.source} | ({"next": move.target} if r in onward else {}),
        )
        for r in situation.standbys(component, move.source)
    ]
    if not alive:
        if not lost or person:
            return refusals
        assert afar is not None, "what nothing can fence is refused"
        return [*refusals, fence_from_afar(component, afar, old=move.source, target=move.target, term=term)]
    stop = step_of(
        component,
        move.source,
        Verb.STOP,
        Phase.FENCE,
        term=term,
        args={"mode": "kill"},
        undoable=False,
        optional=not lost or person,
    )
    return [*refusals, stop]


def switch_chain(component: Component, move: Move, situation: Situation, *, term: Term) -> Chain:
    """Prepare, turn the other standbys to the target, stop cleanly, promote.

    The others follow the target before anything is stopped, so that the new primary has whom it waits for at once. A
    primary that stops cleanly sends its standbys everything first: the promotion sees that its target has it.
    """
    prepare = step_of(
        component, move.source, Verb.PREPARE, Phase.PREPARE, term=term, args={"target": move.target}, undoable=False
    )
    prepared = dict.fromkeys(component.members, (prepare.id,))
    follows = _followings(component, move, situation, Phase.PREPARE, after=prepared, term=term)
    stop = step_of(
        component,
        move.source,
        Verb.STOP,
        Phase.FENCE,
        term=term,
        needs=(prepare.id, *(s.id for s in follows)),
        args={"mode": "clean", "target": move.target},
        retries=0,
    )
    promote = _promotion(component, move, situation, term=term, needs=(stop.id,))
    return (prepare, *follows, stop, promote)


def _promotion(
    component: Component, move: Move, situation: Situation, *, term: Term, needs: tuple[StepId, ...]
) -> Step:
    """The pivot. Where nobody is left to acknowledge, it goes on alone, and the plan's notes say so.

    A planned move that cannot promote turns back; in a failover nothing serves until it can, so it is tried more often.
    """
    followers = _followers(component, move, situation)
    sync = set_of(component, followers)
    waits: Json = {"acks": sync.acks, "standbys": list(sync.standbys)} if sync else {"acks": 0, "standbys": []}
    args: dict[str, Json] = {"sync": waits, "old": move.source}
    if move.accept_loss:
        args[WORD] = move.decided_by
    elif move.kind is RunKind.FAILOVER and keeps_all(component, situation.placement):
        args[QUORUM] = True
    return step_of(
        component,
        move.target,
        Verb.PROMOTE,
        Phase.PROMOTE,
        term=term,
        needs=needs,
        args=args,
        retries=3 if move.kind is RunKind.FAILOVER else 1,
        undoable=False,
        pivot=True,
    )


def _followings(
    component: Component,
    move: Move,
    situation: Situation,
    phase: Phase,
    *,
    after: Mapping[RegionId, tuple[StepId, ...]],
    term: Term,
) -> list[Step]:
    """The other standbys follow the target. Where it will wait for them, writes wait too, so they are required. Before
    its promotion (`Phase.PREPARE`) they are told to whom their undo leads back: what they followed is the source still.
    """
    assert component.replication is not None, "state components are replicated, which loading checks"
    followers = _followers(component, move, situation)
    args: dict[str, Json] = {"primary": move.target, **({"old": move.source} if phase is Phase.PREPARE else {})}
    required = len(followers) <= component.replication.acks
    return [
        step_of(
            component,
            r,
            Verb.FOLLOW,
            phase,
            term=term,
            needs=after[r],
            args=args,
            retries=3,
            optional=not required,
        )
        for r in followers
    ]


def shifts_of(
    move: Move,
    situation: Situation,
    *,
    term: Term,
    only: RegionId | None = None,
) -> tuple[list[Step], list[str]]:
    """Every router that answers sends its clients to the target; one that does not is named, and mended on return.

    A returned region's routers (`only`) are told what the others are: the door may be yet another region's.
    """
    steps: list[Step] = []
    notes: list[str] = []
    for router in situation.estate.group_components(move.group, Purpose.ROUTER):
        served = situation.estate.services[router.service].regions
        goal = situation.placement.door if only and router.directs is Directs.ENTRY else move.target
        weights: dict[str, Json] = {r: 100 if r == goal else 0 for r in dict.fromkeys((*served, goal))}
        for region in router.members:
            if only is not None and region != only:
                continue
            if not situation.reachable(region):
                notes.append(f"{router.id} in {region} cannot be reached: it is mended when the region answers")
                continue
            distressed = region == move.source and situation.assessment.verdicts[region].diagnosis is not Diagnosis.WELL
            steps.append(
                step_of(
                    router,
                    region,
                    Verb.SHIFT,
                    Phase.SHIFT,
                    term=term,
                    args={"weights": weights},
                    retries=3,
                    optional=distressed,
                )
            )
    return steps, notes


def _readiness(shift: Step) -> Step:
    """The step that asks a router, before anything is stopped, whether it would take its shift."""
    return replace(
        shift,
        id=StepId(f"{Verb.PREPARE}:{shift.action.component}@{shift.action.region}"),
        action=replace(shift.action, verb=Verb.PREPARE),
        phase=Phase.PREPARE,
        timeout=LIMITS[Verb.PREPARE],
        retries=1,
        undoable=False,
    )


def _verifications(move: Move, situation: Situation, chains: Sequence[Chain], *, term: Term) -> list[Step]:
    """A client's write and read on each new primary, once traffic is there and those it waits for follow.

    What is merely wanted may fail it: that is a finding for the report, and no reason to call anybody.
    """
    steps: list[Step] = []
    wanted = situation.estate.wanted_only(move.group)
    for chain in chains:
        promote = next(s for s in chain if s.pivot)
        follows = tuple(s.id for s in chain if s.action.verb is Verb.FOLLOW and s.optional == promote.optional)
        component = situation.estate.components[promote.action.component]
        needs = (promote.id, *follows)
        steps.append(
            step_of(
                component,
                move.target,
                Verb.VERIFY,
                Phase.VERIFY,
                term=term,
                needs=needs,
                args={"write": True},
                retries=3,
                optional=component.service in wanted,
            )
        )
    return steps


def _returns(move: Move, situation: Situation, chains: Sequence[Chain], *, term: Term) -> list[Step]:
    """After a planned move the old primary becomes a standby in the same run, from its component's promotion on.

    It was stopped cleanly and caught up with, so it holds nothing of its own, and the new primary has one more to
    acknowledge the sooner. That it fails is a finding: the move is done, and the region is rebuilt later like any that
    returns.
    """
    rebuilt: list[Step] = []
    for chain in chains:
        promote = next(s for s in chain if s.pivot)
        component = situation.estate.components[promote.action.component]
        rebuilt += rebuild(component, move.source, move.target, situation, (promote.id,), term=term)
    return [replace(step, optional=True) for step in rebuilt]


def _after(move: Move, situation: Situation, chains: Sequence[Chain], *, term: Term, planned: bool) -> Placement:
    """The placement when every step has its receipt."""
    moved = {chain[0].action.component for chain in chains}
    sync = {c: sets for c, sets in situation.placement.sync.items() if c not in moved}
    for chain in chains:
        component = situation.estate.components[chain[0].action.component]
        if planned:
            members = standbys_then(component, situation, move.target, with_region=move.source)
        else:
            members = _followers(component, move, situation)
        if waits := set_of(component, members):
            sync[component.id] = (waits,)
    waiting = [r for r in situation.placement.awaiting_rejoin if r != move.target]
    if not planned:
        waiting.append(move.source)
    return Placement(
        group=move.group, primary=move.target, term=term, sync=sync, awaiting_rejoin=tuple(dict.fromkeys(waiting))
    )
