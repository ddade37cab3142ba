"""Which plan a decision leads to, and at which term."""

from __future__ import annotations

from dataclasses import replace

from evac.core.plan import Term
from evac.engine.planner import plan_of
from evac.sim.estates import EAST, EUROPE, ORDERS_DB, WEST, shop
from fakes.estates import all_well, move, situation


def test_no_term_is_used_that_any_member_was_told_already() -> None:
    """The primary went away and came back since the backup was taken: the record is right, and its term is not."""
    estate = shop()
    found = situation(estate, all_well(estate))
    assert plan_of(move(EAST, WEST), found).term == Term(found.placement.term + 1)
    told = found.members[ORDERS_DB, EUROPE]
    assert told.state is not None
    late = replace(told, state=replace(told.state, term=7))
    since = replace(found, members={**found.members, (ORDERS_DB, EUROPE): late})
    assert plan_of(move(EAST, WEST), since).term == Term(8)
