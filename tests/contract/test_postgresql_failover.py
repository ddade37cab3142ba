"""PostgreSQL's verbs in the order of a real failover and a real switchover, on real servers and under load."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from postgresql_members import EAST, EU, WEST, Cluster, order, raised

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json, MemberRole
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.lab.servers import postgresql, process


@asynccontextmanager
async def writing(cluster: Cluster, region: str) -> AsyncIterator[set[int]]:
    """Insert rows at a member as fast as it acknowledges; gives the numbers that were acknowledged."""
    acknowledged: set[int] = set()
    server = cluster.servers[RegionId(region)]
    async with await postgresql.connect(server) as setup:
        cursor = await setup.execute("SELECT coalesce(max(id), 0) FROM orders")
        [(last,)] = await cursor.fetchall()
    assert isinstance(last, int)

    async def write(start: int) -> None:
        number = start
        with suppress(psycopg.Error, OSError):
            async with await postgresql.connect(server) as connection:
                while True:
                    await connection.execute("INSERT INTO orders VALUES (%s, %s)", (number, region))
                    acknowledged.add(number)
                    number += 4

    writers = [asyncio.ensure_future(write(last + start)) for start in range(1, 5)]
    try:
        yield acknowledged
    finally:
        server.thaw()
        for writer in writers:
            writer.cancel()
        await asyncio.wait(writers, timeout=10)


async def rows(cluster: Cluster, region: str) -> set[int]:
    found = await cluster.sql(RegionId(region), "SELECT id FROM orders")
    return {int(str(row[0])) for row in found}


async def told_to_follow(cluster: Cluster, region: str) -> str | None:
    """Whom a standby's files say it follows: its sessions hear of a change a moment later."""
    told = "SELECT setting FROM pg_file_settings WHERE name = 'primary_conninfo' ORDER BY seqno DESC LIMIT 1"
    [(conninfo,)] = await cluster.sql(RegionId(region), told)
    return next((r for r, server in cluster.servers.items() if f"port={server.port}" in str(conninfo)), None)


def with_receipts(action: Action, **receipts: Receipt) -> Action:
    facts: dict[str, Json] = {name: dict(receipt.facts) for name, receipt in receipts.items()}
    return order(action.verb, action.region, term=action.term, **{**action.args, "receipts": facts})


SYNC_AFTER: dict[str, Json] = {"acks": 1, "standbys": [EU]}


async def test_a_frozen_primary_is_starved_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        for driver in (east, west, eu):
            await driver.observe()
        async with writing(cluster, EAST) as acknowledged:
            await asyncio.sleep(1)
            for driver in (east, west, eu):
                await driver.observe()
            cluster.servers[EAST].freeze()
            started = time.monotonic()
            refused = await asyncio.gather(
                west.do(order(Verb.REFUSE, WEST, old=EAST)), eu.do(order(Verb.REFUSE, EU, old=EAST))
            )
            caught = await west.do(with_receipts(order(Verb.CATCH_UP, WEST), a=refused[0], b=refused[1]))
            promote = with_receipts(order(Verb.PROMOTE, WEST, sync=SYNC_AFTER), a=refused[0], c=caught)
            promoted = await west.do(promote)
            followed = await eu.do(with_receipts(order(Verb.FOLLOW, EU, primary=WEST), p=promoted))
            verified = await west.do(order(Verb.VERIFY, WEST, write=True))
            print("failover took", round(time.monotonic() - started, 3), refused, promoted, followed, verified)
            cluster.servers[EAST].thaw()
            await asyncio.sleep(1)
        kept = await rows(cluster, WEST)
        assert acknowledged <= kept
        assert len(acknowledged) > 10

        stopped = await east.do(order(Verb.STOP, EAST, mode="kill"))
        assert stopped.kind == "stopped"
        assert (await east.observe()).role is MemberRole.STOPPED
        rejoin = order(Verb.REJOIN, EAST, primary=WEST)
        started = time.monotonic()
        rejoined = await east.do(rejoin)
        print("rejoin took", round(time.monotonic() - started, 3), rejoined)
        assert rejoined.facts["orphans_exact"] is True
        assert await east.do(rejoin) == rejoined
        assert [f.what for f in await east.check() if f.warning] == [], "no password stands in its settings"
        state = await east.observe()
        assert (state.role, state.upstream, state.streaming) == (MemberRole.STANDBY, WEST, True)
        await west.do(order(Verb.PROTECT, WEST, acks=1, standbys=[EAST, EU]))


