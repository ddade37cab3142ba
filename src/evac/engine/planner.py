"""Which plan a decision leads to: the kinds of decisions that become runs, each with the planner of its kind.

What this is not: the plans (`core.planning`, `core.rejoining`, `core.shifting`, `core.protection`).
"""

from __future__ import annotations

from typing import TypeAlias

from evac.core.decision import Move, Rejoin
from evac.core.plan import Plan, Term
from evac.core.planning import plan_move
from evac.core.protection import Protect, plan_protect
from evac.core.rejoining import plan_rejoin
from evac.core.shifting import plan_shift
from evac.core.steps import Situation
from evac.core.traffic import Shift
from evac.engine.bootstrap import highest_term

Act: TypeAlias = Move | Shift | Rejoin | Protect
"""The decisions that become runs."""


def plan_of(decision: Act, situation: Situation) -> Plan:
    """Return the plan a decision leads to in a situation. Raises `UnsafePlan`.

    A restored store may have forgotten terms that members obey: none is used twice.
    """
    obeyed = highest_term(situation.estate, decision.group, situation.members)
    term = Term(max(situation.placement.term, obeyed) + 1)
    match decision:
        case Rejoin():
            return plan_rejoin(decision, situation, term=term)
        case Shift():
            return plan_shift(decision, situation, term=term)
        case Move():
            return plan_move(decision, situation, term=term)
        case Protect():  # pragma: no branch (the union is closed)
            return plan_protect(decision, situation.placement, term=term)
