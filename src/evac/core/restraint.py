"""What holds automation back: every reason for which evac would not move a group by itself now, whatever ails it.

Intuition: the same list answers two questions. When something must be done, it decides who may do it; when all is well,
it tells a person that nothing would be done by itself, while there is time to change that.

What this is not: what ails a group, where it could go, whether it can be fenced (`deciding`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from evac.core.decision import Flaps, View
from evac.core.estate import Automation, Estate, GroupId
from evac.core.observation import Instant
from evac.core.triggers import Standing


class Restraint(StrEnum):
    """What kind of thing holds automation back."""

    PAUSE = "pause"
    MAINTENANCE = "maintenance"
    MANUAL = "manual"
    APPROVAL = "approval"
    COOLDOWN = "cooldown"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrained:
    """One thing that holds a group back, in words; `left` is for how long yet, where that is known.

    `points` is how restless the group is, where that is what holds it back.
    """

    kind: Restraint
    reason: str
    left: timedelta | None = None
    points: float | None = None


def restraints(view: View, group: GroupId, *, now: Instant) -> tuple[Restrained, ...]:
    """Return all that holds automation back for a group, the most general first; nothing where evac may act."""
    return tuple(_each(view, group, now))


def _each(view: View, group: GroupId, now: Instant) -> Iterator[Restrained]:
    if view.paused:
        yield Restrained(kind=Restraint.PAUSE, reason=f"automation is paused: {view.paused}")
    if quiet := view.quiet.get(group):
        yield Restrained(kind=Restraint.MAINTENANCE, reason=f"nothing moves by itself during {quiet}")
    modes = {s.automation for s in view.estate.group_services(group)}
    if Automation.MANUAL in modes:
        yield Restrained(kind=Restraint.MANUAL, reason="this group moves by hand only")
    elif Automation.SEMI_AUTOMATIC in modes:
        yield Restrained(kind=Restraint.APPROVAL, reason="this group asks before it moves")
    yield from _cools_down(view, group, view.last_move_at, now, "nothing automatic")
    guard, flaps = view.estate.guard, view.flaps.get(group, Flaps())
    if flaps.suppressed(now, guard):
        points = flaps.now(now, guard.flap_half_life)
        said = f"flapping: {points:.0f} points, nothing automatic above {guard.flap_reuse:.0f}"
        left = flaps.until(guard) - now
        yield Restrained(kind=Restraint.FLAPPING, reason=said, left=left, points=points)


def restraints_of_trigger(view: View, standing: Standing, *, now: Instant) -> tuple[Restrained, ...]:
    """Return what else holds back what a trigger asks for: its own declaration, and an earlier move of the kind.

    A planned move is no reason to leave a loss alone that follows it; another trigger waits.
    """
    said = f"trigger {standing.trigger} asks before it acts"
    asks = () if standing.automatic else (Restrained(kind=Restraint.APPROVAL, reason=said),)
    return (*asks, *_cools_down(view, standing.group, view.urged_at, now, "nothing that a trigger asks for"))


def _cools_down(
    view: View, group: GroupId, moved: Mapping[GroupId, Instant], now: Instant, what: str
) -> Iterator[Restrained]:
    cooldown, last = cooldown_of(view.estate, group), moved.get(group)
    if last is not None and now - last < cooldown:
        ago, left = now - last, cooldown - (now - last)
        said = f"moved {ago.total_seconds():.0f} s ago; {what} for another {left.total_seconds():.0f} s"
        yield Restrained(kind=Restraint.COOLDOWN, reason=said, left=left)


def cooldown_of(estate: Estate, group: GroupId) -> timedelta:
    """Return how long after a failover nothing automatic follows for a group: the longest of its services' kinds."""
    guard = estate.guard
    return max(guard.cooldown.get(s.kind, guard.hold_down) for s in estate.group_services(group))
