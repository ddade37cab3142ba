"""A person's request is carried out once, whoever dies in between, and not when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from evac.core.errors import UnsafePlan
from evac.core.snapshot import Reply, Request, Wish
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.journal import open_run
from evac.engine.requests import ANSWERED_WITHIN, attend
from evac.sim import time
from evac.sim.estates import shop
from evac.stores.memory import MemoryStore
from fakes.shapes import shapes

PLAN = shapes()[0].plan
CLOCK = time.VirtualClock()


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
    assert controller.known.paused == "lunch"


async def test_what_nobody_waits_for_any_more_is_refused() -> None:
    reply, controller = await answered(wish(ago=ANSWERED_WITHIN * 2))
    assert "ask again if it is still right" in reply.refused[0]
    assert controller.known.paused == ""
