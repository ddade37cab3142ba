"""Maps by sight that are kept by line."""

from __future__ import annotations

import pytest

from evac.core.sights import Line, Sight, Sights, sights
from evac.sim.estates import CARTS, EAST, EUROPE, ORDERS, WEST

HERE = Sight(WEST, ORDERS, EAST, False)
BESIDE = Sight(WEST, CARTS, EAST, False)
AS_CLIENT = Sight(WEST, ORDERS, EAST, True)
ELSEWHERE = Sight(EUROPE, ORDERS, EAST, False)


def test_it_is_a_map_by_sight() -> None:
    known = sights({HERE: 1, ELSEWHERE: 2, BESIDE: 3, AS_CLIENT: 4})
    assert dict(known) == {HERE: 1, ELSEWHERE: 2, BESIDE: 3, AS_CLIENT: 4}
    assert len(known) == 4
    assert known[AS_CLIENT] == 4
    assert known.get(Sight(EAST, ORDERS, WEST, False)) is None
    assert known.get(Sight(WEST, ORDERS, WEST, False)) is None
    with pytest.raises(KeyError):
        known[Sight(EUROPE, CARTS, EAST, False)]
    assert repr(sights({HERE: 1})) == f"Sights({{{HERE!r}: 1}})"
    assert not Sights[int]()


def test_a_line_is_taken_as_a_whole() -> None:
    known = sights({HERE: 1, ELSEWHERE: 2, BESIDE: 3})
    assert dict(known.along(HERE.line)) == {ORDERS: 1, CARTS: 3}
    assert known.along(Line(EAST, WEST, True)) == {}
    assert list(known.lines()) == [HERE.line, ELSEWHERE.line]


def test_the_next_map_shares_the_lines_along_which_nothing_has_changed() -> None:
    before = sights({HERE: 1, ELSEWHERE: 2})
    after = before.after({HERE.line: {CARTS: 3}, AS_CLIENT.line: {ORDERS: 4}})
    assert dict(before) == {HERE: 1, ELSEWHERE: 2}
    assert dict(after) == {HERE: 1, ELSEWHERE: 2, BESIDE: 3, AS_CLIENT: 4}
    assert after.along(ELSEWHERE.line) is before.along(ELSEWHERE.line)
