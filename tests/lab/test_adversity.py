"""What a person asks for meets a world that is not as it should be: each time evac ends in a clear state.

Refused with nothing changed, rolled back, or stuck with what a person must do; and whatever happens, no write that
clients had acknowledged is lost. Everything is asked through the command line, whose words and exit codes are part of
what is promised, and which never shows a secret or a trace.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from evac.core.plan import RunKind, Verb
from evac.core.run import Outcome, Run
from evac.core.snapshot import Snapshot
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import EVAC, Stage, serves_well, serving, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind
from evac.lab.judge import judge
from evac.lab.servers import postgresql, process

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

TARGET = "us-west-2"
WAIT_S = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="on")
async def _on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One lab and one group of clients for all; their record is judged in the end."""
    async with stage(tmp_path_factory.mktemp("adversity"), mode="sync") as on:
        await _home(on)
        async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
            yield on
            await _home(on)
        verdict = judge([clients], rows=await on.rows(clients, primary=HOME, also=()))["orders"]
        assert verdict.kept, verdict
        assert verdict.acknowledged > 0


async def _home(on: Stage) -> None:
    """Wait until all is well and at home."""
    assert await on.calm(HOME, within_s=WAIT_S)


async def _evac(on: Stage, *words: str, estate: Path | None = None) -> tuple[int, str]:
    """Run the command line where the regions can be reached; return its exit code and all it said."""
    command = on.lab.command("ops", EVAC, *words, "--estate", str(estate or on.lab.estate))
    running = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await running.communicate()
    said = out.decode()
    assert running.returncode is not None
    assert "Traceback" not in said
    for secret in on.layout.secrets.iterdir():
        assert secret.read_text().strip() not in said
    return running.returncode, said


async def _newest(on: Stage) -> Run:
    return (await on.estate.runs())[-1]


async def _moves(on: Stage) -> int:
    """How many runs there were so far, but for those that kept the set that must acknowledge right."""
    return sum(run.plan.kind is not RunKind.PROTECT for run in await on.estate.runs())


def _stopped_something(run: Run) -> bool:
    return any(run.plan.step(s).action.verb is Verb.STOP for s in run.does)


async def _sql(on: Stage, region: str, statement: str) -> None:
    where = f"host={on.layout.address(region)} dbname=shop user=evac password={(on.layout.secrets / 'pg').read_text()}"
    psql = (str(postgresql.bin_dir() / "psql"), "--no-psqlrc", "--quiet", "-c", statement, where)
    await process.run(on.lab.command(region, *psql))


async def test_a_standby_that_lags_is_not_switched_to(on: Stage) -> None:
    await _sql(on, TARGET, "select pg_wal_replay_pause()")
    try:
        code, said = await _evac(on, "switchover", TARGET, "--yes")
        assert code == 1, said
        run = await _newest(on)
        assert run.settled is not None
        assert run.settled.outcome is Outcome.ROLLED_BACK
        assert f"{TARGET} did not apply within" in said
        assert not _stopped_something(run)

        assert await on.until(lambda s: _lags(s, over_s=10.0), within_s=WAIT_S)
        code, said = await _evac(on, "switchover", TARGET, "--yes")
        assert code == 3, said
        assert "nothing was changed" in said
        assert "lagged" in said
        assert (await _newest(on)).id == run.id
    finally:
        await _sql(on, TARGET, "select pg_wal_replay_resume()")
    await _home(on)


def _lags(snapshot: Snapshot, *, over_s: float) -> bool:
    found = [m.state for m in snapshot.members if (m.component, m.region) == ("orders-db", TARGET)]
    return any(s is not None and s.lag is not None and s.lag.total_seconds() > over_s for s in found)


async def test_a_target_with_a_full_disk_is_not_switched_to(on: Stage) -> None:
    before = await _moves(on)
    await on.lab.fault(FaultKind.DISK_FULL, TARGET)
    try:
        assert await on.until(_has_no_room, within_s=WAIT_S)
        code, said = await _evac(on, "switchover", TARGET, "--yes")
        assert code == 3, said
        assert "nothing was changed" in said
        assert f"{TARGET}: " in said
        assert await _moves(on) == before
    finally:
        await on.lab.heal()
    await _home(on)


