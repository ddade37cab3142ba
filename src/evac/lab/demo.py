"""The demo: three regions on this machine, clients that write, a region that dies, and everything evac does about it.

evac's agents and the store run in the regions, and the agent that leads is in the one that dies.

Nothing is staged: the lines are those the agents print, the writes are those real clients had acknowledged, and the
end is a judgement over their record. A promise that was broken makes it fail.

What this is not: a measurement; that is the bench, which plays many more scenarios, several times each.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from evac.core.errors import EvacError
from evac.core.plan import RunKind
from evac.core.run import Outcome, Run
from evac.core.snapshot import Snapshot
from evac.lab import measures
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import READY_WAIT_S, Stage, serves_well, stage
from evac.lab.checker import Verdict
from evac.lab.clients import at_lab
from evac.lab.clients.record import SUMMARY
from evac.lab.faults import FaultKind
from evac.lab.judge import heard, judge
from evac.report.html import to_html
from evac.report.markdown import to_markdown

CALM = timedelta(seconds=3)
MOVE_WAIT_S = 60.0
REJOIN_WAIT_S = 60.0
POLL = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Where the demo speaks: a headline, one of evac's own lines, the estate's state, the clients' pulse."""

    headline: Callable[[str], None]
    line: Callable[[str], None]
    state: Callable[[Snapshot], None]
    pulse: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What came of it. `broken` says each promise that was not kept; empty is what everybody wants."""

    broken: tuple[str, ...]
    said: tuple[str, ...]
    markdown: Path
    html: Path


async def play(folder: Path, screen: Screen) -> Ending:
    """Play the demo in a lab of its own in `folder`, which is emptied first. Raises `EvacError` if it cannot be."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    screen.headline(
        "bringing up three regions: PostgreSQL, Valkey, HAProxy, DNS, a shop, etcd, an agent; a WAN in between"
    )
    async with stage(folder, mode="sync", form="distributed") as on, _following(on, screen.line):
        if not on.dns:
            screen.headline("knotd is not installed: the lab goes on without DNS, clients know the load balancers")
        if not await on.until(lambda s: serves_well(s, HOME), within_s=READY_WAIT_S):
            raise EvacError(
                f"after {READY_WAIT_S:.0f} s evac does not see a lab that is well; see {folder}/*/agent.log"
            )
        screen.state(await on.estate.health())
        outside = at_lab.outside(on.layout, dns=on.dns)
        async with on.clients(outside, site="clients") as clients, _pulse(clients, screen.pulse):
            acts = await _acts(on, screen)
        rows = await on.rows(clients, primary=HOME, also=())
        verdicts = judge([clients], rows=rows)
        return await _ending(on, folder, clients, acts, verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """The three acts: the region dies at `died_at` (boot seconds) and is left, it is rebuilt, evac goes home."""

    died_at: float
    failover: Run
    rejoin: Run | None
    failback: Run


async def _acts(on: Stage, screen: Screen) -> Acts:
    await asyncio.sleep(CALM.total_seconds())
    fault = await on.lab.fault(FaultKind.POWER, HOME)
    assert fault.at_s is not None, "a fault that took effect has an instant"
    leader = (await on.estate.health()).leader
    leads = "; its agent leads" if leader is not None and leader.region == HOME else ""
    screen.headline(f"{HOME} loses power{leads}")
    failover = await _run_of(on, RunKind.FAILOVER, within_s=MOVE_WAIT_S)
    await asyncio.sleep(CALM.total_seconds())
    screen.state(await on.estate.health())
    screen.headline(f"{HOME} has power again; its servers start as they were, as primaries")
    await on.lab.heal()
    rejoin = await _run_of(on, RunKind.REJOIN, within_s=REJOIN_WAIT_S)
    target = failover.plan.target
    if not await on.until(lambda s: serves_well(s, target), within_s=REJOIN_WAIT_S):
        raise EvacError(f"{HOME} was not a standby again after {REJOIN_WAIT_S:.0f} s; see its agent.log")
    screen.state(await on.estate.health())
    screen.headline(f"back home: a planned switch to {HOME}")
    failback = await on.estate.failback(reason="the demo goes home")
    await on.until(lambda s: serves_well(s, HOME), within_s=REJOIN_WAIT_S)
    await asyncio.sleep(CALM.total_seconds())
    screen.state(await on.estate.health())
    return Acts(died_at=fault.at_s, failover=failover, rejoin=rejoin, failback=failback)


async def _run_of(on: Stage, kind: RunKind, *, within_s: float) -> Run:
    """Wait for the newest run of a kind to settle as completed, and return it. Raises `EvacError` if none does."""
    last: Run | None = None
    try:
        async with asyncio.timeout(within_s):
            async for _ in on.estate.changes("runs/"):
                runs = [r for r in await on.estate.runs() if r.plan.kind is kind]
                last = runs[-1] if runs else None
                if last and last.settled and last.settled.outcome in (Outcome.COMPLETED, Outcome.STUCK):
                    return last
    except TimeoutError:
        pass
    state = "none was begun" if last is None else f"run {last.id} did not complete"
    raise EvacError(f"no {kind} within {within_s:.0f} s: {state}")


async def _ending(on: Stage, folder: Path, clients: Path, acts: Acts, verdicts: dict[str, Verdict] | object) -> Ending:
    """Hold what happened to what was promised, and write the failover's report."""
    assert isinstance(verdicts, dict), "judge returns one verdict a store"
    report = await on.estate.report(acts.failover.id)
    markdown, html = folder / "report.md", folder / "report.html"
    await asyncio.to_thread(markdown.write_text, to_markdown(report))
    await asyncio.to_thread(html.write_text, to_html(report))
    orders = heard([clients], store="orders")
    rto = measures.recovered_after(orders, fault_at=acts.died_at)
    began = acts.failback.opened.at.total_seconds()
    gap = measures.longest_gap(orders, since=began, until=orders[-1].invoked)
    verdict = verdicts["orders"]
    target = on.estate.loaded.estate.services
    rto_max = min(s.objectives.rto for s in target.values())
    broken = [*_broken("orders", verdict)]
    if rto is None or rto > rto_max.total_seconds():
        broken.append(f"RTO {'never' if rto is None else f'{rto:.1f} s'}, target {rto_max.total_seconds():g} s")
    broken += [
        f"run {run.id} ({run.plan.kind}) ended {run.settled.outcome if run.settled else 'never'}"
        for run in (acts.failover, acts.rejoin, acts.failback)
        if run is not None and (run.settled is None or run.settled.outcome is not Outcome.COMPLETED)
    ]
    said = [
        f"{verdict.acknowledged} orders acknowledged, {len(verdict.lost)} lost, {len(verdict.doubled)} doubled,"
        f" {len(verdict.two_owners)} acknowledged by two owners",
        f"time to the next acknowledged order after the power went: {rto:.2f} s" if rto else "no order after the fault",
        f"longest silence while going home: {gap.seconds:.2f} s" if gap else "no silence was measured",
        f"carts (Valkey, acknowledges before it replicates): {verdicts['carts'].acknowledged} writes acknowledged,"
        f" {len(verdicts['carts'].lost)} lost with the region",
    ]
    return Ending(broken=tuple(broken), said=tuple(said), markdown=markdown, html=html)


def _broken(store: str, verdict: Verdict) -> Sequence[str]:
    """Say what a store's record shows that must not be."""
    found = {
        "acknowledged and lost": verdict.lost,
        "doubled": verdict.doubled,
        "acknowledged by two owners": verdict.two_owners,
    }
    return [f"{store}: {len(writes)} {what}" for what, writes in found.items() if writes]


@asynccontextmanager
async def _following(on: Stage, line: Callable[[str], None]) -> AsyncIterator[None]:
    """Pass on what the agents say for as long as the context lives, each line behind its region."""
    width = max(map(len, on.layout.regions))

    def from_region(region: str) -> Callable[[str], None]:
        return lambda said: line(f"{region:<{width}} {said}")

    async with AsyncExitStack() as stack:
        for region in on.layout.regions:
            log = on.lab.folder / region / "agent.log"
            await stack.enter_async_context(_beside(_follow(log, from_region(region))))
        yield


async def _follow(log: Path, line: Callable[[str], None]) -> None:
    at = 0
    while True:
        text = await asyncio.to_thread(_read_from, log, at)
        whole, newline, _ = text.rpartition("\n")
        at += len((whole + newline).encode())
        for said in whole.splitlines():
            line(said)
        await asyncio.sleep(POLL.total_seconds() / 4)


def _read_from(path: Path, at: int) -> str:
    with path.open("rb") as file:
        file.seek(at)
        return file.read().decode(errors="replace")


@asynccontextmanager
async def _pulse(clients: Path, pulse: Callable[[str], None]) -> AsyncIterator[None]:
    """Say each second what clients get acknowledged, and by whom, for as long as the context lives."""
    async with _beside(_beat(clients / SUMMARY, pulse)):
        yield


async def _beat(summary: Path, pulse: Callable[[str], None]) -> None:
    while True:
        stores = json.loads(await asyncio.to_thread(summary.read_text))["stores"]
        orders = stores.get("orders", {})
        owners = ", ".join(orders.get("by_node", {})) or "nobody"
        pulse(f"{orders.get('per_second', 0):>4} orders/s acknowledged by {owners}")
        await asyncio.sleep(1)


@asynccontextmanager
async def _beside(part: AsyncIterator[None] | object) -> AsyncIterator[None]:
    """Run a coroutine beside the body, and end it with it."""
    assert asyncio.iscoroutine(part), "only a coroutine can run beside"
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(part)
        try:
            yield
        finally:
            task.cancel()
