"""Runs of many steps side by side: no commit grows with them, and nothing is lost where one turn takes several.

The memory store refuses a commit of more than `COMMIT_WRITES_MAX` keys, as etcd would.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from evac.core.plan import Plan, StepId
from evac.core.policy import Guard
from evac.core.run import Outcome, Receipt, Run, RunId
from evac.engine.codec import decode, encode
from evac.engine.executor import AT_ONCE, Way, execute
from evac.engine.journal import read_run
from evac.engine.orders import Answer, Order, obey
from evac.ports import COMMIT_WRITES_MAX
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.shapes import shapes

FAILOVER, REJOIN = (shapes()[n] for n in (0, 3))
CLOCK = time.VirtualClock()
WIDTH = 3 * COMMIT_WRITES_MAX + 1


def wide(plan: Plan) -> Plan:
    """A plan of many steps that need nothing of each other, each tried once."""
    step = replace(plan.steps[0], needs=(), timeout=timedelta(seconds=5), retries=0, pivot=False)
    return replace(plan, steps=tuple(replace(step, id=StepId(f"step-{n}")) for n in range(WIDTH)))


async def opened(plan: Plan, store: MemoryStore | None = None) -> tuple[MemoryStore, RunId]:
    store = store or MemoryStore()
    await store.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before)})
    run = await open_run(plan, store=store, clock=CLOCK, decided_by="a test", symptom_at=CLOCK.now(), decision={})
    return store, run


async def orders_of(store: MemoryStore, count: int = WIDTH) -> list[Order]:
    """Every order there is, once there are so many."""
    async with asyncio.timeout(60):
        while len(records := await store.list("orders/")) != count:
            await asyncio.sleep(0.01)
    return [decode(r.value, Order) for r in records]


async def answer(store: MemoryStore, order: Order) -> None:
    receipt = Receipt(kind="done", facts={"of": order.step})
    await store.commit(expect={}, put={order.answer_key: encode(Answer(receipt=receipt))})


async def left(store: MemoryStore) -> set[str]:
    return {r.key.split("/")[0] for r in await store.list("")} & {"orders", "answers", "active"}


def outcome(run: Run) -> Outcome:
    assert run.settled is not None
    return run.settled.outcome


def test_many_answers_at_the_same_time_are_all_noted_once() -> None:
    async def tell() -> None:
        store, run_id = await opened(wide(FAILOVER.plan))
        execution = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard()))
        for order in await orders_of(store):
            await answer(store, order)
        run = await execution
        assert outcome(run) is Outcome.COMPLETED
        assert {p.attempt for p in run.does.values()} == {1}
        facts = {step: p.receipt.facts["of"] for step, p in run.does.items() if p.receipt is not None}
        assert facts == {step.id: step.id for step in run.plan.steps}
        assert not await left(store)

    time.run(tell())


def test_whoever_goes_on_with_it_takes_up_every_answer_and_orders_only_the_rest_anew() -> None:
    async def tell() -> None:
        store, run_id = await opened(wide(FAILOVER.plan))
        first = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="the first", guard=Guard()))
        orders = await orders_of(store)
        first.cancel()
        await asyncio.wait([first])
        open_yet = orders[:: AT_ONCE // 2]
        for order in orders:
            if order not in open_yet:
                await answer(store, order)
        second = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="the second", guard=Guard()))
        for order in await orders_of(store, len(open_yet)):
            await answer(store, order)
        run = await second
        assert outcome(run) is Outcome.COMPLETED
        twice = {step for step, p in run.does.items() if p.attempt == 2}
        assert twice == {o.step for o in open_yet}
        assert not await left(store)

    time.run(tell())


class FarStore(MemoryStore):
    """A store over a link: the reply to a commit takes a moment, in which others see what was written."""

    async def commit(self, **what: Any) -> int:
        revision = await super().commit(**what)
        await asyncio.sleep(0.005)
        return revision


def test_an_agent_that_wakes_while_a_run_is_taken_over_finds_no_order_of_an_ended_term() -> None:
    async def tell() -> None:
        plan = wide(FAILOVER.plan)
        store, run_id = await opened(plan, FarStore())
        first = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="the first", guard=Guard()))
        region = (await orders_of(store))[0].action.region
        first.cancel()
        await asyncio.wait([first])
        term = await store.get(f"terms/{plan.group}")
        second = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="the second", guard=Guard()))
        async with asyncio.timeout(60):
            while await store.get(f"terms/{plan.group}") == term:
                await asyncio.sleep(0.001)
        members = FAILOVER.world().members(region)
        agent = asyncio.create_task(obey(region, store=store, members=members, clock=CLOCK))
        run = await second
        agent.cancel()
        assert outcome(run) is Outcome.COMPLETED
        assert not [p.reason for p in run.does.values() if p.failures]

    time.run(tell())


def test_many_orders_that_nobody_answers_are_given_up_together() -> None:
    async def tell() -> None:
        store, run_id = await opened(wide(FAILOVER.plan))
        run = await execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard())
        assert outcome(run) in (Outcome.STUCK, Outcome.ROLLED_BACK)
        assert all(p.failures for p in run.does.values())
        assert len(run.does) == WIDTH
        assert not await left(store)

    time.run(tell())


def test_a_run_that_gives_way_takes_all_its_orders_back() -> None:
    async def tell() -> None:
        store, run_id = await opened(wide(REJOIN.plan))
        way = Way()
        execution = asyncio.create_task(execute(run_id, store=store, clock=CLOCK, by="me", guard=Guard(), way=way))
        await orders_of(store)
        way.give(("a test asks for it",))
        assert outcome(await execution) is Outcome.GAVE_WAY
        assert not await left(store)
        assert await read_run(run_id, store=store) == await execution

    time.run(tell())
