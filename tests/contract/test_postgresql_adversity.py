"""PostgreSQL's verbs when the world is not as it should be: lag, missing slots, lost log, silence, stale terms."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import EAST, EU, WEST, order, raised, until_streaming
from test_postgresql_failover import rows, with_receipts, writing

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.lease import Again
from evac.core.observation import MemberRole
from evac.core.plan import Verb
from evac.ports import Truth


async def test_a_switch_to_a_standby_that_lags_is_refused_and_nothing_is_stopped(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        await cluster.sql(WEST, "SELECT pg_wal_replay_pause()")
        await cluster.sql(EAST, "CREATE TABLE late (id int)")
        with pytest.raises(Rejected, match="us-west-2 did not apply within"):
            await east.do(order(Verb.PREPARE, EAST, target=WEST, lag_max_s=0.3))
        assert (await east.observe()).writable


async def test_the_target_gets_from_the_other_standby_what_only_that_one_has(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west, eu = [await cluster.driver(region) for region in (EAST, WEST, EU)]
        assert not (await west.observe()).refuses
        refused_west = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        assert (await west.observe()).refuses
        async with writing(cluster, EAST) as acknowledged:
            await asyncio.sleep(0.5)
            refused_eu = await eu.do(order(Verb.REFUSE, EU, old=EAST))
            await asyncio.sleep(0.2)
            told = len(acknowledged)
            await asyncio.sleep(0.3)
            assert len(acknowledged) == told > 0
            caught = await west.do(with_receipts(order(Verb.CATCH_UP, WEST), a=refused_west, b=refused_eu))
            assert caught.facts["from"] == EU
            assert caught.facts["position"] == refused_eu.facts["position"]
            await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused_west, c=caught))
            await east.do(order(Verb.STOP, EAST, mode="kill"))
        assert acknowledged <= await rows(cluster, WEST)


async def test_a_standby_that_went_past_the_fork_says_so_at_once(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        west, eu = [await cluster.driver(region) for region in (WEST, EU)]
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        async with writing(cluster, EAST):
            await asyncio.sleep(0.5)
        promoted = await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused))
        with pytest.raises(Rejected, match="rejoin it"):
            await eu.do(with_receipts(order(Verb.FOLLOW, EU, primary=WEST), p=promoted))


@pytest.mark.parametrize("slot", ["evac_orphans", ""])
async def test_without_a_slot_orphans_are_bounded_and_the_data_is_kept(tmp_path: Path, slot: str) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        east, west = [await cluster.driver(region, orphan_slot=slot) for region in (EAST, WEST)]
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        async with writing(cluster, EAST) as acknowledged:
            await asyncio.sleep(0.5)
            await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused))
            await east.do(order(Verb.STOP, EAST, mode="kill"))
        missing = acknowledged - await rows(cluster, WEST)
        rejoined = await east.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert rejoined.facts["orphans_exact"] is False
        assert int(str(rejoined.facts["orphans"])) >= len(missing) > 0
        kept = str(rejoined.facts["orphans_file"]).removeprefix("us-east-1:")
        assert (Path(kept) / "pg_wal").is_dir()


async def test_an_old_primary_without_the_log_it_needs_is_copied_anew(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east, west = [await cluster.driver(region) for region in (EAST, WEST)]
        stopped = await east.do(order(Verb.STOP, EAST, mode="kill"))
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused, s=stopped))
        for segment in (cluster.servers[EAST].data_dir / "pg_wal").glob("0*"):
            segment.unlink()
        rejoined = await east.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert (rejoined.facts["method"], rejoined.facts["orphans_exact"]) == ("clone", False)
        state = await east.observe()
        assert (state.role, state.streaming, state.upstream) == (MemberRole.STANDBY, True, WEST)


async def test_a_frozen_standby_is_silent_and_a_change_to_it_uncertain(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        short = timedelta(milliseconds=300)
        west = await cluster.driver(WEST, connect_timeout=short, answer_timeout=short, settle_timeout=short)
        await west.observe()
        cluster.servers[WEST].freeze()
        with pytest.raises(Unavailable):
            await west.observe()
        with pytest.raises((Indeterminate, Unavailable)):
            await west.do(order(Verb.REFUSE, WEST, old=EAST))
        assert (await west.holds(order(Verb.REFUSE, WEST, old=EAST))).truth is Truth.UNKNOWN
        cluster.servers[WEST].thaw()
        await asyncio.sleep(0.5)
        assert (await west.do(order(Verb.REFUSE, WEST, old=EAST))).kind == "starved"


async def test_a_stopped_primary_obeys_no_lower_term_and_stays_down(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        east = await cluster.driver(EAST)
        stop = order(Verb.STOP, EAST, mode="kill")
        assert (await east.do(stop)).facts["position"] is None
        state = await east.observe()
        assert (state.role, state.term, state.writable) == (MemberRole.STOPPED, 5, False)
        with pytest.raises(Rejected, match="has seen term 5"):
            await east.undo(order(Verb.STOP, EAST, term=4, mode="kill"))
        assert (cluster.servers[EAST].data_dir / "standby.signal").exists()


async def test_what_was_stopped_runs_again_as_what_it_was_where_that_is_said(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        west = await cluster.driver(WEST)
        for again in (Again.STANDBY, Again.AS_IT_WAS):
            stop = order(Verb.STOP, WEST, mode="kill", again=again)
            await west.do(stop)
            assert (await west.observe()).role is MemberRole.STOPPED
            for _ in range(2):
                assert (await west.undo(stop)).facts == {"primary": False}
            state = await west.observe()
            assert (state.role, state.writable) == (MemberRole.STANDBY, False)
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused))
        for mode in ("kill", "clean"):
            stop = order(Verb.STOP, WEST, mode=mode, again=Again.STANDBY)
            await west.do(stop)
            with pytest.raises(Rejected, match="was a primary's"):
                await west.undo(stop)
            assert (await west.observe()).role is MemberRole.STOPPED
            assert (await west.undo(replace(stop, args={"again": Again.AS_IT_WAS}))).facts == {"primary": True}


async def test_a_rejoin_that_fails_keeps_the_orphans_and_is_done_again(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        east, west = [await cluster.driver(region) for region in (EAST, WEST)]
        await east.observe()
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        async with writing(cluster, EAST) as acknowledged:
            await asyncio.sleep(0.3)
            await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused))
            await east.do(order(Verb.STOP, EAST, mode="kill"))
        broken = await cluster.driver(EAST, bin_dir=str(_without_rewind(tmp_path)))
        with pytest.raises(DriverError):
            await broken.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert (await broken.observe()).role is MemberRole.STOPPED
        rejoined = await east.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert (rejoined.facts["method"], rejoined.facts["orphans_exact"]) == ("clone", True)
        listed = Path(str(rejoined.facts["orphans_file"])).read_text().splitlines()
        numbers = {
            int(change["row"]["id"]) for line in listed for change in json.loads(line)["changes"] if "row" in change
        }
        assert acknowledged - await rows(cluster, WEST) <= numbers
        await until_streaming(cluster, WEST, count=1)


async def test_a_copy_that_an_earlier_try_left_running_is_ended_before_the_next_one_begins(tmp_path: Path) -> None:
    """Where its command outlives whoever began it, as behind OpenSSH."""
    async with raised(tmp_path) as cluster:
        east, west = [await cluster.driver(region) for region in (EAST, WEST)]
        stopped = await east.do(order(Verb.STOP, EAST, mode="kill"))
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused, s=stopped))
        told = tmp_path / "writer"
        writer = f'echo $$ > {told}; while :; do echo junk > "$0/PG_VERSION"; sleep 0.01; done'
        programs = _programs(
            tmp_path, pg_rewind="exit 1", pg_basebackup=f"setsid sh -c '{writer}' \"$2\" >/dev/null 2>&1 &\nsleep 1000"
        )
        begun = asyncio.create_task(
            (await cluster.driver(EAST, bin_dir=str(programs))).do(order(Verb.REJOIN, EAST, primary=WEST))
        )
        async with asyncio.timeout(60):
            while not (told.exists() and told.read_text().strip()):
                await asyncio.sleep(0.05)
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
        left = Path("/proc") / told.read_text().strip()
        assert left.exists()
        rejoined = await east.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert rejoined.facts["method"] == "clone"
        assert not left.exists() or " Z " in (left / "stat").read_text()
        state = await east.observe()
        assert (state.role, state.streaming, state.upstream) == (MemberRole.STANDBY, True, WEST)


def _without_rewind(folder: Path) -> Path:
    """A folder of PostgreSQL's programs in which those that bring data from the source fail."""
    fails = "echo no route to the source >&2\nexit 1"
    return _programs(folder, pg_rewind=fails, pg_basebackup=fails)


