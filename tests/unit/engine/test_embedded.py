"""The embedded form as a whole: it finds where things are, moves what is lost, obeys people, and outlives itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.decision import CallPerson
from evac.core.errors import Conflict, StoreUnavailable, UnsafePlan
from evac.core.estate import Automation, RegionId, ReplicationMode
from evac.core.news import DecisionNews, RunNews, VerdictNews
from evac.core.observation import MemberRole
from evac.core.plan import Plan, RunKind, Verb
from evac.core.policy import Detection
from evac.core.run import Opened, Outcome, Resumed, Settled
from evac.core.snapshot import Snapshot, Wish
from evac.core.verdict import Diagnosis
from evac.core.what_if import WhatIf
from evac.engine.codec import decode, encode, packed
from evac.engine.executor import INTERRUPTIONS_MAX
from evac.engine.journal import read_journal, read_runs
from evac.engine.outlook import LOOK_EVERY, STRETCH, Thought, in_turns, read_outlook, read_thoughts, thought_of
from evac.sim import time
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS_DB, SHOP_DNS, WEST, shop
from evac.sim.stores import FailingStore, Moment
from evac.sim.systems import Fault
from evac.stores.memory import MemoryStore
from fakes.embedded import Embedded, World, calm, embedded
from fakes.thoughts import thought

Play = Callable[[Embedded], Awaitable[None]]


FAILS_OVER_WITHIN = timedelta(minutes=2)


def played(play: Play, *, world: World | None = None) -> World:
    """Wait until a world is calm, then play in it; nothing may ever be written in two places."""
    made = world or World()

    async def whole() -> None:
        async with embedded(made) as on:
            await on.until(calm)
            made.told.clear()
            await play(on)

    time.run(whole())
    assert made.systems.violations == []
    return made


def at(region: RegionId) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.placements[0].primary == region and not snapshot.active


def outcomes(world: World) -> list[tuple[RunKind, Outcome]]:
    """Every run, and how it ended."""

    async def read() -> list[tuple[RunKind, Outcome]]:
        return [(r.plan.kind, r.settled.outcome) for r in await read_runs(world.store) if r.settled]

    return time.run(read())


def test_a_lost_region_is_left_rebuilt_and_returned_to() -> None:
    async def play(on: Embedded) -> None:
        on.world.lose(EAST)
        await on.until(at(WEST))
        assert on.world.systems.writers(ORDERS_DB) == [WEST]
        on.world.find(EAST)
        await on.until(lambda s: calm(s) and not s.placements[0].awaiting_rejoin)
        assert on.world.systems.nodes[ORDERS_DB, EAST].upstream == WEST
        await on.until(lambda s: all(m.state and m.state.upstream != EAST for m in s.members))
        await asyncio.sleep(3 * on.world.estate.detection.interval.total_seconds())  # every member was looked at since
        reply = await on.ask(Wish.FAILBACK)
        assert reply.refused == ()
        await on.until(at(EAST))

    world = played(play)
    assert outcomes(world) == [
        (RunKind.FAILOVER, Outcome.COMPLETED),
        (RunKind.REJOIN, Outcome.COMPLETED),
        (RunKind.FAILBACK, Outcome.COMPLETED),
    ]
    told = [n.verdict.diagnosis for n in world.told if isinstance(n, VerdictNews) and n.verdict.region == EAST]
    assert Diagnosis.UNREACHABLE in told


def test_what_lasts_a_moment_and_means_nothing_is_not_told() -> None:
    """One vantage point that loses sight of a region is a link cut: told when it lasts, not when it passes."""

    async def play(on: Embedded) -> None:
        detection = on.world.estate.detection
        on.world.ill.add((WEST, EAST))
        await on.until(lambda s: any(v.diagnosis is Diagnosis.LINK_CUT for v in s.verdicts))
        on.world.ill.clear()
        await on.until(calm)
        assert [n for n in on.world.told if isinstance(n, VerdictNews)] == []
        on.world.ill.add((WEST, EAST))
        await asyncio.sleep(10 * detection.timeout.total_seconds())

    world = played(play, world=World(estate=shop(detection=Detection(successes=1))))
    assert [n.verdict.diagnosis for n in world.told if isinstance(n, VerdictNews)] == [Diagnosis.LINK_CUT]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("two primaries", "orders-db: one primary expected, found: us-east-1, us-west-2"),
        ("apart", "the primaries of group shop are in several regions"),
        ("weaker", "orders-db in us-east-1 waits for 0 standbys, the estate declares 1"),
        ("unguarded", "carts-cache in us-east-1 requires 0 standbys, the estate declares 1"),
    ],
)
def test_where_the_primaries_are_is_not_guessed(change: str, said: str) -> None:
    world = World()
    nodes = world.systems.nodes
    match change:
        case "two primaries":
            nodes[ORDERS_DB, WEST].role = MemberRole.PRIMARY
        case "apart":
            nodes[CARTS_CACHE, WEST].role, nodes[CARTS_CACHE, EAST].role = MemberRole.PRIMARY, MemberRole.STANDBY
            nodes[CARTS_CACHE, WEST].sync = nodes[CARTS_CACHE, EAST].sync
        case "weaker":
            nodes[ORDERS_DB, EAST].sync = None
        case _:
            nodes[CARTS_CACHE, EAST].sync = None

    async def whole() -> None:
        async with embedded(world) as on:
            seen = await on.until(lambda s: any(said in line for why in s.unplaced.values() for line in why))
            assert seen.placements == ()
            reply = await on.ask(Wish.SWITCHOVER)
            assert "where shop's primaries are is not known:" in reply.refused

    time.run(whole())


def test_an_asynchronous_estate_is_placed_by_its_primaries_alone() -> None:
    async def play(on: Embedded) -> None:
        (placement,) = (await on.until(calm)).placements
        assert placement.sync == {}

    played(play, world=World(estate=shop(acks=0, cache_acks=0)))


@pytest.mark.parametrize(
    ("wish", "more", "said"),
    [
        (Wish.SWITCHOVER, {"group": "shoes"}, "name the group to move, one of: shop"),
        (Wish.SWITCHOVER, {"target": EAST}, "shop is in us-east-1 already"),
        (Wish.FAILBACK, {}, "shop is in us-east-1 already"),
        (Wish.FAILOVER, {"region": WEST}, "shop's primaries are in us-east-1, not in us-west-2"),
        (Wish.REJOIN, {}, "regions of shop that wait to be rebuilt: none"),
        (Wish.REJOIN, {"region": WEST}, "regions of shop that wait to be rebuilt: none"),
        (Wish.APPROVE, {}, "nothing waits for approval"),
        (Wish.RESOLVE, {}, "name the run to resolve; stuck are: none"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: Wish, more: dict[str, object], said: str) -> None:
    async def play(on: Embedded) -> None:
        assert (await on.ask(wish, **more)).refused == (said,)

    assert outcomes(played(play)) == []


def test_while_a_group_moves_nothing_else_is_begun_for_it() -> None:
    async def play(on: Embedded) -> None:
        begun = await on.ask(Wish.SWITCHOVER, group=GROUP, target=EUROPE, reason="a drill")
        assert "is under way; wait for it" in (await on.ask(Wish.FAILBACK)).refused[0]
        await on.until(at(EUROPE))
        (opened,) = [n.event for n in on.world.told if isinstance(n, RunNews) and isinstance(n.event, Opened)]
        assert (opened.run, opened.decided_by) == (begun.run, "alice")
        assert opened.decision["reasons"] == ["asked for by alice: a drill"]

    played(play)


async def in_mid_rebuild(on: Embedded) -> None:
    """Fail over to us-west-2, and let the rebuild of us-east-1 hang."""
    on.world.lose(EAST)
    await on.until(at(WEST))
    on.world.systems.faults[ORDERS_DB, EAST, Verb.REJOIN, False] = Fault.HANGING
    on.world.find(EAST)
    await on.until(lambda s: s.active)
    await asyncio.sleep(1)
    assert on.controller.known.giving_way == {GROUP}
    on.world.systems.faults.clear()  # the next one will not hang


async def moved_and_rebuilt(on: Embedded) -> None:
    """Wait until the group is in eu-west-1, and us-east-1 follows it after all."""
    await on.until(lambda s: at(EUROPE)(s) and EAST not in s.placements[0].awaiting_rejoin)
    assert on.world.systems.nodes[ORDERS_DB, EAST].upstream == EUROPE


def test_a_rebuild_that_takes_its_time_gives_way_to_the_loss_of_the_primary() -> None:
    async def play(on: Embedded) -> None:
        await in_mid_rebuild(on)
        on.world.lose(WEST)
        await moved_and_rebuilt(on)
        assert not on.controller.known.each(lambda m: m.rejoin_tries), "it did not fail"

    estate = shop()
    quick = replace(estate, guard=replace(estate.guard, hold_down=timedelta(seconds=1)))
    world = played(play, world=World(estate=quick))
    assert outcomes(world)[1:4] == [
        (RunKind.REJOIN, Outcome.GAVE_WAY),
        (RunKind.FAILOVER, Outcome.COMPLETED),
        (RunKind.REJOIN, Outcome.COMPLETED),
    ]
    ends = [n.event for n in world.told if isinstance(n, RunNews) and isinstance(n.event, Settled)]
    assert ends[1].reasons[0].startswith("us-west-2 unreachable")


def test_a_rebuild_gives_way_to_a_person_who_fails_over_and_to_no_planned_move() -> None:
    async def play(on: Embedded) -> None:
        await in_mid_rebuild(on)
        assert "is under way; wait for it" in (await on.ask(Wish.SWITCHOVER, target=EUROPE)).refused[0]
        assert "already" in (await on.ask(Wish.FAILOVER, target=WEST)).refused[0]
        assert on.controller.known.active, "nonsense stops nothing"
        assert (await on.ask(Wish.FAILOVER, target=EUROPE)).refused == ()
        await moved_and_rebuilt(on)

    assert outcomes(played(play))[1:3] == [(RunKind.REJOIN, Outcome.GAVE_WAY), (RunKind.FAILOVER, Outcome.COMPLETED)]


def test_a_rebuild_gives_way_to_a_move_that_was_approved() -> None:
    async def play(on: Embedded) -> None:
        await on.ask(Wish.FAILOVER, target=WEST)
        await on.until(at(WEST))
        on.world.systems.faults[ORDERS_DB, EAST, Verb.REJOIN, False] = Fault.HANGING
        await on.until(lambda s: s.active)
        await asyncio.sleep(1)
        on.world.systems.faults.clear()
        on.world.lose(WEST)
        await on.until(lambda s: any(type(d).__name__ == "Ask" for d in s.decisions))
        assert (await on.ask(Wish.APPROVE)).refused == ()
        await moved_and_rebuilt(on)

    played(play, world=World(estate=shop(automation=Automation.SEMI_AUTOMATIC)))


def test_nobody_to_move_to_is_a_refusal_with_each_regions_reason() -> None:
    async def play(on: Embedded) -> None:
        on.world.lose(EUROPE)
        await on.until(lambda s: any(v.diagnosis is Diagnosis.UNREACHABLE for v in s.verdicts))
        refused = (await on.ask(Wish.SWITCHOVER, target=EUROPE)).refused
        assert len(refused) == 2
        assert any(line.startswith("eu-west-1: silent for") for line in refused)

    played(play)


def test_automation_that_is_paused_only_watches_and_goes_on_when_it_is_told() -> None:
    async def play(on: Embedded) -> None:
        await on.ask(Wish.PAUSE, reason="maintenance")
        on.world.lose(EAST)
        seen = await on.until(lambda s: any(isinstance(d, CallPerson) for d in s.decisions))
        assert seen.paused == "maintenance"
        assert outcomes_now(on) == 0
        await on.ask(Wish.RESUME)
        await on.until(at(WEST))

    played(play)


def outcomes_now(on: Embedded) -> int:
    return sum(isinstance(n, RunNews) for n in on.world.told)


def test_a_semi_automatic_estate_asks_and_does_what_is_approved() -> None:
    async def play(on: Embedded) -> None:
        on.world.lose(EAST)
        await on.until(lambda s: any(type(d).__name__ == "Ask" for d in s.decisions))
        assert (await on.ask(Wish.APPROVE)).refused == ()
        await on.until(at(WEST))

    played(play, world=World(estate=shop(automation=Automation.SEMI_AUTOMATIC)))


def test_a_run_that_is_stuck_stays_until_somebody_resolves_it() -> None:
    """Also over a new controller's start; a move is refused as long."""
    world = World()
    world.systems.faults[ORDERS_DB, WEST, Verb.PROMOTE, False] = Fault.BLIND

    async def whole() -> None:
        async with embedded(world, name="first") as on:
            await on.until(calm)
            await on.ask(Wish.SWITCHOVER, target=WEST)
            await on.until(lambda s: s.stuck)
        async with embedded(world, name="second") as on:
            seen = await on.until(lambda s: s.stuck)
            (run,) = seen.stuck.values()
            await on.until(lambda s: all(v.diagnosis is Diagnosis.WELL for v in s.verdicts))
            assert f"run {run} is stuck" in (await on.ask(Wish.SWITCHOVER, target=WEST)).refused[0]
            assert f"stuck are: {run}" in (await on.ask(Wish.RESOLVE, run="99")).refused[0]
            assert (await on.ask(Wish.RESOLVE, run=run)).refused == ()
            assert snapshots_stuck(on) == {}
        async with embedded(world, name="third") as on:
            await on.controller.recalled.wait()
            assert snapshots_stuck(on) == {}

    time.run(whole())


