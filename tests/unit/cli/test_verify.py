"""`evac verify` at the terminal: from the store and from a file, and what its exit code says."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.core.errors import NotThere
from evac.daemon import open_store
from evac.engine.codec import encode
from evac.engine.signing import SIGNERS
from evac.engine.verifying import RunRecord, write_record
from fakes.evidence import signed_run, signer_of
from fakes.shapes import shapes

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
RECORD = signed_run(shapes()[0])


def evac(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "run-1.jsonl"
    file.write_bytes(write_record(RECORD))
    return file


async def _stored(record: RunRecord, state: Path) -> None:
    async with open_store(state) as store:
        entries = {f"runs/{record.run}/{n:06d}": line for n, line in enumerate(record.entries, start=1)}
        known = {SIGNERS + s.key: encode(s) for s in record.signers}
        await store.commit(expect={}, put={**entries, **known})


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Path:
    """An estate of the same name as the one whose run is in its store."""
    estate = tmp_path / "estate.yaml"
    lines = STARTER.read_text().splitlines(keepends=True)
    estate.write_text("".join(f"name: {RECORD.estate}\n" if line.startswith("name:") else line for line in lines))
    asyncio.run(_stored(RECORD, tmp_path / ".evac"))
    return estate


def test_an_honest_run_is_verified_without_an_estate(file: Path) -> None:
    code, said = evac("verify", file)
    assert code == 0
    assert said.endswith("\nverified\n")
    assert "promotion  orders-db in us-west-2, term 2, on starved (us-west-2), starved (eu-west-1)" in said
    code, said = evac("verify", file, "--json")
    assert code == 0
    assert json.loads(said)["good"] is True


def test_a_run_that_was_tampered_with_is_not_as_promised(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"kind":"starved"', b'"kind":"stopped"', 1))
    code, said = evac("verify", file)
    assert code == 1
    assert "FAIL" in said
    assert json.loads(evac("verify", file, "--json")[1])["problems"]


def test_a_run_is_verified_from_the_store_and_as_it_was_exported(estate: Path, tmp_path: Path) -> None:
    code, said = evac("verify", RECORD.run, "--estate", estate)
    assert (code, said.splitlines()[-1]) == (0, "verified")
    out = tmp_path / "out.jsonl"
    assert evac("report", RECORD.run, "--estate", estate, "--form", "record", "--out", out)[0] == 0
    assert out.read_bytes() == write_record(RECORD)
    assert evac("report", RECORD.run, "--estate", estate, "--form", "record")[1].encode() == out.read_bytes()


def test_only_what_is_pinned_counts(file: Path) -> None:
    keys = [signer_of(region).public for region in ("us-east-1", "us-west-2", "eu-west-1")]
    pins = [word for key in keys for word in ("--key", key.upper())]
    assert evac("verify", file, *pins)[0] == 0
    code, said = evac("verify", file, *pins[2:])
    assert code == 1
    assert "a key that is not pinned" in said


@pytest.mark.parametrize("key", ["", "abc", "zz" * 32, "ab" * 31])
def test_what_is_no_key_is_refused(key: str, file: Path) -> None:
    with pytest.raises(NotThere, match="is no public key: it has 64 hexadecimal digits"):
        evac("verify", file, "--key", key)


def test_what_is_not_there_is_refused(estate: Path, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="neither a run's number nor a file"):
        evac("verify", tmp_path / "gone.jsonl")
    with pytest.raises(NotThere, match="is no record of a run"):
        evac("verify", estate)
    with pytest.raises(NotThere, match="there is no run 77"):
        evac("verify", "77", "--estate", estate)
    with pytest.raises(NotThere, match="a form of its own"):
        evac("report", RECORD.run, "--estate", estate, "--form", "record", "--json")


def test_a_word_that_a_promotion_rests_on_is_shown_with_who_gave_it(tmp_path: Path) -> None:
    shape = shapes()[0]
    steps = tuple(
        replace(s, action=replace(s.action, args={**s.action.args, "word": "alice"})) if s.pivot else s
        for s in shape.plan.steps
    )
    file = tmp_path / "forced.jsonl"
    file.write_bytes(write_record(signed_run(replace(shape, plan=replace(shape.plan, steps=steps)))))
    code, said = evac("verify", file)
    assert code == 0
    assert "on the word of alice, and starved (us-west-2), starved (eu-west-1)" in said
    assert "forced: alice takes the responsibility that nobody else writes; shown nothing before" in said
