"""A lab comes up, is hurt in every way it knows, heals, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from evac.lab import world
from evac.lab.control import LabError
from evac.lab.faults import FaultKind, Target, boot_s
from evac.lab.servers import knot, postgresql, process

pytestmark = pytest.mark.lab

HOME, STANDBY = "us-east-1", "us-west-2"
ALL = {"ssh", "postgresql", "valkey", "haproxy", "shop"} | ({"knot"} if knot.found() else set())


@pytest.fixture(scope="module", name="lab")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[world.Lab]:
    lab = asyncio.run(world.up(tmp_path_factory.mktemp("lab"), tied=True))
    try:
        yield lab
    finally:
        asyncio.run(lab.down())


@pytest.fixture(autouse=True, name="_healed")
async def _heal_after(lab: world.Lab) -> AsyncIterator[None]:
    yield
    await lab.heal()


async def at(lab: world.Lab, site: str, *command: str) -> str:
    """Run a command at a site and return what it says."""
    return (await process.run(lab.command(site, *command))).decode().strip()


async def sql(lab: world.Lab, site: str, region: str, statement: str, *, wait_s: int = 30) -> str:
    """Ask a region's PostgreSQL from a site. Raises `ServerError` when it does not answer in time."""
    status = await lab.status()
    password = (lab.folder / "secrets" / "pg").read_text()
    where = f"host={status['regions'][region]['address']} user=evac dbname=shop connect_timeout={wait_s}"
    psql = (str(postgresql.bin_dir() / "psql"), "-XAtq", where, "-c", statement)
    return await at(lab, site, "env", f"PGPASSWORD={password}", "timeout", f"{wait_s}", *psql)


async def states(lab: world.Lab, region: str) -> dict[str, str]:
    servers: dict[str, str] = (await lab.status())["regions"][region]["servers"]
    return {name: state for name, state in servers.items() if state != "absent"}


async def counts(lab: world.Lab, way: str) -> dict[str, Any]:
    found: dict[str, Any] = (await lab.status())["wan"]["counts"][way]
    return found


async def test_every_server_of_every_region_is_up(lab: world.Lab) -> None:
    for region in (await lab.status())["regions"]:
        assert await states(lab, region) == dict.fromkeys(ALL, "running")
    assert lab.estate.exists()


async def test_both_standbys_stream_and_a_write_waits_for_one_of_them(lab: world.Lab) -> None:
    """Asked again for a while: another test's fault may have cost the standbys their streams."""
    ask = "select application_name, state, sync_state from pg_stat_replication order by 1"
    for _ in range(60):
        rows = (await sql(lab, "ops", HOME, ask)).split()
        if rows == ["eu-west-1|streaming|quorum", "us-west-2|streaming|quorum"]:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(rows)


async def test_the_distance_is_the_one_declared(lab: world.Lab) -> None:
    shake = (
        "import socket,time; t=time.monotonic(); s=socket.create_connection(('10.77.1.1', 5432));"
        "print(time.monotonic()-t)"
    )
    for site, round_trip_s in (("ops", 0.024), (STANDBY, 0.062), ("eu-west-1", 0.076)):
        assert float(await at(lab, site, sys.executable, "-c", shake)) >= round_trip_s


async def test_a_client_reaches_the_shop_through_the_entry_of_any_region(lab: world.Lab) -> None:
    """Asked again for a while: a load balancer sends nobody to a shop that it has not seen well yet.

    Tests come in any order: right after another's power cut it may still close the door on whoever asks.
    """
    get = (
        "import time, urllib.request\n"
        "for _ in range(40):\n"
        "    try:\n"
        "        print(urllib.request.urlopen('http://10.77.3.1:8080/health').status); break\n"
        "    except OSError:\n"
        "        time.sleep(0.5)\n"
    )
    assert await at(lab, "clients", sys.executable, "-c", get) == "200"


