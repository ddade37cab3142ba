"""What evac knows at one moment, and what people ask of it: the values that the CLI, the API and the controller share.

Intuition: the controller writes a snapshot beside its journal a few times a second, so whoever asks for the state of
things needs only the store, and gets the last state, with its age, even when the controller is gone.

Of a large estate the snapshot is a head, which says what holds for all of it, and parts, which say the rest of some
groups each, as of a moment of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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

CLOCKS_AGREE = timedelta(seconds=1)
"""A part's boot clock is another one than its head's where the wall clocks show it by more than this."""
REFRESHED_AFTER = timedelta(minutes=10)
"""A part in which nothing has changed that a person would notice is written again after so long."""
STANDS_FOR = REFRESHED_AFTER + timedelta(minutes=1)
"""For so long what a part says of members is what their writer still sees: parts that are due wait for their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a snapshot says of some of the groups, as it was at `at` and `wall` by its writer's clocks. `layout` names
    the division it is a part of.
    """

    layout: str
    at: Instant
    wall: datetime
    members: tuple[MemberSeen, ...]
    placements: tuple[Placement, ...]
    unplaced: dict[str, list[str]]
    decisions: tuple[Decision, ...]
    restraints: dict[str, tuple[Restrained, ...]]
    sets: tuple[SetStanding, ...]
    health: tuple[ServiceHealth, ...]


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
    layout: str = ""
    parts: int = 0
    """Into how many parts what is said of groups is divided, and the name of that division; 0: all of it is here."""
    missing: int = 0
    """How many parts were not there when it was read."""
    oldest: datetime | None = None
    """When the oldest part was written of those that it was put together from."""

    def whole(self, parts: Iterable[Part]) -> Snapshot:
        """Return what this head and those parts say together. What a missing part would say is not known.

        What members said in a part stands until the part is written anew: whoever wrote it looks it through all the
        time, and writes again what has changed. A part that is older than `STANDS_FOR` was left by somebody who ended;
        so was one by another machine's boot clock, of which members are as old as the wall clocks say.
        """
        there = tuple(parts)
        return replace(
            self,
            members=tuple(m for part in there for m in self._here(part)),
            placements=tuple(p for part in there for p in part.placements),
            unplaced={g: why for part in there for g, why in part.unplaced.items()},
            decisions=tuple(d for part in there for d in part.decisions),
            restraints={g: held for part in there for g, held in part.restraints.items()},
            sets=tuple(s for part in there for s in part.sets),
            health=tuple(h for part in there for h in part.health),
            missing=self.parts - len(there),
            oldest=min((part.wall for part in there), default=None),
        )

    def _here(self, part: Part) -> tuple[MemberSeen, ...]:
        """What members say in a part, on this head's clock."""
        age = self.at - part.at
        off = age - (self.wall - part.wall)
        moved = off if abs(off) > CLOCKS_AGREE else age if age <= STANDS_FOR else timedelta()
        return tuple(replace(m, at=m.at + moved) for m in part.members) if moved else part.members


UNSEEN = "its members have not been seen yet"
"""Why nobody knows where a group's primaries are, before anybody has said another reason."""


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
