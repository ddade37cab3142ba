"""One trial: clients write, something happens, evac acts, and in the end the record is judged.

The old primary is brought back in every trial, under load, so that a second owner would still be caught then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from evac.core.errors import EvacError, UnsafePlan
from evac.core.estate import RegionId
from evac.core.plan import MOVES, StepId, Verb
from evac.core.run import Outcome, Run
from evac.lab import measures
from evac.lab.bench.cases import HOME, Scenario
from evac.lab.bench.results import Trial
from evac.lab.bench.stage import POLL_S, READY_WAIT_S, Stage, sees_lost, serves_well
from evac.lab.checker import Verdict
from evac.lab.clients import at_lab
from evac.lab.clients.record import boot_time
from evac.lab.faults import Fault
from evac.lab.judge import heard, judge, orphaned_orders
from evac.report.value import Report

RUN_WAIT_S = 90.0
REJOIN_WAIT_S = 90.0
FORCE_WAIT_S = 30.0
CALM_S = 3.0
"""How long things are left alone before the fault, after the move, and after the return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened: when it began (boot seconds), evac's last move if it made one, whether all came back, and where
    evac's record says that the primaries are in the end.
    """

    begun: float
    run: Run | None
    rejoined: bool
    primary: RegionId


async def perform(scenario: Scenario, stage: Stage) -> Mapping[str, Trial]:
    """Play a scenario once; return what it showed, by store. Raises `EvacError` when it could not be played."""
    if not await stage.until(lambda s: serves_well(s, HOME), within_s=READY_WAIT_S):
        raise EvacError(f"after {READY_WAIT_S:.0f} s evac does not see a lab that is well; see {stage.lab.folder}")
    outside = at_lab.outside(stage.layout, dns=stage.dns)
    inside = at_lab.inside(stage.layout, HOME, rate=20.0) if scenario.inside else None
    async with AsyncExitStack() as clients:
        folders = [await clients.enter_async_context(stage.clients(outside, site="clients"))]
        if inside:
            folders.append(await clients.enter_async_context(stage.clients(inside, site=HOME)))
        await asyncio.sleep(CALM_S)
        played = await _play(scenario, stage)
        await asyncio.sleep(CALM_S)
    rows = await stage.rows(folders[0], primary=played.primary, also=(inside.run,) if inside else ())
    orphans = await orphaned(stage) if scenario.mode == "async" else None
    verdicts = judge(folders, rows=rows, orphans=orphans)
    report = await stage.estate.report(played.run.id) if played.run else None
    return {
        store: _trial(folders, store, verdict, played, report, orphans or ()) for store, verdict in verdicts.items()
    }


async def _play(scenario: Scenario, stage: Stage) -> Played:
    """Bring the fault about, or ask for the switch; wait for evac; heal; wait until the old primary is back."""
    if scenario.fault is None:
        begun = boot_time()
        run: Run | None = await stage.estate.switchover(reason="bench")
    else:
        if scenario.form == "distributed":
            await _led_from_home(stage)
        begun = await strike(scenario.fault, stage)
        if scenario.forced:
            await _force(stage)
        run = await _move_after(stage, begun)
        await asyncio.sleep(CALM_S)
        await stage.lab.heal()
    rejoined = await stage.until(lambda s: any(serves_well(s, r) for r in stage.layout.regions), within_s=REJOIN_WAIT_S)
    (placement,) = (await stage.estate.health()).placements
    return Played(begun=begun, run=run, rejoined=rejoined, primary=placement.primary)


async def _led_from_home(stage: Stage) -> None:
    """Raise `EvacError` unless the leader is in the region that is about to be struck: else the trial shows less."""
    leader = (await stage.view()).leader
    if leader is None or leader.region != HOME:
        who = f"the agent of {leader.region} leads" if leader else "nobody leads"
        raise EvacError(f"{who} as {HOME} is to be struck: so the trial would not show that its leader may be lost")


async def strike(fault: Fault, stage: Stage) -> float:
    """Bring a fault about, and return when it took effect."""
    struck = await stage.lab.fault(fault.kind, fault.region, to=fault.to, value=fault.value, what=fault.what)
    assert struck.at_s is not None, "a fault that took effect has an instant"
    return struck.at_s


async def _force(stage: Stage) -> None:
    """Fail over as a person who takes the responsibility, once evac sees the region as lost."""
    await stage.until(lambda s: sees_lost(s, HOME), within_s=FORCE_WAIT_S)
    deadline = boot_time() + FORCE_WAIT_S
    while True:
        try:
            await stage.estate.failover(HOME, accept_loss=True, reason="bench: the region is cut off")
            return
        except UnsafePlan:
            if boot_time() > deadline:
                raise
            await asyncio.sleep(1)


async def _move_after(stage: Stage, begun: float) -> Run | None:
    """Return the first move opened since then that completed; after the wait the last one, or None."""
    last: Run | None = None
    deadline = boot_time() + RUN_WAIT_S
    while boot_time() < deadline:
        runs = [r for r in await stage.estate.runs() if r.plan.kind in MOVES and _after(r.opened.at, begun)]
        last = runs[-1] if runs else None
        if last and last.settled and last.settled.outcome in (Outcome.COMPLETED, Outcome.STUCK):
            break
        await asyncio.sleep(POLL_S)
    return last


def _after(at: timedelta, begun: float) -> bool:
    return at.total_seconds() > begun


async def orphaned(stage: Stage) -> tuple[str, ...]:
    """Return the orders that evac's rejoins list as orphaned."""
    rebuilt = StepId(f"{Verb.REJOIN}:orders-db@{HOME}")
    receipts = [receipt for run in await stage.estate.runs() if (receipt := run.receipt(rebuilt))]
    files = [facts["orphans_file"] for receipt in receipts if (facts := receipt.facts).get("orphans_file")]
    return tuple(id for file in files for id in orphaned_orders(Path(str(file))))


def _trial(
    folders: Sequence[Path],
    store: str,
    verdict: Verdict,
    played: Played,
    report: Report | None,
    orphans: Sequence[str],
) -> Trial:
    """Put together what the clients saw and what evac says of itself."""
    writes = heard(folders, store=store)
    gap = measures.longest_gap(writes, since=played.begun, until=writes[-1].invoked) if writes else None
    run = played.run
    phases = {}
    if run and report:
        phases["notice"] = run.opened.symptom_at.total_seconds() - played.begun
        phases |= {lap.phase: lap.took.total_seconds() for lap in report.laps}
    return Trial(
        rto_s=measures.recovered_after(writes, fault_at=played.begun),
        write_gap_s=gap.seconds if gap else None,
        verdict=verdict,
        phases_s=phases,
        orphans_reported=len(orphans) if store == "orders" else 0,
        outcome=str(run.settled.outcome) if run and run.settled else "no move",
        rejoined=played.rejoined,
        note="" if played.rejoined else f"{HOME} was not back after {REJOIN_WAIT_S:.0f} s",
    )
