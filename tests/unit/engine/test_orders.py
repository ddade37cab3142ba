"""The agent's half of a step: what it refuses, what it looks at, and how it tells what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.errors import StoreUnavailable
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.observation import Json
from evac.core.plan import Action, StepId, Term, Verb
from evac.core.run import Failure, Receipt, RunId
from evac.engine.codec import decode, encode
from evac.engine.orders import FRESH_MAX, STORE_TRIES_MAX, Answer, Order, obey
from evac.engine.recency import Recency
from evac.ports import Change, Driver, Holds, Record, Store, Truth
from evac.sim import time
from evac.sim.stores import FailingStore, Moment
from evac.sim.systems import Fault, Member, Node, Systems
from evac.stores.memory import MemoryStore

WEST = RegionId("us-west-2")
DB = ComponentId("db")
EFFECT = (DB, WEST, Verb.FOLLOW, False)


def order(**changed: object) -> Order:
    action = Action(component=DB, region=WEST, verb=Verb.FOLLOW, term=Term(3), args={"primary": "eu-west-1"})
    made = Order(
        run=RunId("1"),
        group=GroupId("shop"),
        step=StepId("follow:db@us-west-2"),
        attempt=1,
        action=action,
        timeout=timedelta(seconds=5),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def systems(fault: Fault | None = None) -> Systems:
    return Systems(nodes={(DB, WEST): Node()}, faults={EFFECT: fault} if fault else {})


async def ask(store: Store, *orders: Order, members: dict[ComponentId, Driver], early: bool = True) -> list[Answer]:
    """Give orders to an agent that starts now, and return its answers."""
    if early:
        await store.commit(expect={}, put={o.key: encode(o) for o in orders})
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(obey(WEST, store=store, members=members, clock=time.VirtualClock()))
        if not early:
            await asyncio.sleep(0.1)
            await store.commit(expect={}, put={o.key: encode(o) for o in orders})
        await asyncio.sleep(10_000)
        agent.cancel()
    answers = [await store.get(o.answer_key) for o in orders]
    return [decode(a.value, Answer) for a in answers if a is not None]


def asked(given: Order, world: Systems, *, store: Store | None = None, early: bool = False) -> Answer:
    answers = time.run(ask(store or MemoryStore(), given, members=dict(world.members(WEST)), early=early))
    return answers[0]


def test_an_order_is_done_and_answered_with_the_receipt() -> None:
    world = systems()
    answer = asked(order(), world)
    assert answer.receipt is not None
    assert world.effects[EFFECT] == 1
    assert time.run(_keys_after(order(), systems())) == {"answers", "orders"}


async def _keys_after(given: Order, world: Systems) -> set[str]:
    store = MemoryStore()
    await ask(store, given, members=dict(world.members(WEST)))
    return {r.key.split("/")[0] for r in await store.list("")}


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, Failure.REJECTED),
        (Fault.UNREACHABLE, Failure.UNAVAILABLE),
        (Fault.LOST_BEFORE, Failure.INDETERMINATE),
        (Fault.HANGING, Failure.INDETERMINATE),
    ],
)
def test_a_drivers_failure_is_told_as_what_it_is(fault: Fault, failure: Failure) -> None:
    assert asked(order(), systems(fault)).failure is failure


@pytest.mark.parametrize("early", [True, False])
def test_an_undo_is_done_without_a_look(early: bool) -> None:
    world = systems()
    assert asked(order(), world).receipt is not None
    answer = asked(order(undo=True), world, early=early)
    assert answer.receipt is not None
    assert world.effects[(DB, WEST, Verb.FOLLOW, True)] == 1


def test_what_holds_already_is_not_done_again() -> None:
    world = systems()
    asked(order(), world)
    assert asked(order(attempt=2), world).receipt is not None
    assert world.effects[EFFECT] == 1


def test_a_look_that_takes_too_long_has_seen_nothing() -> None:
    """The effect is tried then, as after every look that could not tell."""

    class Slow(Odd):
        async def holds(self, action: Action) -> Holds:
            await asyncio.sleep(10**6)
            raise AssertionError("it is not waited for")

    world = systems()
    slow = Slow(world.members(WEST)[DB])
    (answer,) = time.run(ask(MemoryStore(), order(look=True), members={DB: slow}))  # type: ignore[dict-item]
    assert answer.failure is Failure.INDETERMINATE
    assert "a look took longer than 3 s" in answer.reason


def test_a_look_that_goes_wrong_has_seen_nothing_either() -> None:
    blind = Odd(systems().members(WEST)[DB], look=OSError("no eyes"))
    (answer,) = time.run(ask(MemoryStore(), order(look=True), members={DB: blind}))  # type: ignore[dict-item]
    assert answer.failure is Failure.INDETERMINATE
    assert "no eyes" in answer.reason


def test_a_look_never_acts() -> None:
    world = systems()
    assert asked(order(look=True, doubt=True), world).failure is Failure.UNAVAILABLE
    assert asked(order(look=True, doubt=True), systems(Fault.BLIND)).failure is Failure.INDETERMINATE
    assert not world.effects


class Odd:
    """A member whose look and whose effect go wrong in ways no driver should."""

    def __init__(self, member: Member, *, look: BaseException | None = None, do: BaseException | None = None) -> None:
        self._member = member
        self._look = look
        self._do = do

    async def holds(self, action: Action) -> Holds:
        if self._look is not None:
            raise self._look
        return Holds(truth=Truth.UNKNOWN)

    async def do(self, action: Action) -> Receipt:
        if self._do is not None:
            raise self._do
        return await self._member.do(action)

    def __getattr__(self, name: str) -> Awaitable[object]:
        return getattr(self._member, name)  # type: ignore[no-any-return]


def odd(world: Systems, given: Order, **wrong: BaseException) -> Answer:
    member: Driver = Odd(Member(systems=world, component=DB, region=WEST), **wrong)  # type: ignore[assignment]
    return time.run(ask(MemoryStore(), given, members={DB: member}, early=False))[0]


def test_what_a_driver_may_not_raise_may_have_happened() -> None:
    answer = odd(systems(), order(), look=ZeroDivisionError("look"), do=ZeroDivisionError("do"))
    assert (answer.failure, answer.reason) == (Failure.INDETERMINATE, "ZeroDivisionError: do")


def test_a_failure_after_a_doubtful_try_that_no_look_can_clear_stays_in_doubt() -> None:
    assert odd(systems(Fault.UNREACHABLE), order(doubt=True)).failure is Failure.INDETERMINATE
    assert odd(systems(Fault.UNREACHABLE), order()).failure is Failure.UNAVAILABLE


def test_an_order_found_at_the_start_may_have_been_begun_by_an_agent_that_died() -> None:
    world = systems(Fault.UNREACHABLE)
    member: Driver = Odd(Member(systems=world, component=DB, region=WEST))  # type: ignore[assignment]
    (answer,) = time.run(ask(MemoryStore(), order(), members={DB: member}, early=True))
    assert answer.failure is Failure.INDETERMINATE


def test_an_order_of_a_lower_term_than_its_groups_is_refused() -> None:
    async def tell() -> list[Answer]:
        store = MemoryStore()
        await store.commit(expect={}, put={f"terms/{order().group}": encode(Term(4))})
        return await ask(store, order(), members=dict(systems().members(WEST)))

    (answer,) = time.run(tell())
    assert answer.failure is Failure.REJECTED
    assert answer.reason == f"the order's term 3 is over: {order().group} is at term 4"


def test_an_order_of_a_lower_term_than_one_obeyed_is_refused_whatever_the_store_says() -> None:
    late = replace(order(attempt=2), action=replace(order().action, term=Term(2)))
    obeyed, refused = time.run(ask(MemoryStore(), order(), late, members=dict(systems().members(WEST))))
    assert obeyed.receipt is not None
    assert refused.failure is Failure.REJECTED


def test_an_order_for_nobody_here_is_refused() -> None:
    (answer,) = time.run(ask(MemoryStore(), order(), members={}))
    assert answer.failure is Failure.REJECTED


def test_an_order_taken_back_before_its_turn_is_neither_done_nor_answered() -> None:
    async def tell() -> tuple[int, bool]:
        store, world = MemoryStore(), systems()
        first, second = order(step=StepId("first")), order(step=StepId("second"))
        verify = Action(component=DB, region=WEST, verb=Verb.VERIFY, term=Term(3))
        first = replace(first, action=verify)
        await store.commit(expect={}, put={first.key: encode(first), second.key: encode(second)})
        async with asyncio.TaskGroup() as tasks:
            members = world.members(WEST)
            agent = tasks.create_task(obey(WEST, store=store, members=members, clock=time.VirtualClock()))
            await asyncio.sleep(0.005)
            await store.commit(expect={}, put={}, delete=[second.key, first.key])
            await asyncio.sleep(100)
            agent.cancel()
        return world.effects[EFFECT], bool(await store.list("answers/"))

    assert time.run(tell()) == (0, False)


def rebuilding() -> Systems:
    """A member whose rebuild never ends."""
    return Systems(nodes={(DB, WEST): Node()}, faults={(DB, WEST, Verb.REJOIN, False): Fault.HANGING})


def for_an_hour(verb: Verb) -> Order:
    return order(timeout=timedelta(hours=1), action=replace(order().action, verb=verb))


@pytest.mark.parametrize(
    ("verb", "run", "waits"),
    [(Verb.REJOIN, "2", False), (Verb.REJOIN, "1", True), (Verb.PROMOTE, "2", True)],
    ids=["a rebuild", "the same run's, which looks what was done", "a promotion, which goes on in the server"],
)
def test_a_rebuild_that_was_taken_back_is_left_off_for_another_run_and_nothing_else_is(
    verb: Verb, run: str, waits: bool
) -> None:
    async def tell() -> timedelta:
        store, world = MemoryStore(), rebuilding()
        world.faults[DB, WEST, Verb.PROMOTE, False] = Fault.HANGING
        long = for_an_hour(verb)
        verify = Action(component=DB, region=WEST, verb=Verb.VERIFY, term=Term(3))
        later = order(run=RunId(run), step=StepId("later"), action=verify)
        clock = time.VirtualClock()
        async with asyncio.TaskGroup() as tasks:
            agent = tasks.create_task(obey(WEST, store=store, members=world.members(WEST), clock=clock))
            await asyncio.sleep(0.1)
            await store.commit(expect={}, put={long.key: encode(long)})
            await asyncio.sleep(1)
            await store.commit(expect={}, put={later.key: encode(later)}, delete=[long.key])
            begun = clock.now()
            async for change in store.watch("answers/", after=0):
                assert change.key == later.answer_key, "what was taken back is not answered"
                break
            agent.cancel()
        return clock.now() - begun

    assert (time.run(tell()) > timedelta(minutes=59)) is waits


@pytest.mark.parametrize("moment", Moment)
def test_a_store_that_was_away_for_a_moment_hears_the_answer_once(moment: Moment) -> None:
    world = systems()

    def trouble(number: int, at: Moment) -> BaseException | None:
        return StoreUnavailable("away") if (number, at) == (2, moment) else None

    answer = asked(order(), world, store=FailingStore(store=MemoryStore(), trouble=trouble))
    assert answer.receipt is not None
    assert world.effects[EFFECT] == 1


def test_an_answer_that_the_store_never_takes_is_left_to_the_leaders_time_limit() -> None:
    def trouble(number: int, at: Moment) -> BaseException | None:
        return StoreUnavailable("away") if number > 1 else None

    store = FailingStore(store=MemoryStore(), trouble=trouble)
    assert time.run(ask(store, order(), members=dict(systems().members(WEST)))) == []
    assert len(store.commits) == 1 + STORE_TRIES_MAX


def test_an_agent_whose_watch_broke_listens_again() -> None:
    class Deaf(MemoryStore):
        lists = 0

        async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
            Deaf.lists += 1
            if Deaf.lists == 1:
                raise StoreUnavailable("away")
            return await super().list(prefix, near=near)

    assert asked(order(), systems(), store=Deaf()).receipt is not None


class Unseen(Member):
    """A member of which a look cannot tell either while it cannot be reached."""

    async def holds(self, action: Action) -> Holds:
        if self.systems.faults:
            return Holds(truth=Truth.UNKNOWN, reason="connection refused")
        return await super().holds(action)


async def insisted(
    *, back_after: float | None, taken_back_after: float | None = None, doubt: bool = False
) -> tuple[Answer | None, float]:
    """Order with five seconds of patience at a member that is not there; the answer, and when it came or the next order
    at that member was answered.
    """
    store, world, clock = MemoryStore(), systems(Fault.UNREACHABLE), time.VirtualClock()
    given, later = order(patience=timedelta(seconds=5), doubt=doubt), order(run=RunId("2"), undo=True)
    members = {DB: Unseen(systems=world, component=DB, region=WEST)}
    awaited = given if taken_back_after is None else later
    came = timedelta()
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(obey(WEST, store=store, members=members, clock=clock))
        await asyncio.sleep(0.1)
        begun = clock.now()
        await store.commit(expect={}, put={given.key: encode(given)})
        if taken_back_after is not None:
            await asyncio.sleep(taken_back_after)
            await store.commit(expect={}, put={later.key: encode(later)}, delete=[given.key])
        if back_after is not None:
            await asyncio.sleep(back_after)
            world.faults.clear()
        async for change in store.watch("answers/", after=0):
            assert change.key == awaited.answer_key, "what was taken back is not answered"
            came = clock.now() - begun
            break
        agent.cancel()
    record = await store.get(given.answer_key)
    return decode(record.value, Answer) if record else None, came.total_seconds()


@pytest.mark.parametrize("doubt", [True, False])
def test_an_order_with_patience_is_done_as_soon_as_its_member_is_there(doubt: bool) -> None:
    """Also where an earlier try may have happened, which a look at a member that is not there cannot tell."""
    answer, came = time.run(insisted(back_after=2, doubt=doubt))
    assert answer is not None
    assert answer.receipt is not None
    assert 2 <= came <= 2.3


@pytest.mark.parametrize("doubt", [True, False])
def test_patience_has_an_end(doubt: bool) -> None:
    answer, came = time.run(insisted(back_after=None, doubt=doubt))
    assert answer is not None
    assert answer.failure is (Failure.INDETERMINATE if doubt else Failure.UNAVAILABLE)
    assert 5 <= came <= 5.3


def test_what_was_taken_back_is_not_insisted_on() -> None:
    """It would keep its member from the next order."""
    answer, came = time.run(insisted(back_after=None, taken_back_after=1))
    assert answer is None
    assert 1 <= came <= 1.3


class Breaking(MemoryStore):
    """A store whose first watch breaks after a while."""

    def __init__(self, *, after: float = 0.001) -> None:
        super().__init__()
        self._first: float | None = after

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        if self._first is not None:
            lasts, self._first = self._first, None
            await asyncio.sleep(lasts)
            raise StoreUnavailable("broken")
        async for change in super().watch(prefix, after=after):
            yield change


def test_what_was_taken_back_while_the_watch_was_broken_is_left_off_too() -> None:
    async def tell() -> Answer:
        store, world = Breaking(after=10), rebuilding()
        long = for_an_hour(Verb.REJOIN)
        later = order(run=RunId("2"), action=replace(long.action, verb=Verb.VERIFY))
        await store.commit(expect={}, put={long.key: encode(long)})
        async with asyncio.TaskGroup() as tasks:
            clock = time.VirtualClock()
            agent = tasks.create_task(obey(WEST, store=store, members=world.members(WEST), clock=clock))
            await asyncio.sleep(5)
            await store.commit(expect={}, put={later.key: encode(later)}, delete=[long.key])
            await asyncio.sleep(60)
            agent.cancel()
        answer = await store.get(later.answer_key)
        assert answer is not None, "it did not wait for what was taken back"
        return decode(answer.value, Answer)

    assert time.run(tell()).receipt is not None


def test_an_order_in_hand_is_not_taken_twice_when_the_watch_broke() -> None:
    world = systems(Fault.HANGING)
    answer = asked(order(), world, store=Breaking(), early=True)
    assert answer.failure is Failure.INDETERMINATE


def test_a_look_that_does_not_end_sees_nothing() -> None:
    class Slow(Odd):
        async def holds(self, action: Action) -> Holds:
            await asyncio.sleep(10**5)
            raise AssertionError

    member: Driver = Slow(Member(systems=systems(), component=DB, region=WEST))  # type: ignore[assignment]
    (answer,) = time.run(ask(MemoryStore(), order(look=True), members={DB: member}, early=False))
    assert (answer.failure, answer.reason) == (Failure.INDETERMINATE, "a look took longer than 3 s")


class Behind(MemoryStore):
    """A store whose nearest copy has not heard yet that an order was taken back."""

    def __init__(self, known: Order) -> None:
        super().__init__()
        self._known = known

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        found = await super().get(key)
        if near and key == self._known.key and found is None:
            return Record(key=key, value=encode(self._known), version=1)
        return found


@pytest.mark.parametrize(
    ("verb", "undo", "done"),
    [
        (Verb.PROMOTE, False, 0),
        (Verb.PROTECT, False, 0),
        (Verb.REJOIN, False, 0),
        (Verb.FOLLOW, True, 0),
        (Verb.FOLLOW, False, 1),
    ],
)
def test_what_must_not_come_late_is_looked_for_in_all_copies(verb: Verb, undo: bool, done: int) -> None:
    """The order is taken back while it waits behind another one, and the nearest copy has not heard of it."""
    waits: dict[str, Json] = {"acks": 0, "standbys": []}
    args: dict[str, Json] = {"primary": "eu-west-1", "receipts": {}, "sync": waits, **waits}
    wanted = replace(order(undo=undo), action=Action(component=DB, region=WEST, verb=verb, term=Term(3), args=args))
    before = replace(order(step=StepId("before")), action=replace(order().action, verb=Verb.VERIFY))

    async def tell() -> int:
        store, world = Behind(wanted), systems()
        if undo:
            world.nodes[DB, WEST].done[verb] = Receipt(kind="x")
            world.nodes[DB, WEST].before[verb] = None
        async with asyncio.TaskGroup() as tasks:
            agent = tasks.create_task(obey(WEST, store=store, members=world.members(WEST), clock=time.VirtualClock()))
            await asyncio.sleep(0.001)
            await store.commit(expect={}, put={before.key: encode(before), wanted.key: encode(wanted)})
            await asyncio.sleep(0.005)
            await store.commit(expect={}, put={}, delete=[wanted.key])
            await asyncio.sleep(100)
            agent.cancel()
        return world.effects[DB, WEST, verb, undo]

    assert time.run(tell()) == done


class Asked(MemoryStore):
    """A store that notes which keys all its copies were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.far: list[str] = []

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        if not near:
            self.far.append(key)
        return await super().get(key)