async def test_ssh_runs_commands_with_the_keys_of_the_lab(lab: world.Lab) -> None:
    connect = (
        "import asyncio, asyncssh\n"
        "async def main():\n"
        "    async with asyncssh.connect('10.77.2.1', 2222, username='evac', config=None,\n"
        f"            client_keys=['{lab.folder}/keys/evac'], known_hosts='{lab.folder}/keys/known_hosts') as c:\n"
        "        print((await c.run('cat; ip -br -4 addr show eth0', input='fed ')).stdout)\n"
        "asyncio.run(main())\n"
    )
    said = await at(lab, "ops", sys.executable, "-c", connect)
    assert said.startswith("fed eth0")
    assert "10.77.2.1" in said


@pytest.mark.parametrize("kind", [FaultKind.CUT, FaultKind.CUT_IN, FaultKind.CUT_OUT])
async def test_a_cut_region_does_not_answer_until_it_is_healed(lab: world.Lab, kind: FaultKind) -> None:
    before_s = boot_s()
    fault = await lab.fault(kind, HOME)
    assert fault.at_s is not None
    assert before_s <= fault.at_s <= boot_s()
    with pytest.raises(process.ServerError):
        await sql(lab, "ops", HOME, "select 1", wait_s=2)
    assert await sql(lab, "ops", STANDBY, "select 1") == "1"
    assert await states(lab, HOME) == dict.fromkeys(ALL, "running")
    await lab.heal(HOME)
    assert await sql(lab, "ops", HOME, "select 1") == "1"


async def test_a_cut_between_two_sites_is_between_those_two_only(lab: world.Lab) -> None:
    await lab.fault("cut", HOME, to="ops")
    with pytest.raises(process.ServerError):
        await sql(lab, "ops", HOME, "select 1", wait_s=2)
    assert await sql(lab, "clients", HOME, "select 1") == "1"


async def test_loss_and_delay_strike_the_packets(lab: world.Lab) -> None:
    await lab.fault("loss", HOME, to="ops", value=0.5)
    await lab.fault("delay", STANDBY, to="ops", value=0.3)
    shout = "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    await at(lab, "ops", sys.executable, "-c", shout + "[s.sendto(b'x', ('10.77.1.1', 9)) for _ in range(200)]")
    async with asyncio.timeout(10):
        while (seen := await counts(lab, f"ops>{HOME}"))["lost"] == 0:
            await asyncio.sleep(0.05)
    assert seen["lost"] > 0
    shake = "import socket,time; t=time.monotonic(); socket.create_connection(('10.77.2.1', 22)) "
    shake = f"import time\nt=time.monotonic()\ntry:\n    {shake}\nexcept OSError:\n    print(time.monotonic()-t)"
    assert float(await at(lab, "ops", sys.executable, "-c", shake)) >= 0.3


@pytest.mark.parametrize(
    ("what", "frozen"), [(Target.DATABASE, {"postgresql"}), (Target.CACHE, {"valkey"}), (Target.ALL, ALL)]
)
async def test_a_freeze_stops_what_it_names_and_heal_lets_it_go_on(
    lab: world.Lab, what: Target, frozen: set[str]
) -> None:
    await lab.fault("freeze", HOME, what=what)
    found = await states(lab, HOME)
    assert {name for name, state in found.items() if state == "frozen"} == frozen
    await lab.heal(HOME)
    assert await states(lab, HOME) == dict.fromkeys(ALL, "running")
    assert await sql(lab, "ops", HOME, "select 1") == "1"


async def test_killed_servers_come_back_with_their_data_and_their_role(lab: world.Lab) -> None:
    await sql(lab, "ops", HOME, "create table kept (i int); insert into kept values (7)")
    await lab.fault("kill", HOME)
    assert await states(lab, HOME) == dict.fromkeys(ALL, "down") | {"ssh": "running"}
    healed = await lab.heal(HOME)
    assert healed.problems == ()
    assert await states(lab, HOME) == dict.fromkeys(ALL, "running")
    assert await sql(lab, "ops", HOME, "select i, pg_is_in_recovery() from kept") == "7|f"