def snapshots_stuck(on: Embedded) -> dict[str, str]:
    return {str(g): str(r) for g, r in on.controller.known.stuck.items()}


def test_what_a_person_tried_in_vain_delays_no_failover_and_a_rebuild_is_tried_again() -> None:
    world = World()
    world.systems.faults[ORDERS_DB, EAST, Verb.PREPARE, False] = Fault.REFUSED

    async def play(on: Embedded) -> None:
        await on.ask(Wish.SWITCHOVER, target=WEST)
        await on.until(lambda s: on.controller.known.each(lambda m: m.settled_at))
        assert not on.controller.known.each(lambda m: m.tries)
        on.world.systems.faults.clear()
        on.world.systems.faults[ORDERS_DB, EAST, Verb.REJOIN, False] = Fault.REFUSED
        on.world.lose(EAST)
        await on.until(at(WEST))
        on.world.find(EAST)
        await on.until(lambda s: on.controller.known.each(lambda m: m.rejoin_tries))
        on.world.systems.faults.clear()
        await on.until(lambda s: not s.placements[0].awaiting_rejoin)
        assert not on.controller.known.each(lambda m: m.rejoin_tries)

    played(play, world=world)
    kinds = [kind for kind, _ in outcomes(world)]
    assert kinds[:2] == [RunKind.SWITCHOVER, RunKind.FAILOVER]
    assert kinds.count(RunKind.REJOIN) >= 2
    assert outcomes(world)[0] == (RunKind.SWITCHOVER, Outcome.ROLLED_BACK)


