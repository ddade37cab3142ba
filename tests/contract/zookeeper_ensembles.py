"""ZooKeeper ensembles for tests: Debian's own server on loopback, and stores on them with short patience."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from etcd_clusters import apart

from evac.lab.servers import process
from evac.lab.servers.process import Process
from evac.stores.logged import LoggedStore, Patience
from evac.stores.zookeeper import ZookeeperAddress, ZookeeperGround

JAR = Path("/usr/share/java/zookeeper.jar")
CLASSES = ":".join([str(JAR), "/usr/share/java/slf4j-simple.jar", "/usr/share/java/netty-codec.jar"])
"""Debian's jar names all that a server needs, but a writer for its log and what TLS needs of netty."""
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"

needs_zookeeper = pytest.mark.skipif(
    not JAR.exists() or shutil.which("java") is None or importlib.util.find_spec("kazoo") is None,
    reason="ZooKeeper is missing; install Debian's zookeeper and a JRE, and evac[zookeeper]",
)

QUICK = Patience(
    attempt=timedelta(milliseconds=700),
    whole=timedelta(seconds=10),
    look=timedelta(seconds=1),
    back=timedelta(milliseconds=300),
)
"""For loopback, where an answer that takes longer does not come; an election by a busy machine does."""
TICK_MS = 200
QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
JAVA = ("java", QUIET, "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""Quick to start, and small."""


@dataclass(slots=True, kw_only=True)
class Server:
    """One ZooKeeper server. `peers` maps every server's number, its own included, to its ports for data and votes."""

    number: int
    folder: Path
    port: int
    peers: Mapping[int, tuple[int, int]]
    settings: Mapping[str, str] = field(default_factory=dict)
    listens_on: int = 0
    """The port that shows that it is up; 0: the clients' own."""
    _process: Process | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    async def start(self) -> None:
        """Start it unless it runs, with the data that is there. It takes connections then, and may not serve yet."""
        if self._process is not None and self._process.pid is not None:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "myid").write_text(f"{self.number}\n")
        (self.folder / "zoo.cfg").write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        self._process = Process(
            name=f"ZooKeeper {self.number}",
            argv=(*JAVA, "-cp", CLASSES, MAIN, str(self.folder / "zoo.cfg")),
            log=self.folder / "zookeeper.log",
        )
        await self._process.start(ready=lambda _: accepts(self.listens_on or self.port))

    def _settings(self) -> dict[str, str]:
        peers = {f"server.{n}": f"127.0.0.1:{quorum}:{vote}" for n, (quorum, vote) in self.peers.items()}
        return {
            "dataDir": str(self.data),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            "tickTime": str(TICK_MS),
            "initLimit": "50",
            "syncLimit": "5",
            "maxSessionTimeout": "60000",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr",
            **(peers if len(peers) > 1 else {}),
            **self.settings,
        }

    async def kill(self) -> None:
        """SIGKILL it; its data stays."""
        if self._process:
            await self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP it."""
        process.send(self._process.pids() if self._process else (), signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        process.send(self._process.pids() if self._process else (), signal.SIGCONT)

    async def role(self) -> str:
        """Return what it says it is: leader, follower, standalone; "" when it does not serve."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(b"srvr")
                    said = (await reader.read()).decode()
                finally:
                    writer.close()
            return next((line.partition(": ")[2] for line in said.splitlines() if line.startswith("Mode: ")), "")
        return ""


Servers = Mapping[int, Server]


def accepts(port: int) -> bool:
    """Return whether a port of this machine takes connections. Java listens on both families, so no table is read."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def laid_out(folder: Path, count: int = 3, *, settings: Mapping[str, str] | None = None) -> dict[int, Server]:
    """Return an ensemble on loopback that is not started."""
    ports = process.free_ports(3 * count)
    peers = {n: (ports[3 * n - 2], ports[3 * n - 1]) for n in range(1, count + 1)}
    return {
        n: Server(number=n, folder=folder / str(n), port=ports[3 * n - 3], peers=peers, settings=settings or {})
        for n in peers
    }


async def leader(servers: Servers) -> int:
    """Return the number of the server that leads; wait for one if there is none."""
    async with asyncio.timeout(30):
        while True:
            for number, server in servers.items():
                if await server.role() in ("leader", "standalone"):
                    return number
            await asyncio.sleep(0.05)


async def serving(servers: Servers) -> None:
    """Return when all of them serve."""
    async with asyncio.timeout(30):
        while not all([await server.role() for server in servers.values()]):
            await asyncio.sleep(0.05)


async def start(servers: Servers) -> None:
    """Start all at once, and return when they serve."""
    await asyncio.gather(*[server.start() for server in servers.values()])
    await serving(servers)


async def mended(servers: Servers) -> None:
    """Thaw and start what earlier tests have left frozen or killed, and return when all serve."""
    for server in servers.values():
        server.thaw()
    await start(servers)


async def kill(servers: Servers) -> None:
    """Kill all of them."""
    await asyncio.gather(*[server.kill() for server in servers.values()])


@asynccontextmanager
async def running(servers: Servers) -> AsyncIterator[Servers]:
    """Run an ensemble; all of it is killed at the end."""
    try:
        await start(servers)
        yield servers
    finally:
        await kill(servers)


@contextlib.contextmanager
def lasting(count: int) -> Iterator[Servers]:
    """Run an ensemble for longer than one test's event loop lives."""
    with tempfile.TemporaryDirectory(prefix="evac-zookeeper-") as folder:
        servers = laid_out(Path(folder), count)
        try:
            apart(start(servers))
            yield servers
        finally:
            apart(kill(servers))


def address(servers: Servers, *, namespace: str = "") -> ZookeeperAddress:
    """Return where an ensemble is; with a namespace that nobody uses unless one is named."""
    endpoints = tuple(server.endpoint for server in servers.values())
    return ZookeeperAddress(endpoints=endpoints, namespace=namespace or f"evac/{uuid.uuid4().hex}")


def store_at(where: ZookeeperAddress, *, witness: Path | None = None, patience: Patience = QUICK) -> LoggedStore:
    """Return a store, to be closed by its owner."""
    return LoggedStore(ZookeeperGround(where, patience=patience), patience=patience, witness=witness)


@asynccontextmanager
async def opened(servers: Servers, *, namespace: str = "") -> AsyncIterator[LoggedStore]:
    """Open a store on an ensemble, closed at the end."""
    store = store_at(address(servers, namespace=namespace))
    try:
        yield store
    finally:
        await store.close()
