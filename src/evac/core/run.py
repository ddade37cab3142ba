"""A run: what a journal can say, and the state its entries add up to.

Intuition: the journal is the only truth; a run is its fold (`fold.apply`), and what is to be done next follows from
that state alone (`effects.effects`). So a controller that dies is replaced by one that reads the same journal and gets
the same answer. This module holds the words (the entries) and the state with the questions one can ask it.

What this is not: the rules by which a run goes on (`effects`), or the doing (`engine.executor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType, TypeAlias

from evac.core.catching_up import UNLESS_HIGHEST, holds_most
from evac.core.estate import ComponentId
from evac.core.fence import unfenced
from evac.core.layered import updated
from evac.core.observation import Instant, Json
from evac.core.plan import Barrier, Phase, Plan, Step, StepId, Term, Verb

RunId = NewType("RunId", str)

LOOKS_MAX = 2
"""How often a step whose last try ended unknown is looked at before a person is called."""
HARMLESS = frozenset({Verb.PREPARE, Verb.CATCH_UP, Verb.VERIFY})
"""Verbs that change nothing a client sees: without an undo they still do not keep a run from turning back."""


class Failure(StrEnum):
    """How a try ended without a receipt; the names are those of the driver errors."""

    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    INDETERMINATE = "indeterminate"


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled-back"
    GAVE_WAY = "gave-way"
    """Left where it stood, because the group had to be moved; what it was for is begun anew afterwards."""
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a step's effect holds. `kind` is for a fence: stopped, starved, expired, device, forced; for other
    steps the verb. `facts` are what the driver saw, and what later steps are given.
    """

    kind: str
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who vouches for an entry of a journal: what exactly is vouched for is a statement of `core.evidence`.

    `key` is the public key itself (ed25519, 64 hexadecimal digits), so that nothing has to be looked up; `by` is who
    claims to have signed (a region's agent, a leader), for the estate of that name, at `wall` by its clock.
    """

    key: str
    by: str
    estate: str
    wall: datetime
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The run exists: its plan is pinned. `symptom_at` is when the first sign was seen, for the achieved RTO.

    `decision` is the decision in plain data (reasons, evidence, rejected targets), kept for the report.
    """

    run: RunId
    at: Instant
    wall: datetime
    plan: Plan
    plan_hash: str
    decided_by: str
    symptom_at: Instant
    decision: Mapping[str, Json]

    @property
    def detected(self) -> bool:
        """Return whether it answers what evac detected by itself: no person began it, and no trigger asked for it."""
        return self.decided_by == "evac" and not self.decision.get("trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """A receipt of the kind `forced`: a person took the responsibility that the old primary writes no more.

    Written with the run's first entry, and signed by the leader that took the word: `person` gave it, for the
    `components` of the plan that are promoted on it. `told` is what the person was shown before that, line by line;
    `risks` is what evac itself held possible at that moment.
    """

    at: Instant
    wall: datetime
    person: str
    components: tuple[ComponentId, ...]
    reason: str = ""
    told: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    signature: Signature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Another controller, or the same one started again, took the run over at a higher term."""

    at: Instant
    wall: datetime
    term: Term
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A try of a step's `do` (or `undo`) is about to be ordered. Written before the order exists."""

    at: Instant
    step: StepId
    attempt: int
    term: Term
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The try has its receipt, signed by the agent that gave it."""

    at: Instant
    step: StepId
    attempt: int
    receipt: Receipt
    undo: bool = False
    signature: Signature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The try ended without a receipt."""

    at: Instant
    step: StepId
    attempt: int
    failure: Failure
    reason: str
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The run is over; nothing may follow. The leader's signature seals the journal up to here."""

    at: Instant
    wall: datetime
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    signature: Signature | None = None


Event: TypeAlias = Opened | Forced | Resumed | Started | Done | Failed | Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one step's `do`, or its undo, has come. `failures` counts the tries that ended without a receipt; `late`
    says that of an earlier try nobody knows whether it has ended: it may happen yet, whatever a look shows now.
    """

    attempt: int
    term: Term
    started_at: Instant
    ended_at: Instant | None = None
    receipt: Receipt | None = None
    failure: Failure | None = None
    reason: str = ""
    failures: int = 0
    late: bool = False

    @property
    def running(self) -> bool:
        """Return whether a try has been ordered and not answered."""
        return self.receipt is None and self.failure is None

    @property
    def doubtful(self) -> bool:
        """Return whether the last try may have happened: it has no answer, or nobody could say."""
        return self.running or self.failure is Failure.INDETERMINATE

    def spent(self, step: Step) -> bool:
        """Return whether the last try failed and no other will follow."""
        retries = step.retries + (LOOKS_MAX if self.may_come_yet(step) else 0)
        match self.failure:
            case None:
                return False
            case Failure.REJECTED:
                return True
            case Failure.UNAVAILABLE:
                return self.failures > retries
            case Failure.INDETERMINATE:  # pragma: no branch (the union is closed)
                return self.failures > step.retries + LOOKS_MAX

    def may_come_yet(self, step: Step) -> bool:
        """Return whether a promotion may come yet, though the last try of it has failed. What else comes late is
        undone by its undo, or refused by its term; this would be a second writer once the old primary is let go.
        """
        return step.pivot and (self.late or self.doubtful)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's state: what its journal says, folded. `entries` counts the journal's entries so far."""

    opened: Opened
    term: Term
    entries: int = 1
    forced: Forced | None = None
    resumed: tuple[Resumed, ...] = ()
    does: Mapping[StepId, Progress] = field(default_factory=dict)
    undoes: Mapping[StepId, Progress] = field(default_factory=dict)
    settled: Settled | None = None
    failed: frozenset[StepId] | None = field(default=None, repr=False, compare=False)
    """The required steps that have finally failed, carried on from entry to entry; None: they are to be looked for."""
    passed: Mapping[Barrier, int] = field(default_factory=dict, repr=False, compare=False)
    """How many of those before a barrier are over, from the first on: what is over stays so. Carried on likewise."""

    @property
    def id(self) -> RunId:
        return self.opened.run

    @property
    def plan(self) -> Plan:
        return self.opened.plan

    def receipt(self, step: StepId) -> Receipt | None:
        """Return a step's receipt, None if it has none."""
        progress = self.does.get(step)
        return progress.receipt if progress else None

    def done(self, step: Step) -> bool:
        """Return whether a step has its receipt."""
        return self.receipt(step.id) is not None

    def needless(self, step: Step) -> bool:
        """Return whether a step is left out, because what it needs has shown that nothing is left for it to do."""
        if not step.action.args.get(UNLESS_HIGHEST) or step.id in self.does:
            return False
        receipts = [self.receipt(n) for n in step.needs]
        told = [receipt.facts for receipt in receipts if receipt is not None]
        return len(told) == len(receipts) and holds_most(step.action.region, told)

    def spent(self, step: Step) -> bool:
        """Return whether a step has finally failed, or will never start: it will not be tried any more."""
        progress = self.does.get(step.id)
        if progress is None:
            return self.skipped(step) or (bool(self.unfenced(step)) and not self._fencing(step))
        return progress.spent(step)

    def skipped(self, step: Step) -> bool:
        """Return whether an optional step never starts, because something it waits for is not there."""
        if not step.optional or step.id in self.does:
            return False
        return any(self.spent(self.plan.step(n)) for n in step.needs) or any(map(self._stays_shut, step.behind))

    def _stays_shut(self, barrier: Barrier) -> bool:
        """Whether a required step before a barrier has finally failed."""
        if self.failed is not None:
            return any(barrier in self.plan.step(i).before for i in self.failed)
        return any(not s.optional and self.spent(s) for s in self.plan.graph.before.get(barrier, ()))

    def unknown(self, step: Step) -> bool:
        """Return whether a step has finally failed and may have happened all the same, or may happen yet."""
        progress = self.does.get(step.id)
        if progress is None or not progress.spent(step):
            return False
        return progress.failure is Failure.INDETERMINATE or progress.may_come_yet(step)

    def unfenced(self, step: Step) -> str:
        """Return why a promotion that could start now lacks its proof; empty if it does not, or is none."""
        if not step.pivot or not self.ready(step):
            return ""
        own = ((s.id, self.receipt(s.id)) for s in self.plan.graph.of[step.action.component])
        kinds = {i: receipt.kind for i, receipt in own if receipt is not None}
        word = self.forced.components if self.forced else ()
        return unfenced(self.plan, step, kinds, word=word)

    def _fencing(self, promotion: Step) -> bool:
        """Whether a fence of the same component is under way, or about to start, so that the proof may still come."""
        own = self.plan.graph.of[promotion.action.component]
        mine = [s for s in own if s.phase is Phase.FENCE and s is not promotion and not self.done(s)]
        return any(not self.spent(s) if s.id in self.does else self.ready(s) for s in mine)

    def ready(self, step: Step) -> bool:
        """Return whether all that a step needs is done or needless, and no barrier holds it; a required one goes on
        without what is optional and failed.
        """
        needed = [self.plan.step(n) for n in step.needs]
        return all(
            self.done(n) or self.needless(n) or (not step.optional and n.optional and self.spent(n)) for n in needed
        ) and not any(map(self.holds, step.behind))

    def holds(self, barrier: Barrier) -> bool:
        """Return whether something before a barrier is not over yet."""
        return self._passed(barrier) < len(self.plan.graph.before.get(barrier, ()))

    def _passed(self, barrier: Barrier) -> int:
        """How many before a barrier are over, from the first on; those who were at the last entry are not looked at."""
        line, count = self.plan.graph.before.get(barrier, ()), self.passed.get(barrier, 0)
        while count < len(line) and self._over(line[count]):
            count += 1
        return count

    def _over(self, step: Step) -> bool:
        return self.done(step) or self.needless(step) or (step.optional and self.spent(step))

    @property
    def committed(self) -> bool:
        """Return whether the run can no longer turn back: something that cannot be undone holds, or may hold."""
        return any(self._may_hold(s) for s in self.plan.steps if s.pivot or _lasting(s))

    @property
    def broken(self) -> tuple[Step, ...]:
        """Return the required steps that finally failed."""
        failed = self.failed if self.failed is not None else self._failed_of(self.plan.steps)
        return tuple(s for s in self.plan.steps if s.id in failed) if failed else ()

    @property
    def halted(self) -> bool:
        """Return whether the run goes no further: a required step finally failed before the point of no return."""
        return bool(self.broken) and not self.committed

    @property
    def turned(self) -> bool:
        """Return whether the run goes back: it is halted, and whatever failed has not happened, or would do no harm."""
        return self.halted and not any(self.unknown(s) and s.action.verb not in HARMLESS for s in self.broken)

    @property
    def under_way(self) -> tuple[tuple[StepId, bool, Progress], ...]:
        """Return the tries without an answer, each as step, whether it is an undo, and its progress."""
        does = [(i, False, p) for i, p in self.does.items() if p.running]
        return (*does, *((i, True, p) for i, p in self.undoes.items() if p.running))

    def after(self, step: StepId, progress: Progress, *, undo: bool) -> Run:
        """Return the state in which a step, or its undo, has come so far."""
        if undo:
            return replace(self, undoes=updated(self.undoes, {step: progress}))
        then = replace(self, does=updated(self.does, {step: progress}), failed=None)
        then = replace(then, passed={barrier: then._passed(barrier) for barrier in self.plan.graph.before})
        if self.failed is None:
            return replace(then, failed=then._failed_of(self.plan.steps))
        opens = self.plan.graph.opens
        now_open = [b for b in then.passed if self.holds(b) and not then.holds(b)]
        told: tuple[StepId | Barrier, ...] = (step, *now_open)
        touched = {step: self.plan.step(step)} | {s.id: s for one in told for s in opens.get(one, ())}
        return replace(then, failed=self.failed.difference(touched) | then._failed_of(touched.values()))

    def _failed_of(self, steps: Iterable[Step]) -> frozenset[StepId]:
        return frozenset(s.id for s in steps if not s.optional and self.spent(s))

    def _may_hold(self, step: Step) -> bool:
        progress = self.does.get(step.id)
        return progress is not None and (not progress.spent(step) or self.unknown(step))


def _lasting(step: Step) -> bool:
    """Whether a step's effect stays and is seen: it has no undo, and is not one of the harmless verbs."""
    return not step.undoable and step.action.verb not in HARMLESS
