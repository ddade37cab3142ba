"""An agent's side of a real watchdog on a real PostgreSQL: armed, fed, replaced when it is dead or frozen, released."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from postgresql_members import settings_of
from watched_server import WatchdogProcess, boot_time, gone, one_server

from evac.core.timing import Holding, LeaseTiming
from evac.core.watchdog import Stance, Watched
from evac.drivers.postgresql import KIND
from evac.engine.watchdog import Armed, WatchdogLine
from evac.lab.servers import postgresql
from evac.places.local import LocalPlace

pytestmark = pytest.mark.asyncio

W = timedelta(seconds=8)
TIMING = LeaseTiming(renew=W / 8, hold=W, watchdog=W, reset=W / 8, demote=W / 8, wait=2 * W)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[postgresql.Member]:
    async with one_server(tmp_path) as member:
        yield member


@pytest_asyncio.fixture(name="to")
async def _process(server: postgresql.Member, tmp_path: Path) -> AsyncIterator[WatchdogProcess]:
    """The process behind the line, for what is done to it; whatever is there in the end is killed."""
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    link = tmp_path / "w"
    link.symlink_to(folder)
    process = WatchdogProcess(member=server, path=link / "db.watchdog")
    yield process
    process.end()


def line(
    server: postgresql.Member, to: WatchdogProcess, *, place: LocalPlace | None = None, watched: Watched | None = None
) -> WatchdogLine:
    return WatchdogLine(
        folder=to.path.parent.resolve(),
        name="db",
        watched=watched or settings_of(server).watched(),
        holding=Holding(timing=TIMING, device="/dev/null/none"),
        place=place or LocalPlace(),
    )


async def test_it_is_begun_armed_fed_and_released(server: postgresql.Member, to: WatchdogProcess) -> None:
    leash = line(server, to)
    assert await leash.feed(boot_time()) is None
    await leash.ready()
    first = to.pid
    await leash.ready()
    assert to.pid == first
    armed = await leash.arm(boot_time(), 3)
    assert isinstance(armed, Armed)
    assert armed.anew
    assert armed.seen > 3
    assert await leash.arm(boot_time(), 3) == replace(armed, anew=False, seen=armed.seen)
    assert await leash.feed(boot_time()) is Stance.GUARDING
    assert server.stopped_marker.read_text() == "3\n"
    await leash.release(boot_time())
    async with asyncio.timeout(20):
        while to.pid is not None:
            await asyncio.sleep(0.02)
    assert server.pids()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_that_is_dead_or_frozen_is_replaced(
    server: postgresql.Member, to: WatchdogProcess, sign: signal.Signals
) -> None:
    leash = line(server, to)
    await leash.arm(boot_time(), 3)
    old = to.pid
    assert old is not None
    os.kill(old, sign)
    assert await leash.feed(boot_time()) is None
    armed = await leash.arm(boot_time(), 3)
    assert isinstance(armed, Armed)
    assert armed.anew
    assert to.pid != old
    assert not psutil.pid_exists(old) or psutil.Process(old).status() == psutil.STATUS_ZOMBIE


async def test_a_frozen_one_that_is_to_be_released_is_killed(server: postgresql.Member, to: WatchdogProcess) -> None:
    leash = line(server, to)
    await leash.arm(boot_time(), 3)
    assert to.pid is not None
    os.kill(to.pid, signal.SIGSTOP)
    await leash.release(boot_time())
    assert to.pid is None
    assert server.pids()


async def test_one_that_is_not_there_need_not_be_released(server: postgresql.Member, to: WatchdogProcess) -> None:
    await line(server, to).release(boot_time())
    assert to.pid is None
    assert server.pids()


async def test_one_begun_too_late_kills_at_once_and_says_so(server: postgresql.Member, to: WatchdogProcess) -> None:
    leash = line(server, to)
    await leash.arm(boot_time() - W, 3)
    await gone(server)
    assert await leash.arm(boot_time(), 3) is Stance.DOWN
    assert await leash.feed(boot_time()) is Stance.DOWN


async def test_one_that_falls_due_while_it_is_marked_again_says_so(
    server: postgresql.Member, to: WatchdogProcess
) -> None:
    leash = line(server, to, watched=replace(settings_of(server).watched(), lock=("sleep", "3")))
    assert isinstance(await leash.arm(boot_time() - W + timedelta(seconds=5), 3), Armed)
    assert await leash.feed(timedelta()) is Stance.GUARDING
    assert await leash.arm(boot_time(), 3) is Stance.DOWN
    await gone(server)


async def test_where_none_can_be_had_that_is_said(server: postgresql.Member, to: WatchdogProcess) -> None:
    closed = LocalPlace()
    await closed.close()
    assert await line(server, to, place=closed).arm(boot_time(), 3) is None
    watched = replace(settings_of(server).watched(), names=())
    broken = WatchdogLine(
        folder=to.path.parent.resolve(),
        name="db",
        watched=watched,
        holding=Holding(timing=TIMING, device="/dev/null"),
        place=LocalPlace(),
    )
    assert await broken.arm(boot_time(), 3) is None, "the command refuses to watch nothing"


async def test_a_marker_that_cannot_be_written_arms_nothing(server: postgresql.Member, to: WatchdogProcess) -> None:
    watched = replace(settings_of(server).watched(), marker=str(server.folder / "missing" / "x"), lock=("true",))
    assert await line(server, to, watched=watched).arm(boot_time(), 3) is None


async def test_what_is_watched_follows_from_how_the_server_is_controlled(server: postgresql.Member) -> None:
    assert KIND.support.watched
    masked = type(settings_of(server)).parse(
        {
            "host": "db", "dbname": "shop", "user": "evac", "data_dir": "/data/main", "bin_dir": "/bin",
            "control": {"systemd": {"unit": "postgresql@17-main.service", "prefix": ["sudo", "-n"]}},
        }
    ).watched()  # fmt: skip
    assert masked.marker == "/data/evac.stopped"
    assert masked.leave == ("/data/main/standby.signal",)
    assert "sudo -n systemctl mask postgresql@17-main.service ||" in masked.lock[-1]
