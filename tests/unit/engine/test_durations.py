"""How long steps took is kept by driver and verb, of steps that were done, and the newest only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from evac.core.run import Event, Failure, Opened, Outcome, RunId
from evac.engine.chain import digest, link
from evac.engine.codec import encode
from evac.engine.durations import KEPT_MAX, RUNS_MAX, Earlier, durations_of
from evac.engine.journal import COUNTER, archived_key, entry_key
from evac.stores.memory import MemoryStore
from fakes.rehearsal import play
from fakes.shapes import shapes

SWITCHOVER = next(s for s in shapes() if s.name == "switchover")


def test_the_steps_that_were_done_count_the_newest_ones() -> None:
    run = play(SWITCHOVER.plan, SWITCHOVER.world()).run
    found = durations_of([run] * (KEPT_MAX + 1), SWITCHOVER.estate)
    verbs = {(SWITCHOVER.estate.components[s.action.component].driver, s.action.verb) for s in run.plan.steps}
    assert set(found) == verbs
    assert {len(kept) for kept in found.values()} == {KEPT_MAX}
    assert all(kept[-1] > timedelta() for kept in found.values())


def test_what_was_not_done_or_is_not_declared_any_more_does_not() -> None:
    run = play(SWITCHOVER.plan, SWITCHOVER.world()).run
    undone = {i: replace(p, receipt=None, failure=Failure.REJECTED) for i, p in run.does.items()}
    assert run.settled is not None
    failed = replace(run, does=undone, settled=replace(run.settled, outcome=Outcome.ROLLED_BACK))
    assert durations_of([failed, replace(run, does={})], SWITCHOVER.estate) == {}
    assert durations_of([run], replace(SWITCHOVER.estate, components={})) == {}


async def keep(store: MemoryStore, number: int, events: Sequence[Event]) -> None:
    """Write a run's journal, as if it had been opened as that number."""
    run, head = RunId(str(number)), ""
    entries: dict[str, bytes] = {}
    for seq, event in enumerate(events, start=1):
        told = replace(event, run=run) if isinstance(event, Opened) else event
        entries[entry_key(run, seq)] = link(told, before=head)
        head = digest(entries[entry_key(run, seq)])
    await store.commit(expect={}, put={**entries, COUNTER: encode(number)})


def test_who_asks_again_reads_settled_runs_once_and_hears_the_same() -> None:
    played, estate = play(SWITCHOVER.plan, SWITCHOVER.world()), SWITCHOVER.estate

    async def ask() -> None:
        store, earlier = MemoryStore(), Earlier(estate)
        assert await earlier.durations(store) == {}
        for number, events in ((1, played.events), (2, played.events[:-1]), (3, played.events)):
            await keep(store, number, events)
        assert await earlier.durations(store) == durations_of([played.run] * 3, estate)
        await store.commit(expect={}, put={}, delete=[r.key for r in await store.list("runs/1/")])
        await keep(store, 2, played.events)
        await keep(store, 4, played.events[:1])
        for _ in range(2):
            assert await earlier.durations(store) == durations_of([played.run] * 3, estate)
            await store.commit(expect={}, put={}, delete=[r.key for r in await store.list("runs/3/")])
        restored = MemoryStore()
        await keep(restored, 1, played.events)
        assert await earlier.durations(restored) == durations_of([played.run], estate)

    asyncio.run(ask())


def test_no_run_is_read_that_has_enough_newer_ones() -> None:
    played, estate = play(SWITCHOVER.plan, SWITCHOVER.world()), SWITCHOVER.estate

    async def ask() -> None:
        store, earlier = MemoryStore(), Earlier(estate)
        for number in (RUNS_MAX, RUNS_MAX + 1, RUNS_MAX + 2):
            await keep(store, number, played.events)
        for number in range(3, RUNS_MAX):
            await keep(store, number, played.events[:1])
        await store.commit(expect={}, put={COUNTER: encode(RUNS_MAX + 2)})
        assert await earlier.durations(store) == durations_of([played.run] * 3, estate)

    asyncio.run(ask())


@pytest.mark.parametrize("damage", [{"runs/2/000002": b"no entry"}, {"runs/2/000002": b"{}"}, None])
def test_a_run_whose_journal_is_damaged_is_left_out_and_the_next_ones_count(damage: dict[str, bytes] | None) -> None:
    played, estate = play(SWITCHOVER.plan, SWITCHOVER.world()), SWITCHOVER.estate

    async def ask() -> None:
        store, earlier = MemoryStore(), Earlier(estate)
        await keep(store, 1, played.events[:-1])
        for number in (2, 3):
            await keep(store, number, played.events)
        await store.commit(expect={}, put=damage or {}, delete=() if damage else ["runs/2/000002"])
        for _ in range(2):
            with capture_logs() as said:
                assert await earlier.durations(store) == durations_of([played.run] * 2, estate)
        assert not said, "told once"

    asyncio.run(ask())


def test_what_was_archived_keeps_no_later_run_from_being_read_once() -> None:
    played, estate = play(SWITCHOVER.plan, SWITCHOVER.world()), SWITCHOVER.estate

    async def ask() -> None:
        store, earlier = MemoryStore(), Earlier(estate)
        for number in (2, 3):
            await keep(store, number, played.events)
        await store.commit(expect={}, put={archived_key(RunId("1")): b"{}"})
        assert await earlier.durations(store) == durations_of([played.run] * 2, estate)
        await store.commit(expect={}, put={}, delete=[r.key for r in await store.list("runs/")])
        assert await earlier.durations(store) == durations_of([played.run] * 2, estate)

    asyncio.run(ask())