async def test_one_that_refuses_turns_to_the_next_primary_with_that_and_comes_back_when_it_is_undone(
    tmp_path: Path,
) -> None:
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        await west.observe()  # keeps the slots that others follow it by
        refusal = order(Verb.REFUSE, EU, old=EAST, next=WEST)
        async with writing(cluster, EAST) as acknowledged:
            while len(acknowledged) < 10:
                await asyncio.sleep(0.01)
            refused = await eu.do(refusal)
        again = await eu.do(refusal)
        assert (refused.kind, again.kind) == ("starved", "starved")
        assert int(str(again.facts["position"])) >= int(str(refused.facts["position"])), "what it has it keeps"
        followed = await eu.do(order(Verb.FOLLOW, EU, primary=WEST))
        state = await eu.observe()
        assert (state.role, state.upstream, state.streaming) == (MemberRole.STANDBY, WEST, True)
        await eu.undo(order(Verb.FOLLOW, EU, primary=WEST, receipt=dict(followed.facts)))
        await eu.undo(order(Verb.REFUSE, EU, old=EAST, next=WEST, receipt=dict(refused.facts)))
        await eu.do(order(Verb.FOLLOW, EU, primary=EAST))
        await east.do(order(Verb.PROTECT, EAST, acks=1, standbys=[WEST, EU]))
        assert (await eu.observe()).upstream == EAST


async def test_one_that_was_only_seen_to_have_turned_is_turned_back_to_whom_the_plan_leaves(tmp_path: Path) -> None:
    """The answer to the order was lost, so a look, or doing it again, is all that is known of it."""
    async with raised(tmp_path, acks=0) as cluster:
        west, eu = [await cluster.driver(region) for region in (WEST, EU)]
        await west.observe()  # keeps the slots that others follow it by
        follow = order(Verb.FOLLOW, EU, primary=WEST, old=EAST)
        first = await eu.do(follow)
        looked = (await eu.holds(follow)).receipt
        assert looked is not None
        again = await eu.do(follow)
        assert [receipt.facts["before"] for receipt in (first, looked, again)] == [EAST, EAST, EAST]
        unaware: dict[str, Json] = {**looked.facts, "before": WEST}
        for given in (dict(looked.facts), unaware, None):
            await eu.do(follow)
            assert await told_to_follow(cluster, EU) == WEST
            await eu.undo(order(Verb.FOLLOW, EU, primary=WEST, old=EAST, receipt=given))
            assert await told_to_follow(cluster, EU) == EAST
        with pytest.raises(Rejected, match="not known"):
            await eu.undo(order(Verb.FOLLOW, EU, primary=WEST))


