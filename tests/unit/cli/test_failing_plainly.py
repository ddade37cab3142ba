"""What goes wrong before anything is begun is said in a sentence and an exit code, never with a trace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest

from evac.config import load
from evac.core.assessment import assess
from evac.core.detector import Detector
from evac.daemon import open_store
from evac.engine.clock import BootClock
from evac.engine.codec import encode
from evac.engine.leadership import lead
from evac.engine.snapshots import KEY
from fakes.views import snapshot_of

EVAC = str(Path(sys.executable).parent / "evac")
STARTER = resources.files("evac.config") / "estates" / "starter.yaml"


def evac(*words: str | Path) -> tuple[int, str]:
    """Run the command line; return its exit code and all it said."""
    done = subprocess.run([EVAC, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Path:
    file = tmp_path / "estate.yaml"
    file.write_text(STARTER.read_text())
    return file


async def _remember(estate: Path, *, ago: timedelta) -> None:
    """Leave what a controller leaves that ended so long ago."""
    loaded, clock = load(estate).estate, BootClock()
    seen = assess(Detector(policy=loaded.detection), now=clock.now(), estate=loaded)
    snapshot = snapshot_of(seen, wall=clock.wall() - ago, estate=loaded.name)
    async with open_store(estate.parent / ".evac") as store:
        await store.commit(expect={}, put={KEY: encode(snapshot)})


@pytest.mark.parametrize("command", ["serve", "runs"])
def test_an_estate_file_that_is_not_there_is_wrong_and_nothing_is_made(command: str, tmp_path: Path) -> None:
    code, said = evac(*command.split(), "--estate", tmp_path / "none" / "estate.yaml")
    assert code == 2
    assert "no such file; `evac init` writes one" in said
    assert not (tmp_path / "none").exists()


def test_before_the_first_serve_nothing_is_known_and_nothing_is_made(estate: Path) -> None:
    code, said = evac("status", "--estate", estate)
    assert code == 4
    assert "start evac serve" in said
    assert not (estate.parent / ".evac").exists()


@pytest.mark.parametrize("command", ["serve", "switchover --yes"])
def test_a_state_folder_that_cannot_be_one_is_named(command: str, estate: Path) -> None:
    taken = estate.parent / "taken"
    taken.write_text("a file")
    code, said = evac(*command.split(), "--estate", estate, "--state", taken)
    assert code == 4
    assert str(taken) in said


def test_a_store_that_is_none_is_named(estate: Path) -> None:
    state = estate.parent / ".evac"
    state.mkdir()
    (state / "evac.db").write_text("no database")
    code, said = evac("serve", "--estate", estate)
    assert code == 4
    assert str(state) in said


async def test_status_without_a_controller_says_how_old_it_is_and_what_to_do(estate: Path) -> None:
    await _remember(estate, ago=timedelta(minutes=5))
    code, said = await asyncio.to_thread(evac, "status", "--estate", estate)
    assert code == 1
    assert "nobody watches" in said
    assert "start evac serve" in said


async def test_a_run_that_is_not_there_is_the_command_lines_mistake(estate: Path) -> None:
    await _remember(estate, ago=timedelta())
    code, said = await asyncio.to_thread(evac, "report", "99", "--estate", estate)
    assert code == 2
    assert "there is no run 99; evac runs lists them" in said


async def test_a_second_controller_is_refused(estate: Path) -> None:
    state = estate.parent / ".evac"
    async with open_store(state) as store, lead(state, store):
        code, said = await asyncio.to_thread(evac, "serve", "--estate", estate)
    assert code == 4
    assert "leads this estate already" in said