@pytest.mark.parametrize(
    ("age", "later", "asks"),
    [
        (timedelta(), False, 0),
        (FRESH_MAX, False, 0),
        (FRESH_MAX + timedelta.resolution, False, 1),
        (timedelta(), True, 1),
        (None, False, 1),
    ],
)
def test_an_order_known_to_be_young_is_not_looked_for_in_all_copies(
    age: timedelta | None, later: bool, asks: int
) -> None:
    """It is younger than the agent's own last commit before it; one after it says nothing."""
    args: dict[str, Json] = {"receipts": {}, "sync": {"acks": 0, "standbys": []}}
    wanted = replace(order(), action=Action(component=DB, region=WEST, verb=Verb.PROMOTE, term=Term(3), args=args))

    async def tell() -> list[str]:
        store, recency, clock = Asked(), Recency(), time.VirtualClock()
        async with asyncio.TaskGroup() as tasks:
            agent = tasks.create_task(
                obey(WEST, store=store, members=systems().members(WEST), clock=clock, recency=recency)
            )
            await asyncio.sleep(10)
            revision = await store.commit(expect={}, put={"views/us-west-2": b""})
            if age is not None:
                recency.committed(sent=clock.now() - age, revision=revision + 5 if later else revision)
            await store.commit(expect={}, put={wanted.key: encode(wanted)})
            await asyncio.sleep(10)
            agent.cancel()
        assert await store.get(wanted.answer_key, near=True) is not None
        return store.far

    assert time.run(tell()) == [wanted.key] * asks


