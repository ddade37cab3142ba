"""The agent's line to a watchdog on its own host: orders over a UNIX socket, and a new watchdog where none answers.

Intuition: a watchdog that does not answer within a second is dead or frozen; either way it is killed, so that it never
wakes with an old grudge, and another one is started and told what this one should have known.

What this is not: when to feed (`engine.holding`), or the watchdog (`evac.watchdog`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog

from evac.core.errors import DriverError
from evac.core.observation import Instant
from evac.core.timing import Holding
from evac.core.watchdog import Arm, Feed, Look, Order, Release, Stance, Watched, write_order
from evac.ports import Place

ANSWER = timedelta(seconds=1)
"""How long an answer may take; arming waits for a disk, and may take longer."""
ARMED = timedelta(seconds=5)
STARTED = timedelta(seconds=5)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """A watchdog holds its server. `seen` is how many of its processes it sees; `anew` that none held it before."""

    seen: int
    anew: bool


class Leash(Protocol):
    """What holds a server to its lease: `WatchdogLine`, and what tests put in its place."""

    async def arm(self, sent_at: Instant, term: int) -> Armed | Stance | None:
        """Have the server held by the renewal sent then; one that is held already is marked again, no more.

        `DOWN`: it was killed, and stays so. None: no watchdog can be had.
        """

    async def ready(self) -> None:
        """Have a watchdog there that holds nothing yet, so that arming it soon takes no time."""

    async def feed(self, sent_at: Instant) -> Stance | None:
        """Tell of a later renewal; None when nobody answers."""

    async def release(self, now: Instant) -> None:
        """Hold the server no more; afterwards no watchdog acts on it."""


class WatchdogLine:
    """The line to one member's watchdog (`Leash`). Sockets are made in `folder`, which must be this user's own."""

    def __init__(self, *, folder: Path, name: str, watched: Watched, holding: Holding, place: Place) -> None:
        self._folder = folder
        self._name = f"{name}.watchdog"
        self._watched = watched
        self._holding = holding
        self._place = place

    async def arm(self, sent_at: Instant, term: int) -> Armed | Stance | None:
        stance = await self._tell(Look(), within=ANSWER)
        if stance is Stance.DOWN:
            return stance
        if stance is None and not await self._replace():
            return None
        match await self._said(Arm(sent_at=sent_at, term=term), within=ARMED):
            case [Stance.GUARDING, seen]:
                return Armed(seen=int(seen), anew=stance is not Stance.GUARDING)
            case [Stance.DOWN, *_]:  # what it held already fell due meanwhile
                return Stance.DOWN
            case _:  # no answer, or its marker could not be written
                return None

    async def ready(self) -> None:
        if await self._tell(Look(), within=ANSWER) is None:
            await self._replace()

    async def feed(self, sent_at: Instant) -> Stance | None:
        return await self._tell(Feed(sent_at=sent_at), within=ANSWER)

    async def release(self, now: Instant) -> None:
        if await self._tell(Release(sent_at=now), within=ANSWER) is Stance.IDLE:
            return  # it ends by itself, once all it was doing is done
        self._kill()

    async def _tell(self, order: Order, *, within: timedelta) -> Stance | None:
        said = await self._said(order, within=within)
        return Stance(said[0]) if said and said[0] in set(Stance) else None

    async def _said(self, order: Order, *, within: timedelta) -> list[str]:
        """Return the words of the answer to an order; none when nobody answers."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                with self._address() as address:
                    reader, writer = await asyncio.open_unix_connection(address)
                try:
                    writer.write(write_order(order))
                    return (await reader.readline()).decode(errors="replace").split()
                finally:
                    writer.close()
        except (TimeoutError, OSError):
            return []

    async def _replace(self) -> bool:
        """Kill a watchdog that does not answer, if there is one, and start another. Return whether one listens."""
        self._kill()
        watched, timing = self._watched, self._holding.timing
        argv = [
            sys.executable, "-m", "evac.watchdog", "--socket", str(self._folder / self._name),
            "--folder", watched.folder, "--marker", watched.marker,
            *(word for name in watched.names for word in ("--name", name)),
            *(word for path in watched.leave for word in ("--leave", path)),
            "--within", str(timing.watchdog.total_seconds()), "--reset", str(timing.reset.total_seconds()),
            *self._device(),
            *(("--lock", *watched.lock) if watched.lock else ()),
        ]  # fmt: skip
        try:
            started = await self._place.run(argv, timeout=STARTED)
        except DriverError as error:
            _log.error("no watchdog can be started", of=self._name, why=str(error))
            return False
        if started.code:
            why = started.err.decode(errors="replace").strip()[-500:]
            _log.error("no watchdog can be started", of=self._name, why=why or f"it ended with {started.code}")
        return started.code == 0

    def _device(self) -> tuple[str, ...]:
        device = self._holding.device
        if device and not Path(device).is_char_device():
            _log.warning("no hardware watchdog on this host: it is held without", of=self._name, device=device)
            return ()
        return ("--device", device) if device else ()

    def _kill(self) -> None:
        """SIGKILL the process behind the socket, frozen or not: the kernel itself says who that is."""
        with self._address() as address, socket.socket(socket.AF_UNIX) as line, suppress(OSError):
            line.settimeout(ANSWER.total_seconds())
            line.connect(address)
            pid, _, _ = struct.unpack(
                "3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            )
            os.kill(pid, signal.SIGKILL)
            line.recv(1)  # the end of the connection is the end of the process: its lock is free

    @contextmanager
    def _address(self) -> Iterator[str]:
        """The socket's address, short whatever the folder: 107 bytes are all that the kernel takes."""
        folder = os.open(self._folder, os.O_PATH)
        try:
            yield f"/proc/self/fd/{folder}/{self._name}"
        finally:
            os.close(folder)
