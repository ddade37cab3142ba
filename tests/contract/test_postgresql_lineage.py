"""Two standbys promoted from one ancestor make two timelines of one number: no log of one is taken for the other's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from postgresql_members import EAST, EU, WEST, Cluster, order, raised
from test_postgresql_failover import rows, with_receipts

from evac.core.errors import Rejected
from evac.core.observation import MemberRole
from evac.core.plan import Verb
from evac.core.run import Receipt
from evac.lab.servers import postgresql
from evac.ports import Driver

ROWS = 50


async def _write(cluster: Cluster, first: int) -> set[int]:
    """Have us-west-2 acknowledge rows, each in a transaction of its own."""
    async with await postgresql.connect(cluster.servers[WEST]) as connection:
        for number in range(first, first + ROWS):
            await connection.execute("INSERT INTO orders VALUES (%s, 'west')", (number,))
    return set(range(first, first + ROWS))


async def _promoted_twice(cluster: Cluster, *, apart: bool, observed: bool) -> tuple[Driver, set[int], Receipt]:
    """Promote us-west-2, have it acknowledge rows and die, and promote eu-west-1 from the timeline before.

    `apart`: they leave that timeline at different positions. `observed`: evac saw the first one as a primary.
    """
    west, eu = [await cluster.driver(region) for region in (WEST, EU)]
    refused_eu = await eu.do(order(Verb.REFUSE, EU, old=EAST))
    if apart:
        await cluster.sql(EAST, "INSERT INTO orders SELECT generate_series(1, 9), 'east'")
        await cluster.sql(EAST, "SELECT pg_switch_wal()")
        async with await postgresql.connect(cluster.servers[WEST]) as there:
            while not await (await there.execute("SELECT FROM orders WHERE id = 9")).fetchall():
                pass
    refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
    await west.do(with_receipts(order(Verb.PROMOTE, WEST, old=EAST), a=refused))
    if observed:
        await west.observe()  # makes its orphan slot
        await cluster.sql(WEST, "CHECKPOINT")
    acknowledged = await _write(cluster, 1000)
    stopped = await west.do(order(Verb.STOP, WEST, term=6, mode="kill"))
    promote = with_receipts(order(Verb.PROMOTE, EU, term=6, old=WEST), a=refused_eu, s=stopped)
    promoted = await eu.do(promote)
    assert promoted.facts["timeline"] == 2, "the number that us-west-2's timeline has"
    await cluster.sql(EU, "INSERT INTO orders SELECT generate_series(2000, 2999), 'eu'")
    await cluster.sql(EU, "SELECT pg_switch_wal()")
    await cluster.sql(EU, "INSERT INTO orders SELECT generate_series(3000, 3999), 'eu'")
    return west, acknowledged, promoted


async def _is_a_copy_of_eu(cluster: Cluster, west: Driver) -> None:
    state = await west.observe()
    assert (state.role, state.upstream, state.streaming) == (MemberRole.STANDBY, EU, True)
    assert await rows(cluster, WEST) == await rows(cluster, EU)


async def test_what_one_acknowledged_is_listed_before_it_is_made_the_others_copy(tmp_path: Path) -> None:
    """Both left their ancestor at one position: their histories are the same, word for word."""
    async with raised(tmp_path, acks=0) as cluster:
        west, acknowledged, _ = await _promoted_twice(cluster, apart=False, observed=True)
        rejoined = await west.do(order(Verb.REJOIN, WEST, term=6, primary=EU))
        assert rejoined.facts["method"] == "clone"
        listed = [json.loads(line) for line in Path(str(rejoined.facts["orphans_file"])).read_text().splitlines()]
        numbers = [int(change["row"]["id"]) for line in listed for change in line["changes"]]
        assert (rejoined.facts["orphans"], rejoined.facts["orphans_exact"]) == (ROWS, True)
        assert sorted(numbers) == sorted(acknowledged)
        await _is_a_copy_of_eu(cluster, west)


async def test_one_that_runs_as_a_standby_since_neither_follows_nor_streams(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        west, acknowledged, promoted = await _promoted_twice(cluster, apart=False, observed=True)
        cluster.servers[WEST].stopped_marker.unlink()
        await cluster.servers[WEST].stop()  # it has ended: takes note of that
        await cluster.servers[WEST].start()
        follow = with_receipts(order(Verb.FOLLOW, WEST, term=6, primary=EU), p=promoted)
        with pytest.raises(Rejected, match="rejoin it"):
            await west.do(follow)
        rejoined = await west.do(order(Verb.REJOIN, WEST, term=6, primary=EU))
        assert (rejoined.facts["orphans"], rejoined.facts["orphans_exact"]) == (ROWS, True)
        listed = Path(str(rejoined.facts["orphans_file"])).read_text()
        assert all(f'"id": "{number}"' in listed for number in acknowledged)
        await _is_a_copy_of_eu(cluster, west)


@pytest.mark.parametrize(("apart", "observed"), [(True, True), (False, False)], ids=["earlier", "no slot"])
async def test_what_the_slot_does_not_cover_is_counted_and_the_old_data_kept(
    apart: bool, observed: bool, tmp_path: Path
) -> None:
    """Where the other one left earlier than this one did; and where this one died before its first checkpoint: its
    control file says the old timeline.
    """
    async with raised(tmp_path, acks=0) as cluster:
        west, _, _ = await _promoted_twice(cluster, apart=apart, observed=observed)
        rejoined = await west.do(order(Verb.REJOIN, WEST, term=6, primary=EU))
        assert rejoined.facts["orphans_exact"] is False
        if not apart:  # else it begins on the timeline before, and is not counted
            assert int(str(rejoined.facts["orphans"])) >= ROWS
        kept = str(rejoined.facts["orphans_file"]).removeprefix(f"{WEST}:")
        assert (Path(kept) / "pg_wal").is_dir()
        await _is_a_copy_of_eu(cluster, west)
