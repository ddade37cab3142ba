"""What `evac explain` says of a region: what was seen, what it means, and why nothing, or something, is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.cli.explain import Explained, lines
from evac.core.decision import CallPerson, Decision, Hold
from evac.core.estate import RegionId
from evac.core.incident import incident
from evac.core.objectives import Forecast
from evac.core.readiness import Readiness
from evac.core.restraint import Restrained, Restraint
from evac.core.targets import Rejected
from evac.core.triggers import Standing
from evac.report.incidents import by_hand
from evac.sim.estates import EAST, GROUP, WEST, placed, shop
from fakes.estates import dead
from fakes.triggers import standing
from fakes.views import snapshot_of

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)
WHY = "the last move was 3 min ago: nothing is moved by itself for 30 min"
FORECAST = Forecast(
    rto=timedelta(seconds=3.1), rto_p95=timedelta(seconds=4.4), rpo=timedelta(), rpo_basis=(), critical_path=()
)


FIRES = standing(at=dead(shop(), EAST).at)
HELD = Restrained(kind=Restraint.FLAPPING, reason="flapping: 2500 points, nothing automatic above 750", points=2500)


def explained(
    region: RegionId,
    *,
    readiness: Readiness | None = None,
    silent: str = "",
    held: tuple[Restrained, ...] = (),
    voiceless: dict[str, str] | None = None,
    decision: Decision | None = None,
    triggers: tuple[Standing, ...] = (),
    led: bool = True,
    age: timedelta = timedelta(seconds=1),
) -> list[str]:
    assessment = dead(shop(), EAST)
    decisions = (decision or Hold(group=GROUP, reasons=(WHY,), watching=True),)
    snapshot = snapshot_of(assessment, wall=WALL, placements=(placed(shop()),), decisions=decisions)
    found = incident(
        assessment.verdicts[region],
        estate=shop(),
        verdicts=snapshot.verdicts,
        voiceless=(),
        placements=snapshot.placements,
        health=(),
    )
    explained = Explained(
        region=region,
        verdict=assessment.verdicts[region],
        incident=found,
        by_hand=by_hand(found) if found else "",
        decisions=decisions,
        if_lost={} if readiness else {str(GROUP): FORECAST},
        readiness={str(GROUP): readiness} if readiness else {},
        restraints={str(GROUP): held} if held else {},
        windows=(),
        triggers=triggers,
        voiceless=voiceless or {},
        silent=silent,
    )
    return lines(explained, snapshot, led=led, wall=WALL + age)


def test_a_region_that_is_lost_and_not_left_is_shown_with_the_reason() -> None:
    head, seen, verdict, decision, what, hand, silent, lost = explained(EAST, silent="silent for 9 s")
    assert head == "us-east-1 as it was at 2026-11-23 03:12:04 UTC"
    assert "us-west-2: " in seen
    assert verdict.startswith("  verdict   us-east-1 unreachable: 2 of 2 outside views agree")
    assert decision == f"  decision  shop: watch: {WHY}"
    assert what == "  incident  infrastructure, critical: clients of orders, carts and shop are not served"
    assert hand == "  by hand   bring us-east-1 back: what was left there becomes a standby by itself"
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


def test_what_holds_automation_back_and_who_has_no_vote_is_said_each_in_its_line() -> None:
    nobody = CallPerson(group=GROUP, reasons=("x",), rejected=(Rejected(region=WEST, reason="is itself gray"),))
    told = explained(EAST, held=(HELD,), voiceless={"eu-west-1": "sees most regions down"}, decision=nobody)
    assert told[6:9] == [
        "  rejected  us-west-2 for shop: is itself gray",
        "  held back shop, flapping: flapping: 2500 points, nothing automatic above 750",
        "  no vote   eu-west-1: sees most regions down",
    ]


def test_how_each_trigger_stands_is_said_and_of_what_is_true_or_unknown_who_says_so() -> None:
    told = explained(EAST, triggers=(FIRES, replace(FIRES, true=False), replace(FIRES, true=None)))
    seen = [
        "              us-west-2 true: region.availability 0.4",
        "              eu-west-1 true: region.availability 0.4",
    ]
    assert told[6:13] == [
        "  trigger   half-down for shop: true for 2 min; counted 2 min of 2 min: fired, moves the primaries",
        *seen,
        "  trigger   half-down for shop: false for 2 min",
        "  trigger   half-down for shop: unknown for 2 min, neither fires nor clears; counted 2 min of 2 min",
        *seen,
    ]


def test_what_is_old_says_so_first_and_that_nobody_watches() -> None:
    old = "us-east-1 as it was at 2026-11-23 03:12:04 UTC: nobody watches; what follows is 5 min old. Needed from you: "
    assert explained(EAST, led=False, age=timedelta(minutes=5))[0] == f"{old}start evac serve"
    assert explained(EAST, age=timedelta(minutes=5))[0].startswith(old)
