"""A run: how far a plan has come, as a fold of its journal.

Intuition: the journal is the only truth. `apply` folds one entry into the state and refuses an entry that cannot
follow; `effects` says what is to be done next, from the state alone. So a controller that dies is replaced by one
that reads the same journal and gets the same answer.

Rules (all of them in `apply` and `effects`, nowhere else):
- a step starts when all it needs is done;
- a failed step is tried again while tries are left, a step whose answer is unknown is looked at again;
- a required step that finally fails before any pivot has started turns the run back: what was done is undone in
  reverse order; after a pivot has started the run only goes forward, and a required failure leaves it stuck;
- a step that may have happened and cannot be seen leaves the run stuck: a person decides, evac does not guess;
- an optional step that finally fails is a finding, and what needs it goes on without it.

What this is not: the doing (`engine.executor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType, TypeAlias

from evac.core.observation import Instant, Json
from evac.core.plan import Plan, StepId, Term

RunId = NewType("RunId", str)


class Failure(StrEnum):
    """How a try ended without a receipt; the names are those of the driver errors."""

    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    INDETERMINATE = "indeterminate"


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled-back"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a step's effect holds. `kind` is for a fence: stopped, starved, expired, device, forced; for other
    steps the verb. `facts` are what the driver saw, and what later steps are given.
    """

    kind: str
    facts: Mapping[str, Json] = field(default_factory=dict)


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
    """The try has its receipt."""

    at: Instant
    step: StepId
    attempt: int
    receipt: Receipt
    undo: bool = False


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
    """The run is over; nothing may follow."""

    at: Instant
    wall: datetime
    outcome: Outcome
    reasons: tuple[str, ...] = ()


Event: TypeAlias = Opened | Resumed | Started | Done | Failed | Settled
