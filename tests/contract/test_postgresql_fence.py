"""A fence is of the server that clients write to: nothing else is killed, and while it lives no receipt is given."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import EAST, WEST, Cluster, order, raised

from evac.core.errors import Indeterminate, Rejected
from evac.core.plan import Verb
from evac.core.timing import Holding, LeaseTiming
from evac.drivers.postgresql.settings import Command, Control
from evac.lab.servers import process
from evac.lab.servers.postgresql import Member
from evac.places.local import LocalPlace
from evac.ports import Completed, Truth

PATIENT = timedelta(seconds=40)
"""So that a busy machine never looks like a silent server."""
HASTY = timedelta(seconds=1)


def signals(server: Member) -> set[Path]:
    """What evac leaves where it keeps a primary down."""
    files = (server.stopped_marker, server.data_dir / "standby.signal")
    return {file for file in files if file.exists()}


async def upright(cluster: Cluster) -> bool:
    return await cluster.sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]


@pytest.mark.parametrize("mode", ["clean", "kill"])
async def test_what_runs_on_the_wrong_host_is_not_killed_for_another(mode: str, tmp_path: Path) -> None:
    """An agent begun for us-east-1 on the host of us-west-2, where the same folder holds that region's data."""
    async with raised(tmp_path, acks=0) as cluster:
        west = cluster.servers[WEST]
        before = signals(west)
        mistaken = await cluster.driver(EAST, data_dir=str(west.data_dir), answer_timeout=PATIENT)
        running = west.pids()[0]
        with pytest.raises(Rejected, match="us-east-1.*is not the one in .*us-west-2.*set data_dir"):
            await mistaken.do(order(Verb.STOP, EAST, mode=mode))
        with pytest.raises(Rejected, match="is not the one in"):
            await mistaken.do(order(Verb.REJOIN, EAST, primary=WEST))
        assert west.pids()[0] == running
        assert signals(west) == before
        assert await upright(cluster)
        ill = [finding.what for finding in await mistaken.check() if not finding.ok]
        assert [what for what in ill if "is not the one in" in what]


