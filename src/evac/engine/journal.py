"""Runs' journals in the store: opened, appended to, read back and folded.

Intuition: a journal is a row of keys `runs/<run>/<seq>`, each written once. Every append is one commit that only
succeeds if nobody else wrote that entry and the group's term is still the writer's own; orders, the placement's record
and what is cleaned away go with it, all or nothing. So what an order rests on is durable before the order can be seen,
and a controller that was replaced cannot write another word.

    runs/<run>/<seq:06d>   entries          terms/<group>    the group's term, only growing
    runs-opened            how many runs    active/<group>   the group's unsettled run, at most one
    placement/<group>      the record of where the group is

What this is not: the rules of what may follow (`core.fold`), or the doing (`engine.executor`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evac.core.errors import Conflict, IllegalEvent, UnsafePlan
from evac.core.fold import apply
from evac.core.observation import Instant, Json
from evac.core.placement import advance
from evac.core.plan import Placement, Plan, Term
from evac.core.run import Event, Opened, Resumed, Run, RunId
from evac.core.snapshot import Reply
from evac.engine.codec import decode, encode, plan_hash
from evac.ports import Clock, Store

COUNTER = "runs-opened"


async def open_run(
    plan: Plan,
    *,
    store: Store,
    clock: Clock,
    decided_by: str,
    symptom_at: Instant,
    decision: Mapping[str, Json],
    request: str | None = None,
) -> RunId:
    """Pin a plan as a run, at the group's next free term when its own was used. Nothing is ordered yet.

    A person's `request` is answered by the same commit, so that it is carried out once, whoever dies in between.

    Raises `UnsafePlan` when another run of the group is under way or the group is not where the plan says,
    `Conflict` when that changed just now, and `StoreUnavailable`.
    """
    group = plan.group
    term_record = await store.get(f"terms/{group}")
    highest = Term(decode(term_record.value, int)) if term_record else Term(0)
    placement = await store.get(f"placement/{group}")
    active = await store.get(f"active/{group}")
    if active is not None:
        raise UnsafePlan((f"run {active.value.decode()} of group {group} is under way; wait for it",))
    if placement is None or decode(placement.value, Placement) != plan.before:
        raise UnsafePlan((f"group {group} is no longer as this plan found it; plan anew",))
    plan = at_term(plan, Term(max(plan.term, highest + 1)))
    asked = await store.get(f"requests/{request}") if request else None
    if request and asked is None:
        raise UnsafePlan(("the request was taken back before it was begun",))
    counter = await store.get(COUNTER)
    run = RunId(str(decode(counter.value, int) + 1 if counter else 1))
    opened = Opened(
        run=run,
        at=clock.now(),
        wall=clock.wall(),
        plan=plan,
        plan_hash=plan_hash(plan),
        decided_by=decided_by,
        symptom_at=symptom_at,
        decision=decision,
    )
    await store.commit(
        expect={
            entry_key(run, 1): 0,
            COUNTER: counter.version if counter else 0,
            f"terms/{group}": term_record.version if term_record else 0,
            f"placement/{group}": placement.version,
            f"active/{group}": 0,
            **({asked.key: asked.version} if asked else {}),
        },
        put={
            entry_key(run, 1): encode(opened),
            COUNTER: encode(int(run)),
            f"terms/{group}": encode(plan.term),
            f"active/{group}": run.encode(),
            **({f"replies/{request}": encode(Reply(request=request, run=run))} if request else {}),
        },
        delete=(asked.key,) if asked else (),
    )
    return run


def at_term(plan: Plan, term: Term) -> Plan:
    """Return the same plan at another term."""
    steps = tuple(replace(s, action=replace(s.action, term=term)) for s in plan.steps)
    return replace(plan, term=term, steps=steps, after=replace(plan.after, term=term))


def entry_key(run: RunId, seq: int) -> str:
    """Return the key of a journal's entry; the first has number 1."""
    return f"runs/{run}/{seq:06d}"


@dataclass(slots=True, kw_only=True)
class Journal:
    """One run's journal as its only writer holds it: the folded state, and the versions it rests on."""

    store: Store
    run: Run
    placement: Placement
    placement_version: int
    term_version: int
    position: int
    """The store's revision before the journal was read: what came after it may be news."""
    tail: list[Event] = field(default_factory=list)
    """Entries folded into `run` that are not written yet."""

    def note(self, event: Event) -> None:
        """Fold an entry; it is written by the next `write`. Raises `IllegalEvent`."""
        self.run = apply(self.run, event)
        self.placement = advance(self.placement, self.run, event)
        self.tail.append(event)

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
        entries = {entry_key(run.id, first + i): encode(event) for i, event in enumerate(self.tail)}
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
        written, self.tail = self.tail, []
        self.placement_version = revision
        if put and terms in put:
            self.term_version = revision
        return written


async def read_journal(run: RunId, *, store: Store) -> tuple[Event, ...]:
    """Return a run's entries. Raises `KeyError` if there is no such run, `IllegalEvent` if it is damaged."""
    records = await store.list(f"runs/{run}/")
    if not records:
        raise KeyError(run)
    for seq, record in enumerate(records, start=1):
        if record.key != entry_key(run, seq):
            raise IllegalEvent(f"run {run}: entry {seq} is missing, {record.key} was found in its place")
    return tuple(decode(r.value, Event) for r in records)


async def read_run(run: RunId, *, store: Store) -> Run:
    """Return a run's state, folded from its journal. Raises like `read_journal`."""
    return fold_journal(await read_journal(run, store=store))


async def read_runs(store: Store) -> tuple[Run, ...]:
    """Return all runs in the order they were opened."""
    count = await store.get(COUNTER)
    opened = decode(count.value, int) if count else 0
    return tuple([await read_run(RunId(str(n)), store=store) for n in range(1, opened + 1)])


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


async def take_journal(run: RunId, *, store: Store) -> Journal:
    """Return a run's journal for writing. Reading alone takes nothing over: see `resume`."""
    position = await store.revision()
    state = await read_run(run, store=store)
    group = state.plan.group
    term = await store.get(f"terms/{group}")
    placement = await store.get(f"placement/{group}")
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
    )


def raised(journal: Journal, *, clock: Clock, by: str) -> tuple[Resumed, Mapping[str, bytes]]:
    """Return the entry by which a controller takes a run over, and the term's record that goes with it."""
    term = Term(journal.run.term + 1)
    resumed = Resumed(at=clock.now(), wall=clock.wall(), term=term, by=by)
    return resumed, {f"terms/{journal.run.plan.group}": encode(term)}
