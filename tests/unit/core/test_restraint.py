"""Every reason for which evac does not act by itself: in words, for machines, and as what is decided for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move
from evac.core.estate import Automation
from evac.core.kinds import ServiceKind
from evac.core.policy import Guard
from evac.core.restraint import Restraint, cooldown_of, restraints
from evac.core.verdict import Diagnosis
from evac.engine.codec import to_plain
from evac.sim.estates import EAST, EUROPE, GROUP, WEST, shop
from fakes.estates import dead, seconds, view

ESTATE = shop()
DEAD = dead(ESTATE, EAST)
AGO = DEAD.at - seconds(60)
WINDOW = "maintenance of us-east-1 until 2026-11-22 06:00:00 UTC: racks (by alice)"


@pytest.mark.parametrize(
    ("changes", "kind", "said", "decided"),
    [
        ({"paused": "lunch (by alice)"}, Restraint.PAUSE, "automation is paused: lunch (by alice)", CallPerson),
        ({"quiet": {GROUP: WINDOW}}, Restraint.MAINTENANCE, f"nothing moves by itself during {WINDOW}", Hold),
        ({"estate": shop(automation=Automation.MANUAL)}, Restraint.MANUAL, "this group moves by hand only", CallPerson),
        (
            {"estate": shop(automation=Automation.SEMI_AUTOMATIC)},
            Restraint.APPROVAL,
            "this group asks before it moves",
            Ask,
        ),
        (
            {"last_move_at": {GROUP: AGO}},
            Restraint.COOLDOWN,
            "moved 60 s ago; nothing automatic for another 1740 s",
            CallPerson,
        ),
        (
            {"flaps": {GROUP: Flaps(points=2500, at=DEAD.at)}},
            Restraint.FLAPPING,
            "flapping: 2500 points, nothing automatic above 750",
            CallPerson,
        ),
    ],
    ids=lambda given: given.value if isinstance(given, Restraint) else "",
)
def test_what_holds_automation_back_is_said(
    changes: Mapping[str, Any], kind: Restraint, said: str, decided: type[Decision]
) -> None:
    knows = replace(view(ESTATE, DEAD), **changes)
    (held,) = restraints(knows, GROUP, now=DEAD.at)
    assert (held.kind, held.reason) == (kind, said)
    assert to_plain(held)["kind"] == kind.value
    (decision,) = decide(knows, now=DEAD.at)
    assert isinstance(decision, decided)
    assert said in decision.reasons
    assert said in to_plain(decision)["reasons"]


def test_where_nothing_holds_it_back_evac_acts() -> None:
    knows = view(ESTATE, DEAD)
    assert restraints(knows, GROUP, now=DEAD.at) == ()
    (decision,) = decide(knows, now=DEAD.at)
    assert isinstance(decision, Move)


def test_how_long_it_is_held_back_yet_is_said_for_machines() -> None:
    flaps = Flaps(points=3000, at=DEAD.at)
    knows = replace(view(ESTATE, DEAD), last_move_at={GROUP: AGO}, flaps={GROUP: flaps})
    cooldown, flapping = restraints(knows, GROUP, now=DEAD.at)
    assert cooldown.left == timedelta(minutes=29)
    assert (flapping.left, flapping.points) == (timedelta(minutes=30), 3000), "3,000 are 750 after two half-lives"
    assert not flaps.suppressed(DEAD.at + timedelta(minutes=31), Guard())
    (decision,) = decide(knows, now=DEAD.at)
    assert isinstance(decision, CallPerson)
    by_hand = "by hand: evac failover us-east-1 --to us-west-2"
    assert decision.reasons[-3:] == (cooldown.reason, flapping.reason, by_hand)


def test_work_that_was_announced_calls_nobody_unless_automation_is_off_altogether() -> None:
    knows = replace(view(ESTATE, DEAD), quiet={GROUP: WINDOW})
    (decision,) = decide(knows, now=DEAD.at)
    assert isinstance(decision, Hold)
    assert decision.watching
    (decision,) = decide(replace(knows, paused="lunch"), now=DEAD.at)
    assert isinstance(decision, CallPerson)


def test_neither_a_cooldown_nor_restlessness_keeps_evac_from_asking() -> None:
    flaps = {GROUP: Flaps(points=3000, at=DEAD.at)}
    asks = replace(view(shop(automation=Automation.SEMI_AUTOMATIC), DEAD), last_move_at={GROUP: AGO}, flaps=flaps)
    (decision,) = decide(asks, now=DEAD.at)
    assert isinstance(decision, Ask)
    assert "moved 60 s ago; nothing automatic for another 1740 s" in decision.reasons
    for changes, kind in (({"paused": "lunch"}, CallPerson), ({"quiet": {GROUP: WINDOW}}, Hold)):
        (decision,) = decide(replace(asks, **changes), now=DEAD.at)
        assert isinstance(decision, kind)


def test_the_cooldown_is_that_of_the_slowest_kind_of_service() -> None:
    minutes = {ServiceKind.DATABASE: 60, ServiceKind.API: 30, ServiceKind.CACHE: 15}
    guard = replace(ESTATE.guard, cooldown={kind: timedelta(minutes=m) for kind, m in minutes.items()})
    for kind in minutes:
        services = {i: replace(s, kind=kind) for i, s in ESTATE.services.items()}
        only = replace(ESTATE, guard=guard, services=services)
        assert cooldown_of(only, GROUP) == timedelta(minutes=minutes[kind])
    assert cooldown_of(replace(ESTATE, guard=guard), GROUP) == timedelta(hours=1)
    assert cooldown_of(ESTATE, GROUP) == ESTATE.guard.hold_down


def test_each_region_that_cannot_take_over_is_said_with_its_reason() -> None:
    said = replace(DEAD, voiceless={WEST: "sees most regions down", EUROPE: "silent for 9 s"})
    (decision,) = decide(view(ESTATE, said), now=DEAD.at)
    assert isinstance(decision, CallPerson)
    assert [(r["region"], r["reason"]) for r in to_plain(decision)["rejected"]] == [
        ("us-west-2", "sees most regions down"),
        ("eu-west-1", "silent for 9 s"),
    ]
    assert "us-west-2 sees most regions down" in decision.reasons


@pytest.mark.parametrize(
    ("diagnosis", "said"),
    [
        (Diagnosis.LINK_CUT, "us-east-1: only a minority of outside views fail; a link is cut, the region is not"),
        (Diagnosis.UNKNOWN, "us-east-1 cannot be judged: too little has been seen of it, from outside or from inside"),
    ],
)
def test_what_no_quorum_says_moves_nothing_and_is_said(diagnosis: Diagnosis, said: str) -> None:
    verdict = replace(DEAD.verdicts[EAST], diagnosis=diagnosis, services=(), heartbeat_age=None)
    (decision,) = decide(view(ESTATE, replace(DEAD, verdicts={**DEAD.verdicts, EAST: verdict})), now=DEAD.at)
    assert isinstance(decision, Hold)
    assert said in to_plain(decision)["reasons"]
