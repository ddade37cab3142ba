"""Where a group is, is recorded at first and after a restore, never under a run, and never over what another wrote."""

from __future__ import annotations

import asyncio

import pytest

from evac.core.detector import Detector
from evac.core.estate import ReplicationMode
from evac.core.memory import Memory
from evac.core.observation import Instant, MemberRole, MemberSeen, MemberState
from evac.core.plan import Placement, Term
from evac.core.policy import Detection
from evac.core.run import RunId
from evac.engine.codec import decode, encode
from evac.engine.knowledge import Knowledge
from evac.engine.placing import place
from evac.sim.estates import EAST, EUROPE, GROUP, ORDERS_DB, THREE, WEST, database_alone
from evac.stores.memory import MemoryStore

ESTATE = database_alone(THREE, mode=ReplicationMode.ASYNC, acks=0, detection=Detection())
KEY = f"placement/{GROUP}"
BEFORE = Placement(group=GROUP, primary=EAST, term=Term(1))
SINCE = Placement(group=GROUP, primary=WEST, term=Term(2))


def knowing(placement: Placement | None) -> Knowledge:
    """The primary is in the west, at term 2, and both others stand by."""
    members = {
        (ORDERS_DB, region): MemberSeen(
            at=Instant(),
            component=ORDERS_DB,
            region=region,
            state=MemberState(
                role=MemberRole.PRIMARY if region == WEST else MemberRole.STANDBY, writable=region == WEST, term=2
            ),
        )
        for region in THREE
    }
    known = Knowledge(detector=Detector(policy=ESTATE.detection, members=members))
    if placement is not None:
        known.placements[GROUP] = placement
    return known


def placed(known: Knowledge, *records: Placement) -> Placement | None:
    """Return what the store says afterwards, where it said so before."""

    async def story() -> Placement | None:
        store = MemoryStore()
        for record in records:
            await store.commit(expect={}, put={KEY: encode(record)})
        await place(known, ESTATE, store)
        found = await store.get(KEY)
        return decode(found.value, Placement) if found else None

    return asyncio.run(story())


def test_it_is_recorded_once_its_members_agree() -> None:
    known = knowing(None)
    assert placed(known) == SINCE
    assert known.placements[GROUP] == SINCE


def test_what_keeps_it_from_being_known_is_said() -> None:
    known = knowing(None)
    known.detector = Detector(policy=ESTATE.detection)
    assert placed(known) is None
    assert known.unplaced[GROUP]


def test_a_record_older_than_its_members_is_taken_from_them() -> None:
    known = knowing(BEFORE)
    assert placed(known, BEFORE) == SINCE
    assert known.placements[GROUP] == SINCE


@pytest.mark.parametrize("where", ["active", "stuck"])
def test_nothing_is_taken_while_a_run_is_not_settled(where: str) -> None:
    known = knowing(BEFORE)
    if where == "active":
        known.active[GROUP] = RunId("1")
    else:
        known.memories[GROUP] = Memory(stuck=RunId("1"))
    assert placed(known, BEFORE) == BEFORE


def test_nothing_is_taken_over_what_somebody_wrote_meanwhile() -> None:
    newer = Placement(group=GROUP, primary=EUROPE, term=Term(3))
    known = knowing(BEFORE)
    assert placed(known, newer) == newer
    assert known.placements[GROUP] == BEFORE
