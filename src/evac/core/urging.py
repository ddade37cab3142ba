"""Urging: what is made of a trigger that has been true for long enough.

Intuition: what evac detects by itself is heard first, and a trigger only adds a reason; where to go, whether it may be,
what it needs to be safe are asked as for any other decision. What cannot be done at once (nowhere to go, a pause, a
person to be asked or called) waits behind upkeep: a trigger that stays true for days must not keep a standby from being
rebuilt. Nor must one whose moves fail keep evac from leaving a region that is lost: its tries are counted apart.

What this is not: whether a trigger is true (`triggers`), or what is detected without one (`deciding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from evac.core import traffic
from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, View
from evac.core.fencing import stops_cleanly, unfenceable
from evac.core.observation import Instant
from evac.core.permission import permitted
from evac.core.plan import Placement, RunKind
from evac.core.restraint import restraints_of_trigger
from evac.core.targets import choose
from evac.core.traffic import Shift
from evac.core.trigger import Action, Severity
from evac.core.triggers import Standing
from evac.core.trying import after_failure


def urged(view: View, placement: Placement, *, now: Instant) -> Move | Shift | None:
    """Return what a trigger asks for and evac may do by itself; None if there is no such thing."""
    if placement.group not in view.triggers:
        return None
    return next((d for d in _decisions(view, placement, now) if isinstance(d, Move | Shift)), None)


def unheard(view: View, placement: Placement, otherwise: Decision, *, now: Instant) -> Decision:
    """Return what is to be said of triggers that evac does nothing about by itself, where it has nothing else to do."""
    if placement.group not in view.triggers or not isinstance(otherwise, Hold):
        return otherwise
    found = [d for d in _decisions(view, placement, now) if isinstance(d, Ask | CallPerson | Hold)]
    if not found:
        return otherwise
    said = min(found, key=lambda d: isinstance(d, Hold))
    return replace(said, reasons=(*said.reasons, *otherwise.reasons)) if otherwise.watching else said


def stays_away(view: View, placement: Placement, *, now: Instant) -> str:
    """Return which trigger keeps clients at the other door that they came in by; empty if none does.

    One that nobody can tell of now does so only if it has fired.
    """
    for standing in view.triggers.get(placement.group, ()):
        if standing.action is not Action.SHIFT:
            continue
        if standing.true or standing.fired:
            return f"trigger {standing.trigger} is not over"
        if standing.true is False and now - standing.since < view.estate.guard.recover_for:
            return f"trigger {standing.trigger} has been over for {_seconds(now - standing.since)} only"
    return ""


def _decisions(view: View, placement: Placement, now: Instant) -> Iterator[Decision]:
    """What each trigger that asks for its action leads to, the most severe first."""
    acting = [s for s in view.triggers.get(placement.group, ()) if s.acts and s.region == placement.primary]
    for standing in sorted(acting, key=lambda s: tuple(Severity).index(s.severity)):
        match standing.action:
            case Action.FAILOVER:
                yield _move(view, placement, standing, now)
            case Action.SHIFT:
                if placement.entry is None:
                    yield _shift(view, placement, standing, now)
            case Action.CALL:  # pragma: no branch (the union is closed)
                yield CallPerson(group=placement.group, reasons=_reasons(standing))


def _reasons(standing: Standing) -> tuple[str, ...]:
    """What a trigger says for itself."""
    true = [f"{e.vantage}: {e.why}" for e in standing.sights if e.votes and e.view == "true"]
    said = f"trigger {standing.trigger} ({standing.severity}): {standing.when}, for {_seconds(standing.held)}"
    says = (standing.says,) if standing.says else ()
    return (said, *says, f"seen from {'; from '.join(true)}")


def _move(view: View, placement: Placement, standing: Standing, now: Instant) -> Decision:
    """The primaries move: as planned, without a loss, where they can still be asked to, and else as in any failover."""
    group, reasons = placement.group, _reasons(standing)
    tries = view.urge_tries.get(group)
    if tries and (again := after_failure(group, tries, now=now)):
        return replace(again, reasons=(*reasons, *again.reasons))
    choice = choose(view.estate, view.assessment, placement, view.members)
    if choice.target is None:
        nobody = ("no region can take over:", *(f"{r.region} {r.reason}" for r in choice.rejected))
        return CallPerson(group=group, reasons=(*reasons, *nobody), rejected=choice.rejected)
    planned = stops_cleanly(view.estate, view.assessment, placement, view.members)
    move = Move(
        group=group,
        kind=RunKind.SWITCHOVER if planned else RunKind.FAILOVER,
        source=placement.primary,
        target=choice.target,
        reasons=(*reasons, f"{choice.target} scores {choice.score:.2f}"),
        rejected=choice.rejected,
        evidence=standing.sights,
        symptom_at=standing.as_fired().since,
        trigger=standing.as_fired(),
    )
    if not planned and (why := unfenceable(view.estate, view.assessment, placement, view.members)):
        by_hand = f"evac failover {placement.primary} --to {choice.target} --accept-loss"
        return CallPerson(group=group, reasons=(*reasons, why, f"if you are sure that it writes no more: {by_hand}"))
    return permitted(view, move, now, also=restraints_of_trigger(view, standing, now=now))


def _shift(view: View, placement: Placement, standing: Standing, now: Instant) -> Decision:
    """Clients come in by another door; where none is open a person is called, since no more was asked for."""
    group, reasons, guard = placement.group, _reasons(standing), view.estate.guard
    tries = view.shift_tries.get(group)
    if tries and now - tries.at < guard.hold_down:
        failed = f"sending clients in by another door did not work {_seconds(now - tries.at)} ago"
        return CallPerson(group=group, reasons=(*reasons, failed))
    doors = traffic.choose_door(view.estate, view.assessment, placement, view.members)
    if doors.target is None:
        return CallPerson(group=group, reasons=(*reasons, f"traffic cannot be shifted: {doors.why}"))
    fired = standing.as_fired()
    shift = traffic.by_another_door(
        placement, doors, reasons=reasons, evidence=standing.sights, symptom_at=fired.since, trigger=fired
    )
    return permitted(view, shift, now, also=restraints_of_trigger(view, standing, now=now))


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
