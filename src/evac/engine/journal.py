"""Runs' journals in the store: opened, appended to, read back and folded.

Intuition: a journal is a row of keys `runs/<run>/<seq>`, each written once. Every append, the first one too, is one
commit that only succeeds if nobody else wrote that entry and the group's term is still the writer's own; orders, the
placement's record and what is cleaned away go with it, all or nothing. So what an order rests on is durable before the
order can be seen, and a controller that was replaced cannot write another word. Each entry holds the digest of the one
before (`engine.chain`), so none can be changed afterwards without a trace.

    runs/<run>/<seq:06d>   entries          terms/<group>    the group's term, only growing
    runs-opened            how many runs    active/<group>   the group's unsettled run, at most one
    placement/<group>      where the group is       memory/<group>   what its runs mean (`engine.memories`)

What this is not: the rules of what may follow (`core.fold`), or the doing (`engine.executor`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from evac.core.errors import Conflict, IllegalEvent
from evac.core.fold import apply
from evac.core.placement import advance
from evac.core.plan import Placement, Term
from evac.core.run import Event, Resumed, Run, RunId
from evac.engine.chain import digest, link, unlink
from evac.engine.codec import decode, encode, plan_hash
from evac.ports import Clock, Record, Store

COUNTER = "runs-opened"


def number(record: Record | None) -> int:
    """Return the number that a record holds; 0 where there is none."""
    return decode(record.value, int) if record else 0


def entry_key(run: RunId, seq: int) -> str:
    """Return the key of a journal's entry; the first has number 1."""
    return f"runs/{run}/{seq:06d}"


def archived_key(run: RunId) -> str:
    """Return the key of what stays of a run that was taken out of the store (`engine.archive`)."""
    return f"archived/{run}"


@dataclass(slots=True, kw_only=True)
class Journal:
    """One run's journal as its only writer holds it: the folded state, and the versions it rests on."""

    store: Store
    run: Run
    placement: Placement
    placement_version: int
    term_version: int
    position: int
    """A revision of the store: what was written after it may be news, and no answer was read before it. 0 before the
    run's first entry is written.
    """
    head: str
    """The digest of the newest entry, noted ones included."""
    tail: list[Event] = field(default_factory=list)
    """Entries folded into `run` that are not written yet."""
    links: list[bytes] = field(default_factory=list)
    """The same entries as they will be written."""

    def note(self, event: Event) -> None:
        """Fold an entry; it is written by the next `write`. Raises `IllegalEvent`."""
        self.run = apply(self.run, event)
        self.placement = advance(self.placement, self.run, event)
        self.tail.append(event)
        self.links.append(link(event, before=self.head))
        self.head = digest(self.links[-1])

    async def write(
        self,
        *,
        expect: Mapping[str, int] | None = None,
        put: Mapping[str, bytes] | None = None,
        delete: Collection[str] = (),
    ) -> Sequence[Event]:
        """Write the noted entries, and what goes with them, in one commit. Returns the entries.

        Raises `Conflict` when another controller has taken over, or one of `expect` does not hold: nothing was written.
        """
        run, group = self.run, self.run.plan.group
        first = run.entries - len(self.tail) + 1
        entries = {entry_key(run.id, first + i): entry for i, entry in enumerate(self.links)}
        terms = f"terms/{group}"
        place = f"placement/{group}"
        if run.settled is not None:
            delete = (*delete, f"active/{group}")
        revision = await self.store.commit(
            expect={
                **dict.fromkeys(entries, 0),
                terms: self.term_version,
                place: self.placement_version,
                **(expect or {}),
            },
            put={**entries, place: encode(self.placement), **(put or {})},
            delete=delete,
        )
        written, self.tail, self.links = self.tail, [], []
        self.placement_version = revision
        self.position = self.position or revision
        if put and terms in put:
            self.term_version = revision
        return written


