"""A PostgreSQL primary that somebody starts again: systemd, or an operator's own commands, good ones and bad ones."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from postgresql_members import EAST, Cluster, raised, until_streaming
from systemd_host import OWN, VENDOR, systemd_host

from evac.drivers.postgresql.settings import Command, Control
from evac.drivers.systemd import Systemd
from evac.lab.servers import postgresql, process
from evac.places.local import LocalPlace
from evac.ports import Driver, Place

UNIT = "orders.service"
_UNITS = {"package's unit": VENDOR, "administrator's unit": OWN}
_COMMANDS = ("pg_ctl", "supervisor", "forgetful supervisor", "deaf supervisor")
KEPT_DOWN = (*_UNITS, *_COMMANDS[:3])
"""Supervisors that can be told to leave the server down; `forgetful` ones by `kill` only, `deaf` ones never."""
RESTARTING = (*_UNITS, "supervisor", "forgetful supervisor")
"""Those of them that start a server again that died."""

_SCRIPT = """#!/bin/sh
# an operator's supervisor: starts the server again, until it is told not to
cd {folder}
children() {{ cat /proc/"$1"/task/"$1"/children 2>/dev/null; }}
master() {{ head -n 1 data/postmaster.pid 2>/dev/null; }}
case $1 in
run)
    {note}
    while [ ! -e down ]; do {postgres} </dev/null >>supervised.log 2>&1; sleep 0.1; done
    rm -f runner ;;
start) rm -f down; setsid -f "$0" run </dev/null >/dev/null 2>&1 ;;
stop) {on_stop}; kill -INT "$(master)" 2>/dev/null; true ;;
kill)
    {on_kill}; runner=$(cat runner 2>/dev/null); doomed=
    for each in $runner $(children "${{runner:-none}}") $(master); do
        kill -STOP "$each"; doomed="$doomed $each $(children "$each")"
    done
    [ -z "$doomed" ] || kill -KILL $doomed 2>/dev/null; true ;;
status) m=$(master); [ -n "$m" ] && [ -e /proc/"$m"/exe ] || exit 3 ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A cluster whose primary has a supervisor, and the driver that goes through that."""

    cluster: Cluster
    east: Driver
    control: Control
    place: Place

    async def upright(self) -> bool:
        """Whether the old primary takes writes."""
        server = self.cluster.servers[EAST]
        if not server.pids() or not server.ready():
            return False
        with suppress(psycopg.OperationalError):  # it is starting; the file is its predecessor's
            return await self.cluster.sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]
        return False


@asynccontextmanager
async def supervised(kind: str, folder: Path) -> AsyncIterator[Supervised]:
    """Run three members, the primary under a supervisor of this kind; skips where there is none here."""
    async with raised(folder / "members") as cluster:
        server = cluster.servers[EAST]
        await server.stop()
        supervisor = _by_systemd(kind, folder, server) if kind in _UNITS else _by_command(kind, server)
        async with supervisor as (control, place):
            await process.until(server.ready, what=f"the {kind} to start the primary")
            await until_streaming(cluster, EAST, count=2)
            east = await cluster.driver(EAST, place=place, control=control)
            yield Supervised(cluster=cluster, east=east, control=control, place=place)


@asynccontextmanager
async def _by_systemd(kind: str, folder: Path, server: postgresql.Member) -> AsyncIterator[tuple[Control, Place]]:
    async with systemd_host(folder) as host:
        run = shlex.join(server.command("postgres", "-D", str(server.data_dir)))
        await host.add_unit(
            UNIT, folder=_UNITS[kind], service=(f"ExecStart={run}", "KillMode=mixed", "KillSignal=SIGINT")
        )
        await host.systemctl("start", UNIT)
        yield Control(systemd=Systemd(unit=UNIT)), host.place()


@asynccontextmanager
async def _by_command(kind: str, server: postgresql.Member) -> AsyncIterator[tuple[Control, Place]]:
    script = server.folder / "supervisor"
    postgres = shlex.join(server.command("postgres", "-D", str(server.data_dir)))
    if kind == "pg_ctl":
        postgres = shlex.join(server.command("pg_ctl", "start", "-s", "-W", "-D", str(server.data_dir)))
        postgres = f"{postgres} -l supervised.log; : > down"
    obeys, ignores = ": > down", ":"
    script.write_text(
        _SCRIPT.format(
            folder=shlex.quote(str(server.folder)),
            postgres=postgres,
            note=ignores if kind == "deaf supervisor" else "echo $$ > runner",
            on_stop=obeys if kind in ("pg_ctl", "supervisor") else ignores,
            on_kill=ignores if kind == "deaf supervisor" else obeys,
        )
    )
    script.chmod(0o755)
    words = {verb: (str(script), verb) for verb in ("start", "stop", "kill", "status")}
    place = LocalPlace()
    await process.run(words["start"])
    try:
        yield Control(command=Command(**words)), place
    finally:
        (server.folder / "down").touch()
