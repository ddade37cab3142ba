"""Ease: which words change nothing while all is well, and when the next heartbeat becomes stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.decision import CallPerson, Decision, Hold
from evac.core.detector import Detector, fold
from evac.core.ease import FLOWING, at_ease, stale_at, stirs
from evac.core.estate import ServiceId
from evac.core.observation import Carried, MemberRole, MemberSeen, MemberState, Observation
from evac.core.policy import Detection
from evac.sim.estates import CARTS, EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, WEST, shop
from fakes.estates import beat, dead, everywhere, judged, member, probed, seconds, watched

ESTATE = shop()
CALM = Hold(group=GROUP, reasons=("all is well",))
KNOWN = member(ORDERS_DB, WEST, primary=EAST, at=1.0)


def carried(failed: int) -> Carried:
    return Carried(
        at=seconds(5), vantage=WEST, service=ORDERS, region=EAST, window=seconds(1), requests=100, failed=failed
    )


def says(**changes: object) -> MemberSeen:
    """The standby in the west again, in another state."""
    assert KNOWN.state is not None
    return replace(KNOWN, at=seconds(5), state=replace(KNOWN.state, **changes))  # type: ignore[arg-type]


def well() -> tuple[Detector, float]:
    detector, now = watched(ESTATE)
    return fold(detector, KNOWN), now


def test_where_all_is_well_and_nothing_is_owed_there_is_ease() -> None:
    assert at_ease(judged(ESTATE), (CALM,))
    assert at_ease(judged(ESTATE), ())


@pytest.mark.parametrize("decision", [replace(CALM, watching=True), CallPerson(group=GROUP, reasons=("help",))])
def test_what_is_watched_or_owed_leaves_no_ease(decision: Decision) -> None:
    assert not at_ease(judged(ESTATE), (CALM, decision))


def test_nor_does_a_region_that_fails_or_an_observer_without_a_vote() -> None:
    assert not at_ease(dead(ESTATE, EUROPE), (CALM,))
    silent = judged(ESTATE, silent=(EUROPE,))
    assert {v.diagnosis for v in silent.verdicts.values()} == {"well"}
    assert not at_ease(silent, (CALM,))


@pytest.mark.parametrize(
    "seen",
    [
        probed(5, WEST, EAST, ORDERS),
        beat(5, WEST)[0],
        carried(0),
        says(),
        says(position=2000, lag=timedelta(seconds=1), waiting=1, free_disk=0.5, detail={"a": 1}),
    ],
    ids=repr,
)
def test_that_all_is_as_it_was_stirs_nothing(seen: Observation) -> None:
    assert not stirs(well()[0], seen)


@pytest.mark.parametrize(
    "seen",
    [
        probed(5, WEST, EAST, ORDERS, ok=False),
        probed(5, WEST, EAST, ServiceId("never seen")),
        beat(9, WEST)[0],
        carried(1),
        says(streaming=False),
        says(role=MemberRole.STOPPED),
        says(timeline=2),
        replace(KNOWN, state=None),
        member(ORDERS_DB, EUROPE, primary=EAST),
    ],
    ids=repr,
)
def test_whatever_else_is_said_does(seen: Observation) -> None:
    detector, _ = well()
    assert stirs(detector, seen)
    assert stirs(detector, probed(5, WEST, EAST, CARTS), seen)


def test_a_member_that_answers_again_and_a_service_that_is_not_up_stir() -> None:
    detector, now = watched(ESTATE, down=everywhere(ESTATE, EAST))
    assert stirs(detector, probed(now + 0.5, WEST, EAST, ORDERS))
    assert stirs(fold(detector, replace(KNOWN, state=None)), says())


def test_only_what_flows_is_left_out() -> None:
    assert {f for f in MemberState.__slots__ if f in FLOWING} == FLOWING


def test_a_heartbeat_becomes_stale_at_a_known_moment() -> None:
    detector = fold(Detector(policy=Detection()), *beat(1.0, WEST), *beat(2.5, EAST))
    stale = Detection().heartbeat_stale
    assert stale_at(detector, now=seconds(2.5)) == seconds(1.0) + stale
    assert stale_at(detector, now=seconds(1.0) + stale) == seconds(1.0) + stale
    assert stale_at(detector, now=seconds(3.5)) == seconds(2.5) + stale
    assert stale_at(detector, now=seconds(9)) is None
    assert assess(detector, now=seconds(3.0), estate=ESTATE).voiceless.keys() == {EUROPE}
    assert assess(detector, now=seconds(3.001), estate=ESTATE).voiceless.keys() == {EUROPE, WEST}
