"""What is said of the ways between regions: quickest answers, lost packets, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.estate import RegionId, ServiceId
from evac.core.links import Link, links
from evac.core.observation import MemberSeen, Observation, Probed
from evac.sim.estates import CARTS, EAST, EUROPE, ORDERS, ORDERS_DB, SHOP, WEST, shop
from fakes.estates import beat, probed, seconds

ESTATE = replace(shop(), round_trips={(EAST, WEST): timedelta(milliseconds=62)})


def way(*seen: Observation, vantage: RegionId = EAST, region: RegionId = WEST, since: float = 0.0) -> Link:
    found = links(ESTATE, (*beat(9, EAST), *seen), since=seconds(since))
    (one,) = [link for link in found if (link.vantage, link.region) == (vantage, region)]
    return one


def looks(service: ServiceId, *took: float) -> Iterable[Probed]:
    """Answers that took so long; of those below nothing, silence."""
    return [probed(at, EAST, WEST, service, took=abs(took_s), ok=took_s > 0) for at, took_s in enumerate(took, start=1)]


def test_every_ordered_pair_is_told_of_in_the_estates_order() -> None:
    found = links(ESTATE, (), since=seconds(0))
    assert [(link.vantage, link.region) for link in found][:4] == [
        (EAST, EAST),
        (EAST, WEST),
        (EAST, EUROPE),
        (WEST, EAST),
    ]
    declared = {(link.vantage, link.region) for link in found if link.expected is not None}
    assert declared == {(EAST, WEST), (WEST, EAST)}


def test_the_quickest_answer_of_all_services_is_nearest_to_the_networks_time() -> None:
    link = way(*looks(ORDERS, 0.070, 0.065, 0.090), *looks(SHOP, 0.080, 0.081))
    assert link.smallest == timedelta(milliseconds=65)
    assert link.median == timedelta(milliseconds=70)
    assert (link.questions, link.unanswered, link.late, link.failed, link.loss) == (5, 0, 0, 0, 0.0)
    assert link.last == seconds(3)
    assert link.unknown == ""


def test_late_and_missing_answers_tell_of_lost_packets_each_way() -> None:
    """Of 100 answers 19 late ones: 0.9 of the packets arrive, each way."""
    link = way(*looks(ORDERS, *[0.07] * 81, *[0.27] * 10, *[-1.0] * 9))
    assert (link.late, link.unanswered) == (10, 9)
    assert link.loss == pytest.approx(0.1)


def test_one_service_that_is_slow_or_down_is_not_the_way() -> None:
    slow = way(*looks(ORDERS, 0.07, 0.5, 0.5), *looks(SHOP, 0.08), *looks(CARTS, 0.07))
    assert (slow.late, slow.loss) == (2, 0.0)
    down = way(*looks(ORDERS, -1.0, -1.0), *looks(SHOP, 0.08))
    assert (down.unanswered, down.loss, down.mute) == (2, 0.0, (ORDERS,))


def test_where_nothing_comes_back_all_is_lost_and_no_time_is_told() -> None:
    link = way(*looks(ORDERS, -1.0, -1.0))
    assert (link.loss, link.smallest, link.median, link.mute) == (1.0, None, None, (ORDERS,))


def test_an_answer_that_is_an_error_has_come_all_the_same() -> None:
    link = way(probed(1, EAST, WEST, ORDERS, ok=False, answered=True))
    assert (link.failed, link.unanswered, link.loss, link.mute) == (1, 0, 0.0, ())


def test_a_pair_that_nobody_looked_at_has_no_figures_and_says_why() -> None:
    silent = way(vantage=WEST, region=EAST)
    assert (silent.smallest, silent.loss, silent.last, silent.questions) == (None, None, None, 0)
    assert silent.unknown == "us-west-2's agent was not heard"
    assert way().unknown == "its agent told of no look there"
    for_clients = replace(ESTATE, probes=tuple(p for p in ESTATE.probes if p.as_client or p.region != WEST))
    found = links(for_clients, beat(9, EAST), since=seconds(0))
    assert found[1].unknown == "no probe there keeps a connection open"


def test_what_does_not_tell_of_the_way_is_left_out() -> None:
    link = way(
        probed(1, EAST, WEST, ORDERS, took=0.07),
        probed(5, EAST, WEST, ORDERS, took=0.07),
        probed(5, EAST, WEST, ORDERS, took=0.07),  # told twice
        probed(6, EAST, WEST, ORDERS, took=0.2, as_client=True),
        probed(7, EAST, WEST, ORDERS, took=0.0),  # an observer's word
        MemberSeen(at=seconds(8), component=ORDERS_DB, region=EAST, state=None),
        since=2.0,
    )
    assert (link.questions, link.last) == (1, seconds(5))


def test_what_the_own_region_takes_is_told_from_the_way() -> None:
    """As from a vantage point that is reached over ssh, or where whoever looks is busy."""
    own = [probed(at, EAST, EAST, ORDERS, took=0.03 if at > 2 else 0.3) for at in range(1, 11)]
    link = way(*own, *looks(ORDERS, 0.09, 0.095))
    assert (link.own, link.beyond_own) == (timedelta(milliseconds=30), timedelta(milliseconds=60))
    assert way(*own, *looks(ORDERS, 0.01)).beyond_own == timedelta()
    home = way(*own, region=EAST)
    assert (home.beyond_own, home.loses) == (None, False)
    assert home.loss == link.own_loss == pytest.approx(0.1056, abs=0.001)
    assert not way(*own, *looks(ORDERS, *[0.09] * 8, 0.5, 0.5)).loses
    assert way(*own, *looks(ORDERS, *[0.09] * 4, *[0.5] * 6)).loses
    assert way(*looks(ORDERS, *[0.09] * 8, 0.5, 0.5)).loses
    assert not way().loses
