"""A change of whom the primary waits for is done when the new set holds what any earlier one acknowledged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import EAST, EU, WEST, Cluster, order, raised
from test_postgresql_failover import rows, with_receipts, writing

from evac.core.errors import Indeterminate, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json
from evac.core.plan import Verb
from evac.ports import Driver, Truth

SHORT = timedelta(seconds=1)
NOBODY: dict[str, Json] = {"acks": 0, "standbys": []}


async def test_a_set_that_lacks_what_was_acknowledged_before_gives_no_receipt(tmp_path: Path) -> None:
    """The one that is to be waited for stands still: the set is in force, and nobody may count on it yet."""
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST, settle_timeout=SHORT, answer_timeout=SHORT)
        narrow = order(Verb.PROTECT, EAST, acks=1, standbys=[EU])
        cluster.servers[EU].freeze()
        try:
            async with writing(cluster, EAST) as acknowledged:
                await asyncio.sleep(0.5)
            assert acknowledged
            with pytest.raises(Indeterminate, match="hold yet what was written before"):
                await east.do(narrow)
            held = await east.holds(narrow)
            assert (held.truth, held.receipt) == (Truth.UNKNOWN, None)
        finally:
            cluster.servers[EU].thaw()
        patient = await cluster.driver(EAST)
        assert (await patient.do(narrow)).facts["standbys"] == [EU]
        assert (await patient.holds(narrow)).truth is Truth.YES
        async with asyncio.timeout(30):  # it is on its disk; until it is applied takes a moment
            while not acknowledged <= await rows(cluster, EU):
                await asyncio.sleep(0.05)


async def test_a_standby_that_is_gone_is_left_out_and_taken_back(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        cluster.servers[EU].freeze()
        try:
            await east.do(order(Verb.PROTECT, EAST, term=2, acks=1, standbys=[WEST]))
            state = await east.observe()
            assert (state.sync_acks, state.sync_standbys) == (1, (WEST,))
            await cluster.sql(EAST, "INSERT INTO orders VALUES (1, 'with one')")
        finally:
            cluster.servers[EU].thaw()
        wide = await east.do(order(Verb.PROTECT, EAST, term=3, acks=1, standbys=[WEST, EU]))
        assert wide.facts["before"] == {"acks": 1, "standbys": [WEST]}


async def test_a_primary_that_is_let_alone_acknowledges_again(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        for gone in (WEST, EU):
            cluster.servers[gone].freeze()
        try:
            waiting = asyncio.create_task(cluster.sql(EAST, "INSERT INTO orders VALUES (1, 'alone')"))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            assert (await east.do(order(Verb.PROTECT, EAST, acks=0, standbys=[]))).facts["acks"] == 0
            async with asyncio.timeout(20):
                await waiting
            assert (await east.observe()).sync_acks == 0
        finally:
            for gone in (WEST, EU):
                cluster.servers[gone].thaw()


async def test_a_set_of_which_nobody_streams_changes_nothing(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, eu = await cluster.driver(EAST, settle_timeout=SHORT), await cluster.driver(EU)
        await eu.do(order(Verb.REFUSE, EU, old=EAST))
        with pytest.raises(Unavailable, match="nothing was changed"):
            await east.do(order(Verb.PROTECT, EAST, acks=1, standbys=[EU]))
        assert set((await east.observe()).sync_standbys) == {WEST, EU}
        await cluster.sql(EAST, "INSERT INTO orders VALUES (1, 'as before')")


async def test_a_standby_that_missed_the_move_just_follows(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        cluster.servers[EU].freeze()
        await cluster.sql(EAST, "INSERT INTO orders VALUES (1, 'without eu')")
        await _moved(east, west)
        await cluster.sql(WEST, "INSERT INTO orders VALUES (2, 'in west')")
        cluster.servers[EU].thaw()
        rejoin = order(Verb.REJOIN, EU, term=6, primary=WEST)
        assert (await eu.holds(rejoin)).truth is Truth.NO
        rejoined = await eu.do(rejoin)
        assert (rejoined.facts["method"], rejoined.facts["orphans"]) == ("follow", 0)
        assert (await eu.holds(rejoin)).truth is Truth.YES
        assert await eu.do(rejoin) == rejoined
        await _has(cluster, EU, {1, 2})


async def test_a_standby_that_went_past_the_fork_is_rebuilt_and_what_it_had_is_kept(tmp_path: Path) -> None:
    """The old primary came back for a moment, and only this one was with it."""
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        await west.do(order(Verb.REFUSE, WEST, old=EAST))
        caught = await west.do(order(Verb.CATCH_UP, WEST))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST, sync=NOBODY, word="a test"), c=caught))
        await cluster.sql(EAST, "INSERT INTO orders VALUES (1, 'in the past')")
        await _has(cluster, EU, {1})
        await east.do(order(Verb.STOP, EAST, mode="kill"))
        rejoin = order(Verb.REJOIN, EU, term=6, primary=WEST)
        rejoined = await eu.do(rejoin)
        assert rejoined.facts["method"] in ("rewind", "clone")
        assert rejoined.facts["orphans"] == 1
        assert rejoined.facts["orphans_file"]
        assert (await eu.holds(rejoin)).truth is Truth.YES
        await _has(cluster, EU, set())


async def _moved(east: Driver, west: Driver) -> None:
    """Leave the old primary for a standby that then acknowledges alone."""
    refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
    stopped = await east.do(order(Verb.STOP, EAST, mode="kill"))
    caught = await west.do(with_receipts(order(Verb.CATCH_UP, WEST), a=refused, s=stopped))
    await west.do(with_receipts(order(Verb.PROMOTE, WEST, sync=NOBODY), a=refused, c=caught))


async def _has(cluster: Cluster, region: RegionId, wanted: set[int]) -> None:
    """Wait until a standby has applied exactly these."""
    async with asyncio.timeout(30):
        while await rows(cluster, region) != wanted:
            await asyncio.sleep(0.05)
