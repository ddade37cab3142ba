"""What the runs that a group has had mean for the next decision: one small value, however many runs there were.

Intuition: of a thousand settled runs a decision asks little: how often in a row something failed, how restless the
group has been, when it was last moved. That is a fold (`remember`), one run at a time; so it is carried on with each
run's end, and nobody has to read old journals to decide.

All moments of one memory are on one clock, and none of this asks which: a leader's own boot clock while it leads, the
wall clock in the store, where another leader takes them over (`on_clock`).

What this is not: the runs themselves, which are evidence (`core.run`), or what follows from the memory (`deciding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from evac.core.decision import Flaps, Tries
from evac.core.estate import ComponentId
from evac.core.observation import Instant
from evac.core.plan import MOVES, RunKind
from evac.core.policy import Guard
from evac.core.protection import shrinks
from evac.core.run import Outcome, Run, RunId
from evac.core.standing import SetChange, changes_of

HOLDS_DOWN = MOVES | {RunKind.DRILL}
"""The kinds of runs that move a primary, and so count for the hold-down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one group's settled runs mean for the next decision; the parts mean what `decision.View` says of them."""

    runs: int = 0
    """How many settled runs it is the fold of."""
    settled_at: Instant | None = None
    last_move_at: Instant | None = None
    turned_back_at: Instant | None = None
    urged_at: Instant | None = None
    flaps: Flaps | None = None
    shift_flaps: Flaps | None = None
    leavings: Flaps | None = None
    tries: Tries | None = None
    rejoin_tries: Tries | None = None
    shift_tries: Tries | None = None
    return_tries: Tries | None = None
    protect_tries: Tries | None = None
    urge_tries: Tries | None = None
    sent_by: str | None = None
    stuck: RunId | None = None
    """The move that is stuck, until another one settles or a person calls it resolved."""
    set_changes: Mapping[ComponentId, SetChange] = field(default_factory=dict)
    """The last run that changed whom each component's primary waits for."""

    def failed_try(self, at: Instant, *, urged: bool) -> Memory:
        """Count one more move in a row that did not complete; those that a trigger asked for are counted apart."""
        if urged:
            return replace(self, urge_tries=_one_more(self.urge_tries, at))
        return replace(self, tries=_one_more(self.tries, at))

    def failed_shift(self, at: Instant, *, back: bool) -> Memory:
        """Count one more shift of traffic in a row that did not complete: to another door, or back."""
        if back:
            return replace(self, return_tries=_one_more(self.return_tries, at))
        return replace(self, shift_tries=_one_more(self.shift_tries, at))

    def failed_protection(self, at: Instant) -> Memory:
        """Count one more change of the set that must acknowledge, in a row, that did not complete."""
        return replace(self, protect_tries=_one_more(self.protect_tries, at))

    def anew(self) -> Memory:
        """Forget what failed: it is tried again at once."""
        return replace(
            self,
            turned_back_at=None,
            tries=None,
            rejoin_tries=None,
            shift_tries=None,
            return_tries=None,
            protect_tries=None,
            urge_tries=None,
        )

    def on_clock(self, moment: Callable[[Instant], Instant]) -> Memory:
        """Return the same memory on another clock; `moment` says what an instant of this one is there."""

        def when(at: Instant | None) -> Instant | None:
            return None if at is None else moment(at)

        def flapped(flaps: Flaps | None) -> Flaps | None:
            return None if flaps is None else replace(flaps, at=moment(flaps.at))

        def tried(tries: Tries | None) -> Tries | None:
            return None if tries is None else replace(tries, at=moment(tries.at))

        return replace(
            self,
            settled_at=when(self.settled_at),
            last_move_at=when(self.last_move_at),
            turned_back_at=when(self.turned_back_at),
            urged_at=when(self.urged_at),
            flaps=flapped(self.flaps),
            shift_flaps=flapped(self.shift_flaps),
            leavings=flapped(self.leavings),
            tries=tried(self.tries),
            rejoin_tries=tried(self.rejoin_tries),
            shift_tries=tried(self.shift_tries),
            return_tries=tried(self.return_tries),
            protect_tries=tried(self.protect_tries),
            urge_tries=tried(self.urge_tries),
        )


