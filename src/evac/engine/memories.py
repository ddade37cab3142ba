"""Each group's memory in the store: carried on by the commit that settles a run, and found by whoever leads next.

Intuition: whoever is elected has to decide at once, and must not read all runs there ever were first. So the commit
that settles a run writes, beside the journal's last entry, what the group's runs now add up to (`core.memory`), with
its moments on the wall clock, counted from 1970.

    memory/<group>    the fold of the group's settled runs

Each run that was ever opened is settled, and counted in its group's memory, or under way. Where the sum says otherwise
(a store in which an older evac settled runs) the memories are made anew from the journals, once. So no journal says
anything else than the memories do, and a store restored from a backup has those of that moment.

What this is not: what a leader learns while it leads and no journal tells, such as a plan that was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from evac.core.errors import Conflict
from evac.core.estate import GroupId
from evac.core.memory import Memory, remember
from evac.core.observation import Instant
from evac.core.policy import Guard
from evac.core.run import Run, RunId
from evac.engine.codec import decode, encode, packed
from evac.engine.journal import each_run, opened_so_far, read_run
from evac.ports import Clock, Record, Store

PREFIX = "memory/"
WRITTEN_AT_ONCE = 50
"""So many memories that were made anew go in one commit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


def memory_key(group: GroupId) -> str:
    """Return the key of a group's memory."""
    return PREFIX + group


async def carried_on(run: Run, *, store: Store, guard: Guard) -> tuple[str, int, bytes]:
    """Return the key of a group's memory, the version that is to be expected of it, and what it is with one more run
    that has settled. The nearest copy is read: one that is behind is refused by the commit.
    """
    key = memory_key(run.plan.group)
    record = await store.get(key, near=True)
    memory = _with(decode(record.value, Memory) if record else Memory(), run, guard=guard)
    return key, record.version if record else 0, packed(encode(memory))


async def are_whole(store: Store) -> bool:
    """Return whether the memories in a store are those of all runs that have settled."""
    opened = await opened_so_far(store)
    memories = [decode(record.value, Memory) for record in await store.list(PREFIX)]
    return sum(m.runs for m in memories) + len(await store.list("active/")) == opened


async def recall(store: Store, clock: Clock, *, guard: Guard) -> tuple[Mapping[GroupId, Memory], Mapping[GroupId, Run]]:
    """Return each group's memory, on this machine's boot clock, and its run under way if there is one.

    The nearest copy is read: who recalls has just been elected, by a commit that came after all of it.
    """
    under_way = [
        await read_run(RunId(r.value.decode()), store=store, near=True) for r in await store.list("active/", near=True)
    ]
    records = {GroupId(r.key.removeprefix(PREFIX)): r for r in await store.list(PREFIX, near=True)}
    memories = {group: decode(record.value, Memory) for group, record in records.items()}
    if sum(m.runs for m in memories.values()) + len(under_way) != await opened_so_far(store, near=True):
        memories = await _made_anew(store, records, guard=guard)
    for group, memory in memories.items():
        if memory.stuck and await store.get(f"resolved/{memory.stuck}", near=True):
            memories[group] = replace(memory, stuck=None)
    now, wall = clock.now(), clock.wall() - _EPOCH

    def ago(at: Instant) -> Instant:
        """When it was on this machine's boot clock; the stamp may be of an earlier boot, or of another machine."""
        return now - max(wall - at, timedelta())

    return {g: m.on_clock(ago) for g, m in memories.items()}, {r.plan.group: r for r in under_way if r.settled is None}


async def _made_anew(store: Store, records: Mapping[GroupId, Record], *, guard: Guard) -> dict[GroupId, Memory]:
    """Fold all journals there are, and write what they add up to. Where another writes meanwhile, that stands. Of runs
    that were archived no more is left than that they were.
    """
    _log.warning("what earlier runs mean is read from all of their journals, once")
    runs = [run async for run in each_run(store, near=True)]
    memories = dict.fromkeys(records, Memory()) | folded(runs, guard=guard)
    for archived in await store.list("archived/", near=True):
        group = GroupId(decode(archived.value, dict[str, Any])["group"])
        memory = memories.get(group, Memory())
        memories[group] = replace(memory, runs=memory.runs + 1)
    groups = list(memories)
    for n in range(0, len(groups), WRITTEN_AT_ONCE):
        some = groups[n : n + WRITTEN_AT_ONCE]
        with suppress(Conflict):
            await store.commit(
                expect={memory_key(g): records[g].version if g in records else 0 for g in some},
                put={memory_key(g): packed(encode(memories[g])) for g in some},
            )
    return memories


def folded(runs: Iterable[Run], *, guard: Guard) -> dict[GroupId, Memory]:
    """Return what runs, in their order, add up to: each group's memory on the wall clock."""
    memories: dict[GroupId, Memory] = {}
    for run in runs:
        if run.settled is not None:
            memories[run.plan.group] = _with(memories.get(run.plan.group, Memory()), run, guard=guard)
    return memories


def _with(memory: Memory, run: Run, *, guard: Guard) -> Memory:
    """The memory with one more run, on the wall clock."""
    assert run.settled is not None, "only a settled run has an end"
    assert run.settled.wall.tzinfo is not None, "wall times carry their zone"
    return remember(memory, run, at=run.settled.wall - _EPOCH, guard=guard)
