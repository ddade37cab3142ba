"""What `evac explain` says of a region: what was seen, what it means, and why nothing, or something, is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evac.cli.explain import Explained, lines
from evac.core.decision import Hold
from evac.core.estate import RegionId
from evac.core.objectives import Forecast
from evac.core.readiness import Readiness
from evac.core.snapshot import Snapshot
from evac.sim.estates import EAST, GROUP, WEST, placed, shop
from fakes.estates import dead

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)
WHY = "the last move was 3 min ago: nothing is moved by itself for 30 min"
FORECAST = Forecast(
    rto=timedelta(seconds=3.1), rto_p95=timedelta(seconds=4.4), rpo=timedelta(), rpo_basis=(), critical_path=()
)


def explained(region: RegionId, *, readiness: Readiness | None = None, silent: str = "") -> list[str]:
    assessment = dead(shop(), EAST)
    decisions = (Hold(group=GROUP, reasons=(WHY,), watching=True),)
    snapshot = Snapshot(
        estate="shop",
        at=assessment.at,
        wall=WALL,
        verdicts=tuple(assessment.verdicts.values()),
        voiceless={},
        members=(),
        placements=(placed(shop()),),
        unplaced={},
        decisions=decisions,
        active={},
        stuck={},
    )
    found = Explained(
        region=region,
        verdict=assessment.verdicts[region],
        decisions=decisions,
        if_lost={} if readiness else {str(GROUP): FORECAST},
        readiness={str(GROUP): readiness} if readiness else {},
        silent=silent,
    )
    return lines(found, snapshot)


def test_a_region_that_is_lost_and_not_left_is_shown_with_the_reason() -> None:
    head, seen, verdict, decision, silent, lost = explained(EAST, silent="silent for 9 s")
    assert head == "us-east-1 as it was at 2026-11-23 03:12:04 UTC"
    assert "us-west-2: " in seen
    assert verdict.startswith("  verdict   us-east-1 unreachable: 2 of 2 outside views agree")
    assert decision == f"  decision  shop: watch: {WHY}"
    assert silent == "  silent    silent for 9 s"
    assert lost == "  if lost   shop would be back in 3.10 s (p95 4.40 s), RPO 0 (no state)"


def test_a_region_that_could_take_over_says_how_ready_it_is() -> None:
    blocked = Readiness(region=WEST, score=0.4, blocking=("orders-db lags by 40 s",), recommendations=("wait",))
    assert explained(WEST, readiness=blocked)[-2:] == [
        "  not ready to take over shop, scores 0.40: orders-db lags by 40 s",
        "            wait",
    ]
    ready = Readiness(region=WEST, score=0.96)
    assert explained(WEST, readiness=ready)[-1] == "  ready     to take over shop, scores 0.96"
