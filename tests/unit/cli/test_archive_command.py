"""`evac archive`: runs go into files, and whoever asks for one of them is told where it is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.core.errors import NotThere
from evac.core.policy import Guard
from evac.core.run import Opened, Outcome, RunId
from evac.daemon import open_store
from evac.engine.archive import Archived
from evac.engine.chain import digest, link, unlink
from evac.engine.codec import encode
from evac.engine.journal import COUNTER, read_runs
from evac.engine.memories import folded, memory_key
from evac.engine.signing import SIGNERS
from evac.engine.verifying import RunRecord, write_record
from fakes.evidence import signed_run
from fakes.shapes import shapes

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
RECORD = signed_run(shapes()[0])
REBUILD = signed_run(shapes()[3])


def evac(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


async def _stored(state: Path, *, known: bool) -> None:
    async with open_store(state) as store:
        entries = {f"runs/{RECORD.run}/{n:06d}": line for n, line in enumerate(RECORD.entries, start=1)}
        signers = {SIGNERS + s.key: encode(s) for s in RECORD.signers} if known else {}
        await store.commit(expect={}, put={**entries, **signers, COUNTER: encode(1)})
        memories = folded(await read_runs(store), guard=Guard())
        await store.commit(expect={}, put={memory_key(group): encode(m) for group, m in memories.items()})


def estate(folder: Path, *, known: bool = True) -> Path:
    file = folder / "estate.yaml"
    lines = STARTER.read_text().splitlines(keepends=True)
    file.write_text("".join(f"name: {RECORD.estate}\n" if line.startswith("name:") else line for line in lines))
    asyncio.run(_stored(folder / ".evac", known=known))
    return file


def test_an_old_run_goes_into_a_file_and_is_found_there(tmp_path: Path) -> None:
    file, folder = estate(tmp_path), tmp_path / "old"
    assert evac("archive", folder, "--before", "36500d", "--estate", file) == (0, "no run is that old\n")
    code, said = evac("archive", folder, "--before", "1d", "--estate", file, "--json")
    assert code == 0
    (gone,) = json.loads(said)["archived"]
    assert gone["file"] == str(folder / "run-1.jsonl")
    assert evac("verify", folder / "run-1.jsonl")[0] == 0
    assert evac("runs", "--estate", file)[1].strip().endswith(f"completed  archived: {gone['file']}")
    (row,) = json.loads(evac("runs", "--estate", file, "--json")[1])
    assert (row["run"], row["archived"]) == ("1", gone["file"])
    with pytest.raises(NotThere, match="there is no run 2"):
        evac("report", "2", "--estate", file)


ASKED = (("report", "1"), ("report", "1", "--form", "record"), ("verify", "1"))


def test_an_archived_run_is_told_as_before_while_its_file_is_there(tmp_path: Path) -> None:
    file = estate(tmp_path)
    before = [evac(*words, "--estate", file) for words in ASKED]
    assert evac("archive", tmp_path / "old", "--before", "1d", "--estate", file)[0] == 0
    assert [evac(*words, "--estate", file) for words in ASKED] == before


def test_where_its_file_went_is_said_when_it_cannot_be_read(tmp_path: Path) -> None:
    file = estate(tmp_path)
    evac("archive", tmp_path / "old", "--before", "1d", "--estate", file)
    (tmp_path / "old").rename(tmp_path / "elsewhere")
    for words in ASKED:
        with pytest.raises(NotThere, match=r"run 1 was archived by .* into .*run-1\.jsonl, which cannot be read here"):
            evac(*words, "--estate", file)


def test_another_file_in_its_place_is_no_report(tmp_path: Path) -> None:
    """A record that is whole, but not the one that was archived."""
    file, kept = estate(tmp_path), tmp_path / "old" / "run-1.jsonl"
    evac("archive", tmp_path / "old", "--before", "1d", "--estate", file)
    kept.write_bytes(write_record(signed_run(shapes()[1])))
    code, said = evac("verify", "1", "--estate", file)
    assert code == 1
    assert "the file is not the one that was archived" in said
    with pytest.raises(NotThere, match=r"run 1 cannot be told: the file is not the one .*; evac verify 1 shows"):
        evac("report", "1", "--estate", file)


def test_what_does_not_verify_stays_and_is_said(tmp_path: Path) -> None:
    code, said = evac("archive", tmp_path / "old", "--before", "1d", "--estate", estate(tmp_path, known=False))
    assert code == 1
    assert said.startswith("stays      run 1: it does not verify: ")
    assert evac("runs", "--estate", tmp_path / "estate.yaml")[1].rstrip().endswith("steps")


def as_run_two(record: RunRecord) -> tuple[bytes, ...]:
    """The entries of a record, opened as the second run of its store."""
    opened, *rest = [unlink(line).event for line in record.entries]
    assert isinstance(opened, Opened)
    lines: list[bytes] = []
    for event in (replace(opened, run=RunId("2")), *rest):
        lines.append(link(event, before=digest(lines[-1]) if lines else ""))
    return tuple(lines)


async def _followed(state: Path, *, archived: Archived | None) -> None:
    """A second run comes after the first, in the store or as what stays of it."""
    async with open_store(state) as store:
        entries = {f"runs/2/{n:06d}": line for n, line in enumerate(as_run_two(REBUILD), start=1)}
        gone = {} if archived is None else {"archived/2": encode(archived)}
        counter = await store.get(COUNTER)
        expect = {COUNTER: counter.version if counter else 0}
        await store.commit(
            expect=expect, put={COUNTER: encode(2), **(gone or entries)}, delete=[*entries] if gone else []
        )


def test_what_a_rebuild_found_belongs_to_the_run_before_it_also_when_that_was_archived(tmp_path: Path) -> None:
    file, kept = estate(tmp_path), tmp_path / "run-2.jsonl"
    alone = evac("report", "1", "--estate", file)[1]
    asyncio.run(_followed(tmp_path / ".evac", archived=None))
    followed = evac("report", "1", "--estate", file)[1]
    assert followed != alone

    data = write_record(replace(REBUILD, run=RunId("2"), entries=as_run_two(REBUILD)))
    kept.write_bytes(data)
    plan = shapes()[3].plan
    gone = Archived(
        run=RunId("2"),
        group=plan.group,
        kind=plan.kind,
        source=plan.source,
        target=plan.target,
        opened=datetime(2026, 1, 1, tzinfo=UTC),
        outcome=Outcome.COMPLETED,
        file=str(kept),
        sha256=digest(data),
        by="a test",
        wall=datetime(2026, 1, 1, tzinfo=UTC),
    )
    asyncio.run(_followed(tmp_path / ".evac", archived=gone))
    assert evac("report", "1", "--estate", file)[1] == followed