async def test_what_a_cut_off_asynchronous_primary_acknowledged_is_listed_exactly(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        async with writing(cluster, EAST) as acknowledged:
            for _ in range(3):
                await asyncio.sleep(0.4)
                for driver in (east, west, eu):
                    await driver.observe()
            refused = [
                await west.do(order(Verb.REFUSE, WEST, old=EAST)),
                await eu.do(order(Verb.REFUSE, EU, old=EAST)),
            ]
            await asyncio.sleep(0.5)  # what is written now, nobody but the old primary has
            caught = await eu.do(with_receipts(order(Verb.CATCH_UP, EU), a=refused[0], b=refused[1]))
            promoted = await eu.do(with_receipts(order(Verb.PROMOTE, EU), a=refused[1], c=caught))
            await west.do(with_receipts(order(Verb.FOLLOW, WEST, primary=EU), p=promoted))
            await east.do(order(Verb.STOP, EAST, mode="kill"))
        missing = acknowledged - await rows(cluster, EU)
        assert missing
        rejoined = await east.do(order(Verb.REJOIN, EAST, primary=EU))
        print(len(missing), "lost", rejoined)
        listed = [json.loads(line) for line in Path(str(rejoined.facts["orphans_file"])).read_text().splitlines()]
        numbers = {int(change["row"]["id"]) for line in listed for change in line["changes"]}
        assert rejoined.facts["orphans"] == len(listed)
        assert rejoined.facts["orphans_exact"] is True
        assert rejoined.facts["method"] == "rewind"
        assert missing <= numbers
        assert not numbers & await rows(cluster, EU)
        assert len(numbers - missing) <= 4  # written, and cut off before the client heard of it


async def test_a_planned_switch_there_and_back_loses_nothing(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        drivers = {r: await cluster.driver(r) for r in (EAST, WEST, EU)}
        for term, (source, target) in enumerate(((EAST, WEST), (WEST, EAST)), start=5):
            for driver in drivers.values():
                await driver.observe()
            async with writing(cluster, source) as acknowledged:
                await asyncio.sleep(0.5)
                await drivers[source].do(order(Verb.PREPARE, source, term=term, target=target))
                started = time.monotonic()
                stopped = await drivers[source].do(order(Verb.STOP, source, term=term, mode="clean", target=target))
                stop_took = time.monotonic() - started
                promote = order(Verb.PROMOTE, target, term=term, sync=SYNC_AFTER)
                promoted = await drivers[target].do(with_receipts(promote, s=stopped))
                print("switch gap", round(time.monotonic() - started, 3), "stop", round(stop_took, 3), stopped)
            assert stopped.facts["clean"] is True
            follow = order(Verb.FOLLOW, EU, term=term, primary=target)
            await drivers[EU].do(with_receipts(follow, p=promoted))
            await drivers[target].do(order(Verb.VERIFY, target, term=term, write=True))
            rejoined = await drivers[source].do(order(Verb.REJOIN, source, term=term, primary=target))
            assert (rejoined.facts["method"], rejoined.facts["orphans"]) == ("follow", 0)
            assert acknowledged <= await rows(cluster, target)
            assert len(acknowledged) > 10
            await drivers[target].do(order(Verb.PROTECT, target, term=term, acks=1, standbys=[source, EU]))


async def test_nothing_is_stopped_for_a_target_that_has_lost_its_stream(tmp_path: Path) -> None:
    """It would miss the end of the log, and clients would wait for a promotion that has to be refused."""
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        stop = order(Verb.STOP, EAST, mode="clean", target=WEST)
        await cluster.servers[WEST].kill()
        with pytest.raises(Rejected, match="us-west-2 does not stream from us-east-1"):
            await east.do(stop)
        assert (await east.observe()).role is MemberRole.PRIMARY
        process.send(cluster.servers[EAST].pids(), signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await east.do(stop)
        process.send(cluster.servers[EAST].pids(), signal.SIGCONT)
        await cluster.servers[WEST].start()
        assert (await east.do(stop)).facts["clean"] is True


async def test_a_primary_that_nobody_can_ask_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        await cluster.servers[EAST].kill()
        stopped = await east.do(order(Verb.STOP, EAST, mode="clean", target=WEST))
        assert stopped.facts["clean"] is False
        assert stopped.facts["position"] is not None


async def test_a_target_that_lacks_a_part_of_the_stopped_primarys_log_is_not_promoted(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west = [await cluster.driver(EAST), await cluster.driver(WEST, settle_timeout=timedelta(seconds=1))]
        stopped = await east.do(order(Verb.STOP, EAST, mode="clean"))
        further = replace(stopped, facts={**stopped.facts, "position": int(str(stopped.facts["position"])) + 8192})
        unsure = replace(stopped, facts={**stopped.facts, "position": None})
        promote = order(Verb.PROMOTE, WEST, sync=SYNC_AFTER)
        with pytest.raises(Unavailable, match="did not get it all"):
            await west.do(with_receipts(promote, s=further))
        with pytest.raises(Rejected, match="is not known"):
            await west.do(with_receipts(promote, s=unsure))
        assert (await west.observe()).role is MemberRole.STANDBY
        await west.do(with_receipts(promote, s=stopped))
        assert (await west.observe()).role is MemberRole.PRIMARY


async def test_a_planned_switch_is_prepared_by_a_new_segment_so_that_little_is_sent_again(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(r) for r in (EAST, WEST, EU)]
        await west.observe()  # makes the others' slots
        await cluster.sql(EAST, "INSERT INTO orders SELECT generate_series(100000, 102000), 'filled'")
        whole = "SELECT mod(pg_current_wal_insert_lsn() - '0/0', pg_size_bytes(current_setting('wal_segment_size')))"
        [(filled,)] = await cluster.sql(EAST, whole)
        await east.do(order(Verb.PREPARE, EAST, target=WEST))
        [(begun,)] = await cluster.sql(EAST, whole)
        assert int(str(begun)) < int(str(filled))
        [(written,)] = await cluster.sql(EAST, "SELECT pg_current_wal_flush_lsn() - '0/0'")
        await eu.do(order(Verb.FOLLOW, EU, primary=WEST))
        position = (await eu.observe()).position
        assert position is not None
        assert position >= int(str(written))
