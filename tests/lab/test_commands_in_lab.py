"""Every command on a running lab prints JSON that can be read, and ends with the exit code the manual gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from evac.core.snapshot import Snapshot
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import EVAC, Stage, sees_lost, stage
from evac.lab.faults import FaultKind

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

TARGET = "us-west-2"
WAIT_S = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="on")
async def _on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("commands"), mode="sync") as on:
        yield on


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _calm(on: Stage) -> None:
    assert await on.calm(HOME, within_s=WAIT_S)


async def evac(on: Stage, *words: str, code: int = 0) -> str:
    """Run a command at `ops` with --json, and return its standard output."""
    lab = words[0] == "lab"
    where = ("--dir", str(on.lab.folder)) if lab else ("--estate", str(on.lab.estate))
    argv = (EVAC, *words, *where, "--json")
    running = await asyncio.create_subprocess_exec(
        *(argv if lab else on.lab.command("ops", *argv)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await running.communicate()
    assert running.returncode == code, (words, out.decode(), err.decode())
    assert b"Traceback" not in out + err
    return out.decode()


async def document(on: Stage, *words: str, code: int = 0) -> Any:
    return json.loads(await evac(on, *words, code=code))


async def lines(on: Stage, *words: str, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await evac(on, *words, code=code)).splitlines()]


async def test_what_only_looks(on: Stage) -> None:
    status = await document(on, "status")
    async with asyncio.timeout(WAIT_S):
        while not status["objectives"]:  # it is thought through within seconds of what another test has changed
            await asyncio.sleep(1)
            status = await document(on, "status")
    assert status["fine"]
    assert {h["service"] for h in status["snapshot"]["health"]} == {"orders", "carts", "shop"}
    assert set(status["scores"]) == {HOME, TARGET, "eu-west-1"}
    assert status["objectives"]["shop"]["target"]["rto"] == 300 * 10**6
    checks = await document(on, "check")
    assert all(finding["ok"] for finding in checks)
    assert [finding for finding in checks if finding["warning"]] == []
    assert {s["action"]["verb"] for s in (await document(on, "plan", "failover", HOME))["plan"]["steps"]} >= {"promote"}
    assert (await document(on, "explain", TARGET))["readiness"]["shop"]["region"] == TARGET
    assert (await document(on, "explain", HOME))["if_lost"]["shop"]["rto"] > 0
    assert {s["action"]["verb"] for s in (await document(on, "plan", "shift", TARGET))["plan"]["steps"]} >= {"shift"}
    explained = await document(on, "explain", HOME)
    assert (explained["region"], explained["verdict"]["diagnosis"]) == (HOME, "well")
    ways = (await document(on, "links", "--for", "3s"))["links"]
    assert {(w["vantage"], w["region"]) for w in ways if w["smallest"]} >= {(HOME, TARGET), (TARGET, HOME)}
    (there,) = [w for w in ways if (w["vantage"], w["region"]) == (HOME, TARGET)]
    assert there["smallest"] >= there["expected"] == 62_000
    orders = (await document(on, "replication", "--for", "3s"))["components"][0]
    assert {r["region"]: r["upstream"] for r in orders["replicas"]} == {HOME: None, TARGET: HOME, "eu-west-1": HOME}
    assert all(r["rate"] is not None for r in orders["replicas"])
    assert set((await document(on, "lab", "status"))["regions"]) == {HOME, TARGET, "eu-west-1"}


async def test_what_moves_tells_as_it_goes_and_says_in_the_end_what_came_of_it(on: Stage) -> None:
    *told, end = await lines(on, "switchover", TARGET, "--yes")
    assert end["outcome"] == "completed"
    assert {line["word"] for line in told} >= {"plan", "promote", "shift", "verify", "done"}
    assert await on.calm(TARGET, within_s=WAIT_S)
    runs = await document(on, "runs")
    assert [run["outcome"] for run in runs if run["run"] == end["run"]] == ["completed"]
    assert (await document(on, "report", end["run"]))["run"] == end["run"]
    assert (await lines(on, "failback", "--yes"))[-1]["outcome"] == "completed"


async def test_traffic_alone_is_shifted_and_sent_back(on: Stage) -> None:
    assert (await lines(on, "shift", TARGET, "--yes"))[-1]["outcome"] == "completed"
    assert await on.until(lambda s: s.placements[0].entry == TARGET, within_s=WAIT_S)
    shifted = await document(on, "status", code=1)
    assert [(p["primary"], p["entry"]) for p in shifted["snapshot"]["placements"]] == [(HOME, TARGET)]
    assert await on.calm(HOME, within_s=WAIT_S)
    assert (await lines(on, "failback", "--yes"))[-1]["outcome"] == "completed"


async def test_what_is_refused_says_nothing_that_a_machine_could_take_for_an_answer(on: Stage) -> None:
    assert await evac(on, "switchover", HOME, "--yes", code=3) == ""
    assert await evac(on, "failback", "--yes", code=3) == ""
    assert await evac(on, "rejoin", TARGET, code=3) == ""
    assert await evac(on, "shift", HOME, "--yes", code=3) == ""
    assert await evac(on, "degrade", HOME, "--yes", code=3) == ""
    assert await evac(on, "switchover", TARGET, code=3) == "", "nobody can be asked"
    assert await evac(on, "agent", "--region", TARGET, code=2) == "", "there is no store that regions share"
    assert await evac(on, "switchover", "us-west-3", "--yes", code=2) == ""


async def test_a_loss_from_its_fault_to_its_healing(on: Stage) -> None:
    assert (await document(on, "pause", "--reason", "a person moves")) == {"wish": "pause", "run": None}
    fault = await document(on, "lab", "fault", FaultKind.POWER.value, HOME)
    assert fault["region"] == HOME
    assert await on.until(lambda s: sees_lost(s, HOME), within_s=WAIT_S)
    assert (await document(on, "status", code=1))["snapshot"]["paused"] == "a person moves"
    assert (await lines(on, "failover", HOME, "--yes"))[-1]["outcome"] == "completed"
    assert (await document(on, "lab", "heal"))["healed"]
    assert await on.until(_answers_again, within_s=WAIT_S)
    assert (await document(on, "rejoin", HOME))["outcome"] == "completed"
    assert (await document(on, "resume"))["wish"] == "resume"
    assert await on.calm(TARGET, within_s=WAIT_S)
    assert (await lines(on, "failback", "--yes"))[-1]["outcome"] == "completed"


def _answers_again(snapshot: Snapshot) -> bool:
    """Whether the region that was lost is heard, and everything in it."""
    return HOME not in snapshot.voiceless and all(m.state is not None for m in snapshot.members if m.region == HOME)