class Silent(MemoryStore):
    """A store that does not answer for a while, from when it is asked for a group's term or an order's own record."""

    def __init__(self, key: str, *, taken_back: str) -> None:
        super().__init__()
        self._key = key
        self._taken_back = taken_back
        self._silent_until: float | None = None

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        now = asyncio.get_running_loop().time()
        if key == self._key and self._silent_until is None:
            self._silent_until = now + 20.0
            await self.commit(expect={}, put={}, delete=[self._taken_back])
        if self._silent_until is not None and now < self._silent_until:
            raise StoreUnavailable("no answer")
        return await super().get(key, near=near)


@pytest.mark.parametrize("asked_for", ["terms/shop", order().key])
def test_what_was_taken_back_while_the_store_was_silent_is_not_done(asked_for: str) -> None:
    args: dict[str, Json] = {"receipts": {}, "sync": {"acks": 0, "standbys": []}}
    wanted = replace(order(), action=Action(component=DB, region=WEST, verb=Verb.PROMOTE, term=Term(3), args=args))
    store, world = Silent(asked_for, taken_back=wanted.key), systems()
    assert time.run(ask(store, wanted, members=dict(world.members(WEST)), early=False)) == []
    assert world.effects[DB, WEST, Verb.PROMOTE, False] == 0


