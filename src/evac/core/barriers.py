"""What waits for what across the chains of a plan, so that a move can turn back for as long as possible.

Intuition: each component's chain knows its own order. That nothing is stopped before all is prepared, and nothing
promoted before all is fenced, is a matter of all chains together.

What this is not: the chains (`planning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evac.core.fence import FROM_AFAR
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


def with_way_back(steps: Sequence[Step]) -> list[Step]:
    """Nothing is promoted before what may still be refused is over, and nothing merely wanted before all is fenced.

    A fence from afar takes long, and is refused by a lease that is renewed after all: until then the move can turn
    back. It costs no time, as traffic is shifted once all that it cannot do without is promoted.
    """
    fences = [s for s in steps if s.phase is Phase.FENCE and not s.optional]
    from_afar = tuple(s.id for s in fences if s.action.verb in FROM_AFAR)
    every = tuple(s.id for s in fences)
    ordered: list[Step] = []
    for step in steps:
        extra = (every if step.optional else from_afar) if step.pivot else ()
        ordered.append(replace(step, needs=tuple(dict.fromkeys((*step.needs, *extra)))))
    return ordered
