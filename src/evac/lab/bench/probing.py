"""`python -m evac.lab.bench.probing`: the most probes a second that one agent holds, by kind, and what one costs it.

Intuition: probes are asked on time or they are worth nothing, so an agent holds as many as it asks at the interval as
shipped. The real agent asks real servers: HAProxy, Valkey, PostgreSQL, over a connection each, and tells a store in
memory what it sees. It has one processor, and the servers another. From step to step there are a quarter more probes,
until some are late; above what is held then, observations come from what already watches (`docs/drivers/observers.md`).

What this is not: what a leader makes of them (`scale`), or of probes through ssh, whose cost is another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

from evac.core.estate import Estate, Probe, RegionId, ServiceId
from evac.core.policy import Detection
from evac.drivers import probe_kinds
from evac.drivers.probes.http import HttpSettings
from evac.drivers.probes.sql import SqlSettings
from evac.drivers.probes.tcp import TcpSettings
from evac.drivers.probes.valkey import ValkeySettings
from evac.drivers.settings import Settings
from evac.engine.agent import Agent
from evac.engine.clock import BootClock
from evac.lab.servers import haproxy, postgresql, process, valkey
from evac.lab.servers.process import Process
from evac.places.local import LocalPlace
from evac.ports import Place, ProbeKind, Prober
from evac.stores.memory import MemoryStore

HERE, THERE = RegionId("here"), RegionId("there")
KINDS: Mapping[str, type[Settings]] = {
    "http": HttpSettings,
    "tcp": TcpSettings,
    "valkey": ValkeySettings,
    "sql": SqlSettings,
}
FIRST, GROWTH = 200, 1.25
"""How many probes a second the first step has, and how many times as many each further one."""
SETTLE_S, MEASURED_S = 6.0, 6.0
MADE_MIN = 0.99
"""Such a part of the probes that were due must have been made."""
LATE_MAX = 1.5
"""So many intervals at most lie between two questions of a probe, but for one in a hundred."""
_HAPROXY = """defaults
    mode http
    timeout client 1m
    timeout connect 1s
    timeout server 1s
frontend ok
    bind 127.0.0.1:{port}
    maxconn 20000
    http-request return status 200 content-type text/plain string ok
"""

FOLDER = Path("build/probing")
_CONNECTIONS_MAX = 3000
Address: TypeAlias = Mapping[str, Any]
"""A probe's settings, as plain data that another process can be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an agent made of so many probes a second."""

    due: float
    """Probes a second that were to be made."""
    made: float
    failed: int
    late: float
    """The 99th percentile of the time between two questions of a probe, in intervals."""
    processor: float
    """Of one processor."""

    @property
    def held(self) -> bool:
        return not self.failed and self.made >= MADE_MIN * self.due and self.late <= LATE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """The last step that was held, and the first one that was not."""

    held: Step | None
    beyond: Step

    @property
    def limit(self) -> str:
        """Say what ended it: the agent's processor, or else the servers."""
        return "the agent's processor" if self.beyond.processor > 0.9 else "the servers, or the way to them"


@dataclass(slots=True)
class _Count:
    """What probes were asked and answered."""

    made: int = 0
    failed: int = 0
    gaps: list[float] = field(default_factory=list)
    """Seconds between two questions of the same probe."""


class _Counted:
    """A prober that is counted (`ports.Prober`)."""

    def __init__(self, prober: Prober, count: _Count) -> None:
        self._prober = prober
        self._count = count
        self._asked = 0.0

    async def ask(self) -> str:
        before, self._asked = self._asked, time.monotonic()
        if before:
            self._count.gaps.append(self._asked - before)
        reason = await self._prober.ask()
        self._count.made += 1
        self._count.failed += bool(reason)
        return reason

    async def close(self) -> None:
        await self._prober.close()


class _CountedKind:
    """A kind of probes that are counted (`ports.ProbeKind`)."""

    def __init__(self, kind: ProbeKind, count: _Count) -> None:
        self.name, self.settings = kind.name, kind.settings
        self._kind = kind
        self._count = count

    async def open(self, probe: Probe, place: Place) -> Prober:
        return _Counted(await self._kind.open(probe, place), self._count)


def step(kind: str, address: Address, rate: float, seconds: float = MEASURED_S) -> Step:
    """Let an agent ask so many probes a second of one kind, in this process, and say how that went."""
    return asyncio.run(_step(kind, address, rate, seconds))


