"""Who streams from whom and how far behind, by what members say of themselves; what is old or silent is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evac.core.estate import GroupId, RegionId, ReplicationMode
from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.replicating import Replica, Topology, topologies, tree
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS_DB, WEST, shop
from fakes.estates import seconds

NOW = 20.0
HOME: Mapping[GroupId, RegionId] = {GROUP: EAST}


def primary(at: float, position: int | None, region: RegionId = EAST, **said: Any) -> MemberSeen:
    given: dict[str, Any] = {"sync_standbys": (WEST, EUROPE), "sync_acks": 1} | said
    state = MemberState(role=MemberRole.PRIMARY, writable=True, position=position, streaming=True, **given)
    return MemberSeen(at=seconds(at), component=ORDERS_DB, region=region, state=state)


def standby(at: float, region: RegionId, position: int | None, **said: Any) -> MemberSeen:
    given: dict[str, Any] = {"upstream": EAST, "streaming": True} | said
    state = MemberState(role=MemberRole.STANDBY, writable=False, position=position, **given)
    return MemberSeen(at=seconds(at), component=ORDERS_DB, region=region, state=state)


def silent(at: float, region: RegionId) -> MemberSeen:
    return MemberSeen(at=seconds(at), component=ORDERS_DB, region=region, state=None, reason="connection refused")


def topology(*looks: MemberSeen, primaries: Mapping[GroupId, RegionId] = HOME) -> Topology:
    found = topologies(shop(), looks, primaries=primaries, now=seconds(NOW))
    assert [t.component for t in found] == [ORDERS_DB, CARTS_CACHE]
    return found[0]


def member(region: RegionId, *looks: MemberSeen, primaries: Mapping[GroupId, RegionId] = HOME) -> Replica:
    (one,) = [r for r in topology(*looks, primaries=primaries).replicas if r.region == region]
    return one


GROWS = (primary(17, 1000), primary(18, 2000), primary(19, 3000))


def test_two_looks_at_both_tell_bytes_a_second_lag_and_as_of_when_all_is_there() -> None:
    west = member(WEST, *GROWS, standby(17, WEST, 500), standby(19, WEST, 2500))
    assert west.rate is not None
    assert (west.rate.bytes_per_second, west.rate.over) == (1000, seconds(2))
    assert (west.lag, west.lag_bytes, west.lag_over, west.in_sync_at) == (seconds(0.5), 500, None, seconds(18.5))
    assert (west.streaming, west.upstream, west.waited_for) == (True, EAST, True)
    east = member(EAST, *GROWS)
    assert east.rate is not None
    assert (east.rate.bytes_per_second, east.waited_for, east.streaming) == (1000, None, None)


def test_a_component_is_well_where_one_is_primary_and_all_others_stream() -> None:
    well = topology(*GROWS, standby(19, WEST, 3000), standby(19, EUROPE, 3000))
    assert (well.well, well.acks, well.sync, well.mode) == (True, 1, (WEST, EUROPE), ReplicationMode.SYNC)
    assert not topology(*GROWS, standby(19, WEST, 3000)).well
    assert not topology(*GROWS, standby(19, WEST, 3000), standby(19, EUROPE, 3000, streaming=False)).well
    assert not topology(*GROWS, standby(19, WEST, 3000), primary(19, 3000, EUROPE)).well
    assert not topology(*GROWS, standby(19, WEST, 3000), standby(12, EUROPE, 3000)).well


def test_what_is_odd_about_a_whole_component_is_named() -> None:
    west, europe = standby(19, WEST, 3000), standby(19, EUROPE, 3000)
    assert topology(*GROWS, west, europe).odd == ""
    assert topology(*GROWS, west, standby(19, EUROPE, 3000, upstream=WEST)).odd == "", "by way of another"
    assert topology(*GROWS, west, primary(19, 3000, EUROPE)).odd == "2 primaries: us-east-1, eu-west-1"
    assert topology(west, europe).odd == "no primary is seen"
    elsewhere = topology(*GROWS, west, europe, primaries={GROUP: WEST})
    assert elsewhere.odd == "its primary is in us-east-1, and the record has it in us-west-2"
    ring = (standby(19, WEST, 3000, upstream=EUROPE), standby(19, EUROPE, 3000, upstream=WEST))
    assert topology(*GROWS, *ring).odd == "not by way of the primary: us-west-2, eu-west-1"
    nobody = topology(*GROWS, west, standby(19, EUROPE, 3000, upstream=None))
    assert nobody.odd == "not by way of the primary: eu-west-1"
    assert not any(each.well for each in (elsewhere, topology(*GROWS, *ring), nobody))


def test_who_relays_is_whom_the_follower_names_and_lag_is_counted_against_the_primary() -> None:
    europe = member(EUROPE, *GROWS, standby(19, WEST, 3000), standby(19, EUROPE, 2900, upstream=WEST))
    assert (europe.upstream, europe.lag_bytes) == (WEST, 100)


def test_who_fell_behind_before_anybody_looked_has_the_systems_own_word_for_when() -> None:
    west = member(WEST, *GROWS, standby(19, WEST, 10, streaming=False, lag=seconds(900), lag_bytes=7))
    assert (west.lag, west.lag_over, west.applied_lag) == (None, seconds(2), seconds(900))
    assert (west.in_sync_at, west.unapplied_bytes) == (seconds(19 - 900), 7)


def test_a_position_that_is_not_told_or_of_another_history_is_not_compared() -> None:
    mute = member(WEST, *GROWS, standby(19, WEST, None))
    assert (mute.rate, mute.lag_bytes, mute.in_sync_at, mute.streaming) == (None, None, None, True)
    other = member(WEST, *GROWS, standby(17, WEST, 100, timeline=7), standby(19, WEST, 300, timeline=7))
    assert (other.lag_bytes, other.lag) == (None, None)
    assert other.rate is not None


def test_what_was_said_long_ago_is_no_measure_of_now() -> None:
    west = member(WEST, *GROWS, standby(5, WEST, 500, lag=seconds(1)), standby(7, WEST, 900, lag=seconds(1)))
    assert (west.fresh, west.rate, west.lag_bytes, west.in_sync_at) == (False, None, None, seconds(6))


def test_a_primary_that_is_silent_is_measured_against_by_nobody() -> None:
    looks = (primary(5, 1000), standby(17, WEST, 900), standby(19, WEST, 1000))
    west = member(WEST, *looks)
    assert (west.lag_bytes, west.waited_for) == (None, None)
    assert topology(*looks).acks is None
    assert member(WEST, silent(19, EAST), standby(19, WEST, 1000)).lag_bytes is None


def test_who_does_not_answer_says_why_and_of_whom_nothing_was_told_nothing_is_known() -> None:
    found = topology(silent(19, EAST))
    east, west, _ = found.replicas
    assert (east.role, east.reason, east.fresh) == (None, "connection refused", True)
    assert (west.role, west.told, west.reason) == (None, None, "nothing was told of it")
    assert not found.well


def test_without_a_record_the_only_primary_is_the_one() -> None:
    looks = (*GROWS, standby(19, WEST, 2900))
    assert member(WEST, *looks, primaries={}).lag_bytes == 100
    assert member(WEST, *looks, primary(19, 5000, EUROPE), primaries={}).lag_bytes is None
    assert topology(*looks, primaries={}).primary is None


def test_nobody_is_waited_for_where_replication_is_asynchronous() -> None:
    looks = [replace(look, component=CARTS_CACHE) for look in (*GROWS, standby(19, WEST, 3000))]
    carts = topologies(shop(), looks, primaries=HOME, now=seconds(NOW))[1]
    assert [r.waited_for for r in carts.replicas] == [None, False, False]
    assert carts.acks == 1


def drawn(**upstream: str | None) -> Sequence[tuple[str, tuple[bool, ...]]]:
    """The tree of these members, by whom each follows."""
    replicas = [
        Replica(
            region=RegionId(name),
            role=MemberRole.PRIMARY if name == "p" else MemberRole.STANDBY,
            told=seconds(19),
            fresh=True,
            upstream=RegionId(of) if of else None,
        )
        for name, of in upstream.items()
    ]
    return [(branch.replica.region, branch.last) for branch in tree(replicas)]


def test_each_member_is_below_the_one_it_follows() -> None:
    assert drawn(a="p", p=None, b="a", c="p") == [("p", ()), ("a", (False,)), ("b", (False, True)), ("c", (True,))]


def test_who_follows_nobody_here_is_on_top_and_a_ring_ends() -> None:
    assert drawn(lost="elsewhere", p=None) == [("p", ()), ("lost", ())]
    assert drawn(a="b", b="a", p=None) == [("p", ()), ("a", ()), ("b", (True,))]
