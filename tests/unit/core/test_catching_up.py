"""Whether a catch-up is left out: only where the receipts show that nothing can be missing."""

from __future__ import annotations

import pytest

from evac.core.catching_up import holds_most
from evac.core.estate import RegionId
from evac.core.observation import Json

B, C = RegionId("b"), RegionId("c")


def at(region: RegionId, position: int | None, timeline: int | None = 1) -> dict[str, Json]:
    return {"region": region, "position": position, "timeline": timeline}


@pytest.mark.parametrize(
    ("told", "most"),
    [
        ([at(B, 7), at(C, 7)], True),
        ([at(B, 8), at(C, 7)], True),
        ([at(B, 7), at(C, 8)], False),
        ([at(B, 7, 2), at(C, 8, 1)], True),
        ([at(B, 8, 1), at(C, 7, 2)], False),
        ([at(B, 7, None), at(C, 7, None)], True),
        ([at(C, 7)], False),
        ([at(B, 7), {"held_by": "a"}], True),
        ([at(B, 7), {"region": "a", "position": None, "clean": False}], False),
        ([at(B, None)], False),
        ([], False),
    ],
)
def test_who_holds_most_by_timeline_first_and_position_second(told: list[dict[str, Json]], most: bool) -> None:
    assert holds_most(B, told) is most
