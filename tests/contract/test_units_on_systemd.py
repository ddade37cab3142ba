"""The shipped unit under a real systemd: the watchdog that an agent began outlives what ends the agent, and then kills.

The server is a unit of its own, always started again. In the agent's place stands what it does for its watchdog, by the
same code (`standing_agent`); all else of the unit is what ships, but for its user and its folders under /etc and /var.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import settings_of
from systemd_host import OWN, VENDOR, SystemdHost, systemd_host
from watched_server import WatchdogProcess, gone

from evac.core.watchdog import Look
from evac.drivers.postgresql.settings import Control
from evac.drivers.systemd import Systemd
from evac.lab.servers import postgresql, process

pytestmark = pytest.mark.asyncio

SHIPPED = Path(__file__).parents[2] / "systemd"
AGENT, SERVER = "evac-agent.service", "shop-db.service"
WITHIN_S = 8.0
"""Longer than an agent takes to be back on a machine that is busy."""
HERE = """[Unit]
DefaultDependencies=no
[Service]
User=root
StateDirectory=
ConfigurationDirectory=
EnvironmentFile=
"""
with_and_without_hardening = pytest.mark.parametrize("hardened", [False, True], ids=["shipped", "hardened"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A server held by a watchdog that an agent's unit began."""

    host: SystemdHost
    server: postgresql.Member
    watchdog: WatchdogProcess

    async def agent(self) -> str:
        """The agent's process id as its host has it; 0 while there is none."""
        return await self.host.systemctl("show", "--property=MainPID", "--value", AGENT)

    async def until_back(self, before: str) -> None:
        """Wait until another agent than the one before runs, and for so long that only it can have kept the server."""
        async with asyncio.timeout(30):
            while await self.agent() in (before, "0"):
                await asyncio.sleep(0.05)
        await asyncio.sleep(WITHIN_S)


@asynccontextmanager
async def held(folder: Path, *, drop_ins: tuple[str, ...] = ()) -> AsyncIterator[Held]:
    """Run a host with a server, and the agent's unit, that holds it."""
    (port,) = process.free_ports(1)
    server = postgresql.Member(region="here", folder=folder / "pg", address="127.0.0.1", port=port, password="pg")
    await server.initialise()
    try:
        async with systemd_host(folder) as host:
            run = shlex.join(server.command("postgres", "-D", str(server.data_dir)))
            await host.add_unit(SERVER, folder=VENDOR, service=(f"ExecStart={run}", "KillMode=mixed"))
            await host.systemctl("start", SERVER)
            await process.until(server.ready, what="the server to start")
            await _add_agent(host, folder, server, (HERE, *drop_ins))
            watchdog = WatchdogProcess(member=server, path=folder / "db.watchdog")
            await host.systemctl("start", AGENT)
            async with asyncio.timeout(30):
                while watchdog.pid is None or not (await watchdog.tell(Look())).startswith("guarding"):
                    await asyncio.sleep(0.05)
            yield Held(host=host, server=server, watchdog=watchdog)
    finally:
        await server.kill()


async def _add_agent(host: SystemdHost, folder: Path, server: postgresql.Member, drop_ins: tuple[str, ...]) -> None:
    watched = settings_of(server, control=Control(systemd=Systemd(unit=SERVER))).watched()
    program = (sys.executable, str(Path(__file__).with_name("standing_agent.py")), str(folder), str(WITHIN_S))
    instead = shlex.join((*program, json.dumps(asdict(watched))))
    lines = (SHIPPED / AGENT).read_text().splitlines()
    text = [f"ExecStart={instead}" if line.startswith("ExecStart=") else line for line in lines]
    await host.write(OWN / AGENT, "\n".join((*text, "")))
    made = await host.place().run(("mkdir", str(OWN / f"{AGENT}.d")), timeout=timedelta(seconds=5))
    assert made.code == 0
    for number, drop_in in enumerate(drop_ins):
        await host.write(OWN / f"{AGENT}.d" / f"{number}.conf", drop_in)
    await host.systemctl("daemon-reload")


def _drop_ins(*, hardened: bool) -> tuple[str, ...]:
    return ((SHIPPED / "hardened.conf").read_text(),) if hardened else ()


@with_and_without_hardening
async def test_it_outlives_an_agent_that_is_restarted_killed_or_signalled(tmp_path: Path, hardened: bool) -> None:
    async with held(tmp_path, drop_ins=_drop_ins(hardened=hardened)) as made:
        first, serving = made.watchdog.pid, made.server.pids()[0]
        for blow in (
            ("restart", AGENT),
            ("kill", "--kill-whom=main", "--signal=KILL", AGENT),
            ("kill", AGENT),
        ):
            before = await made.agent()
            await made.host.systemctl(*blow)
            await made.until_back(before)
            assert made.watchdog.pid == first, blow
            assert (await made.watchdog.tell(Look())).startswith("guarding"), blow
            assert made.server.pids()[0] == serving, blow


@with_and_without_hardening
async def test_it_kills_the_primary_of_an_agent_that_stays_away(tmp_path: Path, hardened: bool) -> None:
    async with held(tmp_path, drop_ins=_drop_ins(hardened=hardened)) as made:
        first = made.watchdog.pid
        await made.host.systemctl("stop", AGENT)
        assert await made.agent() == "0"
        assert made.server.pids(), "it has not been silent for so long yet"
        await gone(made.server)
        await made.watchdog.until("down 0")
        assert made.watchdog.pid == first
        assert made.server.stopped_marker.exists()
        assert await made.host.systemctl("show", "--property=LoadState", "--value", SERVER) == "masked"
        await made.host.systemctl("start", SERVER)
        assert made.server.pids() == (), "nor does systemd start it again"


async def test_under_another_kill_mode_it_would_die_with_the_agent(tmp_path: Path) -> None:
    """Or the other tests would prove nothing."""
    async with held(tmp_path, drop_ins=("[Service]\nKillMode=control-group\n",)) as made:
        await made.host.systemctl("stop", AGENT)
        assert made.watchdog.pid is None