def test_what_was_begun_is_gone_on_with_by_the_next_life_which_tells_it_whole() -> None:
    world = World()

    async def whole() -> None:
        async with embedded(world, name="first") as on:
            await on.until(calm)
            world.systems.faults[ORDERS_DB, WEST, Verb.PROMOTE, False] = Fault.HANGING
            await on.ask(Wish.SWITCHOVER, target=WEST)
            await on.until(lambda s: Verb.STOP in world.systems.nodes[ORDERS_DB, EAST].done)
            await asyncio.sleep(1)
        world.systems.faults.clear()
        world.told.clear()
        async with embedded(world, name="second") as on:
            await on.until(lambda s: s.placements and at(WEST)(s))
        (run,) = await read_runs(world.store)
        told = [n for n in world.told if isinstance(n, RunNews)]
        assert (told[0].event, *told[0].already, *(n.event for n in told[1:])) == await read_journal(
            run.id, store=world.store
        )
        assert isinstance(told[0].event, Opened)
        assert any(isinstance(n.event, Resumed) for n in told)
        assert isinstance(told[-1].event, Settled)

    time.run(whole())
    assert outcomes(world) == [(RunKind.SWITCHOVER, Outcome.COMPLETED)]


def test_a_returned_region_waits_for_a_persons_word_where_that_was_declared() -> None:
    async def play(on: Embedded) -> None:
        on.world.lose(EAST)
        await on.until(at(WEST))
        on.world.find(EAST)
        await on.until(calm)
        assert (await on.until(calm)).placements[0].awaiting_rejoin == (EAST,)
        assert (await on.ask(Wish.REJOIN, region=EAST)).refused == ()
        await on.until(lambda s: not s.placements[0].awaiting_rejoin)

    played(play, world=World(estate=replace(shop(), rejoin_automatic=False)))


