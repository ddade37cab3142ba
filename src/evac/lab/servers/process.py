"""A server's process: started, found again, waited for, stopped, frozen.

Intuition: what is asked of a server from outside is never more than "is it there, does it listen, end it". Listening is
read from `/proc/<pid>/net/tcp`, which shows the network namespace of that process: no connection is made, so the same
test works for a server inside a region that the asking process cannot reach.

What this is not: a service manager. Nothing is started again by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from evac.core.errors import EvacError

READY_WAIT_S = 30.0
POLL_S = 0.01
STOP_WAIT_S = 5.0
_LISTEN = "0A"


class ServerError(EvacError):
    """A lab server did not start or did not stop: which one, and the end of its log."""


@dataclass(slots=True, kw_only=True)
class Process:
    """One server process in the foreground, logging to `log`. `within` enters the place where it runs."""

    name: str
    argv: Sequence[str]
    log: Path
    within: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    inherits: Sequence[int] = ()
    """File descriptors of ours that it gets under their numbers."""
    _popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    def reap(self) -> None:
        """Take note of its end, if it has ended."""
        if self._popen is not None:
            self._popen.poll()

    def pids(self) -> tuple[int, ...]:
        """Return the process and all its descendants."""
        pid = self.pid
        return () if pid is None else tree(pid)

    async def start(self, *, ready: Callable[[int], bool]) -> None:
        """Start it and return once `ready(pid)` holds. Raises `ServerError` when it ends before, or takes too long."""
        if self.pid is None:
            self._popen = self._spawned()
        await until(lambda: self._ready_or_gone(ready), what=f"{self.name} to be ready (its log: {self.log})")

    def _spawned(self) -> subprocess.Popen[bytes]:
        """Begin the process. It outlives whoever waits for it, so it is no child of an event loop."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.within, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment},
                pass_fds=self.inherits,
            )

    def _ready_or_gone(self, ready: Callable[[int], bool]) -> bool:
        pid = self.pid
        if pid is None:
            raise ServerError(f"{self.name} ended while starting; its log {self.log} ends with:\n{tail(self.log)}")
        return ready(pid)

    async def stop(self) -> None:
        """Ask it to end, and kill it with all its children when it has not within `STOP_WAIT_S`."""
        if self._popen is None or self.pid is None:
            return
        pids = self.pids()
        self._popen.terminate()
        try:
            await until(lambda: self.pid is None, what=f"{self.name} to end", within_s=STOP_WAIT_S)
        except ServerError:
            await kill(pids)
        self._popen.wait()

    async def kill(self) -> None:
        """SIGKILL it and all its descendants, and return when they are gone."""
        await kill(self.pids())
        if self._popen is not None:
            self._popen.wait()


def words(pid: int) -> tuple[str, ...]:
    """Return a process's command line; () if it has ended."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(word.decode(errors="replace") for word in said.split(b"\0") if word)


def tree(pid: int) -> tuple[int, ...]:
    """Return a process and its descendants, parents first; those that ended are left out."""
    try:
        process = psutil.Process(pid)
        return (pid, *(child.pid for child in process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return ()


def living_in(folder: Path) -> tuple[int, ...]:
    """Return the processes whose working folder this is, parents first: a server's own, whoever started it."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.cwd() == str(folder) and each.status() != psutil.STATUS_ZOMBIE:
                found.append((each.ppid(), each.pid))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    ids = {pid for _, pid in found}
    return tuple(pid for parent, pid in sorted(found, key=lambda each: (each[0] in ids, each[1])))


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


async def kill(pids: Iterable[int]) -> None:
    """SIGKILL processes and return when none of them runs any more (zombies count as gone)."""
    chosen = tuple(pids)
    send(chosen, signal.SIGKILL)
    await until(lambda: not any(alive(pid) for pid in chosen), what=f"processes {chosen} to be gone")


def alive(pid: int) -> bool:
    """Say whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(pid: int, port: int) -> bool:
    """Say whether someone listens on a TCP port in the network namespace of a process."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    return any(f[3] == _LISTEN and int(f[1].split(":")[1], 16) == port for f in (line.split() for line in lines))


async def until(holds: Callable[[], bool], *, what: str, within_s: float = READY_WAIT_S) -> None:
    """Poll until something holds. Raises `ServerError` naming `what` was waited for."""
    try:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise ServerError(f"waited {within_s:.0f} s in vain for {what}") from None


async def run(argv: Sequence[str], *, environment: Mapping[str, str] | None = None, given: bytes = b"") -> bytes:
    """Run a command to its end, `given` something to read, and return what it printed.

    Raises `ServerError` with its words when it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    out, err = await process.communicate(given or None)
    if process.returncode != 0:
        raise ServerError(f"{argv[0]} failed ({process.returncode}): {' '.join(argv)}\n{err.decode(errors='replace')}")
    return out


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def free_ports(count: int, *, address: str = "127.0.0.1") -> tuple[int, ...]:
    """Return TCP ports that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((address, 0))
        return tuple(each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()
