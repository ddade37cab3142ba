"""What a leader remembered before memories were kept: all journals, folded one by one into what each group's are worth.

What this is not: how it is done (`core.memory`); that is held against this.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from evac.core.decision import Flaps, Tries
from evac.core.memory import HOLDS_DOWN
from evac.core.observation import Instant
from evac.core.plan import RunKind
from evac.core.policy import Guard
from evac.core.protection import shrinks
from evac.core.run import Outcome, Run
from evac.core.standing import changes_of


def remembered(runs: Iterable[tuple[Run, Instant]], guard: Guard) -> dict[str, object]:
    """Return what there is to know of one group, whose runs settled at these moments: only what is there."""
    known: dict[str, object] = {}
    for run, at in runs:
        _settle(known, run, at, guard)
    return known


def _settle(known: dict[str, object], run: Run, at: Instant, guard: Guard) -> None:
    assert run.settled is not None
    outcome, plan = run.settled.outcome, run.plan
    completed = outcome is Outcome.COMPLETED
    known["settled_at"] = at
    for change in changes_of(run):
        changes = known.setdefault("set_changes", {})
        assert isinstance(changes, dict)
        changes[change.component] = change
    if outcome is Outcome.GAVE_WAY:
        return
    if plan.kind is RunKind.REJOIN:
        if completed:
            known.pop("rejoin_tries", None)
        else:
            _try(known, "rejoin_tries", at)
    elif plan.kind is RunKind.PROTECT:
        if not completed:
            _try(known, "protect_tries", at)
            return
        known.pop("protect_tries", None)
        if shrinks(plan):
            _flap(known, "leavings", at, guard)
    elif plan.kind is RunKind.SHIFT:
        if not completed:
            _try(known, "return_tries" if plan.target == plan.before.primary else "shift_tries", at)
            return
        for name in ("shift_tries", "return_tries", "sent_by"):
            known.pop(name, None)
        if plan.after.entry is not None and run.opened.decided_by == "evac":
            _flap(known, "shift_flaps", at, guard)
        elif plan.after.entry is not None:
            known["sent_by"] = run.opened.decided_by
    else:
        assert plan.kind in HOLDS_DOWN
        known.pop("stuck", None)
        if outcome is Outcome.STUCK:
            known["stuck"] = run.id
            return
        if not completed:
            known["turned_back_at"] = at
        if not completed and run.opened.decided_by != "evac":
            return
        if not completed:
            _try(known, "urge_tries" if run.opened.decision.get("trigger") else "tries", at)
        else:
            for name in ("tries", "urge_tries", "shift_tries", "return_tries", "sent_by"):
                known.pop(name, None)
            if plan.kind is RunKind.FAILOVER or run.opened.detected:
                known["last_move_at"] = at
                _flap(known, "flaps", at, guard)
            elif run.opened.decided_by == "evac":
                known["urged_at"] = at


def _try(known: dict[str, object], name: str, at: Instant) -> None:
    before = known.get(name)
    known[name] = Tries(count=before.count + 1 if isinstance(before, Tries) else 1, at=at)


def _flap(known: dict[str, object], name: str, at: Instant, guard: Guard) -> None:
    before = known.get(name)
    points = 0.0
    if isinstance(before, Flaps):
        points = before.points * 0.5 ** ((at - before.at) / timedelta(minutes=15))
    assert guard.flap_half_life == timedelta(minutes=15)
    known[name] = Flaps(points=points + guard.flap_penalty, at=at)
