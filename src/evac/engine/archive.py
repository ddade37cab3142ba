"""Settled runs taken out of the store, each into a file that proves as much as the store did.

Intuition: journals are evidence, and a store has a bound. So a run's record is verified, written to a file as `evac
report` writes it, read back from there, and only then taken out of the store. In its place stays what the run was and
where it went, so that nobody looks in vain; what it means for the next decision is in its group's memory.

    archived/<run>    what stays

Whatever is cut short is gone on with by the next call: a file that was written is found to be the same, and what is
left of a journal whose place has been taken is taken away; from its first entry on, so that no part looks like a run.

What this is not: a backup of the store. Runs under way, stuck ones that nobody has resolved, and those whose record
does not verify stay where they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from evac.core.errors import EvacError, IllegalEvent, NameTaken, NotThere
from evac.core.estate import GroupId, RegionId
from evac.core.memory import Memory
from evac.core.plan import RunKind
from evac.core.run import Outcome, Run, RunId
from evac.engine.chain import digest
from evac.engine.codec import decode, encode
from evac.engine.journal import archived_key, entry_key, opened_so_far, read_run
from evac.engine.memories import are_whole, memory_key
from evac.engine.verifying import RunRecord, parse_record, read_record, verify, write_record
from evac.ports import Store

TAKEN_AT_ONCE = 100
"""So many entries go in one commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What stays of a run in the store: what it was, who archived it when, and the file with its SHA-256."""

    run: RunId
    group: GroupId
    kind: RunKind
    source: RegionId
    target: RegionId
    opened: datetime
    outcome: Outcome
    file: str
    sha256: str
    by: str
    wall: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """A run that is old enough, and why it stays in the store all the same."""

    run: RunId
    why: str


async def archive(
    folder: Path, *, before: datetime, estate: str, store: Store, by: str, wall: datetime
) -> tuple[Sequence[Archived], Sequence[Stays]]:
    """Archive every run that settled before a moment; return those that were, and those that stay.

    Raises `NameTaken` when a file holds something else, `EvacError` when none can be written, and `StoreUnavailable`:
    what was archived until then is, and the rest is where it was.
    """
    if not await are_whole(store):
        raise EvacError("what earlier runs mean is not remembered yet: let evac serve or an agent lead first")
    gone: list[Archived] = []
    stay: list[Stays] = []
    for n in range(1, await opened_so_far(store) + 1):
        run_id = RunId(str(n))
        if await store.get(archived_key(run_id)) is not None:
            await _take_away([r.key for r in await store.list(f"runs/{run_id}/")], store=store)
            continue
        try:
            run = await read_run(run_id, store=store)
        except (KeyError, IllegalEvent) as error:
            stay.append(Stays(run=run_id, why=f"its journal cannot be read: {error}"))
            continue
        if (run.settled or run.opened).wall >= before:
            continue
        if why := await _needed(run, store):
            stay.append(Stays(run=run_id, why=why))
            continue
        record = await read_record(run_id, estate=estate, store=store)
        data, file = write_record(record), folder / f"run-{run_id}.jsonl"
        if problems := verify(parse_record(data, name=str(file))).problems:
            stay.append(Stays(run=run_id, why=f"it does not verify: {'; '.join(problems)}"))
            continue
        await asyncio.to_thread(_keep, file, data)
        archived = _archived(run, file, data, by=by, wall=wall)
        keys = [entry_key(run_id, seq) for seq in range(1, len(record.entries) + 1)]
        await store.commit(
            expect={archived_key(run_id): 0},
            put={archived_key(run_id): encode(archived)},
            delete=keys[:TAKEN_AT_ONCE],
        )
        await _take_away(keys[TAKEN_AT_ONCE:], store=store)
        gone.append(archived)
    return gone, stay


async def read_archived(store: Store) -> Sequence[Archived]:
    """Return what stays of all runs that were archived, in the order they were opened."""
    found = [decode(record.value, Archived) for record in await store.list("archived/")]
    return sorted(found, key=lambda archived: int(archived.run))


async def find_archived(run: RunId, *, store: Store) -> Archived | None:
    """Return what stays of a run that was archived; None where none of that number was."""
    record = await store.get(archived_key(run))
    return None if record is None else decode(record.value, Archived)


def read_back(gone: Archived) -> RunRecord:
    """Return an archived run's record from its file; that it is another file now is noted as its damage.

    Raises `NotThere` when the file cannot be read here.
    """
    try:
        data = Path(gone.file).read_bytes()
    except OSError as error:
        raise NotThere(
            f"run {gone.run} was archived by {gone.by} at {gone.wall.isoformat(timespec='seconds')} into {gone.file},"
            f" which cannot be read here ({error.strerror}): where it is, evac verify FILE shows what it proves"
        ) from None
    record = parse_record(data, name=gone.file)
    if digest(data) != gone.sha256:
        record = replace(record, damage=(*record.damage, "the file is not the one that was archived"))
    return record


async def _needed(run: Run, store: Store) -> str:
    """Why a run has to stay where it is; empty where it need not."""
    if run.settled is None:
        return "it is under way"
    memory = await store.get(memory_key(run.plan.group))
    assert memory is not None, "the memories are whole"
    stuck = decode(memory.value, Memory).stuck == run.id
    if stuck and await store.get(f"resolved/{run.id}") is None:
        return f"it is stuck: mend what it names, then evac resolve {run.id}"
    return ""


async def _take_away(keys: Sequence[str], *, store: Store) -> None:
    for n in range(0, len(keys), TAKEN_AT_ONCE):
        await store.commit(expect={}, put={}, delete=keys[n : n + TAKEN_AT_ONCE])


def _archived(run: Run, file: Path, data: bytes, *, by: str, wall: datetime) -> Archived:
    assert run.settled is not None, "only a settled run is archived"
    plan = run.plan
    return Archived(
        run=run.id,
        group=plan.group,
        kind=plan.kind,
        source=plan.source,
        target=plan.target,
        opened=run.opened.wall,
        outcome=run.settled.outcome,
        file=str(file.absolute()),
        sha256=digest(data),
        by=by,
        wall=wall,
    )


def _keep(file: Path, data: bytes) -> None:
    """See that a file on the disk holds this, whole. Raises `NameTaken` and `EvacError`."""
    try:
        if not file.exists():
            _write(file, data)
        if file.read_bytes() != data:
            raise NameTaken(f"{file} holds something else than this store's run: name another folder")
    except OSError as error:
        raise EvacError(f"{file} cannot be written: {error.strerror}; the run is still in the store") from error


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(fresh, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
