"""Two decisions are the same news unless a person would notice a difference."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.decision import Ask, CallPerson, Decision, Hold, Move
from evac.core.essence import essence, without_figures
from evac.core.estate import GroupId, RegionId
from evac.core.plan import RunKind
from evac.core.targets import Rejected

SHOP = GroupId("shop")
MOVE = Move(
    group=SHOP,
    kind=RunKind.FAILOVER,
    source=RegionId("eu1"),
    target=RegionId("eu2"),
    reasons=("eu1 is silent for 4.2 s, 3 of 3 agree",),
    rejected=(Rejected(region=RegionId("us3"), reason="1.5 s behind"),),
    symptom_at=timedelta(seconds=7),
)


@pytest.mark.parametrize(
    "same",
    [
        replace(MOVE, reasons=("eu1 is silent for 5.0 s, 2 of 2 agree",)),
        replace(MOVE, symptom_at=timedelta(seconds=9)),
        replace(MOVE, rejected=(Rejected(region=RegionId("us3"), reason="2.5 s behind"),)),
    ],
)
def test_figures_and_grounds_make_no_news(same: Decision) -> None:
    assert essence(same) == essence(MOVE)
    assert essence(Ask(group=SHOP, move=MOVE, reasons=("approve within 60 s",))) == essence(
        Ask(group=SHOP, move=MOVE, reasons=("approve within 59 s",))
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(MOVE, target=RegionId("us3")),
        replace(MOVE, kind=RunKind.SWITCHOVER),
        replace(MOVE, rejected=()),
        replace(MOVE, reasons=("eu3 is silent for 4.2 s, 3 of 3 agree",)),
        Hold(group=SHOP, reasons=MOVE.reasons),
        Ask(group=SHOP, move=MOVE, reasons=MOVE.reasons),
    ],
)
def test_what_is_done_where_is_news(other: Decision) -> None:
    assert essence(other) != essence(MOVE)


def test_a_digit_of_a_name_is_no_figure() -> None:
    first, second = (CallPerson(group=SHOP, reasons=(f"region {name} cannot be fenced",)) for name in ("eu1", "eu2"))
    assert essence(first) != essence(second)
    assert without_figures("us-east-2 and db1 at 99.9 %, 3/3 in 1,234 s (2)") == "us-east-2 and db1 at  %, / in  s ()"
