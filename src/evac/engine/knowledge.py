"""What the controller remembers between two decisions; all of it can be had again from the store and the agents."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from evac.core.decision import Decision, Flaps, Tries
from evac.core.detector import Detector
from evac.core.essence import essence
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.observation import Instant
from evac.core.plan import Placement, Plan, RunKind
from evac.core.policy import Guard
from evac.core.protection import shrinks
from evac.core.quiet import Pause, Window
from evac.core.run import Outcome, Run, RunId, Settled
from evac.core.standing import SetChange, changes_of
from evac.core.triggers import Triggers
from evac.core.verdict import Verdict
from evac.engine.codec import decode
from evac.engine.journal import each_run
from evac.engine.quiet import read_quiet
from evac.ports import Clock, Store

MOVES = (RunKind.FAILOVER, RunKind.SWITCHOVER, RunKind.FAILBACK, RunKind.DRILL)
"""The kinds of runs that move a primary, and so count for the hold-down."""


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """The controller's memory."""

    detector: Detector
    placements: dict[GroupId, Placement] = field(default_factory=dict)
    unplaced: dict[GroupId, tuple[str, ...]] = field(default_factory=dict)
    """Why a group's first placement is not known yet."""
    active: dict[GroupId, RunId] = field(default_factory=dict)
    giving_way: set[GroupId] = field(default_factory=set)
    """The groups whose run under way gives way to a move."""
    stuck: dict[GroupId, RunId] = field(default_factory=dict)
    last_move_at: dict[GroupId, Instant] = field(default_factory=dict)
    flaps: dict[GroupId, Flaps] = field(default_factory=dict)
    tries: dict[GroupId, Tries] = field(default_factory=dict)
    rejoin_tries: dict[GroupId, Tries] = field(default_factory=dict)
    shift_tries: dict[GroupId, Tries] = field(default_factory=dict)
    return_tries: dict[GroupId, Tries] = field(default_factory=dict)
    shift_flaps: dict[GroupId, Flaps] = field(default_factory=dict)
    sent_by: dict[GroupId, str] = field(default_factory=dict)
    protect_tries: dict[GroupId, Tries] = field(default_factory=dict)
    settled_at: dict[GroupId, Instant] = field(default_factory=dict)
    leavings: dict[GroupId, Flaps] = field(default_factory=dict)
    set_changes: dict[ComponentId, SetChange] = field(default_factory=dict)
    """The last run that changed whom a component's primary waits for."""
    verdicts: dict[RegionId, Verdict] = field(default_factory=dict)
    """The verdicts that were told last."""
    unsettled: dict[RegionId, Instant] = field(default_factory=dict)
    """Since when a region's verdict has differed from the one told."""
    decisions: dict[GroupId, Decision] = field(default_factory=dict)
    triggers: Triggers = field(default_factory=Triggers)
    """How the triggers stand; whoever begins to lead counts anew."""
    urged_at: dict[GroupId, Instant] = field(default_factory=dict)
    """When each group was last moved as planned because a trigger asked for it."""
    urge_tries: dict[GroupId, Tries] = field(default_factory=dict)
    pause: Pause | None = None
    windows: dict[str, Window] = field(default_factory=dict)
    """The maintenance that people have called, by its id; what is over is forgotten when more is called."""

    async def recall(self, store: Store, clock: Clock, *, guard: Guard) -> None:
        """Take up what the store remembers. Earlier runs are folded in their order, by their age on the wall clock.

        The nearest copy is read: who recalls has just been elected, by a commit that came after all of it.
        """
        for record in await store.list("placement/", near=True):
            placement = decode(record.value, Placement)
            self.placements[placement.group] = placement
        self.pause, self.windows = await read_quiet(store, near=True)
        async for run in each_run(store, near=True):
            if run.settled is None:
                self.began(run.plan, run.id)
            else:
                self.settled(run.plan.group, run, now=_ago(run.settled, clock), guard=guard)
        resolved = {record.key.removeprefix("resolved/") for record in await store.list("resolved/", near=True)}
        self.stuck = {group: run_id for group, run_id in self.stuck.items() if run_id not in resolved}

    def resumed(self) -> None:
        """Note that a person has turned automation on: what failed before is tried again at once."""
        self.pause = None
        everything = (self.tries, self.rejoin_tries, self.shift_tries, self.return_tries, self.protect_tries)
        for tries in (*everything, self.urge_tries):
            tries.clear()

    def began(self, plan: Plan, run: RunId) -> None:
        """Note a run under way."""
        self.active[plan.group] = run
        if plan.gives_way:
            self.giving_way.add(plan.group)

    def ended(self, group: GroupId) -> None:
        """Note that a group has no run under way any more."""
        del self.active[group]
        self.giving_way.discard(group)

    def settled(self, group: GroupId, run: Run, *, now: Instant, guard: Guard) -> None:
        """Fold a run's end: what it means for the next decision."""
        assert run.settled is not None, "only a settled run has an end"
        self.settled_at[group] = now
        self.set_changes |= {change.component: change for change in changes_of(run)}
        if run.settled.outcome is Outcome.GAVE_WAY:
            return None  # it did not fail
        if run.plan.kind is RunKind.SHIFT:
            return self._shifted(run, run.settled.outcome, now, guard=guard)
        if run.plan.kind is RunKind.PROTECT:
            return self._protected(group, run, now=now, guard=guard)
        if run.plan.kind not in MOVES:
            return self._rebuilt(group, run.settled.outcome, now)
        self.stuck.pop(group, None)
        match run.settled.outcome:
            case Outcome.COMPLETED:
                self.tries.pop(group, None)
                self.urge_tries.pop(group, None)
                self._forget(group)
                # What a person or a trigger planned says nothing of restlessness: a loss then must be acted on at once.
                if run.plan.kind is RunKind.FAILOVER or run.opened.detected:
                    self.last_move_at[group] = now
                    self.flaps[group] = _more_restless(self.flaps.get(group), now=now, guard=guard)
                elif run.opened.decided_by == "evac":
                    self.urged_at[group] = now
            case Outcome.ROLLED_BACK:
                self.failed_try(group, now, urged=bool(run.opened.decision.get("trigger")))
            case Outcome.STUCK:  # pragma: no branch (the union is closed)
                self.stuck[group] = run.id
        return None

    def _rebuilt(self, group: GroupId, outcome: Outcome, now: Instant) -> None:
        """Fold a rebuild's end. One that is stuck is begun again from what is there: its steps look before they act."""
        if outcome is Outcome.COMPLETED:
            self.rejoin_tries.pop(group, None)
        else:
            self.rejoin_tries[group] = _one_more(self.rejoin_tries.get(group), now)

    def _shifted(self, run: Run, outcome: Outcome, now: Instant, *, guard: Guard) -> None:
        """Fold a shift's end. One that is stuck holds up nothing: the group is moved, or the shift begun again."""
        plan = run.plan
        if outcome is not Outcome.COMPLETED:
            return self.failed_shift(plan.group, back=plan.target == plan.before.primary, now=now)
        self._forget(plan.group)
        if plan.after.entry is not None and run.opened.decided_by == "evac":
            self.shift_flaps[plan.group] = _more_restless(self.shift_flaps.get(plan.group), now=now, guard=guard)
        elif plan.after.entry is not None:
            self.sent_by[plan.group] = run.opened.decided_by
        return None

    def failed_shift(self, group: GroupId, *, back: bool, now: Instant) -> None:
        """Count one more shift of traffic in a row that did not complete: to another door, or back."""
        tries = self.return_tries if back else self.shift_tries
        tries[group] = _one_more(tries.get(group), now)

    def _protected(self, group: GroupId, run: Run, *, now: Instant, guard: Guard) -> None:
        """Fold the end of a change of the set that must acknowledge; one that is stuck is decided on anew."""
        assert run.settled is not None, "only a settled run has an end"
        if run.settled.outcome is not Outcome.COMPLETED:
            return self.failed_protection(group, now)
        self.protect_tries.pop(group, None)
        if shrinks(run.plan):
            self.leavings[group] = _more_restless(self.leavings.get(group), now=now, guard=guard)
        return None

    def failed_protection(self, group: GroupId, now: Instant) -> None:
        """Count one more change of the set that must acknowledge, in a row, that did not complete."""
        self.protect_tries[group] = _one_more(self.protect_tries.get(group), now)

    def failed_try(self, group: GroupId, now: Instant, *, urged: bool) -> None:
        """Count one more move in a row that did not complete; those that a trigger asked for are counted apart."""
        tries = self.urge_tries if urged else self.tries
        tries[group] = _one_more(tries.get(group), now)

    def _forget(self, group: GroupId) -> None:
        """A move or a shift that completed makes a new start."""
        for tries in (self.shift_tries, self.return_tries):
            tries.pop(group, None)
        self.sent_by.pop(group, None)

    def is_news(self, decision: Decision) -> bool:
        """Return whether a decision differs from the last one of its group in more than its figures."""
        last = self.decisions.get(decision.group)
        return last is None or essence(last) != essence(decision)


def _one_more(before: Tries | None, now: Instant) -> Tries:
    return Tries(count=before.count + 1 if before else 1, at=now)


def _more_restless(before: Flaps | None, *, now: Instant, guard: Guard) -> Flaps:
    points = (before or Flaps()).now(now, guard.flap_half_life) + guard.flap_penalty
    return Flaps(points=points, at=now)


def _ago(settled: Settled, clock: Clock) -> Instant:
    """When a run settled, on this machine's boot clock; its own stamp may be of an earlier boot."""
    age: timedelta = max(clock.wall() - _aware(settled.wall), timedelta())
    return clock.now() - age


def _aware(wall: datetime) -> datetime:
    assert wall.tzinfo is not None, "wall times carry their zone"
    return wall
