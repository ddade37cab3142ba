"""The decision: what is to be done about each group, or why nothing is; and what that rests on.

What this is not: how it is come by (`deciding`, `upkeep`), or the steps (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from math import log2
from typing import Any, TypeAlias

from evac.core.estate import ComponentId, Estate, GroupId, RegionId
from evac.core.observation import Instant
from evac.core.plan import Placement, RunKind
from evac.core.policy import Guard
from evac.core.protection import Protect, Streams
from evac.core.run import RunId
from evac.core.targets import Members, Rejected
from evac.core.traffic import Shift
from evac.core.triggers import Fired, Standing
from evac.core.verdict import Assessment, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaps:
    """How restless a group has been: points that halve with time (RFC 2439)."""

    points: float = 0.0
    at: Instant = timedelta()

    def now(self, now: Instant, half_life: timedelta) -> float:
        """Return the points left at `now`; a moment before them, by a clock that was set back, is that of them."""
        return float(self.points * 0.5 ** (max(now - self.at, timedelta()) / half_life))

    def suppressed(self, now: Instant, guard: Guard) -> bool:
        """Return whether the points once passed the limit and have not yet fallen to where it is free again."""
        return self.points >= guard.flap_suppress and self.now(now, guard.flap_half_life) >= guard.flap_reuse

    def until(self, guard: Guard) -> Instant:
        """Return when the points have fallen to where a group that passed the limit is free again."""
        return self.at + guard.flap_half_life * max(0.0, log2(self.points / guard.flap_reuse))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How many runs of a group in a row ended without completing, and when the last one did."""

    count: int
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All a decision rests on: what is declared, what was seen, and what evac itself has done."""

    estate: Estate
    assessment: Assessment
    members: Members
    placements: Mapping[GroupId, Placement]
    active: Mapping[GroupId, RunId] = field(default_factory=dict)
    giving_way: frozenset[GroupId] = frozenset()
    """The groups whose run under way gives way to a move."""
    stuck: Mapping[GroupId, RunId] = field(default_factory=dict)
    last_move_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    flaps: Mapping[GroupId, Flaps] = field(default_factory=dict)
    tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Moves in a row that did not complete."""
    rejoin_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Rebuilds in a row that did not complete; they never keep a group from being moved."""
    shift_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Shifts to another door in a row that did not complete: such a group is moved."""
    return_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Shifts back to the primary's own door in a row that did not complete."""
    shift_flaps: Mapping[GroupId, Flaps] = field(default_factory=dict)
    """How restless the way in to each group has been; it holds back the return, and no move."""
    sent_by: Mapping[GroupId, str] = field(default_factory=dict)
    """Who sent a group's clients to another door by hand: there they stay until somebody sends them back."""
    protect_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Changes of the set that must acknowledge, in a row, that did not complete."""
    turned_back_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    """When a move of each group last turned back, whoever asked for it: what fails then may be what it had stopped."""
    settled_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    """When each group's last run ended: who was away while it ran, perhaps because of it, is given time anew."""
    leavings: Mapping[GroupId, Flaps] = field(default_factory=dict)
    """How restless a group's standbys have been: points for each time a set shrank."""
    streams: Streams = field(default_factory=dict)
    heard_since: Mapping[RegionId, Instant] = field(default_factory=dict)
    """Since when each region's heartbeat has come without a gap."""
    triggers: Mapping[GroupId, tuple[Standing, ...]] = field(default_factory=dict)
    """How each group's triggers stand."""
    urged_at: Mapping[GroupId, Instant] = field(default_factory=dict)
    """When a group was last moved as planned for a trigger: it holds back triggers, and nothing else."""
    urge_tries: Mapping[GroupId, Tries] = field(default_factory=dict)
    """Moves in a row that a trigger asked for and that did not complete; they keep no group from being moved else."""
    paused: str = ""
    """Why automation is off; empty when it is on."""
    quiet: Mapping[GroupId, str] = field(default_factory=dict)
    """The maintenance in which a group is not moved by itself, in words."""

    def still(self) -> View:
        """Return the same of this moment: what is known is held in maps of its own, and goes on without it."""
        own: dict[str, Any] = {f.name: dict(m) for f in fields(self) if isinstance(m := getattr(self, f.name), dict)}
        return replace(self, **own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Do nothing, and why. `watching` is False when all is well."""

    group: GroupId
    reasons: tuple[str, ...]
    watching: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Move a group from `source` to `target`. `accept_loss` is a person's word in place of a fence."""

    group: GroupId
    kind: RunKind
    source: RegionId
    target: RegionId
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    symptom_at: Instant = timedelta()
    decided_by: str = "evac"
    accept_loss: bool = False
    told: tuple[str, ...] = ()
    """What the person was shown before accepting a loss."""
    trigger: Fired | None = None
    """The trigger that asked for it, where one did; the views in `evidence` are then what it read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A move, or a shift of traffic, that waits for a person's word."""

    group: GroupId
    move: Move | Shift
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPerson:
    """Something is wrong that evac cannot or may not mend; what a person can do is in the reasons."""

    group: GroupId
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    """Where no region can take over, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin:
    """Make a returned region a standby: rebuild what was a primary there, or turn to the primary what missed a move.

    `missed` are the components of a region that held no primary and stands by for one that was left.
    """

    group: GroupId
    region: RegionId
    reasons: tuple[str, ...]
    missed: tuple[ComponentId, ...] = ()


Decision: TypeAlias = Hold | Move | Shift | Ask | CallPerson | Rejoin | Protect