def _has_no_room(snapshot: Snapshot) -> bool:
    """Whether evac has seen the target's disk full, or the server that could not live with it gone."""
    found = [m.state for m in snapshot.members if (m.component, m.region) == ("orders-db", TARGET)]
    return any(s is None or (s.free_disk is not None and s.free_disk < 0.01) for s in found)


async def test_wrong_credentials_are_named_and_move_nothing(on: Stage) -> None:
    before = await _moves(on)
    async with _changed(on, "secrets/pg", "secrets/wrong") as estate:
        code, said = await _evac(on, "check", estate=estate)
        assert code == 1
        assert f"FAIL  orders-db in {HOME}" in said
        assert "password authentication failed" in said
        assert "do: " in said
        code, said = await _evac(on, "switchover", TARGET, "--yes", estate=estate)
        assert code == 3, said
        assert "nothing was changed" in said
    await _home(on)
    assert await _moves(on) == before


@asynccontextmanager
async def _changed(on: Stage, old: str, new: str) -> AsyncIterator[Path]:
    """Let evac serve another estate, in which something is written otherwise, for as long as the context lives."""
    estate = on.lab.folder / "changed.yaml"
    estate.write_text(on.lab.estate.read_text().replace(old, new))
    (on.layout.secrets / "wrong").write_text("d3finitely-not-it")
    await on.evac.stop()
    other = serving(on.lab, estate)
    try:
        since = (await on.estate.last_known()).wall
        await other.start(ready=lambda _: True)
        assert await on.until(lambda s: s.wall > since and _all_heard(s), within_s=WAIT_S)
        yield estate
    finally:
        await other.stop()
        await on.evac.start(ready=lambda _: True)


def _all_heard(snapshot: Snapshot) -> bool:
    """Whether every member has been looked at, with or without an answer."""
    return len(snapshot.members) >= 3 and bool(snapshot.placements) and not snapshot.voiceless


async def test_a_name_server_that_refuses_is_found_before_anything_is_stopped(on: Stage) -> None:
    if not on.dns:
        pytest.skip("Knot is not installed")
    key = on.layout.secrets / "tsig"
    right = key.read_text()
    key.write_text("bm90IHRoZSBrZXk=")
    try:
        code, said = await _evac(on, "check")
        assert code == 1
        assert f"FAIL  shop-dns in {HOME}" in said
        assert "the key is refused" in said
        code, said = await _evac(on, "switchover", TARGET, "--yes")
        assert code == 1, said
        run = await _newest(on)
        assert run.settled is not None
        assert run.settled.outcome is Outcome.ROLLED_BACK
        assert "the key is refused" in said
        assert not _stopped_something(run)
    finally:
        key.write_text(right)
    await _home(on)


async def test_a_target_that_dies_in_mid_run_is_turned_away_from(on: Stage) -> None:
    before = len(await on.estate.runs())
    asking = asyncio.create_task(_evac(on, "switchover", TARGET, "--yes"))
    async with asyncio.timeout(WAIT_S):
        async for _ in on.estate.changes("runs/"):
            if len(runs := await on.estate.runs()) > before and _stopped_something(runs[-1]):
                break
    await on.lab.fault(FaultKind.POWER, TARGET)
    code, said = await asking
    run = await _newest(on)
    assert run.settled is not None
    assert code == (0 if run.settled.outcome is Outcome.COMPLETED else 1), said
    if run.settled.outcome is Outcome.STUCK:
        code, said = await _evac(on, "status")
        assert code == 1
        assert f"Needed from you: evac report {run.id}" in said
        assert (await _evac(on, "report", run.id))[0] == 0
        assert (await _evac(on, "resolve"))[0] == 0
    await on.lab.heal()  # what was stopped for the move is moved by itself now, if it was not turned away from
    assert await on.until(lambda s: any(serves_well(s, r) for r in on.layout.regions), within_s=WAIT_S)
    if (await on.estate.health()).placements[0].primary != HOME:
        assert (await _evac(on, "failback", "--yes"))[0] == 0
    await _home(on)
