"""The measurement: a lab with an agent in every region, pgbench beside its primary, evac on and off in turn.

Off means that no process of evac runs: the agents are killed, and so is the watchdog, before it would miss them. The
store, the proxies and the shop stay; they are not evac. Before each block there is a checkpoint, and the slot that evac
moves along is moved to the end of the log, so that no block pays for the one before. Whole pages are not logged: after
each checkpoint they would be most of the work, and evac's part of it would look smaller than it is.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from evac.lab import control, gateway
from evac.lab.bench.cases import HOME
from evac.lab.bench.idle import accounts, placebo
from evac.lab.bench.idle.accounts import OWN, Account
from evac.lab.bench.idle.comparison import QUAD, Block
from evac.lab.bench.stage import READY_WAIT_S, Stage, stage
from evac.lab.faults import FaultKind, Target
from evac.lab.layout import POSTGRESQL_PORT, Mode
from evac.lab.servers import postgresql, process
from evac.lab.servers.process import Process, ServerError

DATABASE = "pgbench"
SETTLE_S = 5.0
"""How long evac is left alone after it was begun or ended: what it does once, when it begins, is not idle."""
_TPS = re.compile(r"^tps = ([\d.]+) ", re.M)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.M)
_BACKENDS = """SELECT pid, application_name FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = current_database()"""
_COUNTS = "SELECT xact_commit + xact_rollback, sessions FROM pg_stat_database WHERE datname = current_database()"
_CATCH_UP = """SELECT pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn()) FROM pg_replication_slots
    WHERE slot_type = 'logical' AND NOT active AND database = current_database()"""

_FIRST = ("chrt", "--rr", "1")

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How pgbench is run: its TPC-B-like script, `scale` times 100,000 accounts, `clients` connections, for a block.

    `first` gives the primary and pgbench real-time priority on their processor, so that nobody else's work on this
    machine is theirs to wait for. That takes root, and nearly all of that processor from the others.
    """

    scale: int = 10
    clients: int = 8
    block_s: int = 20
    first: bool = False


async def play(folder: Path, *, mode: Mode, quads: int, load: Load, say: Callable[[str], None]) -> list[Block]:
    """Raise a lab, measure so many quads, and return the blocks in their order. Raises `EvacError`."""
    blocks: list[Block] = []
    async with stage(folder, mode=mode, form="distributed") as on, _asking(on) as asking:
        bench = _Bench(on, asking, load)
        await bench.fill()
        await bench.set_apart()
        say(f"{mode}: the placebo takes {await bench.weigh():.1%} of a processor")
        for wanted in QUAD * quads:
            await bench.have(on=wanted)
            blocks.append(await bench.block())
            say(f"{mode} {len(blocks)}/{4 * quads} evac {'on' if wanted else 'off'}: {blocks[-1].tps:.1f} tps")
        await bench.have(on=True)  # which ends the placebo
    return blocks


@asynccontextmanager
async def _asking(on: Stage) -> AsyncIterator[Connection]:
    """A connection to the watched database, as nobody's cost."""
    address = f"{on.layout.address(HOME)}:{POSTGRESQL_PORT}"
    async with gateway.opened(on.lab, site=HOME, to=(address,)) as (endpoint,):
        host, _, port = endpoint.rpartition(":")
        async with await psycopg.AsyncConnection.connect(
            host=host, port=int(port), user=postgresql.USER, password=_password(on), dbname=postgresql.DATABASE,
            application_name=OWN, autocommit=True, connect_timeout=10,
        ) as connection:  # fmt: skip
            yield connection


def _password(on: Stage) -> str:
    return (on.layout.secrets / "pg").read_text()


