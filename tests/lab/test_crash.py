"""`evac serve` is killed in the middle of a run, at one entry of its journal after the other, and started again.

Each time the run ends as if nothing had happened, and what clients had acknowledged meanwhile is there, once. A few
entries are tried at each run of the tests; with EVAC_FULL=1 all of them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from evac.core.errors import EvacError, UnsafePlan
from evac.core.estate import RegionId
from evac.core.plan import Verb
from evac.core.run import Done, Outcome, Run, Started
from evac.core.snapshot import Wish
from evac.daemon import open_store
from evac.engine.journal import read_journal
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import Stage, sees_lost, serves_well, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind
from evac.lab.judge import judge
from evac.opening import state_folder

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

FULL = os.environ.get("EVAC_FULL") == "1"
SWITCHOVER_ENTRIES = range(1, 56) if FULL else (12, 30)
FAILOVER_ENTRIES = range(1, 36) if FULL else (9,)
WAIT_S = 120.0

Begin = Callable[[RegionId, int], Coroutine[None, None, None]]
"""Has a region be left by the run of this number."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="on")
async def _on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("crash"), mode="sync") as on:
        assert await _well(on, RegionId(HOME))
        yield on


async def test_a_switchover_goes_on_from_any_entry(on: Stage) -> None:
    async def begin(source: RegionId, run: int) -> None:
        await _ask(lambda: on.estate.ask(Wish.SWITCHOVER, reason=f"away from {source}"), on, run=run)

    await _crash_at(on, SWITCHOVER_ENTRIES, begin)


async def test_a_failover_goes_on_from_any_entry(on: Stage) -> None:
    async def begin(source: RegionId, run: int) -> None:
        await on.lab.fault(FaultKind.POWER, source)
        assert await on.until(lambda s: sees_lost(s, source), within_s=WAIT_S)
        await _ask(lambda: on.estate.ask(Wish.FAILOVER, region=source), on, run=run)

    await _crash_at(on, FAILOVER_ENTRIES, begin)


async def _crash_at(on: Stage, entries: Iterable[int], begin: Begin) -> None:
    """Begin a move and crash in it, once for each number of entries, while clients write; then judge."""
    async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
        primary = (await on.estate.health()).placements[0].primary
        for count in entries:
            source = primary
            before = len(await on.estate.runs())
            beginning = asyncio.create_task(begin(source, before + 1))
            killed_at = await _kill_at(on, run=before + 1, entries=count)
            await on.evac.start(ready=lambda _: True)
            run = await _settled(on, run=before + 1)
            await beginning
            assert run.settled is not None
            assert run.settled.outcome in (Outcome.COMPLETED, Outcome.ROLLED_BACK), (killed_at, run.settled.reasons)
            await on.lab.heal()
            primary = run.plan.target if run.settled.outcome is Outcome.COMPLETED else source
            assert await _well(on, primary), killed_at
    rows = await on.rows(clients, primary=primary, also=())
    verdict = judge([clients], rows=rows)["orders"]
    assert verdict.kept, verdict
    assert verdict.acknowledged > 0
    await _nothing_twice(on)
    shutil.rmtree(clients)


async def _ask(asking: Callable[[], Awaitable[object]], on: Stage, *, run: int) -> None:
    """Ask until a run begins: where a machine stalls, a move is refused, rightly, since its target does not answer.

    Who asks a controller that is killed may hear nothing, or that the run it began is under way.
    """
    while len(await on.estate.runs()) < run:
        try:
            await asking()
        except UnsafePlan as refusal:
            print(f"refused: {refusal}")
            await asyncio.sleep(1.0)
        except EvacError as error:
            print(f"the controller said: {error}")
            break


async def _kill_at(on: Stage, *, run: int, entries: int) -> int:
    """Kill evac once the journal of a run has so many entries, or the run is over; return how many it had."""
    async with _told_why(on):
        async for _ in on.estate.changes("runs/"):
            found = [r for r in await on.estate.runs() if r.id == str(run)]
            if found and (found[0].entries >= entries or found[0].settled):
                break
    await on.evac.kill()
    return (await on.estate.runs())[run - 1].entries


async def _settled(on: Stage, *, run: int) -> Run:
    async with _told_why(on):
        return await on.estate.settled((await on.estate.runs())[run - 1].id)


@asynccontextmanager
async def _told_why(on: Stage) -> AsyncIterator[None]:
    """Wait no longer than `WAIT_S`; what takes longer fails with what the newest runs have in their journals."""
    try:
        async with asyncio.timeout(WAIT_S):
            yield
    except TimeoutError:
        newest = (await on.estate.runs())[-3:]
        async with open_store(state_folder(on.lab.estate)) as store:
            told = [(run.id, event) for run in newest for event in await read_journal(run.id, store=store)]
        pytest.fail("\n".join(f"run {run}: {event}" for run, event in told))


async def _well(on: Stage, primary: RegionId) -> bool:
    return await on.until(lambda s: serves_well(s, primary), within_s=WAIT_S)


async def _nothing_twice(on: Stage) -> None:
    """No try was begun twice, no step has two receipts, and PostgreSQL was promoted once for each receipt of it."""
    promotions = 0
    async with open_store(state_folder(on.lab.estate)) as store:
        for run in await on.estate.runs():
            events = await read_journal(run.id, store=store)
            tries = Counter((e.step, e.attempt, e.undo) for e in events if isinstance(e, Started))
            receipts = Counter((e.step, e.undo) for e in events if isinstance(e, Done))
            assert set(tries.values()) | set(receipts.values()) <= {1}, run.id
            promotions += any(run.plan.step(s).action.verb is Verb.PROMOTE and "orders-db" in s for s, _ in receipts)
    (timeline,) = {
        m.state.timeline for m in (await on.estate.health()).members if m.component == "orders-db" and m.state
    }
    assert timeline == 1 + promotions
