"""A plan: a graph of steps, as a value: read, checked, pinned by a hash and drawn before anything is done.

Intuition: a step asks one driver for one verb on one member. Steps are ordered only by what they need, and by the
barriers that they stand before or behind; what waits for nothing of each other runs side by side. At most one step set
is the pivot: the promotions. Before it everything can be undone; after it the run goes forward.

What this is not: how plans are made (`planning`), or how far one has come (`run`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum
from typing import NewType

from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.observation import Json

StepId = NewType("StepId", str)
Term = NewType("Term", int)


class Verb(StrEnum):
    """What a step asks of a member. A driver declares which it supports; every one is idempotent and absolute.

    PREPARE   make a planned switch quick (checkpoint, warm-up), or see that it would be taken (a router's rights);
              changes nothing a client sees
    STOP      the member can acknowledge no write from now on, and stays down: a fence
    REFUSE    this standby durably refuses the old primary: enough of them starve it, a fence
    SWITCH_OFF  a device has switched the silent old primary's host off, and says that it is off: a fence
    EXPIRE    the lease of the silent old primary has run out, and is this member's now: a fence
    CATCH_UP  this standby holds everything that any refusing standby, or the stopped primary, holds
    PROMOTE   this standby becomes the primary, at the run's term, once it holds all that its receipts hold
    FOLLOW    this standby follows the new primary
    PROTECT   the primary waits for exactly these standbys before it acknowledges
    SHIFT     this router sends clients to regions by these weights (percent)
    VERIFY    what a client does: of state a write and a read, of a router a request through its door
    REJOIN    this old primary saves what only it has, is rebuilt, and follows the new primary
    """

    PREPARE = "prepare"
    STOP = "stop"
    REFUSE = "refuse"
    SWITCH_OFF = "switch-off"
    EXPIRE = "expire"
    CATCH_UP = "catch-up"
    PROMOTE = "promote"
    FOLLOW = "follow"
    PROTECT = "protect"
    SHIFT = "shift"
    VERIFY = "verify"
    REJOIN = "rejoin"


class Phase(StrEnum):
    """The part of a recovery a step's time is booked on."""

    PREPARE = "prepare"
    FENCE = "fence"
    PROMOTE = "promote"
    SHIFT = "shift"
    VERIFY = "verify"
    RESTORE = "restore"


class Barrier(Enum):
    """What all of some steps have come to before others go on: a wait of many for many, said once by each.

    A step behind one starts once all before it are over: done, needless, or optional and failed. Nothing that may fail
    itself stands behind what may fail.

    PREPARED  nothing is stopped, and no router turned, before all is prepared
    STOPPED   a planned move promotes nothing before all is stopped
    AFAR      a failover promotes nothing before the fences that may yet be refused are over
    FENCED    it promotes what is merely wanted after the fences of all else
    PROMOTED  clients are sent over once all is promoted that they cannot do without
    TURNED    what a client does is tried once all routers have turned that must
    """

    PREPARED = "prepared"
    STOPPED = "stopped"
    AFAR = "afar"
    FENCED = "fenced"
    PROMOTED = "promoted"
    TURNED = "turned"


class RunKind(StrEnum):
    """Why a plan exists."""

    FAILOVER = "failover"
    SWITCHOVER = "switchover"
    FAILBACK = "failback"
    REJOIN = "rejoin"
    PROTECT = "protect"
    SHIFT = "shift"
    DRILL = "drill"


MOVES = frozenset({RunKind.FAILOVER, RunKind.SWITCHOVER, RunKind.FAILBACK})
"""The kinds that take primaries out of their plan's source for good: a drill brings them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What one member is asked to do. `args` is all the driver may use; the executor adds the receipts of the steps
    of its component that this one waits for under `receipts` (step id to facts) before the order leaves.
    """

    component: ComponentId
    region: RegionId
    verb: Verb
    term: Term
    args: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node of a plan. An `optional` step may fail without failing the run: it becomes a finding in the report.

    It waits for the steps it `needs`, and for all that stand before a barrier which it stands `behind`. `undoable` says
    whether the driver has an undo for it; `pivot` marks a promotion. One try may take `timeout`, and one of its undo
    `undo_timeout`, where that is given.
    """

    id: StepId
    action: Action
    phase: Phase
    needs: tuple[StepId, ...] = ()
    before: tuple[Barrier, ...] = ()
    behind: tuple[Barrier, ...] = ()
    timeout: timedelta = timedelta(seconds=30)
    undo_timeout: timedelta | None = None
    retries: int = 1
    undoable: bool = True
    pivot: bool = False
    optional: bool = False
    needs_control_plane: bool = False

    @property
    def goes_last(self) -> bool:
        """Return whether it promotes what is merely wanted in a planned move, for which nobody waits (ADR 37)."""
        return self.pivot and Barrier.PROMOTED in self.behind

    def waits_for(self, other: Step) -> bool:
        """Return whether this step starts only when the other is over, because it says so, not because another does."""
        return other.id in self.needs or any(b in self.behind for b in other.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """How the steps of a plan hang together: by what nothing has to be searched for at each entry of a long run."""

    of: Mapping[ComponentId, tuple[Step, ...]]
    """The steps of a component."""
    above: Mapping[StepId, tuple[Step, ...]]
    """The steps that need a step."""
    before: Mapping[Barrier, tuple[Step, ...]]
    """The steps before a barrier."""
    behind: Mapping[Barrier, tuple[Step, ...]]
    """The steps behind it."""
    opens: Mapping[StepId | Barrier, tuple[Step, ...]]
    """The required promotions of which it depends on a step, or on whether a barrier still holds, among others, whether
    they can start, cannot yet, or never will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSet:
    """Who must acknowledge a group's writes: any `acks` of `standbys`. `acks` 0: nobody (asynchronous)."""

    acks: int
    standbys: tuple[RegionId, ...]

    @property
    def refusals_needed(self) -> int:
        """Return f = n - k + 1: with so many durable refusals no write can be acknowledged any more."""
        return len(self.standbys) - self.acks + 1 if self.acks else len(self.standbys) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a group's primaries are by evac's own record, at which term, and who may hold their latest writes.

    `sync` has one set for each component that is replicated synchronously. While a change of the set runs, both the
    old and the new one are in it, so that a promotion meanwhile respects both (`docs/design/safety.md` 3).
    """

    group: GroupId
    primary: RegionId
    term: Term
    sync: Mapping[ComponentId, tuple[SyncSet, ...]] = field(default_factory=dict)
    awaiting_rejoin: tuple[RegionId, ...] = ()
    """Regions that held a primary and have not been rebuilt: no traffic, no promotion, kept from writing."""
    entry: RegionId | None = None
    """The region whose door clients are sent in by where that is another one: it carries them on to the primary's.
    From the first order to send them there until the last receipt that all are back."""

    @property
    def door(self) -> RegionId:
        """Return the region whose door clients are sent in by."""
        return self.entry or self.primary


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps towards `target`, and the placement that holds when they are done.

    `notes` say what was left out and why.
    """

    kind: RunKind
    group: GroupId
    source: RegionId
    target: RegionId
    term: Term
    steps: tuple[Step, ...]
    before: Placement
    after: Placement
    notes: tuple[str, ...] = ()
    _by_id: Mapping[StepId, Step] = field(init=False, repr=False, compare=False)
    _graph: Graph | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {step.id: step for step in reversed(self.steps)})

    @property
    def gives_way(self) -> bool:
        """Return whether its run gives way to a move: it rebuilds or protects, and promotes nothing."""
        return self.kind in (RunKind.REJOIN, RunKind.PROTECT) and not any(s.pivot for s in self.steps)

    def step(self, step_id: StepId) -> Step:
        """Return the step of that id; KeyError if the plan has none."""
        return self._by_id[step_id]

    def has(self, step_id: StepId) -> bool:
        """Return whether there is a step of that id."""
        return step_id in self._by_id

    @property
    def graph(self) -> Graph:
        """Return how the steps hang together. It is worked out when it is asked for first: most plans never run."""
        if self._graph is None:
            object.__setattr__(self, "_graph", _graph_of(self.steps, self._by_id))
        assert self._graph is not None, "it has just been worked out"
        return self._graph