async def read_journal(run: RunId, *, store: Store, near: bool = False) -> tuple[Event, ...]:
    """Return a run's entries; `near` is the store's. Raises `KeyError` if there is no such run, `IllegalEvent` or
    `ValueError` if it is damaged.
    """
    return tuple(unlink(r.value).event for r in await _entries(run, store=store, near=near))


async def _entries(run: RunId, *, store: Store, near: bool) -> tuple[Record, ...]:
    records = await store.list(f"runs/{run}/", near=near)
    if not records:
        raise KeyError(run)
    for seq, record in enumerate(records, start=1):
        if record.key != entry_key(run, seq):
            raise IllegalEvent(f"run {run}: entry {seq} is missing, {record.key} was found in its place")
    return records


async def read_run(run: RunId, *, store: Store, near: bool = False) -> Run:
    """Return a run's state, folded from its journal; `near` is the store's. Raises like `read_journal`."""
    return fold_journal(await read_journal(run, store=store, near=near))


async def read_runs(store: Store, *, near: bool = False) -> tuple[Run, ...]:
    """Return all runs in the order they were opened; `near` is the store's."""
    return tuple([run async for run in each_run(store, near=near)])


async def each_run(store: Store, *, after: int = 0, near: bool = False) -> AsyncIterator[Run]:
    """Give the runs after so many, one by one, in the order they were opened, without those that were archived; `near`
    is the store's.
    """
    for n in range(after + 1, await opened_so_far(store, near=near) + 1):
        run = await read_unarchived(RunId(str(n)), store=store, near=near)
        if run is not None:
            yield run


async def read_unarchived(run: RunId, *, store: Store, near: bool = False) -> Run | None:
    """Return a run's state, None where it was archived; `near` is the store's. Raises like `read_journal`."""
    try:
        return await read_run(run, store=store, near=near)
    except (KeyError, IllegalEvent):
        if await store.get(archived_key(run), near=near) is None:
            raise
        return None


async def opened_so_far(store: Store, *, near: bool = False) -> int:
    """Return how many runs have been opened; `near` is the store's."""
    return number(await store.get(COUNTER, near=near))


def fold_journal(events: Sequence[Event]) -> Run:
    """Return the state that entries add up to. Raises `IllegalEvent`, also when the plan is not the pinned one."""
    run: Run | None = None
    for event in events:
        run = apply(run, event)
    if run is None:
        raise IllegalEvent("a journal has at least one entry")
    if plan_hash(run.plan) != run.opened.plan_hash:
        raise IllegalEvent(f"run {run.id}: the plan is not the one whose hash was pinned")
    return run


async def take_journal(run: RunId, *, store: Store, near: bool = False) -> Journal:
    """Return a run's journal for writing; `near` is the store's. Reading alone takes nothing over: see `raised`."""
    records = await _entries(run, store=store, near=near)
    position = await store.revision()
    state = fold_journal([unlink(r.value).event for r in records])
    group = state.plan.group
    term, placement = await asyncio.gather(*[store.get(f"{w}/{group}", near=near) for w in ("terms", "placement")])
    assert term is not None, "a run was opened with a term"
    assert placement is not None, "a run was opened with a placement"
    highest = decode(term.value, int)
    if state.settled is None and highest != state.term:
        raise Conflict(f"group {group} is at term {highest}, run {run} at {state.term}: another controller has it")
    return Journal(
        store=store,
        run=state,
        placement=decode(placement.value, Placement),
        placement_version=placement.version,
        term_version=term.version,
        position=position,
        head=digest(records[-1].value),
    )


def raised(journal: Journal, *, clock: Clock, by: str) -> tuple[Resumed, Mapping[str, bytes]]:
    """Return the entry by which a controller takes a run over, and the term's record that goes with it."""
    term = Term(journal.run.term + 1)
    resumed = Resumed(at=clock.now(), wall=clock.wall(), term=term, by=by)
    return resumed, {f"terms/{journal.run.plan.group}": encode(term)}
