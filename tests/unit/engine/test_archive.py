"""Runs are taken out of the store into files that verify, and what has to stay stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evac.core.errors import EvacError, IllegalEvent, NameTaken, StoreUnavailable
from evac.core.memory import Memory
from evac.core.policy import Guard
from evac.core.run import RunId
from evac.engine import archive as module
from evac.engine.archive import archive, read_archived
from evac.engine.chain import digest
from evac.engine.codec import encode
from evac.engine.journal import COUNTER, archived_key, read_runs
from evac.engine.memories import folded, memory_key, recall
from evac.engine.signing import SIGNERS
from evac.engine.verifying import RunRecord, parse_record, verify, write_record
from evac.ports import Store
from evac.sim import time
from evac.sim.estates import GROUP
from evac.sim.stores import FailingStore, Moment
from evac.stores.memory import MemoryStore
from fakes.evidence import signed_run
from fakes.shapes import shapes

RECORD = signed_run(shapes()[0])
LATER = datetime(2030, 1, 1, tzinfo=UTC)


async def holding(record: RunRecord = RECORD) -> MemoryStore:
    """Return a store with a run that has settled, and whose group's memory is whole."""
    store = MemoryStore()
    entries = {f"runs/{record.run}/{n:06d}": line for n, line in enumerate(record.entries, start=1)}
    known = {SIGNERS + s.key: encode(s) for s in record.signers}
    await store.commit(expect={}, put={**entries, **known, COUNTER: encode(1)})
    memories = folded(await read_runs(store), guard=Guard())
    await store.commit(expect={}, put={memory_key(GROUP): encode(replace(memories.get(GROUP, Memory()), runs=1))})
    return store


async def archived(folder: Path, store: Store, *, before: datetime = LATER) -> tuple[list[str], list[str]]:
    gone, stay = await archive(folder, before=before, estate=RECORD.estate, store=store, by="alice", wall=LATER)
    return [a.run for a in gone], [s.why for s in stay]


async def test_a_run_goes_into_a_file_that_verifies_and_leaves_what_it_was(tmp_path: Path) -> None:
    store = await holding()
    assert await archived(tmp_path / "old", store) == (["1"], [])
    data = (tmp_path / "old" / "run-1.jsonl").read_bytes()
    assert data == write_record(RECORD)
    assert verify(parse_record(data, name="it")).good
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["run-1.jsonl"]
    (stays,) = await read_archived(store)
    assert (stays.run, stays.sha256, stays.by) == ("1", digest(data), "alice")
    assert await store.list("runs/") == ()
    assert await read_runs(store) == ()
    assert await archived(tmp_path / "old", store) == ([], [])


async def test_what_it_means_is_remembered_all_the_same(tmp_path: Path) -> None:
    store = await holding()
    before = await store.get(memory_key(GROUP))
    await archived(tmp_path, store)
    await recall(store, time.VirtualClock(), guard=Guard())
    assert await store.get(memory_key(GROUP)) == before
    await store.commit(expect={}, put={}, delete=[memory_key(GROUP)])
    assert (await recall(store, time.VirtualClock(), guard=Guard()))[0] == {GROUP: Memory(runs=1)}


async def test_a_young_run_is_left_alone(tmp_path: Path) -> None:
    store = await holding()
    assert await archived(tmp_path, store, before=datetime(2020, 1, 1, tzinfo=UTC)) == ([], [])
    assert len(await store.list("runs/")) == len(RECORD.entries)


async def test_what_is_under_way_or_stuck_or_does_not_verify_stays(tmp_path: Path) -> None:
    store = await holding(replace(RECORD, entries=RECORD.entries[:-1]))
    assert await archived(tmp_path, store) == ([], ["it is under way"])
    store = await holding()
    await store.commit(expect={}, put={memory_key(GROUP): encode(Memory(runs=1, stuck=RunId("1")))})
    (why,) = (await archived(tmp_path, store))[1]
    assert "evac resolve 1" in why
    store = await holding(replace(RECORD, signers=()))
    (why,) = (await archived(tmp_path, store))[1]
    assert why.startswith("it does not verify: ")
    await store.commit(expect={}, put={}, delete=["runs/1/000001"])
    (why,) = (await archived(tmp_path, store))[1]
    assert "cannot be read" in why
    assert not list(tmp_path.iterdir())


async def test_a_stuck_run_that_was_resolved_goes(tmp_path: Path) -> None:
    store = await holding()
    stuck = encode(Memory(runs=1, stuck=RunId("1")))
    await store.commit(expect={}, put={memory_key(GROUP): stuck, "resolved/1": b"alice"})
    assert await archived(tmp_path, store) == (["1"], [])


async def test_nothing_goes_while_what_runs_mean_is_not_remembered(tmp_path: Path) -> None:
    store = await holding()
    await store.commit(expect={}, put={}, delete=[memory_key(GROUP)])
    with pytest.raises(EvacError, match="not remembered yet"):
        await archived(tmp_path, store)


async def test_a_file_of_another_run_or_one_that_cannot_be_written_keeps_it_where_it_is(tmp_path: Path) -> None:
    store = await holding()
    (tmp_path / "run-1.jsonl").write_text("something else")
    with pytest.raises(NameTaken, match="holds something else"):
        await archived(tmp_path, store)
    with pytest.raises(EvacError, match="still in the store"):
        await archived(tmp_path / "run-1.jsonl" / "within", store)
    assert len(await store.list("runs/")) == len(RECORD.entries)


@pytest.mark.parametrize("dies_at", [1, 2, 3])
async def test_whatever_is_cut_short_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    monkeypatch.setattr(module, "TAKEN_AT_ONCE", 10)
    store = await holding()

    def trouble(number: int, moment: Moment) -> BaseException | None:
        return StoreUnavailable("away") if (number, moment) == (dies_at, Moment.BEFORE) else None

    with pytest.raises(StoreUnavailable):
        await archived(tmp_path, FailingStore(store=store, trouble=trouble))
    assert len(await read_runs(store)) == (1 if dies_at == 1 else 0), "no part of it looks like a run"
    await archived(tmp_path, store)
    assert await store.list("runs/") == ()
    assert await store.get(archived_key(RunId("1"))) is not None


async def test_a_run_that_is_missing_and_was_not_archived_is_missed() -> None:
    store = await holding()
    await store.commit(expect={}, put={}, delete=["runs/1/000001"])
    with pytest.raises(IllegalEvent):
        await read_runs(store)
