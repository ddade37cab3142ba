"""What waits for what across the chains of a plan, so that a move can turn back for as long as possible.

Intuition: each component's chain knows its own order. That nothing is stopped before all is prepared, and nothing
promoted before all is fenced, is a matter of all chains together: their steps stand before a barrier or behind it, so
that a plan is no longer than what there is to do.

What this is not: the chains (`planning`), or how a run keeps to the barriers (`run`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from evac.core.estate import ComponentId
from evac.core.fence import FROM_AFAR
from evac.core.plan import Barrier, Phase, Step, Verb


def with_barrier(steps: Iterable[Step]) -> list[Step]:
    """Nothing is stopped before all is prepared, and nothing promoted before all is stopped."""
    return [_switched(step) for step in steps]


def with_way_back(steps: Iterable[Step]) -> list[Step]:
    """Nothing is promoted before what may still be refused is over, and nothing merely wanted before all is fenced.

    A fence from afar takes long, and is refused by a lease that is renewed after all: until then the move can turn
    back. It costs no time, as traffic is shifted once all that it cannot do without is promoted.
    """
    return [_failed_over(step) for step in steps]


def with_clients(steps: Iterable[Step], *, vital: Collection[ComponentId], planned: bool) -> list[Step]:
    """No router turns before all that clients cannot do without is promoted, and nothing is tried before all turned.

    In a planned move what is merely wanted is promoted after that: it must not be what keeps a move from turning back
    whose database was refused. In a failover it need not wait, as there is nothing to turn back to.
    """
    return [_entered(step, vital, planned=planned) for step in steps]


def _switched(step: Step) -> Step:
    if step.pivot:
        return standing(step, behind=Barrier.STOPPED)
    if step.action.verb is Verb.STOP:
        return standing(step, behind=Barrier.PREPARED, before=Barrier.STOPPED)
    return standing(step, before=Barrier.PREPARED if step.phase is Phase.PREPARE else None)


def _failed_over(step: Step) -> Step:
    if step.pivot:
        return standing(step, behind=Barrier.FENCED if step.optional else Barrier.AFAR)
    if step.phase is not Phase.FENCE or step.optional:
        return step
    afar = Barrier.AFAR if step.action.verb in FROM_AFAR else None
    return standing(standing(step, before=Barrier.FENCED), before=afar)


def _entered(step: Step, vital: Collection[ComponentId], *, planned: bool) -> Step:
    if step.pivot and step.action.component in vital:
        return standing(step, before=Barrier.PROMOTED)
    if step.pivot:
        return standing(step, behind=Barrier.PROMOTED if planned else None)
    if step.action.verb is Verb.SHIFT:
        return standing(step, behind=Barrier.PROMOTED, before=None if step.optional else Barrier.TURNED)
    return standing(step, behind=Barrier.TURNED) if step.action.verb is Verb.VERIFY else step


def standing(step: Step, *, before: Barrier | None = None, behind: Barrier | None = None) -> Step:
    """Return a step that stands before one more barrier, and behind one more."""
    return replace(
        step,
        before=(*step.before, before) if before else step.before,
        behind=(*step.behind, behind) if behind else step.behind,
    )
