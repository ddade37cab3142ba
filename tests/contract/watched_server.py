"""One real PostgreSQL under a watchdog: what the tests of the watchdog and of its agent's side share."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from evac.core.watchdog import Look, Order, write_order
from evac.lab.servers import postgresql, process
from evac.watchdog.serving import boot_time

WITHIN_S = 1.5
"""W of these tests: long enough for a machine that is busy, short enough to wait for."""


@asynccontextmanager
async def one_server(folder: Path) -> AsyncIterator[postgresql.Member]:
    """Run a primary alone on loopback; it is killed at the end."""
    (port,) = process.free_ports(1)
    member = postgresql.Member(region="here", folder=folder / "pg", address="127.0.0.1", port=port, password="pg")
    try:
        await member.initialise()
        await member.start()
        yield member
    finally:
        member.thaw()
        await member.kill()
        await member.release_memory()


@dataclass(slots=True, kw_only=True)
class WatchdogProcess:
    """A watchdog of a server, started as an agent does it."""

    member: postgresql.Member
    path: Path
    within_s: float = WITHIN_S
    extra: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        return (
            sys.executable, "-m", "evac.watchdog", "--socket", str(self.path), "--folder", str(self.member.data_dir),
            "--name", "postgres", "--marker", str(self.member.stopped_marker),
            "--leave", str(self.member.data_dir / "standby.signal"),
            "--within", str(self.within_s), "--reset", "1", *self.extra,
        )  # fmt: skip

    async def start(self) -> int:
        """Start it; return the command's exit code."""
        started = await asyncio.create_subprocess_exec(*self.command)
        return await started.wait()

    @property
    def pid(self) -> int | None:
        """The process behind the socket; None if there is none."""
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(str(self.path))
            except OSError:
                return None
            return int(struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    async def tell(self, order: Order) -> str:
        """Give an order and return the answer; empty when it ended instead."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(write_order(order))
            async with asyncio.timeout(20):
                return (await reader.readline()).decode().strip()
        finally:
            writer.close()

    async def until(self, said: str) -> None:
        """Ask until it says so."""
        async with asyncio.timeout(30):
            while not (await self.tell(Look())).startswith(said):
                await asyncio.sleep(0.02)

    def end(self) -> None:
        """SIGKILL it."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def watched(
    member: postgresql.Member, folder: Path, *, within_s: float = WITHIN_S, extra: tuple[str, ...] = ()
) -> AsyncIterator[WatchdogProcess]:
    """Run a watchdog for a server; it is killed at the end."""
    watchdog = WatchdogProcess(member=member, path=folder / "w.sock", within_s=within_s, extra=extra)
    try:
        assert await watchdog.start() == 0
        yield watchdog
    finally:
        watchdog.end()


async def gone(member: postgresql.Member) -> None:
    """Wait until nothing of a server runs."""
    async with asyncio.timeout(30):
        while member.pids():
            await asyncio.sleep(0.02)


__all__ = ["WITHIN_S", "WatchdogProcess", "boot_time", "gone", "one_server", "watched"]
