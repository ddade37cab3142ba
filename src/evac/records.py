"""What a run's report is made of beside its own journal: the run that rebuilt the region it left, and kept writes.

Intuition: what only a lost primary had is found when its region is rebuilt, hours later, by another run. It belongs to
the report of the last run that moved primaries out of that region before, and to no other.

What this is not: the report itself (`report.value`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from evac.core.estate import GroupId, RegionId
from evac.core.plan import MOVES, Plan, RunKind
from evac.core.run import Done, Event, RunId
from evac.engine.archive import read_archived
from evac.engine.journal import each_run
from evac.ports import Store


async def rebuilt_after(run: RunId, plan: Plan, *, store: Store) -> RunId | None:
    """Return the run that rebuilt the region which this one left; None if there was none, or another run left that
    region again before.
    """
    if plan.kind not in MOVES:
        return None
    async for later, kind, source in _later(run, plan.group, store=store):
        if source == plan.source and kind is RunKind.REJOIN:
            return later
        if source == plan.source and kind in MOVES:
            return None
    return None


async def _later(run: RunId, group: GroupId, *, store: Store) -> AsyncIterator[tuple[RunId, RunKind, RegionId]]:
    """Give a group's runs after one, archived or not, in the order they were opened: what kind, out of which region."""
    gone = [a for a in await read_archived(store) if a.group == group and int(a.run) > int(run)]
    async for each in each_run(store, after=int(run)):
        while gone and int(gone[0].run) < int(each.id):
            archived = gone.pop(0)
            yield archived.run, archived.kind, archived.source
        if each.plan.group == group:
            yield each.id, each.plan.kind, each.plan.source
    for archived in gone:
        yield archived.run, archived.kind, archived.source


async def kept_writes(*events: Event) -> dict[str, Sequence[str]]:
    """Return the lines of every file of orphaned writes that receipts name, as far as they are still there."""
    named = [e.receipt.facts.get("orphans_file") for e in events if isinstance(e, Done)]
    return {path: await asyncio.to_thread(_lines_of, Path(path)) for path in named if isinstance(path, str)}


def _lines_of(path: Path) -> Sequence[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
