"""How the sets that must acknowledge stand: whom each primary waits for, whom it should, and what changed that last.

Intuition: a set that is smaller than declared is no fault by itself, but whoever looks must see it, and why it is so.

What this is not: what to do about it (`protection`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from evac.core.estate import ComponentId, Estate, GroupId, Purpose, RegionId
from evac.core.placement import CHANGING, new_set
from evac.core.plan import Placement, RunKind, SyncSet
from evac.core.protection import synchronous
from evac.core.run import Run, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetChange:
    """A run that changed whom a component's primary waits for, and what it was for."""

    component: ComponentId
    run: RunId
    kind: RunKind
    wall: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStanding:
    """One synchronous component's sets: `sets` as recorded (two while a change runs, none: it acknowledges alone),
    `missing` the standbys that are declared and not in them.
    """

    group: GroupId
    component: ComponentId
    sets: tuple[SyncSet, ...]
    acks: int
    """How many acknowledgements are declared."""
    missing: tuple[RegionId, ...]
    changed: SetChange | None = None

    @property
    def alone(self) -> bool:
        """Return whether nobody is waited for: the promise to lose nothing is off."""
        return not self.sets

    @property
    def whole(self) -> bool:
        """Return whether it is as declared."""
        return bool(self.sets) and not self.missing and all(sync.acks >= self.acks for sync in self.sets)


def standings(
    estate: Estate, placements: Iterable[Placement], changes: Mapping[ComponentId, SetChange]
) -> tuple[SetStanding, ...]:
    """Return how every synchronous component's sets stand."""
    found: list[SetStanding] = []
    for placement in placements:
        for component in estate.group_components(placement.group, Purpose.STATE):
            if not synchronous(component):
                continue
            assert component.replication is not None, "a synchronous component is replicated"
            sets = placement.sync.get(component.id, ())
            inside = {r for sync in sets for r in sync.standbys}
            found.append(
                SetStanding(
                    group=placement.group,
                    component=component.id,
                    sets=sets,
                    acks=component.replication.acks,
                    missing=tuple(r for r in component.members if r not in inside and r != placement.primary),
                    changed=changes.get(component.id),
                )
            )
    return tuple(found)


def changes_of(run: Run) -> tuple[SetChange, ...]:
    """Return the changes of a settled run: for each component whose set it set, one."""
    assert run.settled is not None, "a run that goes on may still change more"
    told = run.opened.decision.get("reasons")
    reasons = tuple(str(reason) for reason in told) if isinstance(told, (list, tuple)) else ()
    before = run.plan.before.sync
    changed = {
        s.action.component
        for s in run.plan.steps
        if s.action.verb in CHANGING and run.done(s) and before.get(s.action.component, ()) != (new_set(s),)
    }
    return tuple(
        SetChange(component=c, run=run.id, kind=run.plan.kind, wall=run.settled.wall, reasons=reasons)
        for c in sorted(changed)
    )