def _graph_of(steps: Iterable[Step], by_id: Mapping[StepId, Step]) -> Graph:
    of: dict[ComponentId, list[Step]] = {}
    above: dict[StepId, list[Step]] = {}
    before: dict[Barrier, list[Step]] = {}
    behind: dict[Barrier, list[Step]] = {}
    opens: dict[StepId | Barrier, list[Step]] = {}
    for step in steps:
        of.setdefault(step.action.component, []).append(step)
        for need in step.needs:
            above.setdefault(need, []).append(step)
        for barrier in step.before:
            before.setdefault(barrier, []).append(step)
        for barrier in step.behind:
            behind.setdefault(barrier, []).append(step)
    for step in steps:
        if step.pivot and not step.optional:
            for one in _rests_on(step, of, by_id, before):
                opens.setdefault(one, []).append(step)
    return Graph(
        of={c: tuple(own) for c, own in of.items()},
        above={i: tuple(some) for i, some in above.items()},
        before={b: tuple(some) for b, some in before.items()},
        behind={b: tuple(some) for b, some in behind.items()},
        opens={i: tuple(some) for i, some in opens.items()},
    )


def _rests_on(
    promotion: Step,
    of: Mapping[ComponentId, Iterable[Step]],
    by_id: Mapping[StepId, Step],
    before: Mapping[Barrier, Iterable[Step]],
) -> set[StepId | Barrier]:
    """The steps by which it is told whether a promotion is ready, proven, or can be proven yet: all that it needs; its
    component's receipts; and all that its component's fences need. Of a barrier on that way it counts whether it
    holds; for what may fail also what before it has failed.
    """
    found: set[StepId | Barrier] = set()
    searched: set[StepId] = set()
    todo = [promotion]
    while todo:
        step = todo.pop()
        if step.id in searched:
            continue
        searched.add(step.id)
        todo += [by_id[need] for need in step.needs]
        found.update(step.behind)
        if step.optional:
            todo += [s for barrier in step.behind for s in before.get(barrier, ())]
        if step.pivot:
            own = tuple(of[step.action.component])
            found.update(s.id for s in own)
            todo += [s for s in own if s.phase is Phase.FENCE]
    return found | searched


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps so that each comes after what it waits for; asserts that they do not cycle."""
    left = {s.id: s for s in steps}
    ordered: list[Step] = []
    while left:
        held = {barrier for s in left.values() for barrier in s.before}
        ready = [s for s in left.values() if not any(n in left for n in s.needs) and held.isdisjoint(s.behind)]
        assert ready, f"steps wait for each other in a circle: {sorted(left)}"
        ordered += ready
        for step in ready:
            del left[step.id]
    return tuple(ordered)
