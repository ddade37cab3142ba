"""What the controller remembers of changes of the set that must acknowledge, by their runs' ends alone."""

from __future__ import annotations

from datetime import timedelta

from evac.core.detector import Detector
from evac.core.plan import Placement, Verb
from evac.core.policy import Guard
from evac.core.run import Outcome
from evac.engine.codec import decode
from evac.engine.knowledge import Knowledge
from evac.sim import time
from evac.sim.estates import EAST, GROUP, ORDERS_DB, shop
from evac.sim.systems import Fault
from fakes.rehearsal import play
from fakes.shapes import Shape, shapes

SHAPES = {s.name: s for s in shapes()}
GUARD = Guard()
NOW = timedelta(seconds=100)


def known() -> Knowledge:
    return Knowledge(detector=Detector(policy=shop().detection))


def ended(shape: Shape, *, fault: Fault | None = None, of: Knowledge | None = None) -> Knowledge:
    systems = shape.world()
    if fault is not None:
        systems.faults[ORDERS_DB, EAST, Verb.PROTECT, False] = fault
    knowledge = of or known()
    knowledge.settled(GROUP, play(shape.plan, systems).run, now=NOW, guard=GUARD)
    return knowledge


def test_a_set_that_shrank_counts_against_a_quick_return_and_one_that_grew_does_not() -> None:
    shrank = ended(SHAPES["protect-shrinks"])
    assert shrank.each(lambda m: m.leavings)[GROUP].points == GUARD.flap_penalty
    assert shrank.set_changes([GROUP])[ORDERS_DB].run == "1"
    assert (
        ended(SHAPES["protect-shrinks"], of=shrank).each(lambda m: m.leavings)[GROUP].points == 2 * GUARD.flap_penalty
    )
    assert GROUP not in ended(SHAPES["protect-widens"]).each(lambda m: m.leavings)


def test_a_change_that_did_not_complete_is_counted_and_keeps_the_group_from_nothing_else() -> None:
    knowledge = ended(SHAPES["protect-shrinks"], fault=Fault.REFUSED)
    assert knowledge.each(lambda m: m.protect_tries)[GROUP].count == 1
    knowledge = ended(SHAPES["protect-shrinks"], fault=Fault.BLIND, of=knowledge)
    assert knowledge.each(lambda m: m.protect_tries)[GROUP].count == 2
    assert (
        knowledge.stuck,
        knowledge.each(lambda m: m.tries),
        knowledge.each(lambda m: m.rejoin_tries),
        knowledge.set_changes([GROUP]),
    ) == ({}, {}, {}, {})
    assert not ended(SHAPES["protect-shrinks"], of=knowledge).each(lambda m: m.protect_tries)


def test_a_change_that_cannot_be_seen_leaves_both_sets_in_the_record() -> None:
    shape = SHAPES["protect-shrinks"]
    systems = shape.world()
    systems.faults[ORDERS_DB, EAST, Verb.PROTECT, False] = Fault.HANGING
    played = play(shape.plan, systems)
    assert played.run.settled is not None
    assert played.run.settled.outcome is Outcome.STUCK
    record = time.run(played.store.get(f"placement/{GROUP}"))
    assert record is not None
    sets = decode(record.value, Placement).sync[ORDERS_DB]
    assert sets == (*shape.plan.before.sync[ORDERS_DB], *shape.plan.after.sync[ORDERS_DB])