async def _step(kind: str, address: Address, rate: float, seconds: float) -> Step:
    detection, settings, count = Detection(), KINDS[kind].parse(address), _Count()
    probes = tuple(
        Probe(kind=kind, service=ServiceId(f"service-{n:05}"), region=THERE, settings=settings)
        for n in range(max(round(rate * detection.interval.total_seconds()), 1))
    )
    agent = Agent(
        HERE,
        estate=Estate(
            name="probing", regions={}, services={}, components={}, probes=probes, home={}, detection=detection
        ),
        store=MemoryStore(),
        place=LocalPlace(),
        clock=BootClock(),
        probe_kinds={kind: _CountedKind(probe_kinds()[kind], count)},
        members={},
        chance=random.Random(1),
    )
    running = asyncio.create_task(agent.run())
    try:
        await asyncio.sleep(min(SETTLE_S, seconds))
        made, failed, began, used = count.made, count.failed, time.monotonic(), time.process_time()
        count.gaps.clear()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        return Step(
            due=len(probes) / detection.interval.total_seconds(),
            made=(count.made - made) / took,
            failed=count.failed - failed,
            late=quantiles(count.gaps or [0.0, 0.0], n=100)[-1] / detection.interval.total_seconds(),
            processor=(time.process_time() - used) / took,
        )
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def most(attempt: Callable[[float], Step], *, first: float = FIRST) -> Most:
    """Return the last step that is held as they grow, and the one after it."""
    held, rate = None, first
    while (found := attempt(rate)).held:
        held, rate = found, rate * GROWTH
    return Most(held=held, beyond=found)


@asynccontextmanager
async def served(folder: Path, kinds: Sequence[str]) -> AsyncIterator[dict[str, Address]]:
    """Run a server for each kind, and say how it is probed; all are killed at the end."""
    async with AsyncExitStack() as stack:
        found: dict[str, Address] = {}
        if {"http", "tcp"} & set(kinds):
            balancer = await stack.enter_async_context(_balancer(folder / "haproxy"))
            found |= {"http": balancer, "tcp": balancer}
        if "valkey" in kinds:
            (cache,) = (await stack.enter_async_context(valkey.cluster(folder / "valkey", regions=(THERE,)))).values()
            secret = {"value": cache.password}
            found["valkey"] = {"host": cache.address, "port": cache.port, "password": secret}
        if "sql" in kinds:
            found["sql"] = await stack.enter_async_context(_database(folder / "postgresql"))
        yield {kind: found[kind] for kind in kinds}


@asynccontextmanager
async def _balancer(folder: Path) -> AsyncIterator[Address]:
    (port,) = process.free_ports(1)
    argv = (haproxy.binary(), "-db", "-f", str(_configured(folder, port)))
    server = Process(name="haproxy", argv=argv, log=folder / "haproxy.log")
    try:
        await server.start(ready=lambda pid: process.listening(pid, port))
        yield {"host": "127.0.0.1", "port": port}
    finally:
        await server.kill()


def _configured(folder: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "haproxy.cfg"
    written.write_text(_HAPROXY.format(port=port))
    return written


@asynccontextmanager
async def _database(folder: Path) -> AsyncIterator[Address]:
    (port,) = process.free_ports(1)
    server = postgresql.Member(region=THERE, folder=folder, address="127.0.0.1", port=port, password="pg-secret")
    try:
        await server.initialise()
        with (server.data_dir / "postgresql.conf").open("a") as settings:
            settings.write(f"max_connections = {_CONNECTIONS_MAX}\n")
        await server.start()
        secret = {"value": server.password}
        yield {"host": "127.0.0.1", "port": port, "dbname": "postgres", "user": postgresql.USER, "password": secret}
    finally:
        await server.kill()
        await server.release_memory()


def as_table(found: Mapping[str, Most]) -> Table:
    """Return one line a kind."""
    table = Table(title="the most probes a second that one agent holds", title_justify="left")
    for heading in ("kind", "held", "of a processor", "a probe", "not held", "of a processor", "limit"):
        table.add_column(heading)
    for kind, each in found.items():
        held = each.held
        table.add_row(
            kind,
            f"{held.made:.0f}/s" if held else "-",
            f"{held.processor:.0%}" if held else "-",
            f"{held.processor / held.made * 1e6:.0f} us" if held else "-",
            f"{each.beyond.due:.0f}/s",
            f"{each.beyond.processor:.0%}",
            each.limit,
        )
    return table


async def measured(folder: Path, kinds: Sequence[str], *, say: Callable[[str], None]) -> dict[str, Most]:
    """Measure each kind against its server, every step in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])  # and so the servers, which are begun from here
    spawn = multiprocessing.get_context("spawn")

    def attempt(kind: str, address: Address, rate: float) -> Step:
        with ProcessPoolExecutor(1, spawn, os.sched_setaffinity, (0, cores[1:] or cores)) as pool:
            made = pool.submit(step, kind, address, rate).result()
        say(f"{kind} {made.due:.0f}/s: {made.made:.0f}/s made, {made.failed} failed, {made.late:.2f} intervals between,"
            f" {made.processor:.0%} of a processor")  # fmt: skip
        return made

    found: dict[str, Most] = {}
    async with served(folder, kinds) as addresses:
        for kind, address in addresses.items():
            found[kind] = await asyncio.to_thread(most, partial(attempt, kind, address))
    return found


def main(argv: Sequence[str]) -> int:
    """Read the options, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.bench.probing", description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="by comma: " + ", ".join(KINDS))
    parser.add_argument("--out", type=Path, default=Path("build/probing.json"))
    options = parser.parse_args(argv)
    kinds = options.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    folder = FOLDER.absolute()  # servers are found by where they live
    shutil.rmtree(folder, ignore_errors=True)
    say = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    found = asyncio.run(measured(folder, kinds, say=say.print))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({kind: asdict(each) for kind, each in found.items()}, indent=1) + "\n")
    say.print(as_table(found))
    say.print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