def unsafe(decision: object, assessment: object) -> Plan:
    """Stands for a plan that cannot be made."""
    raise UnsafePlan(("the moon is full",))


def test_what_no_plan_can_do_safely_calls_a_person_and_is_thought_over_again() -> None:
    """The region is lost, and so is the other standby that would have to refuse it."""

    async def play(on: Embedded) -> None:
        on.controller.plan = unsafe  # type: ignore[method-assign]
        on.world.lose(EAST)
        await on.until(lambda s: on.controller.known.each(lambda m: m.tries))
        del on.controller.plan
        await on.until(at(WEST))

    world = played(play)
    called = [n.decision for n in world.told if isinstance(n, DecisionNews) and isinstance(n.decision, CallPerson)]
    assert called[0].reasons == ("no plan keeps the promises:", "the moon is full")


@pytest.mark.parametrize(("trouble", "times"), [(Conflict, 3), (StoreUnavailable, INTERRUPTIONS_MAX + 3)])
def test_a_store_that_fails_a_while_ends_nothing_that_was_begun(trouble: type[Exception], times: int) -> None:
    """Neither while a run is opened nor later, and not when the executor has given up in the meantime."""
    opening = [trouble("told to be away") for _ in range(3)]
    later = [trouble("told to be away") for _ in range(times)]

    async def play(on: Embedded) -> None:
        on.world.lose(EAST)
        await on.until(at(WEST), looking_each=10)
        assert (opening, later) == ([], [])

    assert outcomes(played(play, world=World(store=failing(opening, later)))) == [(RunKind.FAILOVER, Outcome.COMPLETED)]


