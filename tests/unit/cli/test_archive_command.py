"""`evac archive`: runs go into files, and whoever asks for one of them is told where it is."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.core.errors import NotThere
from evac.core.policy import Guard
from evac.daemon import open_store
from evac.engine.codec import encode
from evac.engine.journal import COUNTER, read_runs
from evac.engine.memories import folded, memory_key
from evac.engine.signing import SIGNERS
from fakes.evidence import signed_run
from fakes.shapes import shapes

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
RECORD = signed_run(shapes()[0])


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
    for words in (("report", "1"), ("report", "1", "--form", "record"), ("verify", "1")):
        with pytest.raises(NotThere, match=r"run 1 was archived by .*: evac verify .*run-1\.jsonl"):
            evac(*words, "--estate", file)
    with pytest.raises(NotThere, match="there is no run 2"):
        evac("report", "2", "--estate", file)


def test_what_does_not_verify_stays_and_is_said(tmp_path: Path) -> None:
    code, said = evac("archive", tmp_path / "old", "--before", "1d", "--estate", estate(tmp_path, known=False))
    assert code == 1
    assert said.startswith("stays      run 1: it does not verify: ")
    assert evac("runs", "--estate", tmp_path / "estate.yaml")[1].rstrip().endswith("steps")
