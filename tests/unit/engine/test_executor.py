"""The executor's edges: who may execute a run, and what it does when others interfere. The rest: `test_run_crash`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from evac.core.errors import Conflict, IllegalEvent, StoreUnavailable, UnsafePlan
from evac.core.news import News
from evac.core.plan import Placement, Plan, StepId, Term, Verb
from evac.core.policy import Guard
from evac.core.run import Event, Failed, Outcome, Receipt, RunId, Settled, Started
from evac.core.steps import FOLLOW_PATIENCE
from evac.engine.codec import decode, encode
from evac.engine.executor import INTERRUPTIONS_MAX, Superseded, execute
from evac.engine.journal import fold_journal, raised, read_journal, read_run, read_runs, take_journal
from evac.engine.leadership import lead
from evac.engine.opening import at_term
from evac.engine.orders import Answer, Order, obey
from evac.ports import VALUE_BYTES_MAX, Store
from evac.sim import time
from evac.sim.stores import FailingStore, Moment
from evac.sim.systems import Fault
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.rehearsal import Death, away, play
from fakes.shapes import shapes

FAILOVER, ALIVE, SWITCHOVER, REJOIN, *_ = shapes()
CLOCK = time.VirtualClock()


async def opened(plan: Plan = FAILOVER.plan) -> tuple[MemoryStore, RunId]:
    store = MemoryStore()
    await store.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before)})
    return store, await begin(plan, store)


async def begin(plan: Plan, store: Store) -> RunId:
    return await open_run(plan, store=store, clock=CLOCK, decided_by="a test", symptom_at=CLOCK.now(), decision={})


def test_the_record_follows_the_plan() -> None:
    for shape in (FAILOVER, ALIVE, SWITCHOVER, REJOIN):
        played = play(shape.plan, shape.world())
        record = time.run(played.store.get(f"placement/{shape.plan.group}"))
        assert record is not None
        found = decode(record.value, Placement)
        after = shape.plan.after
        assert (found.primary, found.sync, found.awaiting_rejoin) == (after.primary, after.sync, after.awaiting_rejoin)
        left = [r.key.split("/")[0] for r in time.run(played.store.list(""))]
        assert not {"orders", "answers", "active"} & set(left), "nothing is left lying about"


def test_an_undo_may_take_as_long_as_its_step_says() -> None:
    stop = next(s for s in SWITCHOVER.plan.steps if s.action.verb is Verb.STOP)
    steps = tuple(replace(s, undo_timeout=timedelta(seconds=77)) if s is stop else s for s in SWITCHOVER.plan.steps)
    world = SWITCHOVER.world()
    for action in (s.action for s in steps if s.pivot):
        world.faults[action.component, action.region, action.verb, False] = Fault.REFUSED
    world.faults[stop.action.component, stop.action.region, Verb.STOP, True] = Fault.HANGING
    events = play(replace(SWITCHOVER.plan, steps=steps), world).events
    assert {e.reason for e in events if isinstance(e, Failed) and e.undo} == {"not done within 77 s"}


@pytest.mark.parametrize("optional", [True, False])
def test_a_standby_that_writes_will_wait_for_is_turned_with_patience(optional: bool) -> None:
    """Where nobody waits for it, a database that is not there must not keep the run from its end."""
    plan = FAILOVER.plan
    follow = next(s for s in plan.steps if s.action.verb is Verb.FOLLOW)
    world = FAILOVER.world()
    world.faults[follow.action.component, follow.action.region, Verb.FOLLOW, False] = Fault.UNREACHABLE
    steps = tuple(replace(s, optional=optional) if s is follow else s for s in plan.steps)
    events = play(replace(plan, steps=steps), world).events
    begun = next(e.at for e in events if isinstance(e, Started) and e.step == follow.id)
    failed = next(e.at for e in events if isinstance(e, Failed) and e.step == follow.id)
    assert (failed - begun >= FOLLOW_PATIENCE) is not optional


def test_a_group_has_one_run_at_a_time_and_a_plan_must_fit_the_record() -> None:
    async def tell() -> None:
        store, run = await opened()
        with pytest.raises(UnsafePlan, match=f"run {run} of group shop is under way"):
            await begin(FAILOVER.plan, store)
        store = MemoryStore()
        with pytest.raises(UnsafePlan, match="no longer as this plan found it"):
            await begin(FAILOVER.plan, store)
        assert await read_runs(store) == ()

    time.run(tell())


def test_a_plan_of_thousands_of_steps_is_kept_and_what_is_too_large_is_refused() -> None:
    """Steps repeat themselves, and are packed; what does not cannot be made small."""
    steps = tuple(replace(FAILOVER.plan.steps[0], id=StepId(f"step-{n}")) for n in range(10_000))
    long = replace(FAILOVER.plan, steps=steps)
    noise = tuple(Random(1).randbytes(VALUE_BYTES_MAX).hex() for _ in range(2))

    async def tell() -> None:
        store, run = await opened(long)
        assert (await read_run(run, store=store)).plan == long
        with pytest.raises(UnsafePlan, match="its 10000 steps are more than one record takes; divide group shop"):
            await opened(replace(long, notes=noise))

    time.run(tell())


def test_a_plan_takes_the_next_free_term() -> None:
    async def tell() -> None:
        store = MemoryStore()
        group = FAILOVER.plan.group
        await store.commit(
            expect={}, put={f"placement/{group}": encode(FAILOVER.plan.before), f"terms/{group}": encode(8)}
        )
        run = await read_run(await begin(FAILOVER.plan, store), store=store)
        assert run.plan == at_term(FAILOVER.plan, Term(9))
        assert [r.id for r in await read_runs(store)] == [run.id]

    time.run(tell())


def test_every_entry_is_told_and_a_settled_run_is_returned_at_once() -> None:
    async def tell() -> None:
        store, run_id = await opened()
        heard: list[News] = []

        def hear(news: News) -> None:
            heard.append(news)

        systems = FAILOVER.world()
        async with asyncio.TaskGroup() as tasks:
            for region in FAILOVER.estate.regions:
                tasks.create_task(obey(region, store=store, members=systems.members(region), clock=CLOCK))
            run = await execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard(), announce=hear)
            assert await execute(run_id, store=store, clock=CLOCK, by="another", guard=Guard()) == run
            raise_cancel(tasks)
        assert len(heard) == run.entries - 1, "all but Opened, which the one who opened it knows"

    time.run(tell())


def raise_cancel(tasks: asyncio.TaskGroup) -> None:
    """End a group's other tasks."""
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


