"""What `evac status` says of the set that must acknowledge, and of who leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.cli.status import Known, lines
from evac.core.assessment import assess
from evac.core.decision import Hold
from evac.core.detector import Detector
from evac.core.estate import GroupId
from evac.core.lease import Leader
from evac.core.plan import RunKind, SyncSet
from evac.core.run import RunId
from evac.core.snapshot import Snapshot
from evac.core.standing import SetChange, SetStanding
from evac.core.triggers import Standing
from evac.sim.estates import EUROPE, GROUP, ORDERS_DB, WEST, placed, shop
from fakes.estates import judged
from fakes.triggers import standing
from fakes.views import snapshot_of

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)
BOTH = SyncSet(acks=1, standbys=(WEST, EUROPE))
WHOLE = SetStanding(group=GROUP, component=ORDERS_DB, sets=(BOTH,), acks=1, missing=())
CHANGE = SetChange(
    component=ORDERS_DB, run=RunId("7"), kind=RunKind.PROTECT, wall=WALL, reasons=("eu-west-1 has been away for 10 s",)
)


def said(
    standing: SetStanding,
    *,
    leader: Leader | None = None,
    led: bool = True,
    blocked: tuple[str, ...] = (),
    triggers: tuple[Standing, ...] = (),
) -> list[str]:
    assessment = judged(shop())
    snapshot = snapshot_of(
        assessment,
        wall=WALL,
        at=timedelta(seconds=100),
        placements=(placed(shop()),),
        decisions=(Hold(group=GroupId("shop"), reasons=("us-east-1 is well",)),),
        sets=(standing,),
        leader=leader,
        triggers=triggers,
    )
    return lines(
        Known(snapshot=snapshot, forecasts={}, targets={}, past={}, blocked={GROUP: blocked} if blocked else {}),
        led=led,
        wall=WALL,
    )


def test_a_whole_set_is_fine() -> None:
    told = said(WHOLE)
    assert told[0] == "shop: fine. Nothing is needed from you"
    assert told[-1] == "orders-db waits for any 1 of us-west-2, eu-west-1"


def test_a_smaller_one_is_not_and_says_since_when_and_why() -> None:
    narrow = replace(WHOLE, sets=(SyncSet(acks=1, standbys=(WEST,)),), missing=(EUROPE,), changed=CHANGE)
    told = said(narrow)
    assert told[0] == "shop: not fine; evac watches. Nothing is needed from you yet"
    assert told[-2:] == [
        "orders-db waits for any 1 of us-west-2; not for eu-west-1",
        "  since 2026-11-23 03:12:04 UTC, run 7 (protect): eu-west-1 has been away for 10 s",
    ]


def test_who_waits_for_nobody_has_no_promise() -> None:
    told = said(replace(WHOLE, sets=(), missing=(WEST, EUROPE)))
    assert told[-1] == "orders-db waits for nobody: the promise to lose nothing is off until a standby streams again"


def test_both_sets_are_said_while_a_change_runs() -> None:
    told = said(replace(WHOLE, sets=(BOTH, SyncSet(acks=1, standbys=(WEST,)))))
    assert told[-1] == "orders-db waits for any 1 of us-west-2, eu-west-1, and for any 1 of us-west-2"


def test_who_leads_is_said_where_agents_elect_one() -> None:
    leader = Leader(name="host:7", region=WEST, reign=2, since=WALL)
    assert said(WHOLE, leader=leader)[:2] == [
        "shop: fine. Nothing is needed from you",
        "  us-west-2 leads since 2026-11-23 03:12:04 UTC (host:7, reign 2)",
    ]
    assert "start evac agent" in said(WHOLE, leader=leader, led=False)[0]
    assert "start evac serve" in said(WHOLE, led=False)[0]


def test_what_would_keep_evac_from_moving_is_said_while_all_is_well() -> None:
    told = said(WHOLE, blocked=("orders-db is asynchronous and us-east-1 cannot be reached",))
    assert told[0] == "shop: fine. Nothing is needed from you"
    assert told[-1].startswith("if shop's primary region were lost now, evac would not move it: orders-db is asynchro")


def test_how_much_is_known_of_single_groups_is_said_where_that_is_told_in_parts() -> None:
    snapshot = Snapshot(
        estate="shop", at=timedelta(), wall=WALL, verdicts=(), voiceless={}, members=(), placements=(), unplaced={},
        decisions=(), active={}, stuck={}, parts=500, missing=3, oldest=WALL - timedelta(minutes=9),
    )  # fmt: skip
    told = lines(Known(snapshot=snapshot, forecasts={}, targets={}, past={}, blocked={}), led=True, wall=WALL)
    assert not told[0].startswith("shop: fine")
    assert any("3 of 500 parts of the view are not written yet" in line for line in told)
    assert any("told of in 500 parts, the oldest written 9 min" in line for line in told)


def test_a_trigger_that_is_true_is_shown_before_it_fires() -> None:
    true = standing(at=timedelta(seconds=100), held=timedelta(seconds=90))
    told = said(WHOLE, triggers=(true, replace(true, true=False), replace(true, true=None)))
    assert [line for line in told if "trigger" in line] == [
        "  trigger half-down for shop: true for 2 min; counted 1 min 30 s of 2 min: moves the primaries in 30 s"
    ]


def test_where_no_host_is_heard_it_says_what_tells_why() -> None:
    unheard = assess(Detector(policy=shop().detection), now=timedelta(), estate=shop())
    snapshot = Snapshot(
        estate="shop", at=timedelta(), wall=WALL, verdicts=tuple(unheard.verdicts.values()),
        voiceless={str(r): "never heard of" for r in shop().regions}, members=(), placements=(), unplaced={},
        decisions=(), active={}, stuck={},
    )  # fmt: skip
    known = Known(snapshot=snapshot, forecasts={}, targets={}, past={}, blocked={})
    assert "  no region's host was ever heard: evac check says why" in lines(known, led=True, wall=WALL)
    assert not any("evac check" in line for line in said(WHOLE))
