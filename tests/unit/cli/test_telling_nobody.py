"""What a person tells evac where nobody leads: it is kept, where and by whom is said, and what was known stays."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest

from evac.config import load
from evac.core.estate import RegionId
from evac.core.snapshot import Snapshot
from evac.daemon import open_store
from evac.engine.clock import BootClock
from evac.engine.codec import encode
from evac.engine.outlook import Thought
from evac.engine.snapshots import KEY, read_snapshot
from fakes.commands import evac
from fakes.estates import judged, member
from fakes.views import snapshot_of

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Path:
    file = tmp_path / "estate.yaml"
    file.write_text(STARTER.read_text())
    return file


async def _remember(estate: Path) -> Snapshot:
    """Leave what a controller leaves that had seen every region well, an hour ago."""
    loaded, clock = load(estate).estate, BootClock()
    seen = judged(loaded)
    snapshot = snapshot_of(
        seen,
        wall=clock.wall() - timedelta(hours=1),
        estate=loaded.name,
        members=tuple(
            member(c.id, r, primary=RegionId("berlin")) for c in loaded.components.values() for r in c.members
        ),
    )
    async with open_store(estate.parent / ".evac") as store:
        await store.commit(expect={}, put={KEY: encode(snapshot)})
    return snapshot


@pytest.mark.parametrize(
    ("words", "nobody_watches"),
    [(("pause",), True), (("resume",), True), (("maintenance", "--for", "1h"), False), (("resolve",), False)],
)
def test_a_command_that_runs_a_controller_itself_says_so_and_where_it_writes(
    words: tuple[str, ...], nobody_watches: bool, estate: Path
) -> None:
    done = evac(*words, "--estate", estate, "--json")
    store = estate.parent / ".evac" / "evac.db"
    assert f"nobody leads this estate: this command does it itself, in the store {store}" in done.stderr
    assert ("nobody watches" in done.stderr) is nobody_watches
    assert done.stdout == "" or json.loads(done.stdout)


@pytest.mark.parametrize(("words", "code"), [("pause", 0), ("resolve", 3)])
async def test_what_was_known_is_not_written_over_by_who_has_seen_nothing(words: str, code: int, estate: Path) -> None:
    known = await _remember(estate)
    assert (await asyncio.to_thread(evac, words, "--estate", estate)).returncode == code
    async with open_store(estate.parent / ".evac") as store:
        assert await read_snapshot(store) == known


async def test_a_pause_and_work_that_nobody_heard_of_are_in_the_status(estate: Path) -> None:
    await _remember(estate)
    for words in (("pause", "--reason", "lunch"), ("maintenance", "--for", "2h", "--region", "berlin")):
        assert (await asyncio.to_thread(evac, *words, "--estate", estate)).returncode == 0
    told = (await asyncio.to_thread(evac, "status", "--estate", estate)).stdout
    assert "  automation is paused: lunch (by " in told
    assert "  maintenance of berlin until " in told
    plain = json.loads((await asyncio.to_thread(evac, "status", "--estate", estate, "--json")).stdout)["snapshot"]
    assert (plain["paused"], plain["pause"]["reason"], len(plain["windows"])) == ("lunch", "lunch", 1)
    assert (await asyncio.to_thread(evac, "resume", "--estate", estate)).returncode == 0
    assert "is paused" not in (await asyncio.to_thread(evac, "status", "--estate", estate)).stdout


async def test_a_loss_that_nobody_can_think_through_is_not_fine(estate: Path) -> None:
    await _remember(estate)
    nothing = Thought(region=RegionId("berlin"), wall=BootClock().wall(), each=())
    async with open_store(estate.parent / ".evac") as store:
        await store.commit(expect={}, put={"what-if/berlin": encode(nothing)})
    done = await asyncio.to_thread(evac, "what-if", "berlin", "--estate", estate)
    assert "  where orders's primaries are is not known: its members have not been seen yet\n" in done.stdout
    plain = await asyncio.to_thread(evac, "what-if", "--estate", estate, "--json")
    assert "orders" in json.loads(plain.stdout)["unplaced"]["berlin"]
    assert (done.returncode, plain.returncode) == (1, 1)
