"""A person's request is carried out once, whoever dies in between, and not when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.decision import Move, Tries
from evac.core.detector import fold
from evac.core.errors import StoreUnavailable, UnsafePlan
from evac.core.estate import RegionId
from evac.core.memory import Memory
from evac.core.news import News
from evac.core.plan import RunKind
from evac.core.protection import NOBODY
from evac.core.quiet import Pause, Window
from evac.core.run import RunId
from evac.core.snapshot import Reply, Request, Wish
from evac.core.traffic import Shift
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.quiet import WINDOWS_MAX
from evac.engine.requests import ANSWERED_WITHIN, attend, wished_act, wished_degrading, wished_rejoin
from evac.lab.bench.large import estate_of, placements_of
from evac.ports import Store
from evac.sim import time
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS_DB, WEST, placed, shop
from evac.sim.stores import FailingStore, Moment
from evac.stores.memory import MemoryStore
from fakes.estates import all_well, member, members, move, sweep
from fakes.opening import open_run
from fakes.shapes import shapes

PLAN = shapes()[0].plan
CLOCK = time.VirtualClock()
ESTATE = shop()
SEEN = all_well(ESTATE)
"""Every region is well, and every door is open."""


async def answered(request: Request) -> tuple[Reply, Controller]:
    """Leave a request to a controller that starts, and return its reply."""
    store = MemoryStore()
    await store.commit(expect={}, put={"requests/r1": encode(request)})
    controller = Controller(estate=shop(), store=store, clock=CLOCK, announce=lambda news: None, name="c")
    controller.recalled.set()
    attending = asyncio.create_task(attend(controller, store=store, clock=CLOCK))
    async for change in store.watch("replies/", after=0):
        assert change.record is not None
        attending.cancel()
        assert await store.list("requests/") == ()
        return decode(change.record.value, Reply), controller
    raise AssertionError("a watch has no end")


def wish(*, ago: timedelta = timedelta()) -> Request:
    return Request(id="r1", wish=Wish.PAUSE, by="alice", wall=CLOCK.wall() - ago, reason="lunch")


async def begin(store: MemoryStore) -> str:
    return await open_run(
        PLAN, store=store, clock=CLOCK, decided_by="alice", symptom_at=CLOCK.now(), decision={}, request="r1"
    )


def test_a_run_and_the_answer_to_who_asked_for_it_are_one_commit() -> None:
    async def tell() -> None:
        store = MemoryStore()
        await store.commit(
            expect={}, put={f"placement/{PLAN.group}": encode(PLAN.before), "requests/r1": encode(wish())}
        )
        run = await begin(store)
        assert await store.get("requests/r1") is None
        reply = await store.get("replies/r1")
        assert reply is not None
        assert decode(reply.value, Reply) == Reply(request="r1", run=run)  # type: ignore[arg-type]

    time.run(tell())


def test_what_was_taken_back_is_not_begun() -> None:
    async def tell() -> None:
        store = MemoryStore()
        await store.commit(expect={}, put={f"placement/{PLAN.group}": encode(PLAN.before)})
        with pytest.raises(UnsafePlan, match="taken back"):
            await begin(store)
        assert await store.list("runs/") == ()

    time.run(tell())


async def test_what_an_earlier_controller_left_is_taken_up() -> None:
    reply, controller = await answered(wish())
    assert reply.refused == ()
    assert controller.known.pause is not None
    assert (controller.known.pause.reason, controller.known.pause.until) == ("lunch", None)


async def test_what_nobody_waits_for_any_more_is_refused() -> None:
    reply, controller = await answered(wish(ago=ANSWERED_WITHIN * 2))
    assert "ask again if it is still right" in reply.refused[0]
    assert controller.known.pause is None


def asking(*, stuck: bool = False, **changes: object) -> tuple[Controller, Request]:
    """Return a controller that sees all well while clients enter by another door, and a request."""
    controller = Controller(estate=ESTATE, store=MemoryStore(), clock=CLOCK, announce=lambda news: None, name="c")
    controller.known.placements[GROUP] = replace(placed(ESTATE), entry=WEST)
    controller.known.detector = replace(
        controller.known.detector, members=members(ESTATE, controller.known.placements[GROUP])
    )
    if stuck:
        controller.known.memories[GROUP] = Memory(stuck=RunId("7"))
    return controller, replace(wish(), **changes)  # type: ignore[arg-type]


async def test_a_failback_where_only_traffic_is_away_is_a_shift() -> None:
    act = wished_act(*asking(wish=Wish.FAILBACK, reason="quiet hour"), SEEN)
    assert isinstance(act, Shift)
    assert (act.source, act.target, act.reasons) == (WEST, EAST, ("asked for by alice: quiet hour",))


async def test_a_failback_of_the_whole_group_is_a_move() -> None:
    controller, request = asking(wish=Wish.FAILBACK)
    where = replace(placed(ESTATE), primary=WEST, entry=EUROPE)
    controller.known.placements[GROUP] = where
    controller.known.detector = replace(controller.known.detector, members=members(ESTATE, where))
    act = wished_act(controller, request, SEEN)
    assert isinstance(act, Move)
    assert (act.source, act.target) == (WEST, EAST)


async def test_a_person_names_the_door() -> None:
    act = wished_act(*asking(wish=Wish.SHIFT, target=EUROPE), SEEN)
    assert isinstance(act, Shift)
    assert (act.target, act.decided_by) == (EUROPE, "alice")


async def test_a_stuck_run_comes_first() -> None:
    with pytest.raises(UnsafePlan, match="run 7 is stuck"):
        wished_act(*asking(stuck=True, wish=Wish.SHIFT), SEEN)


async def test_what_was_asked_for_becomes_the_plan_of_its_kind() -> None:
    controller, request = asking(wish=Wish.FAILBACK)
    act = wished_act(controller, request, SEEN)
    kinds = [controller.plan(a, SEEN).kind for a in (act, move(EAST, EUROPE))]
    assert kinds == [RunKind.SHIFT, RunKind.FAILOVER]


def a_degrading(region: RegionId | None) -> Request:
    return Request(id="r1", wish=Wish.DEGRADE, by="alice", wall=CLOCK.wall(), region=region, reason="no time")


async def test_who_missed_a_move_is_rejoined_by_hand_too_and_nobody_else() -> None:
    controller = lonely(away=())
    moved = replace(placed(shop()), primary=WEST)
    controller.known.placements[GROUP] = moved
    now = CLOCK.now().total_seconds()
    for at in (now - 2, now - 1, now):
        west = member(ORDERS_DB, WEST, primary=WEST, at=at)
        controller.known.detector = fold(
            controller.known.detector, west, member(ORDERS_DB, EUROPE, primary=EAST, at=at)
        )
    rejoin = wished_rejoin(controller, asked_to_rejoin(EUROPE), controller.assess())
    assert (rejoin.region, rejoin.missed) == (EUROPE, (ORDERS_DB,))
    for region in (WEST, None):
        with pytest.raises(UnsafePlan, match="wait to be rebuilt: none"):
            wished_rejoin(controller, asked_to_rejoin(region), controller.assess())
    controller.known.placements[GROUP] = replace(moved, awaiting_rejoin=(EAST,))
    rejoin = wished_rejoin(controller, asked_to_rejoin(EAST), controller.assess())
    assert (rejoin.region, rejoin.missed) == (EAST, ())


def asked_to_rejoin(region: RegionId | None) -> Request:
    return Request(id="r1", wish=Wish.REJOIN, by="alice", wall=CLOCK.wall(), region=region)


def lonely(*, away: tuple[RegionId, ...] = (WEST, EUROPE)) -> Controller:
    """A controller that has watched for half a minute while standbys stood still."""
    estate = shop()
    controller = Controller(estate=estate, store=MemoryStore(), clock=CLOCK, announce=lambda news: None, name="c")
    now = CLOCK.now().total_seconds()
    for count in range(60):
        at = now - 29.5 + count / 2
        members = (member(ORDERS_DB, r, primary=EAST, at=at) for r in estate.regions if r not in away)
        controller.known.detector = fold(controller.known.detector, *sweep(estate, at), *members)
    controller.known.placements[GROUP] = placed(estate)
    return controller


async def test_a_primary_that_waits_for_nobodys_return_may_go_on_alone_on_a_persons_word() -> None:
    controller = lonely()
    change = wished_degrading(controller, a_degrading(EAST), controller.assess())
    assert (change.sync, change.decided_by) == (NOBODY, "alice")
    assert "asked for by alice: no time" in change.reasons


async def test_a_primary_that_has_a_standby_or_is_elsewhere_may_not() -> None:
    controller = lonely(away=(EUROPE,))
    with pytest.raises(UnsafePlan, match="is known to wait"):
        wished_degrading(controller, a_degrading(EAST), controller.assess())
    with pytest.raises(UnsafePlan, match="not in us-west-2"):
        wished_degrading(controller, a_degrading(WEST), controller.assess())


async def done(
    controller: Controller, store: Store, wish: Wish, *, ahead: timedelta = timedelta(), **more: object
) -> Reply:
    """Ask a controller that attends, by a clock that is `ahead` of its own, and return its reply."""
    after = await store.revision()
    request = Request(id="r2", wish=wish, by="alice", wall=CLOCK.wall() + ahead, **more)  # type: ignore[arg-type]
    attending = asyncio.create_task(attend(controller, store=store, clock=CLOCK))
    await store.commit(expect={}, put={"requests/r2": encode(request)})
    try:
        async for change in store.watch("replies/r2", after=after):
            assert change.record is not None
            return decode(change.record.value, Reply)
    finally:
        attending.cancel()
    raise AssertionError("a watch has no end")


async def remembered(store: Store) -> Controller:
    """Return a controller that has just recalled what a store remembers."""
    controller = Controller(estate=ESTATE, store=store, clock=CLOCK, announce=lambda news: None, name="c")
    await controller.known.recall(store, CLOCK, guard=ESTATE.guard)
    controller.known.placements[GROUP] = placed(ESTATE)
    controller.recalled.set()
    return controller


HOUR = timedelta(hours=1)


async def test_a_pause_that_ends_by_itself_is_remembered_and_ends() -> None:
    store = MemoryStore()
    await done(await remembered(store), store, Wish.PAUSE, reason="lunch", lasting=HOUR)
    controller = await remembered(store)
    assert controller.known.pause is not None
    assert controller.known.pause.until == controller.known.pause.since + HOUR
    assert controller.view(SEEN).paused.startswith("lunch (by alice, until ")
    controller.known.pause = replace(controller.known.pause, until=CLOCK.wall())
    assert controller.view(SEEN).paused == ""
    await done(controller, store, Wish.RESUME)
    assert (await remembered(store)).known.pause is None


async def test_a_pause_that_an_earlier_evac_wrote_still_holds() -> None:
    store = MemoryStore()
    await store.commit(expect={}, put={"pause": b"lunch"})
    assert (await remembered(store)).view(SEEN).paused == "lunch"


async def test_maintenance_is_remembered_and_holds_back_what_it_disturbs() -> None:
    store = MemoryStore()
    controller = await remembered(store)
    for region, reason in ((EAST, "racks"), (WEST, "cables")):
        assert not (await done(controller, store, Wish.MAINTAIN, region=region, reason=reason, lasting=HOUR)).refused
        await store.commit(expect={}, put={}, delete=("replies/r2",))
        (window,) = [w for w in controller.known.windows.values() if w.reason == reason]
        controller.known.windows = {f"{reason}": replace(window, id=reason)}
        await store.commit(expect={}, put={f"pause/{reason}": encode(replace(window, id=reason))}, delete=("pause/r2",))
    controller = await remembered(store)
    assert set(controller.known.windows) == {"racks", "cables"}
    assert controller.view(SEEN).quiet[GROUP].endswith("racks (by alice)")
    await done(controller, store, Wish.MAINTAINED, region=EAST)
    assert controller.view(SEEN).quiet == {}
    assert set((await remembered(store)).known.windows) == {"cables"}


async def test_maintenance_without_an_end_and_too_much_of_it_are_refused() -> None:
    store = MemoryStore()
    controller = await remembered(store)
    for lasting in (None, timedelta(days=8)):
        reply = await done(controller, store, Wish.MAINTAIN, lasting=lasting)
        assert reply.refused == ("say for how long, at most 7 days: evac maintenance --for 2h",)
        await store.commit(expect={}, put={}, delete=("replies/r2",))
    reply = await done(controller, store, Wish.MAINTAINED)
    assert "no such maintenance was announced" in reply.refused[0]
    await store.commit(expect={}, put={}, delete=("replies/r2",))
    now = CLOCK.wall()
    controller.known.windows = {
        str(n): Window(id=str(n), since=now, until=now + HOUR, reason="x") for n in range(WINDOWS_MAX)
    }
    assert "windows are open already" in (await done(controller, store, Wish.MAINTAIN, lasting=HOUR)).refused[0]
    await store.commit(expect={}, put={}, delete=("replies/r2",))
    controller.known.windows["0"] = replace(controller.known.windows["0"], until=now - HOUR)
    assert not (await done(controller, store, Wish.MAINTAIN, lasting=HOUR)).refused
    assert "0" not in controller.known.windows, "what is over is not remembered for ever"


async def test_what_is_called_holds_from_then_on_whatever_the_clock_of_who_calls_it_says() -> None:
    store = MemoryStore()
    controller = await remembered(store)
    assert not (await done(controller, store, Wish.MAINTAIN, ahead=HOUR, reason="racks", lasting=HOUR)).refused
    assert controller.view(SEEN).quiet[GROUP].endswith("racks (by alice)")
    await store.commit(expect={}, put={}, delete=("replies/r2",))
    assert not (await done(controller, store, Wish.PAUSE, ahead=HOUR, lasting=HOUR)).refused
    assert controller.known.pause is not None
    assert controller.known.pause.since <= CLOCK.wall()


@pytest.mark.parametrize("wish", [Wish.RESUME, Wish.RESOLVE])
async def test_what_the_store_did_not_take_is_not_remembered_either(wish: Wish) -> None:
    kept = MemoryStore()
    await done(await remembered(kept), kept, Wish.PAUSE)
    await kept.commit(expect={}, put={}, delete=("replies/r2",))

    def second(number: int, moment: Moment) -> StoreUnavailable | None:
        """The first commit brings the request, the second is what it asks for."""
        return StoreUnavailable("away") if (number, moment) == (2, Moment.BEFORE) else None

    failing = FailingStore(store=kept, trouble=second)
    controller = await remembered(kept)
    controller.known.memories[GROUP] = before = Memory(stuck=RunId("7"), tries=Tries(count=3, at=CLOCK.now()))
    reply = await done(controller, failing, wish)
    assert "the store did not take it" in reply.refused[0]
    assert controller.known.pause is not None
    assert controller.known.memories == {GROUP: before}


async def test_what_a_person_says_while_one_group_is_acted_for_holds_for_the_next() -> None:
    """To begin runs for many groups takes seconds; automation that was turned off meanwhile is off."""
    estate = estate_of(3, 2, group_size=1)
    told: list[News] = []

    def tell(news: News) -> None:
        told.append(news)
        controller.known.pause = Pause(reason="wait", by="alice", since=CLOCK.wall())

    controller = Controller(estate=estate, store=MemoryStore(), clock=CLOCK, announce=tell, name="c")
    for group, placement in placements_of(estate).items():
        controller.known.placements[group] = placement
    for region in estate.regions:  # told already: what follows is about decisions
        controller.known.verdicts[region] = controller.assess().verdicts[region]
    await controller.evaluate()
    assert len(controller.known.decisions) == 1
    await controller.evaluate()
    assert len(controller.known.decisions) == 2


async def test_what_cannot_be_read_is_refused_and_taken_away() -> None:
    """A newer evac on a person's machine may ask what this one has no word for."""
    store = MemoryStore()
    controller = Controller(estate=ESTATE, store=store, clock=CLOCK, announce=lambda news: None, name="c")
    controller.recalled.set()
    asked = encode(wish()).replace(b'"pause"', b'"teleport"')
    await store.commit(expect={}, put={"requests/r1": asked})
    attending = asyncio.create_task(attend(controller, store=store, clock=CLOCK))
    while (record := await store.get("replies/r1")) is None:
        assert not attending.done()
        await asyncio.sleep(0)
    assert "run one version of evac everywhere" in decode(record.value, Reply).refused[0]
    assert await store.get("requests/r1") is None
    attending.cancel()
