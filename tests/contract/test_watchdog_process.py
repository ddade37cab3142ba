"""The watchdog on a real PostgreSQL: not fed, it kills all of it, whatever is frozen or dead, and keeps it down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from watched_server import WITHIN_S, WatchdogProcess, boot_time, gone, one_server, watched

from evac.core.watchdog import Arm, Look, Release
from evac.lab.servers import postgresql, process
from evac.watchdog import killing
from evac.watchdog.__main__ import ANOTHER

pytestmark = pytest.mark.asyncio

FEEDER = """
import socket, sys, time
while True:
    at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(sys.argv[1])
        line.sendall(f"feed {at}\\n".encode())
        print(line.recv(100).decode().strip(), flush=True)
    time.sleep(0.1)
"""


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[postgresql.Member]:
    async with one_server(tmp_path) as member:
        yield member


@pytest_asyncio.fixture
async def watchdog(server: postgresql.Member, tmp_path: Path) -> AsyncIterator[WatchdogProcess]:
    async with watched(server, tmp_path) as process:
        yield process


@pytest.fixture
def feeder(watchdog: WatchdogProcess) -> Iterator[subprocess.Popen[bytes]]:
    """What an agent does, in a process of its own, so that it can die and freeze by itself."""
    fed = subprocess.Popen([sys.executable, "-c", FEEDER, str(watchdog.path)], stdout=subprocess.PIPE)
    try:
        yield fed
    finally:
        fed.kill()
        fed.communicate()


async def arm(watchdog: WatchdogProcess) -> None:
    said = await watchdog.tell(Arm(sent_at=boot_time(), term=4))
    stance, seen = said.split()
    assert stance == "guarding"
    assert int(seen) > 3, "it sees the server's processes"


async def fed_for_long(feeder: subprocess.Popen[bytes]) -> None:
    """Return when the feeder has been answered for longer than the server would live unfed."""
    assert feeder.stdout is not None
    for _ in range(int(3 * WITHIN_S / 0.1)):
        assert await asyncio.to_thread(feeder.stdout.readline) == b"guarding\n"


async def writes(server: postgresql.Member) -> None:
    async with await postgresql.connect(server, dbname="postgres") as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS alive (at timestamptz)")
        await connection.execute("INSERT INTO alive VALUES (now())")


async def test_fed_it_lets_live_and_unfed_it_kills(
    server: postgresql.Member, watchdog: WatchdogProcess, feeder: subprocess.Popen[bytes]
) -> None:
    await arm(watchdog)
    await fed_for_long(feeder)
    await writes(server)
    feeder.kill()
    await gone(server)
    await watchdog.until("down 0")


async def test_a_frozen_feeder_is_a_silent_one(
    server: postgresql.Member, watchdog: WatchdogProcess, feeder: subprocess.Popen[bytes]
) -> None:
    await arm(watchdog)
    await fed_for_long(feeder)
    feeder.send_signal(signal.SIGSTOP)
    await gone(server)
    feeder.send_signal(signal.SIGCONT)
    assert feeder.stdout is not None
    while await asyncio.to_thread(feeder.stdout.readline) != b"down\n":
        pass
    assert not server.pids(), "what it says when it thaws brings nothing back"


async def test_a_frozen_server_is_killed_all_the_same(server: postgresql.Member, watchdog: WatchdogProcess) -> None:
    await arm(watchdog)
    server.freeze()
    await gone(server)


async def test_children_whose_postmaster_died_are_killed(server: postgresql.Member, watchdog: WatchdogProcess) -> None:
    postmaster, *children = server.pids()
    await arm(watchdog)
    for child in children:
        os.kill(child, signal.SIGSTOP)
    os.kill(postmaster, signal.SIGKILL)
    await gone(server)


async def test_what_is_started_again_is_killed_again_until_it_is_released(
    server: postgresql.Member, watchdog: WatchdogProcess
) -> None:
    await arm(watchdog)
    await gone(server)
    await watchdog.until("down")
    assert server.stopped_marker.read_text().strip() == "4"
    async with asyncio.timeout(20):
        while not (server.data_dir / "standby.signal").exists():
            await asyncio.sleep(0.02)
    intruder = _started_behind_its_back(server)
    assert await asyncio.to_thread(intruder.wait) is not None
    await gone(server)
    assert await watchdog.tell(Release(sent_at=boot_time())) == "idle"
    async with asyncio.timeout(20):
        while watchdog.pid is not None:
            await asyncio.sleep(0.02)
    server.stopped_marker.unlink()
    server.reap()
    await server.start()
    assert server.pids(), "a released server may run; and it is a standby, as standby.signal says"


def _started_behind_its_back(server: postgresql.Member) -> subprocess.Popen[bytes]:
    """Somebody starts the server who asks nobody."""
    (server.data_dir / "postmaster.pid").unlink(missing_ok=True)
    command = server.command("postgres", "-D", str(server.data_dir))
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


async def test_a_release_from_before_it_was_armed_is_void(server: postgresql.Member, watchdog: WatchdogProcess) -> None:
    stale = Release(sent_at=boot_time())
    await arm(watchdog)
    assert await watchdog.tell(stale) == "guarding"
    await gone(server)


async def test_noise_on_the_socket_neither_ends_it_nor_feeds_it(
    server: postgresql.Member, watchdog: WatchdogProcess
) -> None:
    await arm(watchdog)
    silent = [await asyncio.open_unix_connection(watchdog.path) for _ in range(40)]
    for _, writer in silent[20:]:
        writer.write(b"\xff" * 5000 + b"\nfeed now\n")
    await gone(server)
    await watchdog.until("down")
    for _, writer in silent:
        writer.close()


async def test_it_belongs_to_nobody_and_ends_by_no_signal_but_one(
    server: postgresql.Member, watchdog: WatchdogProcess
) -> None:
    assert watchdog.pid is not None
    itself = psutil.Process(watchdog.pid)
    assert os.getsid(itself.pid) == itself.pid
    assert itself.ppid() != os.getpid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        itself.send_signal(number)
    await arm(watchdog)
    assert await watchdog.start() == ANOTHER, "one socket, one watchdog"
    assert (await watchdog.tell(Look())).startswith("guarding")


async def test_a_marker_that_cannot_be_written_arms_nothing(server: postgresql.Member, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "evac.stopped"
    async with watched(server, tmp_path, extra=("--marker", str(missing))) as watchdog:
        assert (await watchdog.tell(Arm(sent_at=boot_time(), term=4))).startswith("refused")
        assert (await watchdog.tell(Look())).startswith("idle")


async def test_the_marker_keeps_the_highest_term_and_the_supervisor_is_locked(
    server: postgresql.Member, tmp_path: Path
) -> None:
    server.stopped_marker.write_text("9\n")
    locked = tmp_path / "locked"
    async with watched(server, tmp_path, extra=("--lock", "touch", str(locked))) as watchdog:
        await arm(watchdog)
    assert server.stopped_marker.read_text() == "9\n"
    assert locked.exists()


async def test_what_is_no_hardware_watchdog_is_refused_and_nothing_is_held(
    server: postgresql.Member, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is one is tried on the kernel's words (tests/unit/watchdog): there is none where these tests run."""
    device = tmp_path / "device"
    device.touch()
    extra = ("--device", str(device))
    watchdog = WatchdogProcess(member=server, path=tmp_path / "w.sock", within_s=WITHIN_S, extra=extra)
    assert await watchdog.start() == 1
    assert watchdog.pid is None
    assert f"{device} is no hardware watchdog that says its time-out" in capfd.readouterr().err
    assert not server.stopped_marker.exists()


async def test_a_control_group_of_its_own_is_found_and_nobody_elses(
    server: postgresql.Member, watchdog: WatchdogProcess
) -> None:
    pids = [*killing.find(str(server.data_dir), ("postgres",))]
    assert set(pids) == set(server.pids())
    assert killing.own_group(pids) is None, "they are in the group of these tests"
    mounts = [*killing._group_mounts()]
    group = Path(mounts[0]) / f"evac-test-{os.getpid()}" if mounts else Path("/nowhere")
    try:
        group.mkdir()
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        pytest.skip(f"no control groups for this user: {error.strerror}")
    try:
        assert killing.own_group(pids) == str(group)
        await arm(watchdog)
        await gone(server)
    finally:
        await process.kill(server.pids())
        await _removed(group)


async def _removed(group: Path) -> None:
    async with asyncio.timeout(20):
        while group.exists():
            try:
                group.rmdir()
            except OSError:
                await asyncio.sleep(0.05)