@pytest.mark.parametrize("asked", [False, True])
def test_a_run_whose_opening_the_store_took_without_a_word_is_taken_up(asked: bool) -> None:
    opening: list[Exception] = [StoreUnavailable("told to be away")]

    async def play(on: Embedded) -> None:
        if asked:
            await on.ask(Wish.SWITCHOVER)
        else:
            on.world.lose(EAST)
        await on.until(at(WEST))

    world = played(play, world=World(store=failing(opening, [], heard=Moment.AFTER)))
    assert not opening
    (first, *_) = outcomes(world)
    assert first == (RunKind.SWITCHOVER if asked else RunKind.FAILOVER, Outcome.COMPLETED)
    assert not [n for n in world.told if isinstance(n, DecisionNews) and isinstance(n.decision, CallPerson)]


def failing(opening: list[Exception], later: list[Exception], *, heard: Moment = Moment.BEFORE) -> FailingStore:
    """A store that fails to take a run's first entry, or its later ones, for as long as there are reasons; or, with
    `heard` after, takes it and fails to say so.
    """

    def trouble(number: int, moment: Moment) -> Exception | None:
        if moment is not heard:
            return None
        entries = [key for key in store.commits[-1] if key.startswith("runs/")]
        reasons = opening if any(key.endswith("/000001") for key in entries) else later if entries else []
        return reasons.pop() if reasons else None

    store = FailingStore(store=MemoryStore(), trouble=trouble)
    return store


