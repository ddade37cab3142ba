"""The files that keep a server down, written by a child of the watchdog: a disk that hangs must not hang the watch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from evac.core.watchdog import Watched

LOCK_TIMEOUT_S = 10.0
FILES_MAX = 1024


class Errand:
    """One child at a time, sent to do something that may take long; `done` says how it ended once it has."""

    def __init__(self) -> None:
        self._pid: int | None = None

    def send(self, what: Callable[[], None]) -> None:
        """Begin. One that is under way must have ended."""
        assert self._pid is None, "one errand at a time"
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            os.closerange(3, FILES_MAX)  # the lock, the clients, the device: what hangs must hold none of them
            try:
                what()
                code = 0
            finally:
                os._exit(code)

    @property
    def under_way(self) -> bool:
        return self._pid is not None

    def done(self) -> bool | None:
        """Return whether it went well; None while it is under way."""
        assert self._pid is not None, "something was sent for"
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        self._pid = None
        return os.waitstatus_to_exitcode(status) == 0


def mark(watched: Watched, term: int) -> None:
    """Write the marker durably, at the highest term it ever said, and keep a supervisor from starting the server."""
    _write(watched.marker, f"{max(term, _said(watched.marker))}\n")
    if watched.lock:
        subprocess.run(watched.lock, check=True, timeout=LOCK_TIMEOUT_S, stdin=subprocess.DEVNULL)


def leave(watched: Watched) -> None:
    """Make what says to the server itself, should somebody start it, that it is no primary."""
    owner = os.stat(watched.folder)
    for path in watched.leave:
        with open(path, "a") as file:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        _sync_folder(path)


def _said(marker: str) -> int:
    try:
        with open(marker) as file:
            return int(file.read().strip() or 0)
    except (OSError, ValueError):
        return 0


def _write(path: str, text: str) -> None:
    with open(f"{path}.held", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.held", path)
    _sync_folder(path)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