def _programs(folder: Path, **scripts: str) -> Path:
    """A folder of PostgreSQL's programs, of which some are these scripts."""
    from evac.lab.servers import postgresql

    programs = folder / "bin"
    programs.mkdir()
    for program in postgresql.bin_dir().iterdir():
        (programs / program.name).symlink_to(program)
    for name, script in scripts.items():
        (programs / name).unlink()
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return programs


async def test_check_warns_of_a_password_that_the_server_writes_to_its_log(tmp_path: Path) -> None:
    async with raised(tmp_path) as cluster:
        west = await cluster.driver(WEST)
        assert [f for f in await west.check() if f.warning] == []
        follows = "host=127.0.0.1 password=''hunter2 hunter2'' application_name=us-west-2"
        await cluster.sql(WEST, f"ALTER SYSTEM SET primary_conninfo = '{follows}'")
        await cluster.sql(WEST, "SELECT pg_reload_conf()")
        found = await west.check()
        (warned,) = [f for f in found if f.warning]
        assert warned.ok
        assert f"stands in primary_conninfo ({cluster.servers[WEST].data_dir}/postgresql.auto.conf)" in warned.what
        assert "passfile=" in warned.remedy
        assert "hunter2" not in "".join(f"{f.what}{f.remedy}" for f in found)
