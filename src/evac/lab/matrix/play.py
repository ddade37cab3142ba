"""One run of the matrix: clients write, the script is played, evac acts, all is healed, and the record is judged.

Clients write from outside, and from inside the primary's region too: a primary that is cut off has somebody to say yes
to. What this is not: a judgement (`outcome`).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from evac.core.decision import CallPerson
from evac.core.errors import EvacError, StoreUnavailable
from evac.core.plan import MOVES
from evac.core.run import Outcome, Run
from evac.core.snapshot import Snapshot, Wish
from evac.lab import measures
from evac.lab.bench.stage import POLL_S, READY_WAIT_S, Stage, serves_well
from evac.lab.bench.trial import orphaned, strike
from evac.lab.clients import at_lab
from evac.lab.clients.record import boot_time
from evac.lab.faults import FaultKind, Target
from evac.lab.judge import heard, judge
from evac.lab.matrix.outcome import Ended, Seen
from evac.lab.matrix.rows import Expected, Script

MOVE_WAIT_S = 60.0
SEEN_WAIT_S = 30.0
"""How long evac may take to see that a region is lost, and to call a person."""
WHOLE_WAIT_S = 120.0
SETTLE_S = 2.0
LOOK_S = 1.0
"""Longer than a view of evac takes to be followed by the next."""
INSIDE_RATE = 20.0
RESTART_S = 3.0
"""How long a leader that was struck stays away: longer than its lease, so that another one leads."""


async def home_of(on: Stage) -> str:
    """Wait until all is well; return where the primaries are. Raises `EvacError` when it does not come to that."""
    if not await on.until(lambda s: _whole(s, on.layout.regions), within_s=READY_WAIT_S):
        raise EvacError(f"after {READY_WAIT_S:.0f} s evac does not see a lab that is well; see {on.lab.folder}")
    return (await on.view()).placements[0].primary


async def play(script: Script, on: Stage, *, primary: str) -> Seen:
    """Play a script while the primaries are where it was drawn for. Raises `EvacError` when it cannot be played."""
    before = len(await on.estate.runs())
    outside = at_lab.outside(on.layout, dns=on.dns)
    inside = at_lab.inside(on.layout, primary, rate=INSIDE_RATE)
    for site in ("clients", *on.layout.regions):
        shutil.rmtree(on.lab.folder / f"clients-{site}", ignore_errors=True)
    async with AsyncExitStack() as clients:
        folders = [
            await clients.enter_async_context(on.clients(outside, site="clients")),
            await clients.enter_async_context(on.clients(inside, site=primary)),
        ]
        begun, called = await _happen(script, on, before=before, primary=primary)
        await on.lab.heal()
        whole = await on.until(lambda s: _whole(s, on.layout.regions), within_s=WHOLE_WAIT_S)
        await asyncio.sleep(SETTLE_S)
    return await _seen(on, folders, begun=begun, before=before, called=called, whole=whole, also=inside.run)


async def _happen(script: Script, on: Stage, *, before: int, primary: str) -> tuple[float, bool]:
    """Do what the script says and give evac its time; return when it began, and whether a person was called."""
    if script.entries is not None:
        begun = await _crash(script, on, entries=script.entries, before=before, primary=primary)
        return begun, await on.until(_calls, within_s=LOOK_S)
    times = []
    for each in script.strikes:
        await asyncio.sleep(each.after_s)
        times.append(await strike(each.fault, on))
    called = False
    match script.row.expected:
        case Expected.MOVES:
            await _moved(on, before=before)
            called = await on.until(_calls, within_s=SETTLE_S)
        case Expected.CALLS:
            called = await on.until(_calls, within_s=SEEN_WAIT_S)
            await asyncio.sleep(script.hold_s)
        case Expected.STAYS | Expected.CLEAR:
            called = await on.until(_calls, within_s=script.hold_s)
            await asyncio.sleep(max(0.0, times[-1] + script.hold_s - boot_time()))
    return times[0], called


async def _crash(script: Script, on: Stage, *, entries: int, before: int, primary: str) -> float:
    """Strike who leads at an entry of a move's journal; it, or another one, goes on. Return when it began (boot)."""
    asking = None
    begun = boot_time()
    for each in script.strikes:
        await asyncio.sleep(each.after_s)
        begun = await strike(each.fault, on)
    if not script.strikes:
        asking = asyncio.create_task(_ask_away(on, primary))
    if await on.until_written(before=before, entries=entries, within_s=MOVE_WAIT_S):
        crash = script.row.hazard.crash
        assert crash is not None, "only a crash has an entry"
        await _strike_leader(on, crash.how, spare=primary if script.strikes else None)
        await _moved(on, before=before)
    if asking:
        await asking
    return begun


