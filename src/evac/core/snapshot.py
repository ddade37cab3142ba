"""What evac knows at one moment, and what people ask of it: the values that the CLI, the API and the controller share.

Intuition: the controller writes a snapshot beside its journal a few times a second, so whoever asks for the state of
things needs only the store, and gets the last state, with its age, even when the controller is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from evac.core.decision import Decision
from evac.core.estate import GroupId, RegionId
from evac.core.health import ServiceHealth
from evac.core.lease import Leader
from evac.core.observation import Instant, MemberSeen
from evac.core.plan import Placement
from evac.core.quiet import Pause, Window
from evac.core.restraint import Restrained
from evac.core.run import RunId
from evac.core.standing import SetStanding
from evac.core.triggers import Standing
from evac.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The controller's view of the estate at `at` (its boot clock) and `wall`."""

    estate: str
    at: Instant
    wall: datetime
    verdicts: tuple[Verdict, ...]
    voiceless: dict[str, str]
    members: tuple[MemberSeen, ...]
    placements: tuple[Placement, ...]
    unplaced: dict[str, list[str]]
    """Groups whose primaries are not known yet, and why."""
    decisions: tuple[Decision, ...]
    active: dict[str, str]
    stuck: dict[str, str]
    paused: str = ""
    pause: Pause | None = None
    windows: tuple[Window, ...] = ()
    """The maintenance that is under way."""
    restraints: dict[str, tuple[Restrained, ...]] = field(default_factory=dict)
    """By group, all that holds automation back now, whether or not anything ails it."""
    leader: Leader | None = None
    """Who leads, where agents elect one; None in the embedded form."""
    commit: timedelta | None = None
    """How long the store took to commit the snapshot before this one, as the leader saw it."""
    sets: tuple[SetStanding, ...] = ()
    health: tuple[ServiceHealth, ...] = ()
    triggers: tuple[Standing, ...] = ()
    """How the triggers stand, those that ask for their action first; of many only so many."""


class Wish(StrEnum):
    """What a person can ask for."""

    FAILOVER = "failover"
    SWITCHOVER = "switchover"
    FAILBACK = "failback"
    SHIFT = "shift"
    REJOIN = "rejoin"
    DEGRADE = "degrade"
    PAUSE = "pause"
    RESUME = "resume"
    MAINTAIN = "maintain"
    MAINTAINED = "maintained"
    APPROVE = "approve"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A person's wish. `region` is the source of a failover, the region to rejoin, or that whose primary is to
    go on alone; empty where it means nothing."""

    id: str
    wish: Wish
    by: str
    wall: datetime
    group: GroupId | None = None
    region: RegionId | None = None
    target: RegionId | None = None
    accept_loss: bool = False
    told: tuple[str, ...] = ()
    """What the person was shown before accepting a loss, line by line."""
    reason: str = ""
    run: RunId | None = None
    lasting: timedelta | None = None
    """For how long automation is to be off, or work is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a request: the run it started, or why it was refused; both empty when it is simply done."""

    request: str
    run: RunId | None = None
    refused: tuple[str, ...] = ()
