"""A large estate is told of in shares, and the gist of one differs when somebody should look again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evac.core.decision import Hold
from evac.core.estate import GroupId
from evac.core.health import ServiceHealth
from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.sharing import ROWS_MAX, divide, gist, group_gist
from evac.core.snapshot import Part
from evac.lab.bench.large import estate_of
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS, ORDERS_DB, WEST, placed, shop

STANDBY = MemberState(
    role=MemberRole.STANDBY, writable=False, upstream=EAST, streaming=True, lag=timedelta(), waiting=0
)
PART = Part(
    layout="",
    at=timedelta(),
    wall=datetime(2026, 11, 23, tzinfo=UTC),
    members=(MemberSeen(at=timedelta(seconds=1), component=ORDERS_DB, region=WEST, state=STANDBY),),
    placements=(placed(shop()),),
    unplaced={},
    decisions=(Hold(group=GROUP, reasons=("12 of 12 answer",)),),
    restraints={},
    sets=(),
    health=(
        ServiceHealth(
            region=WEST, service=ORDERS, score=0.98, response=None, error_rate=None, throughput=None, answers=1
        ),
    ),
)


def test_a_small_estate_is_one_share() -> None:
    (share,) = divide(shop())
    assert share.groups == tuple(shop().home)
    assert set(share.components) == set(shop().components)
    assert set(share.services) == set(shop().services)


def test_groups_stay_whole_and_everything_is_told_of_once() -> None:
    estate = estate_of(3, 300)
    shares = divide(estate)
    assert len(shares) > 1
    assert [g for s in shares for g in s.groups] == list(estate.home)
    assert sorted(c for s in shares for c in s.components) == sorted(estate.components)
    for share in shares:
        assert {estate.services[s].group for s in share.services} == set(share.groups)
        assert len(share.components) * 3 + len(share.services) * 3 <= ROWS_MAX


def test_a_group_that_is_larger_than_a_share_is_told_of_in_several() -> None:
    estate = estate_of(3, 300, group_size=300)
    first, *more = divide(estate)
    assert first.groups == tuple(estate.home)
    assert more
    assert not any(s.groups for s in more)
    assert sorted(s for share in (first, *more) for s in share.services) == sorted(estate.services)


def test_no_share_is_empty_where_single_services_are_large() -> None:
    assert [len(s.services) for s in divide(estate_of(3, 20), rows_max=1)] == [1] * 20


def seen(**changes: object) -> Part:
    (member,) = PART.members
    return replace(PART, members=(replace(member, state=replace(STANDBY, **changes)),))  # type: ignore[arg-type]


def test_figures_that_change_all_the_time_are_no_news() -> None:
    (member,) = PART.members
    later = replace(PART, wall=PART.wall + timedelta(hours=1), members=(replace(member, at=timedelta(seconds=9)),))
    again = replace(PART, decisions=(Hold(group=GROUP, reasons=("11 of 11 answer",)),))
    slower = replace(PART, health=(replace(PART.health[0], score=0.97, response=timedelta(1)),))
    for same in (later, again, slower, seen(position=7), seen(lag=timedelta(seconds=0.9))):
        assert gist(same) == gist(PART)


@pytest.mark.parametrize(
    "other",
    [
        seen(streaming=False),
        seen(lag=timedelta(seconds=1)),
        seen(lag=None),
        seen(waiting=3),
        replace(PART, members=(replace(PART.members[0], state=None, reason="no answer in 2 s"),)),
        replace(PART, placements=(replace(placed(shop()), primary=EUROPE),)),
        replace(PART, decisions=(Hold(group=GROUP, reasons=("nothing answers",)),)),
        replace(PART, health=(replace(PART.health[0], score=None),)),
        replace(PART, unplaced={"shop": ["nobody says"]}),
    ],
)
def test_what_a_person_would_notice_is_news(other: Part) -> None:
    assert gist(other) != gist(PART)


def test_what_is_decided_of_a_shares_groups_can_be_asked_for_alone() -> None:
    (share,) = divide(shop())
    here = {GROUP: placed(shop())}
    calm, sick = Hold(group=GROUP, reasons=("all is well",)), Hold(group=GROUP, reasons=("it is down",))
    told = group_gist(share, placements=here, decisions={GROUP: calm})
    assert told == group_gist(share, placements=dict(here), decisions={GROUP: calm, GroupId("another"): sick})
    assert told != group_gist(share, placements=here, decisions={GROUP: sick})
    assert told != group_gist(share, placements=here, decisions={})
    assert told != group_gist(share, placements={}, decisions={GROUP: calm})
