"""Where a group is by its members: no term is forgotten, and a record is only overtaken by a later promotion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.estate import ComponentId, RegionId, ReplicationMode
from evac.core.observation import Instant, MemberRole, MemberSeen, MemberState
from evac.core.plan import Placement, SyncSet, Term
from evac.core.policy import Detection
from evac.engine.bootstrap import first_placement, highest_term, overtaken
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS_DB, THREE, WEST, database_alone, shop

ESTATE = database_alone(THREE, mode=ReplicationMode.ASYNC, acks=0, detection=Detection())


def members(primary: RegionId, terms: tuple[int | None, ...]) -> dict[tuple[ComponentId, RegionId], MemberSeen]:
    return {
        (ORDERS_DB, region): MemberSeen(
            at=Instant(),
            component=ORDERS_DB,
            region=region,
            state=MemberState(
                role=MemberRole.PRIMARY if region == primary else MemberRole.STANDBY,
                writable=region == primary,
                term=term,
            ),
        )
        for region, term in zip(THREE, terms, strict=True)
    }


def recorded(primary: RegionId, term: int) -> Placement:
    return Placement(group=GROUP, primary=primary, term=Term(term), sync={})


def test_a_store_that_knows_nothing_begins_above_every_term_that_was_ever_obeyed() -> None:
    assert highest_term(ESTATE, GROUP, {}) == 1
    assert highest_term(ESTATE, GROUP, members(EAST, (None, None, None))) == 1
    seen = members(WEST, (3, 5, 7))
    assert highest_term(ESTATE, GROUP, seen) == 7
    assert first_placement(ESTATE, GROUP, seen) == recorded(WEST, 7)
    others = {(CARTS_CACHE, region): replace(at, component=CARTS_CACHE) for (_, region), at in seen.items()}
    assert highest_term(ESTATE, GROUP, others) == 1, "another group's terms are its own"


def test_a_primary_that_waits_for_fewer_than_declared_is_not_placed() -> None:
    estate = database_alone(THREE, mode=ReplicationMode.SYNC, acks=2, detection=Detection())
    for acks, said in ((1, ("orders-db in us-east-1 waits for 1 standbys, the estate declares 2",)), (2, ())):
        seen = members(EAST, (1, 1, 1))
        primary = seen[ORDERS_DB, EAST]
        assert primary.state is not None
        waits = replace(primary.state, sync_acks=acks, sync_standbys=(WEST, EUROPE))
        found = first_placement(estate, GROUP, seen | {(ORDERS_DB, EAST): replace(primary, state=waits)})
        if said:
            assert isinstance(found, tuple)
            assert found[0].startswith(said[0])
        else:
            assert isinstance(found, Placement)
            assert found.sync == {ORDERS_DB: (SyncSet(acks=2, standbys=(WEST, EUROPE)),)}


@pytest.mark.parametrize(
    ("record", "primary", "terms", "by_members"),
    [
        pytest.param(recorded(EAST, 1), WEST, (2, 2, 2), recorded(WEST, 2), id="moved-since"),
        pytest.param(recorded(EAST, 2), WEST, (3, 2, 3), None, id="seen-late"),
        pytest.param(recorded(EAST, 1), WEST, (2, None, 2), None, id="its-term-is-not-known"),
        pytest.param(recorded(EAST, 1), EAST, (4, 4, 4), None, id="where-it-was"),
        pytest.param(recorded(EAST, 1), EUROPE, (1, 1, 1), None, id="drift"),
    ],
)
def test_a_record_is_overtaken_by_a_primary_of_a_higher_term(
    record: Placement, primary: RegionId, terms: tuple[int | None, ...], by_members: Placement | None
) -> None:
    assert overtaken(record, ESTATE, members(primary, terms)) == by_members


def test_all_of_a_group_must_have_been_promoted_since_its_record_was_written() -> None:
    """One component that a person moved by hand, and evac's own term on another, are no move of the group."""
    estate = shop(acks=0, cache_acks=0)
    orders = members(WEST, (4, 4, 4))
    for cache_term, moved in ((1, False), (None, False), (4, True)):
        cache = {
            (CARTS_CACHE, region): replace(seen, component=CARTS_CACHE, state=replace(seen.state, term=cache_term))
            for (_, region), seen in orders.items()
            if seen.state is not None
        }
        assert (overtaken(recorded(EAST, 1), estate, orders | cache) is not None) is moved


def test_two_primaries_overtake_nothing() -> None:
    seen = members(WEST, (2, 2, 2)) | {
        key: value for key, value in members(EUROPE, (2, 2, 2)).items() if key[1] == EUROPE
    }
    assert overtaken(recorded(EAST, 1), ESTATE, seen) is None


def test_a_group_without_state_is_where_its_record_says() -> None:
    assert overtaken(recorded(WEST, 1), replace(ESTATE, components={}), {}) is None
