"""Permission: whether evac may do by itself what it would do, or whose word it waits for.

What this is not: what holds automation back (`restraint`), or what is to be done (`deciding`, `urging`).
"""

from __future__ import annotations

from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, View
from evac.core.estate import GroupId, RegionId
from evac.core.observation import Instant
from evac.core.plan import RunKind
from evac.core.restraint import Restrained, Restraint, restraints
from evac.core.traffic import Shift


def permitted(view: View, move: Move | Shift, now: Instant, *, also: tuple[Restrained, ...] = ()) -> Decision:
    """Return what is made of a move, or of a shift of traffic: itself, or what holds it back; `also` does so, too."""
    group = move.group
    if isinstance(move, Shift):
        command = by_hand(view, group, move.target)
    elif move.kind is RunKind.SWITCHOVER:
        command = f"evac switchover {move.target}"
    else:
        command = f"evac failover {move.source} --to {move.target}"
    held = (*restraints(view, group, now=now), *also)
    kinds = {r.kind for r in held}
    why = (*move.reasons, *(r.reason for r in held))
    if not held:
        return move
    if Restraint.APPROVAL in kinds and not kinds & {Restraint.PAUSE, Restraint.MAINTENANCE}:
        # What waits for a person is not automatic: neither a cooldown nor restlessness keeps evac from asking.
        return Ask(group=group, move=move, reasons=why)
    if Restraint.MAINTENANCE in kinds and Restraint.PAUSE not in kinds:
        # Whoever works there has been told; to call them for what they do would teach them not to listen.
        return Hold(group=group, reasons=(*why, f"by hand: {command}"), watching=True)
    return CallPerson(group=group, reasons=(*why, f"by hand: {command}"))


def by_hand(view: View, group: GroupId, door: RegionId) -> str:
    """Return the command by which a person sends a group's clients in by a door."""
    home = door == view.placements[group].primary == view.estate.home[group]
    return "evac failback" if home else f"evac shift {door}"
