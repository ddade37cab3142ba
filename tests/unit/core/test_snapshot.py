"""A large snapshot is put together from its head and what there is of its parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.decision import Hold
from evac.core.estate import GroupId
from evac.core.observation import MemberSeen
from evac.core.snapshot import Part, Snapshot
from evac.sim.estates import EAST, ORDERS_DB, placed, shop

WALL = datetime(2026, 11, 23, 3, tzinfo=UTC)
HEAD = Snapshot(
    estate="shop",
    at=timedelta(hours=1),
    wall=WALL,
    verdicts=(),
    voiceless={},
    members=(),
    placements=(),
    unplaced={},
    decisions=(),
    active={},
    stuck={},
    layout="a",
    parts=3,
)


def part(group: str, *, ago: float, clock: timedelta = timedelta()) -> Part:
    """What was written of a group so many seconds ago, by a boot clock that is ahead of the head's by `clock`."""
    at = HEAD.at - timedelta(seconds=ago) + clock
    return Part(
        layout="a",
        at=at,
        wall=WALL - timedelta(seconds=ago),
        members=(MemberSeen(at=at - timedelta(seconds=2), component=ORDERS_DB, region=EAST, state=None),),
        placements=(replace(placed(shop()), group=GroupId(group)),),
        unplaced={f"not {group}": ["nobody says"]},
        decisions=(Hold(group=GroupId(group), reasons=("all is well",)),),
        restraints={group: ()},
        sets=(),
        health=(),
    )


def test_each_part_adds_its_groups_and_what_is_missing_is_counted() -> None:
    whole = HEAD.whole([part("a", ago=1), part("b", ago=90)])
    assert [p.group for p in whole.placements] == ["a", "b"]
    assert [d.group for d in whole.decisions] == ["a", "b"]
    assert set(whole.unplaced) == {"not a", "not b"}
    assert set(whole.restraints) == {"a", "b"}
    assert (whole.missing, whole.oldest) == (1, WALL - timedelta(seconds=90))
    nothing = HEAD.whole([])
    assert (nothing.missing, nothing.oldest, nothing.members) == (3, None, ())


@pytest.mark.parametrize(
    ("ago", "clock", "age"),
    [
        (5, timedelta(), 2),  # as old as when it was written: whoever wrote it still sees it so
        (5, timedelta(seconds=0.5), 2),  # a wall clock that is set a little is no other clock
        (600, timedelta(), 2),
        (700, timedelta(), 702),  # nobody has looked it through for too long
        (5, timedelta(days=9), 7),  # another machine's: as old as the wall clocks say
    ],
)
def test_what_members_said_stands_as_long_as_somebody_looks_it_through(
    ago: float, clock: timedelta, age: float
) -> None:
    (member,) = HEAD.whole([part("a", ago=ago, clock=clock)]).members
    assert HEAD.at - member.at == timedelta(seconds=age)