async def test_power_takes_everything_and_what_evac_fenced_is_not_booted(lab: world.Lab) -> None:
    marker = lab.folder / STANDBY / "postgresql" / "evac.stopped"
    await lab.fault("power", STANDBY)
    assert await states(lab, STANDBY) == dict.fromkeys(ALL, "down")
    await at(lab, STANDBY, "touch", str(marker))
    await lab.heal(STANDBY)
    assert await states(lab, STANDBY) == dict.fromkeys(ALL, "running") | {"postgresql": "kept down"}
    await lab.fault("power", STANDBY)
    await at(lab, STANDBY, "rm", str(marker))
    assert (await lab.heal(STANDBY)).problems == ()
    assert await sql(lab, "ops", STANDBY, "select pg_is_in_recovery()") == "t"


async def test_valkey_is_kept_down_and_started_again_by_its_operators_command(lab: world.Lab) -> None:
    command = str(lab.folder / HOME / "valkey" / "control")
    await lab.fault("freeze", HOME, what=Target.CACHE)
    await at(lab, HOME, command, "stop")
    await at(lab, HOME, command, "stop")
    assert (await states(lab, HOME))["valkey"] == "kept down"
    await at(lab, HOME, command, "start")
    await at(lab, HOME, command, "start")
    assert (await states(lab, HOME))["valkey"] == "running"


async def test_a_full_disk_refuses_writes_and_recovers(lab: world.Lab) -> None:
    await lab.fault("disk-full", HOME)
    try:
        # a row finds no room, or the log of writes does not, and then the server crashes
        with pytest.raises(process.ServerError, match="No space left|another server process"):
            await sql(lab, "ops", HOME, "create table big as select generate_series(1, 1000000)")
    finally:
        await lab.heal(HOME)
    async with asyncio.timeout(60):
        while True:
            with suppress(process.ServerError):
                assert await sql(lab, "ops", HOME, "create table if not exists small as select 1; select 1") == "1"
                break
            await asyncio.sleep(0.2)


def test_a_command_at_a_site_has_its_own_exit_code_and_hears_signals(lab: world.Lab) -> None:
    run = subprocess.run(lab.command("clients", "sh", "-c", "exit 7"), check=False)
    assert run.returncode == 7
    assert subprocess.run(lab.command("mars", "true"), check=False, capture_output=True).returncode == 125
    trap = "import signal as s\ns.pthread_sigmask(0, [15])\nprint('on', flush=True)\ns.sigwait([15])\nexit(9)"
    with subprocess.Popen(lab.command("ops", sys.executable, "-c", trap), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"on\n"
        child.terminate()
        assert child.wait(20) == 9


async def test_what_makes_no_sense_is_refused(lab: world.Lab) -> None:
    for kind, region, to in (
        ("kill", "mars", None),
        ("cut", HOME, "mars"),
        ("cut", HOME, HOME),
        ("meteor", HOME, None),
    ):
        with pytest.raises(LabError):
            await lab.fault(kind, region, to=to)
    with pytest.raises(LabError, match="already"):
        await world.up(lab.folder)
    assert (await lab.status())["faults"] == []


def owned_by(folder: Path) -> list[int]:
    """Return the processes whose command line or working folder lies in a folder."""
    found = []
    for each in psutil.process_iter():
        try:
            if str(folder) in " ".join(each.cmdline()) or each.cwd().startswith(str(folder)):
                found.append(each.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [pid for pid in found if pid != os.getpid() and process.alive(pid)]


async def test_a_second_lab_beside_it_dies_with_who_was_killed_and_leaves_nothing(
    lab: world.Lab, tmp_path: Path
) -> None:
    owner = (
        "import asyncio\nfrom pathlib import Path\nfrom evac.lab import world\n"
        f"async def main():\n    async with world.lab(Path({str(tmp_path)!r}), mode='async'):\n"
        "        print('up', flush=True)\n        await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", owner, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"up\n"
        second = world.at(tmp_path)
        assert (await second.status())["mode"] == "async"
        assert await sql(second, "ops", HOME, "show synchronous_standby_names") == ""
        assert len(owned_by(tmp_path)) > 20
    finally:
        child.kill()
        await child.wait()
    await process.until(lambda: not owned_by(tmp_path), what="the second lab to be gone")
    assert await states(lab, HOME) == dict.fromkeys(ALL, "running")