async def test_a_folder_that_the_server_has_moved_from_is_no_fence(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        old = tmp_path / "old" / "data"
        old.mkdir(parents=True)
        lock = (cluster.servers[EAST].data_dir / "postmaster.pid").read_text()
        (old / "postmaster.pid").write_text(lock)  # as a copy of a running server's folder holds
        mistaken = await cluster.driver(EAST, data_dir=str(old), answer_timeout=PATIENT)
        with pytest.raises(Rejected, match="nothing runs there"):
            await mistaken.do(order(Verb.STOP, EAST, mode="kill"))
        assert [file.name for file in old.parent.iterdir()] == ["data"]
        assert await upright(cluster)


async def test_no_receipt_is_given_while_the_server_at_the_address_is_a_primary(tmp_path: Path) -> None:
    """It did not answer before the stop, and does again after it."""
    async with raised(tmp_path, acks=0) as cluster:
        east, west = cluster.servers[EAST], cluster.servers[WEST]
        east.freeze()
        thaw = ("kill", "-CONT", *(str(pid) for pid in east.pids()))
        command = Control(command=Command(start=("true",), stop=("true",), kill=thaw, status=("false",)))
        mistaken = await cluster.driver(EAST, data_dir=str(west.data_dir), control=command, answer_timeout=HASTY)
        with pytest.raises(Indeterminate, match="is a primary, though nothing runs in"):
            await mistaken.do(order(Verb.STOP, EAST, mode="kill"))
        assert await upright(cluster)


async def test_a_clean_stop_that_was_given_up_half_way_has_happened_once_it_is_looked_at(tmp_path: Path) -> None:
    """Its server ends later, whatever the run decides meanwhile: a look that said no would let it be left out."""
    async with raised(tmp_path, acks=0) as cluster:
        server = cluster.servers[EAST]
        await cluster.sql(EAST, "ALTER SYSTEM SET wal_sender_timeout = 0")  # else its end would not wait for long
        await cluster.sql(EAST, "SELECT pg_reload_conf()")
        cluster.servers[WEST].freeze()
        east = await cluster.driver(EAST, stop_timeout=PATIENT)
        stop = order(Verb.STOP, EAST, mode="clean")
        begun = asyncio.create_task(east.do(stop))
        await process.until(lambda: (server.data_dir / "standby.signal").exists(), what="the stop to begin")
        await process.until(lambda: not server.ready(), what="the server to be told")
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
        assert server.pids(), "it waits for a standby that is silent"
        held = await east.holds(stop)
        assert held.truth is Truth.YES
        assert held.receipt is not None
        assert held.receipt.facts["position"] is not None
        assert server.pids() == ()
        cluster.servers[WEST].thaw()
        await east.undo(stop)
        assert await upright(cluster)


async def test_the_marker_of_what_runs_under_a_lease_is_not_taken_for_a_stop_that_was_begun(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        timing = LeaseTiming(renew=timedelta(seconds=2), hold=timedelta(seconds=6), wait=timedelta(seconds=9))
        assert cluster.component.replication is not None
        held = replace(cluster.component.replication, held=Holding(timing=timing))
        cluster.component = replace(cluster.component, replication=held)
        east = await cluster.driver(EAST)
        cluster.servers[EAST].stopped_marker.write_text("5\n")
        assert (await east.holds(order(Verb.STOP, EAST, mode="clean"))).truth is Truth.NO
        assert await upright(cluster)
        await cluster.servers[WEST].kill()
        with pytest.raises(Rejected, match="us-west-2 does not stream from us-east-1"):
            await east.do(order(Verb.STOP, EAST, mode="clean", target=WEST))
        assert await upright(cluster)


class Interposed(LocalPlace):
    """This host, where something happens right before one of the commands."""

    def __init__(self, before: Callable[[], Awaitable[object]], *, command: int) -> None:
        super().__init__()
        self._before, self._left = before, command

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        self._left -= 1
        if self._left == 0:
            await self._before()
        return await super().run(argv, stdin=stdin, timeout=timeout)


async def test_what_is_stopped_while_it_is_started_again_by_an_earlier_term_stays_down(tmp_path: Path) -> None:
    """The stop comes between the look at what term is known here and the start."""
    async with raised(tmp_path, acks=0) as cluster:
        server = cluster.servers[EAST]
        east = await cluster.driver(EAST)
        earlier, later = [order(Verb.STOP, EAST, term=term, mode="kill") for term in (5, 6)]
        await east.do(earlier)
        slow = await cluster.driver(EAST, place=Interposed(lambda: east.do(later), command=2))
        with pytest.raises(Rejected, match="has seen term 6"):
            await slow.undo(earlier)
        assert server.pids() == ()
        assert server.stopped_marker.read_text() == "6\n"
        assert (server.data_dir / "standby.signal").exists()
        await east.undo(later)
        assert await upright(cluster)


async def test_a_start_that_is_frozen_half_way_holds_up_no_stop_and_never_goes_on(tmp_path: Path) -> None:
    async with raised(tmp_path, acks=0) as cluster:
        data, late = cluster.servers[EAST].data_dir, tmp_path / "late"
        script = 'exec 9< "$1"; flock 9; kill -STOP $$; touch "$2"'
        frozen = await asyncio.create_subprocess_exec("sh", "-c", script, "sh", str(data), str(late))
        try:
            await process.until(lambda: " T " in Path(f"/proc/{frozen.pid}/stat").read_text(), what="it to freeze")
            east = await cluster.driver(EAST)
            assert (await east.do(order(Verb.STOP, EAST, mode="kill"))).kind == "stopped"
            with suppress(ProcessLookupError):
                frozen.send_signal(signal.SIGCONT)
            await frozen.wait()
            assert not late.exists()
        finally:
            if frozen.returncode is None:
                frozen.kill()
                await frozen.wait()