def test_a_run_whose_agents_are_silent_ends_all_the_same() -> None:
    async def tell() -> Outcome:
        store, run_id = await opened()
        run = await execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard())
        assert run.settled is not None
        return run.settled.outcome

    assert time.run(tell()) is Outcome.STUCK


def test_a_controller_that_was_replaced_writes_no_more() -> None:
    async def tell() -> None:
        store, run_id = await opened()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(expect_superseded(run_id, store))
            await asyncio.sleep(1)
            journal = await take_journal(run_id, store=store)
            resumed, put = raised(journal, clock=CLOCK, by="the next")
            journal.note(resumed)
            await journal.write(put=put)
            await first

    time.run(tell())


async def expect_superseded(run_id: RunId, store: Store) -> None:
    with pytest.raises(Superseded, match="the next"):
        await execute(run_id, store=store, clock=CLOCK, by="the first", guard=Guard())


def test_a_store_that_stays_away_is_raised_in_the_end() -> None:
    async def tell() -> None:
        store, run_id = await opened()
        broken = FailingStore(store=store, trouble=lambda number, moment: away() if moment is Moment.BEFORE else None)
        with pytest.raises(StoreUnavailable, match=str(INTERRUPTIONS_MAX)):
            await execute(run_id, store=broken, clock=CLOCK, by="me", guard=Guard())
        assert len(broken.commits) == INTERRUPTIONS_MAX

    time.run(tell())


