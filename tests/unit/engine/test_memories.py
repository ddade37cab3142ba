"""Memories are written by the commit that settles a run, read by who leads next, made anew where they fell behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.decision import Flaps
from evac.core.errors import Conflict
from evac.core.estate import GroupId
from evac.core.memory import Memory, remember
from evac.core.policy import Guard
from evac.core.run import RunId, Settled
from evac.engine.codec import decode, encode
from evac.engine.journal import COUNTER
from evac.engine.memories import PREFIX, carried_on, memory_key, recall
from evac.ports import Store
from evac.sim import time
from evac.sim.estates import GROUP
from evac.sim.stores import FailingStore, Moment
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.rehearsal import play
from fakes.shapes import shapes

SHAPES = {s.name: s for s in shapes()}
GUARD = Guard()
OTHER = GroupId("other")


class Wanting:
    """A store that notes what was read of it."""

    def __init__(self, store: Store) -> None:
        self.store, self.read = store, list[str]()

    def __getattr__(self, name: str) -> object:
        asked: Callable[..., Awaitable[object]] = getattr(self.store, name)

        def noted(key: str, **how: bool) -> Awaitable[object]:
            self.read.append(key)
            return asked(key, **how)

        return noted if name in ("get", "list") else asked


async def heard(store: Store) -> dict[GroupId, Memory]:
    memories, _ = await recall(store, time.VirtualClock(), guard=GUARD)
    return dict(memories)


def test_the_commit_that_settles_a_run_writes_what_it_means() -> None:
    played = play(SHAPES["failover"].plan, SHAPES["failover"].world())
    assert played.run.settled is not None

    async def look() -> None:
        reads = Wanting(played.store)
        memory = (await heard(reads))[GROUP]  # type: ignore[arg-type]
        assert not [key for key in reads.read if key.startswith("runs/")], "no journal was read"
        assert (memory.runs, memory.tries) == (1, None)
        assert memory.flaps == Flaps(points=GUARD.flap_penalty, at=memory.settled_at or timedelta())
        entries, kept = await played.store.list("runs/"), await played.store.get(memory_key(GROUP))
        assert kept is not None
        assert kept.version == entries[-1].version, "in one commit"

    time.run(look())


def test_a_memory_that_is_missing_or_behind_is_made_anew_from_the_journals_once() -> None:
    played = play(SHAPES["failover"].plan, SHAPES["failover"].world())

    async def look() -> None:
        store = played.store
        right = await store.get(memory_key(GROUP))
        assert right is not None
        for wrong in (None, encode(Memory())):
            put = {} if wrong is None else {memory_key(GROUP): wrong}
            await store.commit(expect={}, put=put, delete=[memory_key(GROUP)] if wrong is None else [])
            assert (await heard(store))[GROUP].runs == 1
            again = await store.get(memory_key(GROUP))
            assert again is not None
            assert again.value == right.value

    time.run(look())


def test_where_another_writes_while_it_is_made_anew_that_stands() -> None:
    played = play(SHAPES["failover"].plan, SHAPES["failover"].world())

    def first(number: int, moment: Moment) -> BaseException | None:
        return Conflict("somebody was quicker") if (number, moment) == (1, Moment.BEFORE) else None

    async def look() -> None:
        await played.store.commit(expect={}, put={}, delete=[memory_key(GROUP)])
        assert (await heard(FailingStore(store=played.store, trouble=first)))[GROUP].runs == 1
        assert await played.store.list(PREFIX) == ()

    time.run(look())


def test_a_run_under_way_is_not_in_the_memory() -> None:
    async def look() -> None:
        store, clock, plan = MemoryStore(), time.VirtualClock(), SHAPES["failover"].plan
        await store.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before)})
        run = await open_run(plan, store=store, clock=clock, decided_by="evac", symptom_at=clock.now(), decision={})
        memories, under_way = await recall(store, clock, guard=GUARD)
        assert (memories, [r.id for r in under_way.values()]) == ({}, [run])
        assert await store.list(PREFIX) == ()
        await store.commit(expect={}, put={COUNTER: encode(1), memory_key(OTHER): encode(Memory(runs=3))})
        memories, _ = await recall(store, clock, guard=GUARD)
        assert memories == {OTHER: Memory()}, "the journals say so"

    time.run(look())


@pytest.mark.parametrize("resolved", [True, False])
def test_a_stuck_run_is_forgotten_once_a_person_has_resolved_it(resolved: bool) -> None:
    async def look() -> None:
        store = MemoryStore()
        put = {COUNTER: encode(1), memory_key(GROUP): encode(Memory(runs=1, stuck=RunId("1")))}
        await store.commit(expect={}, put={**put, **({"resolved/1": b"alice"} if resolved else {})})
        assert (await heard(store))[GROUP].stuck == (None if resolved else "1")

    time.run(look())


def test_moments_are_taken_over_by_their_age_and_none_lies_ahead() -> None:
    run = play(SHAPES["failover"].plan, SHAPES["failover"].world()).run
    assert run.settled is not None

    async def at(later: timedelta, settled: Settled) -> Memory:
        store, clock = MemoryStore(), time.VirtualClock()
        told = replace(run, settled=replace(settled, wall=clock.wall() - later))
        key, version, memory = await carried_on(told, store=store, guard=GUARD)
        await store.commit(expect={key: version}, put={key: memory, COUNTER: encode(1)})
        assert decode(memory, Memory).runs == 1
        return (await heard(store))[GROUP]

    ago, ahead = timedelta(days=300), -timedelta(hours=3)
    assert time.run(at(ago, run.settled)).last_move_at == -ago
    assert time.run(at(ahead, run.settled)).last_move_at == timedelta()


def test_a_first_failover_long_before_this_machine_was_started_keeps_nobody_from_leading() -> None:
    run = play(SHAPES["failover"].plan, SHAPES["failover"].world()).run
    known = remember(Memory(), run, at=timedelta(days=-30), guard=GUARD)
    assert known.flaps == Flaps(points=GUARD.flap_penalty, at=timedelta(days=-30))
    again = remember(known, run, at=timedelta(days=-60), guard=GUARD)
    assert again.flaps == Flaps(points=2 * GUARD.flap_penalty, at=timedelta(days=-60))