def test_a_wish_that_the_store_does_not_take_is_refused_and_may_be_asked_again() -> None:
    opening: list[Exception] = [Conflict("told to be late")]

    async def play(on: Embedded) -> None:
        assert (await on.ask(Wish.SWITCHOVER)).refused == ("the store did not take it: told to be late; ask again",)
        assert (await on.ask(Wish.SWITCHOVER)).refused == ()

    played(play, world=World(store=failing(opening, [])))


def entered(region: RegionId | None) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.placements[0].entry == region and not snapshot.active


def test_a_person_sends_clients_in_by_another_door_and_back() -> None:
    async def play(on: Embedded) -> None:
        await asyncio.sleep(2)  # by then every vantage point has tried every door
        assert (await on.ask(Wish.SHIFT, target=WEST)).refused == ()
        await on.until(entered(WEST))
        assert on.world.systems.nodes[SHOP_DNS, WEST].weights[WEST] == 100
        await asyncio.sleep(60)
        assert entered(WEST)(await on.until(calm)), "they stay until a person sends them back"
        assert (await on.ask(Wish.FAILBACK)).refused == ()
        await on.until(entered(None))

    assert outcomes(played(play)) == [(RunKind.SHIFT, Outcome.COMPLETED)] * 2


def shut(region: RegionId, world: World) -> None:
    """Let nobody enter a region from outside, though all is well in it."""
    world.ill |= {(vantage, region) for vantage in world.estate.regions if vantage != region}


def test_clients_come_in_by_another_door_for_as_long_as_their_own_is_shut() -> None:
    """The way back is thought over again when no plan could be made for it at first."""

    async def play(on: Embedded) -> None:
        shut(EAST, on.world)
        await on.until(entered(WEST))
        on.controller.plan = unsafe  # type: ignore[method-assign]
        on.world.ill.clear()
        await on.until(lambda s: on.controller.known.each(lambda m: m.return_tries))
        del on.controller.plan
        await on.until(entered(None))

    assert outcomes(played(play)) == [(RunKind.SHIFT, Outcome.COMPLETED)] * 2


def test_a_shift_that_was_asked_for_is_begun_when_it_is_approved() -> None:
    async def play(on: Embedded) -> None:
        shut(EAST, on.world)
        await on.until(lambda s: any(type(d).__name__ == "Ask" for d in s.decisions))
        assert (await on.ask(Wish.APPROVE)).refused == ()
        await on.until(entered(WEST))

    world = played(play, world=World(estate=shop(automation=Automation.SEMI_AUTOMATIC)))
    assert outcomes(world) == [(RunKind.SHIFT, Outcome.COMPLETED)]


def test_a_group_whose_traffic_alone_cannot_be_shifted_is_moved() -> None:
    async def play(on: Embedded) -> None:
        shut(EAST, on.world)
        on.controller.plan = unsafe  # type: ignore[method-assign]
        await on.until(lambda s: on.controller.known.each(lambda m: m.shift_tries))
        del on.controller.plan
        await on.until(at(WEST))

    assert outcomes(played(play))[0] == (RunKind.FAILOVER, Outcome.COMPLETED)


def acknowledging_alone() -> World:
    """Return a world whose primary waits for nobody: a failover may lose its last writes."""
    estate = shop()
    database = estate.components[ORDERS_DB]
    assert database.replication is not None
    alone = replace(database.replication, mode=ReplicationMode.ASYNC, acks=0)
    components = {**estate.components, ORDERS_DB: replace(database, replication=alone)}
    return World(estate=replace(estate, components=components))


async def behind_shut_doors(on: Embedded) -> None:
    """Shut the primary's door, of which a shift of traffic is known to be no cure, and wait for the move."""
    on.controller.known.failed_shift(GROUP, back=False, now=on.world.clock.now())
    shut(EAST, on.world)
    await on.until(at(WEST))


def test_what_acknowledges_alone_behind_shut_doors_is_moved_as_planned_and_is_restless_then() -> None:
    async def play(on: Embedded) -> None:
        await behind_shut_doors(on)
        memory = on.controller.known.memory(GROUP)
        assert memory.last_move_at is not None
        assert memory.flaps is not None
        assert memory.urged_at is None

    assert outcomes(played(play, world=acknowledging_alone())) == [(RunKind.SWITCHOVER, Outcome.COMPLETED)]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.HANGING, Fault.BLIND])