def test_a_damaged_journal_is_refused() -> None:
    async def tell() -> None:
        store, run_id = await opened()
        with pytest.raises(KeyError):
            await read_run(RunId("77"), store=store)
        with pytest.raises(IllegalEvent, match="at least one"):
            fold_journal(())
        entries = await read_journal(run_id, store=store)
        settled = Settled(at=CLOCK.now(), wall=CLOCK.wall(), outcome=Outcome.COMPLETED)
        await store.commit(expect={}, put={f"runs/{run_id}/000003": encode(settled)})
        with pytest.raises(IllegalEvent, match="entry 2 is missing"):
            await read_run(run_id, store=store)
        (first,) = entries
        with pytest.raises(IllegalEvent, match="hash"):
            fold_journal((decode(encode(first).replace(b'"source":"us-east-1"', b'"source":"eu-west-1"'), Event),))

    time.run(tell())


def test_a_run_at_another_term_than_its_groups_belongs_to_somebody_else() -> None:
    async def tell() -> None:
        store, run_id = await opened()
        await store.commit(expect={}, put={"terms/shop": encode(99)})
        with pytest.raises(Conflict, match="another controller"):
            await take_journal(run_id, store=store)

    time.run(tell())


async def test_one_process_leads(tmp_path: Path) -> None:
    store = MemoryStore()
    async with lead(tmp_path, store) as leadership:
        assert leadership.incarnation == await store.incarnation()
        with pytest.raises(Conflict, match="leads this estate already"):
            async with lead(tmp_path, store):
                pass
    async with lead(tmp_path, store):
        pass


def test_an_interruption_after_a_commit_is_read_back_not_repeated() -> None:
    played = play(FAILOVER.plan, FAILOVER.world(), death=Death(commit=1, moment=Moment.AFTER, make=away))
    assert played.run.resumed
    assert set(played.systems.effects.values()) == {1}


def test_time_limits_pass_one_by_one_and_other_runs_answers_are_left_alone() -> None:
    first, *others = FAILOVER.plan.steps
    quick = replace(first, timeout=timedelta(seconds=1), retries=0)
    plan = replace(FAILOVER.plan, steps=(quick, *others))

    async def tell() -> None:
        store, run_id = await opened(plan)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard()))
            await asyncio.sleep(1)
            orders = {r.key.replace("orders/", "answers/"): decode(r.value, Order) for r in await store.list("orders/")}
            mine = next(key for key, o in orders.items() if o.step != quick.id)
            await store.commit(expect={}, put={"answers/x/9.s.1": b"{}"})
            await store.commit(expect={}, put={mine: encode(Answer(receipt=Receipt(kind="starved")))})
            await asyncio.sleep(6)
            run = await read_run(run_id, store=store)
            assert run.does[quick.id].attempt == 2
            assert [p.attempt for i, p in run.does.items() if i != quick.id] == [1] * (len(run.does) - 1)
        assert await store.get("answers/x/9.s.1") is not None

    time.run(tell())


def test_an_order_carries_the_receipts_of_its_own_component_only() -> None:
    """A promotion waits for every stop, yet a byte of one store's log means nothing to another store."""

    async def tell() -> dict[StepId, Order]:
        store, run = await opened(SWITCHOVER.plan)
        orders: dict[StepId, Order] = {}

        async def answer_all() -> None:
            async for change in store.watch("orders/", after=0):
                if change.record is not None:
                    order = decode(change.record.value, Order)
                    orders[order.step] = order
                    kind = "stopped" if order.action.verb is Verb.STOP else str(order.action.verb)
                    receipt = Receipt(kind=kind, facts={"of": order.action.component})
                    await store.commit(expect={}, put={order.answer_key: encode(Answer(receipt=receipt))})

        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(answer_all())
            await execute(run, store=store, clock=CLOCK, by="a test", guard=Guard())
            answering.cancel()
        return orders

    orders = time.run(tell())
    promotions = [o for o in orders.values() if o.action.verb is Verb.PROMOTE]
    assert len(promotions) > 1
    for order in orders.values():
        given = order.action.args["receipts"]
        assert isinstance(given, Mapping)
        needs = SWITCHOVER.plan.step(order.step).needs
        assert set(given) == {n for n in needs if orders[n].action.component == order.action.component}
        assert all(facts == {"of": order.action.component} for facts in given.values())
    assert all(len(o.action.args["receipts"]) == 1 for o in promotions)  # type: ignore[arg-type] # a mapping, as seen
