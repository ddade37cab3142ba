"""Runs played on modelled systems, with a process that can die at any moment and is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from evac.core.errors import StoreUnavailable
from evac.core.estate import RegionId
from evac.core.memory import Memory
from evac.core.plan import Placement, Plan
from evac.core.policy import Guard
from evac.core.run import Event, Run, RunId
from evac.engine import opener
from evac.engine.codec import decode, encode
from evac.engine.executor import begin, execute
from evac.engine.forcing import take_word
from evac.engine.journal import entry_key, fold_journal, read_journal
from evac.engine.memories import folded, memory_key
from evac.engine.opening import prepare_run
from evac.engine.orders import obey
from evac.sim import time
from evac.sim.stores import Crash, FailingStore, Moment
from evac.sim.systems import Effect, Systems
from evac.stores.memory import MemoryStore
from fakes.opening import LEADER

LIVES_MAX = 4
"""How often the process may die before a rehearsal gives up."""
RUN = RunId("1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a rehearsal ended."""

    run: Run
    placement: Placement
    """The record of where the group is, as it was left."""
    events: tuple[Event, ...]
    systems: Systems
    store: MemoryStore
    commits: int
    entries: tuple[int, ...]
    """Which of the commits wrote journal entries."""
    deaths: int


@dataclass(slots=True, kw_only=True)
class Death:
    """When the process dies: at one commit, on one side of it, or around one effect. Once."""

    commit: int = 0
    moment: Moment = Moment.BEFORE
    effect: Effect | None = None
    after: bool = False
    make: Callable[[], BaseException] = field(default=lambda: Crash())
    happened: bool = False

    def at_commit(self, number: int, moment: Moment) -> BaseException | None:
        if self.happened or number != self.commit or moment is not self.moment:
            return None
        self.happened = True
        return self.make()

    def at_effect(self, effect: Effect, after: bool) -> None:
        if not self.happened and effect == self.effect and after is self.after:
            self.happened = True
            raise Crash


def away() -> BaseException:
    """A store that does not answer."""
    return StoreUnavailable("told to be away")


def play(plan: Plan, systems: Systems, *, death: Death | None = None) -> Played:
    """Open a run, and carry it to its settlement through whatever is to happen."""
    return time.run(_play(plan, systems, death or Death()))


async def _play(plan: Plan, systems: Systems, death: Death) -> Played:
    memory = MemoryStore(incarnation="a rehearsal")
    await memory.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before), opener.KEY: LEADER})
    store = FailingStore(store=memory, trouble=death.at_commit)
    systems.around = death.at_effect
    regions = sorted({s.action.region for s in plan.steps})
    deaths = 0
    while True:
        try:
            run = await _live(plan, store, systems, regions, name=f"life {deaths}")
            break
        except Crash:
            deaths += 1
            assert deaths < LIVES_MAX, "the process dies again and again"
    events = await read_journal(RUN, store=memory)
    assert fold_journal(events) == run, "what was executed is what the journal says (S12)"
    kept = await memory.get(memory_key(plan.group))
    assert kept is not None, "what a run means is written with its end"
    assert {plan.group: decode(kept.value, Memory)} == folded([run], guard=Guard()), "and is what its journal says"
    record = await memory.get(f"placement/{plan.group}")
    assert record is not None, "a run leaves the record where it was"
    return Played(
        run=run,
        placement=decode(record.value, Placement),
        events=events,
        systems=systems,
        store=memory,
        commits=len(store.commits),
        entries=tuple(n for n, keys in enumerate(store.commits, 1) if any(k.startswith("runs/") for k in keys)),
        deaths=deaths,
    )


async def _live(plan: Plan, store: FailingStore, systems: Systems, regions: list[RegionId], *, name: str) -> Run:
    """One life of the process: the executor and all agents in it."""
    clock = time.VirtualClock()
    try:
        async with asyncio.TaskGroup() as tasks:
            agents = [tasks.create_task(obey(r, store=store, members=systems.members(r), clock=clock)) for r in regions]
            run = await _see_through(plan, store, clock, name=name)
            for agent in agents:
                agent.cancel()
    except BaseExceptionGroup as group:
        raise _first(group) from group
    return run


async def _see_through(plan: Plan, store: FailingStore, clock: time.VirtualClock, *, name: str) -> Run:
    """Open the run unless it was opened, and carry it on, as the controller does."""
    for _ in range(LIVES_MAX):
        if await store.get(entry_key(RUN, 1)) is not None:
            break
        opening = await prepare_run(
            plan, store=store, clock=clock, decided_by="a test", symptom_at=clock.now(), decision={}, who=LEADER
        )
        take_word(opening.journal, clock=clock, by=name, signer=None)
        try:
            begun = await begin(opening, clock=clock, by=name, guard=Guard())
        except StoreUnavailable:
            continue
        return await execute(RUN, store=store, clock=clock, by=name, guard=Guard(), begun=begun)
    return await execute(RUN, store=store, clock=clock, by=name, guard=Guard())


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    crashes = group.subgroup(Crash)
    found: BaseException = crashes or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