def test_a_planned_move_that_turns_back_is_followed_by_a_failover_in_bounded_time(fault: Fault) -> None:
    async def play(on: Embedded) -> None:
        on.world.systems.faults[ORDERS_DB, EAST, Verb.PREPARE, False] = fault
        began = on.world.clock.now()
        await behind_shut_doors(on)
        assert on.world.clock.now() - began < FAILS_OVER_WITHIN

    assert outcomes(played(play, world=acknowledging_alone()))[:2] == [
        (RunKind.SWITCHOVER, Outcome.ROLLED_BACK),
        (RunKind.FAILOVER, Outcome.COMPLETED),
    ]


def test_a_standby_that_stays_away_leaves_the_set_and_comes_back_into_it() -> None:
    """One set that no plan could be made for is thought over again."""

    def waited(on: Embedded) -> tuple[RegionId, ...]:
        sync = on.world.systems.nodes[ORDERS_DB, EAST].sync
        return sync.standbys if sync else ()

    async def play(on: Embedded) -> None:
        assert waited(on) == (WEST, EUROPE)
        on.controller.plan = unsafe  # type: ignore[method-assign]
        on.world.systems.hanging.add((ORDERS_DB, EUROPE))
        await on.until(lambda s: on.controller.known.each(lambda m: m.protect_tries))
        assert waited(on) == (WEST, EUROPE)
        del on.controller.plan
        await on.until(lambda s: waited(on) == (WEST,))
        on.world.systems.hanging.clear()
        await on.until(lambda s: waited(on) == (WEST, EUROPE) and calm(s))

    assert outcomes(played(play)) == [(RunKind.PROTECT, Outcome.COMPLETED)] * 2


def test_a_primary_whose_standbys_are_all_away_goes_on_alone_on_a_persons_word_until_one_is_back() -> None:
    async def play(on: Embedded) -> None:
        assert "is known to wait" in (await on.ask(Wish.DEGRADE, region=EAST)).refused[0]
        primary = on.world.systems.nodes[ORDERS_DB, EAST]
        on.world.systems.hanging |= {(ORDERS_DB, WEST), (ORDERS_DB, EUROPE)}
        await on.until(lambda s: any(isinstance(d, CallPerson) for d in s.decisions))
        assert primary.sync is not None
        assert (await on.ask(Wish.DEGRADE, region=EAST)).refused == ()
        await on.until(lambda s: primary.sync is None and not s.active)
        on.world.systems.hanging.clear()
        await on.until(lambda s: primary.sync is not None and primary.sync.standbys == (WEST, EUROPE) and calm(s))

    assert {kind for kind, _ in outcomes(played(play))} == {RunKind.PROTECT}


def test_a_store_that_cannot_be_listened_to_for_a_while_keeps_nobody_from_seeing_later() -> None:
    troubles: list[Exception] = []
    store = FailingStore(
        store=MemoryStore(),
        trouble=lambda number, moment: None,
        deaf=lambda prefix: troubles.pop() if prefix == "views/" and troubles else None,
    )

    async def play(on: Embedded) -> None:
        troubles.extend(StoreUnavailable("told to be away") for _ in range(3))
        await on.until(lambda s: not troubles)
        on.world.lose(EAST)
        await on.until(at(WEST))

    played(play, world=World(store=store))


def test_a_view_that_is_taken_away_is_no_news() -> None:
    async def play(on: Embedded) -> None:
        await on.world.store.commit(expect={}, put={}, delete=(f"views/{EAST}",))
        await asyncio.sleep(1)
        await on.until(calm)

    assert [n for n in played(play).told if isinstance(n, VerdictNews)] == []


