"""What a person reads who asks what the loss of a region would come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.cli.what_if import lines, unplaced_in
from evac.core.decision import CallPerson, Hold
from evac.core.estate import RegionId
from evac.core.objectives import Loss, RpoBasis
from evac.core.what_if import WhatIf
from evac.engine.outlook import Thought
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS_DB, shop
from fakes.thoughts import thought

WALL = datetime(2026, 11, 23, 3, 14, tzinfo=UTC)


def said(each: WhatIf, *, whole: bool = True, kept: bool = True) -> list[str]:
    return lines(
        [Thought(region=each.region, wall=WALL, each=(each,), whole=kept)],
        wall=WALL + timedelta(seconds=9),
        whole=whole,
    )


def test_the_decision_comes_first_then_what_it_takes_and_loses_then_its_steps() -> None:
    told = said(thought())
    assert told[0] == "if us-east-1 died now (as thought through 9 s ago)"
    assert told[1].startswith("  shop, its primaries are there: fail over shop to us-west-2, automatic: ")
    assert told[2].startswith("    RTO ")
    assert "critical path: refuse:orders-db@" in told[2]
    assert any(line.startswith("    lost of orders-db: ") for line in told)
    assert any("promote  promote orders-db in us-west-2" in line for line in told)
    assert not any("promote  promote" in line for line in said(thought(), whole=False))


def test_what_blocks_is_the_decision_itself_or_what_no_plan_can_do() -> None:
    called = WhatIf(
        region=EAST,
        group=GROUP,
        serves=True,
        decision=CallPerson(group=GROUP, reasons=("nobody can fence it",)),
        blocks=("nobody can fence it",),
        losses=(Loss(component=ORDERS_DB, basis=RpoBasis.LAG, time=timedelta(seconds=3), size=4096, why="its lag"),),
    )
    told = said(called)
    assert told[1] == "  shop, its primaries are there: shop needs a person: nobody can fence it"
    assert told[2] == "    lost of orders-db: the last 3 s, 4,096 bytes (its lag)"
    assert len(told) == 3
    assert said(replace(called, blocks=("the plan is unsafe",)))[-1] == "    blocks: the plan is unsafe"


def test_what_evac_would_not_do_by_itself_a_person_can() -> None:
    told = said(thought(paused="lunch"))
    assert "lunch" in told[1]
    assert told[2].startswith("    by hand (evac failover us-east-1): RTO ")


def test_a_region_without_primaries_and_plans_that_were_too_large_are_said() -> None:
    standby = WhatIf(
        region=EUROPE, group=GROUP, serves=False, decision=Hold(group=GROUP, reasons=("us-east-1 is well",))
    )
    told = said(standby, kept=False)
    assert told[1] == "  shop, it stands by there: shop: nothing to do: us-east-1 is well"
    assert told[-1] == "  the plans are too large to be kept: evac plan failover shows one"
    nobody = lines([Thought(region=EUROPE, wall=WALL, each=())], wall=WALL, whole=False)
    assert nobody[-1] == "  nobody there belongs to a group"


def test_where_primaries_are_not_known_that_is_said_and_not_that_nobody_is_there() -> None:
    nothing = [Thought(region=EAST, wall=WALL, each=()), Thought(region=EUROPE, wall=WALL, each=())]
    told = lines(nothing, wall=WALL, whole=False, unplaced={EAST: {GROUP: ["orders-db has no primary"]}})
    assert told[1] == "  where shop's primaries are is not known: orders-db has no primary"
    assert told[-1] == "  nobody there belongs to a group"


def test_a_group_that_nothing_was_thought_of_is_one_whose_place_is_not_known() -> None:
    nothing = [Thought(region=EAST, wall=WALL, each=()), Thought(region=RegionId("moon"), wall=WALL, each=())]
    some = [Thought(region=EAST, wall=WALL, each=(thought(),))]
    assert unplaced_in(nothing, estate=shop(), why={}) == {EAST: {GROUP: ["its members have not been seen yet"]}}
    assert unplaced_in(nothing, estate=shop(), why={GROUP: ["two primaries"]})[EAST] == {GROUP: ["two primaries"]}
    assert unplaced_in(some, estate=shop(), why={}) == {}
