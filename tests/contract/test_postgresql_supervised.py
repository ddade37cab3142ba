"""PostgreSQL that somebody starts again: under systemd with `Restart=always`, and by operators' own commands."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import EAST, EU, WEST, order, until_streaming
from postgresql_supervised import KEPT_DOWN, RESTARTING, UNIT, Supervised, supervised
from systemd_host import OWN, VENDOR
from test_postgresql_failover import rows, with_receipts, writing

from evac.core.errors import Indeterminate, Rejected
from evac.core.observation import MemberRole
from evac.core.plan import Verb
from evac.drivers.postgresql.settings import Control
from evac.drivers.systemd import Systemd
from evac.lab.servers import process
from evac.ports import Truth

WHILE_RESTARTED_S = 0.7
"""Longer than any of these supervisors waits before it starts the server again."""
UNMASKED = "administrator's unit"
"""What systemd cannot mask, it is told to stop."""
CHECKPOINT_BYTES = 120
"""So much further on is the end of the log where a server that had shut down was started again for a moment, as a
standby, and killed: behind the record of its shutdown, not before it."""
each_kept_down = pytest.mark.parametrize("kind", KEPT_DOWN)
each_restarting = pytest.mark.parametrize("kind", RESTARTING)
one_of_each = pytest.mark.parametrize("kind", ["package's unit", "supervisor"])
each_unit = pytest.mark.parametrize("kind", [kind for kind in KEPT_DOWN if "unit" in kind])


async def _stays_down(made: Supervised) -> None:
    assert made.cluster.servers[EAST].pids() == ()
    await asyncio.sleep(WHILE_RESTARTED_S)
    assert made.cluster.servers[EAST].pids() == ()


@each_restarting
async def test_the_supervisor_starts_again_what_died_by_itself(kind: str, tmp_path: Path) -> None:
    """Or the other tests would prove nothing."""
    async with supervised(kind, tmp_path) as made:
        server = made.cluster.servers[EAST]
        first = server.pids()[0]
        await process.kill(server.pids())
        async with asyncio.timeout(30):
            while first in server.pids() or not await made.upright():
                await asyncio.sleep(0.05)


@each_kept_down
@pytest.mark.parametrize("mode", ["clean", "kill"])
async def test_it_is_stopped_stays_down_and_is_taken_back(kind: str, mode: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        stop = order(Verb.STOP, EAST, mode=mode)
        assert (await made.east.holds(stop)).truth is Truth.NO
        receipt = await made.east.do(stop)
        await _stays_down(made)
        told_to_stop = kind == UNMASKED  # and may have ended by itself before it was killed
        assert receipt.facts["clean"] is (mode == "clean") or (mode == "kill" and told_to_stop)
        assert (await made.east.holds(stop)).truth is Truth.YES
        again = await made.east.do(stop)
        ended, ends = receipt.facts["position"], again.facts["position"]
        assert ends in (ended, ended + CHECKPOINT_BYTES if isinstance(ended, int) else None)
        await _stays_down(made)
        for _ in range(2):
            await made.east.undo(stop)
            assert await made.upright()
        assert (await made.east.holds(stop)).truth is Truth.NO
        await until_streaming(made.cluster, EAST, count=2)


@pytest.mark.parametrize("kind", ["package's unit", "administrator's unit", "supervisor"])
async def test_a_clean_stop_sends_the_standbys_all_that_was_acknowledged(kind: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        west = await made.cluster.driver(WEST)
        async with writing(made.cluster, EAST) as acknowledged:
            while len(acknowledged) < 200:
                await asyncio.sleep(0.01)
            stopped = await made.east.do(order(Verb.STOP, EAST, mode="clean"))
        assert stopped.facts["clean"] is True
        caught = await west.do(with_receipts(order(Verb.CATCH_UP, WEST), s=stopped))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), s=stopped, c=caught))
        assert acknowledged <= await rows(made.cluster, WEST)


@one_of_each
async def test_a_frozen_primary_is_killed_all_the_same(kind: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        made.cluster.servers[EAST].freeze()
        await made.east.do(order(Verb.STOP, EAST, mode="kill"))
        await _stays_down(made)


@one_of_each
async def test_a_lower_term_stops_nothing(kind: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        await made.east.do(order(Verb.PROTECT, EAST, term=9, acks=1, standbys=[WEST, EU]))
        before = made.cluster.servers[EAST].pids()[0]
        for mode in ("clean", "kill"):
            with pytest.raises(Rejected, match="has seen term 9"):
                await made.east.do(order(Verb.STOP, EAST, mode=mode))
        assert await made.upright()
        assert made.cluster.servers[EAST].pids()[0] == before
        assert [finding for finding in await made.east.check() if "active" in finding.remedy and not finding.ok] == []


@one_of_each
async def test_it_rejoins_and_is_run_by_its_supervisor_again(kind: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        west, eu = [await made.cluster.driver(region) for region in (WEST, EU)]
        refused = await west.do(order(Verb.REFUSE, WEST, old=EAST)), await eu.do(order(Verb.REFUSE, EU, old=EAST))
        stopped = await made.east.do(order(Verb.STOP, EAST, mode="kill"))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused[0], b=refused[1], s=stopped))
        await made.east.do(order(Verb.REJOIN, EAST, primary=WEST))
        state = await made.east.observe()
        assert (state.role, state.streaming, state.upstream) == (MemberRole.STANDBY, True, WEST)
        if kind in RESTARTING:
            server = made.cluster.servers[EAST]
            first = server.pids()[0]
            process.send(server.pids(), signal.SIGKILL)
            await process.until(lambda: first not in server.pids() and server.ready(), what="it to be back")


async def test_whoever_starts_a_fenced_primary_against_its_orders_gets_a_standby(tmp_path: Path) -> None:
    async with supervised("deaf supervisor", tmp_path) as made:
        with suppress(Indeterminate):  # it may be up again before the driver has looked
            await made.east.do(order(Verb.STOP, EAST, mode="kill"))
        against = "the supervisor to start it against orders"
        await process.until(made.cluster.servers[EAST].ready, what=against, within_s=90)
        assert await made.cluster.sql(EAST, "SELECT pg_is_in_recovery()") == [(True,)]


@each_unit
async def test_check_says_whether_a_mask_would_hold(kind: str, tmp_path: Path) -> None:
    async with supervised(kind, tmp_path) as made:
        ill = [finding.remedy for finding in await made.east.check() if not finding.ok]
        assert [f"/etc/systemd/system/{UNIT}" in remedy for remedy in ill] == [True] * (kind != "package's unit")
        typo = Control(systemd=Systemd(unit="order.service"))
        mistaken = await made.cluster.driver(EAST, place=made.place, control=typo)
        assert ["not-found" in finding.remedy for finding in await mistaken.check() if not finding.ok] == [True]


async def test_check_asks_for_a_unit_by_its_own_name(tmp_path: Path) -> None:
    """Another name of it, as Debian's redis.service is, cannot be masked."""
    async with supervised("package's unit", tmp_path) as made:
        link = ("ln", "-s", f"{VENDOR}/{UNIT}", f"{OWN}/shop.service")
        for words in (link, ("systemctl", "daemon-reload")):
            assert (await made.place.run(words, timeout=timedelta(seconds=5))).code == 0
        named = Control(systemd=Systemd(unit="shop.service"))
        east = await made.cluster.driver(EAST, place=made.place, control=named)
        ill = [finding.remedy for finding in await east.check() if not finding.ok]
        assert ill == [f"shop.service is another name of {UNIT}: say that one"]


async def test_a_mask_that_cannot_be_written_is_made_at_run_time_and_taken_away_again(tmp_path: Path) -> None:
    """As on a host whose /etc is read-only."""
    async with supervised("package's unit", tmp_path) as made:
        within = timedelta(seconds=5)
        await made.place.run(("mount", "-o", "remount,ro", "/etc/systemd/system"), timeout=within)
        stop = order(Verb.STOP, EAST, mode="kill")
        await made.east.do(stop)
        await _stays_down(made)
        await made.east.undo(stop)
        assert await made.upright()