def test_a_member_that_does_not_answer_in_time_is_said_to_be_silent() -> None:
    async def play(on: Embedded) -> None:
        on.world.systems.hanging.add((ORDERS_DB, EUROPE))
        seen = await on.until(lambda s: any(m.state is None for m in s.members))
        (silent,) = [m for m in seen.members if m.state is None]
        assert (silent.component, silent.region) == (ORDERS_DB, EUROPE)
        assert silent.reason.startswith("no answer in")

    played(play)


def test_each_minute_it_is_remembered_what_a_loss_would_cost() -> None:
    async def play(on: Embedded) -> None:
        await on.ask(Wish.SWITCHOVER)  # what its steps took is what the forecast rests on from now on
        await asyncio.sleep(timedelta(minutes=2).total_seconds())
        past = (await read_outlook(on.world.store)).past[GROUP]
        assert len(past) == 2
        assert all(p.rto > timedelta() and p.rpo == timedelta() for p in past)
        on.world.lose(EAST)
        on.world.lose(EUROPE)
        await asyncio.sleep(timedelta(minutes=1).total_seconds())
        assert (await read_outlook(on.world.store)).past[GROUP] == past

    played(play)


def test_what_each_regions_loss_would_come_to_is_thought_through_all_the_time() -> None:
    async def play(on: Embedded) -> None:
        await asyncio.sleep(LOOK_EVERY.total_seconds() + 1)
        thoughts = {t.region: t for t in await read_thoughts(on.world.store)}
        assert set(thoughts) == {EAST, WEST, EUROPE}
        (mine,) = thoughts[EAST].each
        assert mine.serves
        assert mine.plan is not None
        assert not mine.stays
        assert (await on.ask(Wish.PAUSE, reason="lunch")).refused == ()
        await asyncio.sleep(LOOK_EVERY.total_seconds() + 1)
        (paused,) = {t.region: t for t in await read_thoughts(on.world.store)}[EAST].each
        assert paused.stays
        assert any("lunch" in reason for reason in paused.blocks)

    played(play)


def test_what_could_not_be_planned_right_after_a_change_is_thought_through_again_soon() -> None:
    async def play(on: Embedded) -> None:
        async def mine() -> WhatIf:
            (found,) = {t.region: t for t in await read_thoughts(on.world.store)}[EAST].each
            return found

        await asyncio.sleep(timedelta(minutes=2).total_seconds())
        silent = {(ORDERS_DB, WEST), (ORDERS_DB, EUROPE)}
        on.world.systems.hanging.update(silent)
        await asyncio.sleep(5)
        assert (await on.ask(Wish.PAUSE, reason="lunch")).refused == ()
        await asyncio.sleep(1.5)
        assert (await mine()).forecast is None
        on.world.systems.hanging.difference_update(silent)
        await asyncio.sleep(LOOK_EVERY.total_seconds() / 2)
        assert (await mine()).forecast is not None

    played(play)


def test_others_have_a_turn_where_a_thought_takes_long() -> None:
    class Ticking(time.VirtualClock):
        """A clock that goes on by a third of a stretch with each look at it."""

        looks = turns = 0

        def now(self) -> timedelta:
            self.looks += 1
            return self.looks * STRETCH / 3

        async def sleep(self, duration: timedelta) -> None:
            self.turns += 1

    wall, clock = datetime(2026, 11, 23, tzinfo=UTC), Ticking()
    said = time.run(in_turns(thought_of(EAST, (None,) * 8, wall=wall), clock=clock))
    assert said == Thought(region=EAST, wall=wall, each=())
    assert clock.turns == 3


def test_plans_that_are_too_large_to_keep_are_left_out_and_that_is_said() -> None:
    wall = datetime(2026, 11, 23, tzinfo=UTC)
    *turns, kept = thought_of(EAST, (thought(),) * 300, wall=wall)
    assert kept is not None
    assert turns == [None] * 300
    assert (kept.whole, [each.plan for each in kept.each]) == (False, [None] * 300)
    assert kept.each[0].forecast == thought().forecast
    assert decode(packed(encode(kept)), Thought) == kept
    *_, small = thought_of(EAST, [None, thought(), None], wall=wall)
    assert small == Thought(region=EAST, wall=wall, each=(thought(),))
