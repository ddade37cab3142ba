"""What waits for what across the chains of a plan, so that a move can turn back for as long as possible.

Intuition: each component's chain knows its own order. That nothing is stopped before all is prepared, and nothing
promoted before all is fenced, is a matter of all chains together.

What this is not: the chains (`planning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evac.core.plan import Phase, Step, Verb


def with_barrier(steps: Sequence[Step]) -> list[Step]:
    """Nothing is stopped before all is prepared, and nothing promoted before all is stopped."""
    prepared = tuple(s.id for s in steps if s.phase is Phase.PREPARE)
    ready = tuple(s.id for s in steps if s.action.verb is Verb.STOP)
    ordered: list[Step] = []
    for step in steps:
        extra = ready if step.pivot else prepared if step.action.verb is Verb.STOP else ()
        ordered.append(replace(step, needs=tuple(dict.fromkeys((*step.needs, *extra)))))
    return ordered


def wanted_last(steps: Sequence[Step]) -> list[Step]:
    """Nothing that is merely wanted is promoted before the old primaries of all else are fenced: until then the move
    can turn back, when a lease is renewed after all, say.
    """
    fences = tuple(s.id for s in steps if s.phase is Phase.FENCE and not s.optional)
    return [replace(s, needs=(*s.needs, *fences)) if s.pivot and s.optional else s for s in steps]