class _Bench:
    """One lab, and what is measured in it."""

    def __init__(self, on: Stage, asking: Connection, load: Load) -> None:
        self._stage = on
        self._asking = asking
        self._load = load
        self._data = on.layout.region_folder(HOME) / "postgresql" / "data"
        cores = sorted(os.sched_getaffinity(0))
        self._own = frozenset(cores[:1])
        """The processor of the primary and pgbench."""
        self._rest = frozenset(cores[1:] or cores)
        self._on = True
        self._placebo: Process | None = None
        self._share = 0.0

    async def fill(self) -> None:
        """Wait until all is well, and make pgbench's tables."""
        if not await self._stage.calm(HOME, within_s=READY_WAIT_S):
            raise ServerError(f"the lab is not well; see {self._stage.lab.folder}")
        await self._asking.execute("ALTER SYSTEM SET full_page_writes = off")
        await self._asking.execute("SELECT pg_reload_conf()")
        await self._asking.execute(f"CREATE DATABASE {DATABASE}")
        await self._pgbench("--initialize", "--quiet", f"--scale={self._load.scale}")
        await self._stage.calm(HOME, within_s=READY_WAIT_S)

    async def set_apart(self) -> None:
        """Give the primary a processor of its own, and all others of the lab the rest."""
        database = self._database()
        os.sched_setaffinity(0, self._rest)
        accounts.pinned([pid for pid in self._lab() if pid not in set(database)], self._rest)
        accounts.pinned(database, self._own)
        if self._load.first:
            for pid in database:
                os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))

    async def weigh(self) -> float:
        """Find out how much of a processor evac takes from the others on its host, as the placebo will; return it."""
        with_it = await self.block()
        await self.have(on=False)
        without = await self.block()
        await self.have(on=True)
        self._share = max(with_it.others_per_s - without.others_per_s, 0.0)
        return self._share

    async def have(self, *, on: bool) -> None:
        """Have evac run, or the placebo."""
        if on is not self._on:
            await (self._begin() if on else self._end())
        self._on = on

    async def _end(self) -> None:
        """End all of evac: the agents first, for they would begin another watchdog."""
        for region in self._stage.layout.regions:
            await self._stage.lab.fault(FaultKind.KILL, region, what=Target.AGENT)
        process.send(self._named("watchdog"), signal.SIGKILL)
        if self._share:
            argv = (sys.executable, "-m", placebo.__name__, str(self._share))
            self._placebo = Process(name="placebo", argv=argv, log=self._stage.lab.folder / "placebo.log")
            await self._placebo.start(ready=lambda _: True)
        await asyncio.sleep(SETTLE_S)

    async def _begin(self) -> None:
        """Have evac run again, and wait until all is well."""
        if self._placebo is not None:
            await self._placebo.kill()
        await self._stage.lab.heal()
        await asyncio.sleep(SETTLE_S)
        if not await self._stage.calm(HOME, within_s=READY_WAIT_S):
            raise ServerError(f"evac does not find the lab well after it was off; see {self._stage.lab.folder}")

    async def block(self) -> Block:
        """Run pgbench once, and count what was used meanwhile."""
        running = [name for pid in self._lab() if (name := accounts.label(process.words(pid))).startswith("agent")]
        assert bool(running) is self._on, "agents run while evac is on"
        await self._asking.execute("CHECKPOINT")
        await self._asking.execute(_CATCH_UP)
        before, counts, began = await self._account(), await self._counts(), time.monotonic()
        said = await self._pgbench(f"--client={self._load.clients}", f"--time={self._load.block_s}", "--no-vacuum")
        seconds, after = time.monotonic() - began, await self._account()
        commits, sessions = (late - early for late, early in zip(await self._counts(), counts, strict=True))
        tps, done = _TPS.search(said), _DONE.search(said)
        if tps is None or done is None:
            raise ServerError(f"pgbench does not say how fast it was: {said}")
        return Block(
            on=self._on,
            seconds=seconds,
            transactions=int(done[1]),
            tps=float(tps[1]),
            database_s=after.database - before.database,
            serving_s=accounts.between(before.serving, after.serving),
            others_s=accounts.between(before.others, after.others),
            commits=commits,
            sessions=sessions,
        )

    async def _pgbench(self, *options: str) -> str:
        pgbench = (str(postgresql.bin_dir() / "pgbench"), *options, DATABASE)
        where = {"PGHOST": self._stage.layout.address(HOME), "PGPORT": str(POSTGRESQL_PORT), "PGUSER": postgresql.USER}
        apart = ("taskset", "--cpu-list", ",".join(map(str, self._own)), *(_FIRST if self._load.first else ()))
        said = await process.run(
            (*apart, *self._stage.lab.command(HOME, *pgbench)),
            environment=where | {"PGPASSWORD": _password(self._stage)},
        )
        return said.decode()

    async def _account(self) -> Account:
        rows = await (await self._asking.execute(_BACKENDS)).fetchall()
        backends = {int(pid): name for pid, application in rows if (name := accounts.name_of(str(application)))}
        return accounts.read(self._lab(), self._database(), backends)

    async def _counts(self) -> tuple[int, int]:
        row = await (await self._asking.execute(_COUNTS)).fetchone()
        assert row is not None, "the database that is asked is there"
        return int(row[0]), int(row[1])

    def _lab(self) -> tuple[int, ...]:
        supervisor = psutil.Process(control.supervisor_pid(self._stage.layout.control))
        return process.tree(supervisor.ppid())

    def _named(self, name: str) -> list[int]:
        return [pid for pid in self._lab() if accounts.label(process.words(pid)) == name]

    def _database(self) -> tuple[int, ...]:
        return process.living_in(self._data)
