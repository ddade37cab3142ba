"""One region of the lab: its servers, how they boot, and what can be done to them.

Intuition: what a region runs is known by its network namespace, not by who started it: a PostgreSQL that a driver
started over ssh dies with its region like one that the lab started. Booting is what an init system does: everything
that is not running is started with the role its own files give it, and what evac fenced stays down: its marker says so.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import psutil

from evac.core.errors import EvacError
from evac.lab import ballast, keys, layout, namespaces
from evac.lab.faults import Target
from evac.lab.keys import Passwords
from evac.lab.layout import Layout
from evac.lab.servers import etcd, haproxy, knot, postgresql, process, valkey
from evac.lab.servers.agent import AgentServer
from evac.lab.servers.shop import ShopServer
from evac.lab.servers.sshd import SshServer

DISK_MB = 768
"""Size of the file system that a region's PostgreSQL has for itself: about four times what it needs."""

ZONE = "shop.example"
WATCHDOG = "evac.watchdog"
"""The word by which a watchdog's command line is known."""


class State(StrEnum):
    """What a server is doing."""

    RUNNING = "running"
    FROZEN = "frozen"
    DOWN = "down"
    KEPT_DOWN = "kept down"
    ABSENT = "absent"


class Server(Protocol):
    """What every server of `evac.lab.servers` can do."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...

    def pids(self) -> tuple[int, ...]: ...

    def reap(self) -> None: ...


class Region:
    """One region's servers."""

    def __init__(self, layout_: Layout, name: str, passwords: Passwords) -> None:
        self.name = name
        self._layout = layout_
        folder, address, within = layout_.region_folder(name), layout_.address(name), namespaces.within(name)
        self.ssh = SshServer(
            region=name, folder=folder, address=address, port=layout.SSH_PORT, within=within,
            host_key=keys.host_key(layout_, name), authorized=layout_.keys / "authorized",
        )  # fmt: skip
        self.postgresql = postgresql.Member(
            region=name, folder=folder / "postgresql", address=address, port=layout.POSTGRESQL_PORT,
            password=passwords.postgresql, within=within, log=folder / "postgresql.log",
        )  # fmt: skip
        home = layout_.spec.home
        self.valkey = valkey.Member(
            region=name, folder=folder / "valkey", address=address, port=layout.VALKEY_PORT, within=within,
            password=passwords.valkey, primary=None if name == home else (layout_.address(home), layout.VALKEY_PORT),
        )  # fmt: skip
        self.haproxy = haproxy.Balancer(
            region=name, folder=folder / "haproxy", address=address, port=layout.PUBLIC_PORT, within=within,
            api_port=layout.RUNTIME_PORT, weights={home: 100},
            servers={r: (layout_.address(r), layout.SHOP_PORT) for r in layout_.regions},
        )  # fmt: skip
        self.knot = knot.NameServer(
            region=name, folder=folder / "knot", address=address, port=layout.DNS_PORT, within=within,
            secret=passwords.tsig, records=(f"api A {layout_.address(home)}",), zone=ZONE,
        )  # fmt: skip
        self.shop = ShopServer(
            region=name, folder=folder, address=address, port=layout.SHOP_PORT, within=within,
            conninfo=self.postgresql.conninfo(),
            valkey=f"valkey://:{passwords.valkey}@{address}:{layout.VALKEY_PORT}/0",
        )  # fmt: skip

        self.etcd = etcd.Member(
            region=name, folder=folder / "etcd", address=address, port=layout.ETCD_PORT, within=within,
            peers={r: (layout_.address(r), layout.ETCD_PEER_PORT) for r in layout_.regions},
            certificate=keys.certificate(layout_, f"etcd-{name}"),
        )  # fmt: skip
        self.agent = AgentServer(
            region=name, folder=folder, estate=layout_.folder / "estate.yaml", within=within,
            store=layout_.store(nearest=name) or "",
        )  # fmt: skip

    @property
    def servers(self) -> Mapping[str, Server]:
        """The servers by name, in the order they boot."""
        servers: dict[str, Server] = {"ssh": self.ssh, "postgresql": self.postgresql, "valkey": self.valkey}
        servers |= {"knot": self.knot} if knot.found() else {}
        servers |= {"haproxy": self.haproxy, "shop": self.shop}
        return servers | ({"etcd": self.etcd, "agent": self.agent} if self._layout.form == "distributed" else {})

    @property
    def _disk(self) -> Path:
        return self.postgresql.folder

    @property
    def _ballast(self) -> Path:
        return self._disk / "ballast"

    async def prepare(self) -> None:
        """Make the region's folder, and mount the small file system that PostgreSQL's data lie on."""
        self._disk.mkdir(parents=True, exist_ok=True)
        await process.run(("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(self._disk)))

    async def boot(self, *, but: str = "") -> tuple[str, ...]:
        """Start all that is not running, `but` one; return what did not come up and why, instead of raising."""

        async def start(name: str, server: Server) -> str:
            if name == but or self.state(name) is not State.DOWN:
                return ""
            try:
                await server.start()
            except EvacError as error:
                return f"{self.name} {name}: {error}"
            return ""

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(start(name, server)) for name, server in self.servers.items()]
        return tuple(problem for task in tasks if (problem := task.result()))

    def reap(self) -> None:
        """Take note of the servers that have ended, so that nobody who looks for them finds a zombie."""
        for server in self.servers.values():
            server.reap()

    def state(self, name: str) -> State:
        """Return what a server is doing."""
        if name == "knot" and knot.found() is None:
            return State.ABSENT
        pids = self.servers[name].pids()
        if not pids:
            return State.KEPT_DOWN if self._kept_down(name) else State.DOWN
        return State.FROZEN if _stopped(pids[0]) else State.RUNNING

    def _kept_down(self, name: str) -> bool:
        markers = {"postgresql": self.postgresql.stopped_marker, "valkey": self.valkey.stopped_marker}
        return name in markers and markers[name].exists()

    async def kill_services(self) -> None:
        """SIGKILL everything but the ssh server and what it is running for its clients."""
        await namespaces.kill_all(self.name, spare=self.ssh.pids())

    async def kill_all(self) -> None:
        """SIGKILL everything."""
        await namespaces.kill_all(self.name)

    async def kill(self, what: Target) -> None:
        """SIGKILL one thing: evac's agent, its member of the store, or the watchdog, which no lab started."""
        match what:
            case Target.AGENT:
                await self.agent.kill()
            case Target.STORE:
                await self.etcd.kill()
            case _:
                process.send(self._pids(what), signal.SIGKILL)

    def watchdogs(self) -> tuple[int, ...]:
        """Return the watchdogs that an agent has begun here, each of which has a primary to kill."""
        return tuple(pid for pid in namespaces.pids(self.name) if WATCHDOG in process.words(pid))

    def freeze(self, what: Target) -> None:
        """SIGSTOP, again and again until nobody new is found."""
        frozen: set[int] = set()
        while fresh := [pid for pid in self._pids(what) if pid not in frozen]:
            process.send(fresh, signal.SIGSTOP)
            frozen.update(fresh)

    def thaw(self) -> None:
        """SIGCONT everything."""
        process.send(namespaces.pids(self.name), signal.SIGCONT)

    def _pids(self, what: Target) -> Iterable[int]:
        match what:
            case Target.DATABASE:
                return self.postgresql.pids()
            case Target.CACHE:
                return self.valkey.pids()
            case Target.ENTRY:
                return self.haproxy.pids()
            case Target.AGENT:
                return self.agent.pids()
            case Target.WATCHDOG:
                return self.watchdogs()
            case Target.STORE:
                return self.etcd.pids()
            case Target.ALL:
                return namespaces.pids(self.name)

    def fill_disk(self) -> None:
        """Leave PostgreSQL's file system not a single block."""
        ballast.fill(self._ballast)

    def free_disk(self) -> None:
        """Give the blocks back."""
        self._ballast.unlink(missing_ok=True)


def _stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