def remember(memory: Memory, run: Run, *, at: Instant, guard: Guard) -> Memory:
    """Return the memory after one more run of the group has settled, at a moment on the memory's clock."""
    assert run.settled is not None, "only a settled run has an end"
    changes = {change.component: change for change in changes_of(run)}
    memory = replace(memory, runs=memory.runs + 1, settled_at=at, set_changes={**memory.set_changes, **changes})
    outcome = run.settled.outcome
    if outcome is Outcome.GAVE_WAY:
        return memory  # it did not fail
    if run.plan.kind is RunKind.SHIFT:
        return _shifted(memory, run, outcome, at, guard)
    if run.plan.kind is RunKind.PROTECT:
        return _protected(memory, run, outcome, at, guard)
    if run.plan.kind not in HOLDS_DOWN:
        return _rebuilt(memory, outcome, at)
    return _moved(replace(memory, stuck=None), run, outcome, at, guard)


def _moved(memory: Memory, run: Run, outcome: Outcome, at: Instant, guard: Guard) -> Memory:
    if outcome is Outcome.STUCK:
        return replace(memory, stuck=run.id)
    if outcome is not Outcome.COMPLETED:
        memory = replace(memory, turned_back_at=at)
        if run.opened.decided_by != "evac":
            return memory  # what a person tried in vain keeps evac from nothing
        return memory.failed_try(at, urged=bool(run.opened.decision.get("trigger")))
    memory = _new_start(replace(memory, tries=None, urge_tries=None))
    # What a person or a trigger planned says nothing of restlessness: a loss then must be acted on at once.
    if run.plan.kind is RunKind.FAILOVER or run.opened.detected:
        return replace(memory, last_move_at=at, flaps=_more_restless(memory.flaps, at, guard))
    return replace(memory, urged_at=at) if run.opened.decided_by == "evac" else memory


def _rebuilt(memory: Memory, outcome: Outcome, at: Instant) -> Memory:
    """Fold a rebuild's end. One that is stuck is begun again from what is there: its steps look before they act."""
    completed = outcome is Outcome.COMPLETED
    return replace(memory, rejoin_tries=None if completed else _one_more(memory.rejoin_tries, at))


def _shifted(memory: Memory, run: Run, outcome: Outcome, at: Instant, guard: Guard) -> Memory:
    """Fold a shift's end. One that is stuck holds up nothing: the group is moved, or the shift begun again."""
    if outcome is not Outcome.COMPLETED:
        return memory.failed_shift(at, back=run.plan.target == run.plan.before.primary)
    memory = _new_start(memory)
    if run.plan.after.entry is None:
        return memory
    if run.opened.decided_by == "evac":
        return replace(memory, shift_flaps=_more_restless(memory.shift_flaps, at, guard))
    return replace(memory, sent_by=run.opened.decided_by)


def _protected(memory: Memory, run: Run, outcome: Outcome, at: Instant, guard: Guard) -> Memory:
    """Fold the end of a change of the set that must acknowledge; one that is stuck is decided on anew."""
    if outcome is not Outcome.COMPLETED:
        return memory.failed_protection(at)
    memory = replace(memory, protect_tries=None)
    return replace(memory, leavings=_more_restless(memory.leavings, at, guard)) if shrinks(run.plan) else memory


def _new_start(memory: Memory) -> Memory:
    """A move or a shift that completed makes a new start."""
    return replace(memory, shift_tries=None, return_tries=None, sent_by=None)


def _one_more(before: Tries | None, at: Instant) -> Tries:
    return Tries(count=before.count + 1 if before else 1, at=at)


def _more_restless(before: Flaps | None, at: Instant, guard: Guard) -> Flaps:
    points = (before or Flaps()).now(at, guard.flap_half_life) + guard.flap_penalty
    return Flaps(points=points, at=at)