def test_an_order_that_cannot_be_read_keeps_no_other_from_being_done() -> None:
    async def tell() -> list[Answer]:
        store, world = MemoryStore(), systems()
        await store.commit(expect={}, put={f"orders/{WEST}/0.another-version": b"{}"})
        return await ask(store, order(), members=dict(world.members(WEST)))

    (answer,) = time.run(tell())
    assert answer.receipt is not None


def test_an_order_that_was_young_before_the_store_fell_silent_is_looked_for_in_all_copies() -> None:
    """Its own copy of the store answers again first, and has not heard yet that the order was taken back."""
    args: dict[str, Json] = {"receipts": {}, "sync": {"acks": 0, "standbys": []}}
    wanted = replace(order(), action=Action(component=DB, region=WEST, verb=Verb.PROMOTE, term=Term(3), args=args))

    class Lagging(Silent):
        async def get(self, key: str, *, near: bool = False) -> Record | None:
            found = await super().get(key, near=near)
            if near and key == wanted.key and found is None:
                return Record(key=key, value=encode(wanted), version=2)
            return found

    async def tell() -> int:
        store, recency, clock = Lagging(wanted.key, taken_back=wanted.key), Recency(), time.VirtualClock()
        world = systems()
        async with asyncio.TaskGroup() as tasks:
            agent = tasks.create_task(
                obey(WEST, store=store, members=world.members(WEST), clock=clock, recency=recency)
            )
            await asyncio.sleep(10)
            revision = await store.commit(expect={}, put={"views/us-west-2": b""})
            recency.committed(sent=clock.now(), revision=revision)
            await store.commit(expect={}, put={wanted.key: encode(wanted)})
            await asyncio.sleep(100)
            agent.cancel()
        return world.effects[DB, WEST, Verb.PROMOTE, False]

    assert time.run(tell()) == 0