async def _ask_away(on: Stage, primary: str) -> None:
    """Ask for a switch; who asks a leader that is killed may hear nothing."""
    with suppress(EvacError):
        await on.estate.ask(Wish.SWITCHOVER, reason=f"away from {primary}")


async def _strike_leader(on: Stage, how: FaultKind, *, spare: str | None) -> None:
    """Kill who leads, and start it again as an init system would, but not in a region that is down; or freeze and thaw
    its agent, or cut its region off for a while.
    """
    if on.serving is not None:
        await on.evac.kill()
        await on.evac.start(ready=lambda _: True)
        return
    leader = (await on.view()).leader
    if leader is None:
        raise EvacError("no agent leads, so that none can be struck")
    await on.lab.fault(how, leader.region, what=Target.AGENT)
    await asyncio.sleep(RESTART_S)
    if leader.region != spare:
        await on.lab.heal(leader.region)


async def _moved(on: Stage, *, before: int) -> None:
    """Wait until a move has completed or is stuck, and nothing else is under way; at most `MOVE_WAIT_S`.

    The store suffers what the script does: where it does not answer it is asked again.
    """
    deadline = boot_time() + MOVE_WAIT_S
    while boot_time() < deadline:
        with suppress(StoreUnavailable):
            moves = [run for run in (await on.estate.runs())[before:] if run.plan.kind in MOVES]
            if moves and (end := moves[-1].settled) and end.outcome in (Outcome.COMPLETED, Outcome.STUCK):
                return
        await asyncio.sleep(POLL_S)


async def _seen(
    on: Stage, folders: Sequence[Path], *, begun: float, before: int, called: bool, whole: bool, also: str
) -> Seen:
    """Read what is left, and put together what a judgement needs."""
    paged = await on.until(_calls, within_s=LOOK_S)
    snapshot = await on.estate.last_known()
    rows = await on.rows(folders[0], primary=snapshot.placements[0].primary, also=(also,))
    runs: Sequence[Run] = (await on.estate.runs())[before:]
    orphans = await orphaned(on) if on.layout.mode == "async" else None
    writes = heard(folders, store="orders")
    gap = measures.longest_gap(writes, since=begun, until=writes[-1].invoked) if writes else None
    return Seen(
        runs=tuple(
            Ended(id=run.id, kind=run.plan.kind, outcome=run.settled.outcome if run.settled else None) for run in runs
        ),
        called=called,
        paged=paged,
        whole=whole,
        verdicts=judge(folders, rows=rows, orphans=orphans),
        orphans_reported=len(orphans or ()),
        rto_s=measures.recovered_after(writes, fault_at=begun),
        write_gap_s=gap.seconds if gap else None,
    )


def _calls(snapshot: Snapshot) -> bool:
    """Say whether a person is being called."""
    return bool(snapshot.stuck) or any(isinstance(decision, CallPerson) for decision in snapshot.decisions)


def _whole(snapshot: Snapshot, regions: Sequence[str]) -> bool:
    return any(serves_well(snapshot, region) for region in regions)
