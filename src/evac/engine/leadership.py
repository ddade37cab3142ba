"""Who may lead: at most one controller an estate at a time.

Intuition: in the embedded form all candidates share one state folder, so an exclusive lock on a file in it is enough:
the kernel frees it when its holder dies, however it dies. What a former leader may still have in flight is harmless,
because its journal entries carry a term that the next leader raises before it goes on with a run.

What this is not: the distributed form's lease, which will stand behind the same `lead`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.core.errors import Conflict
from evac.ports import Store

LOCK = "leader.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """The right to lead, for as long as the context that gave it lives. `incarnation` is the store's."""

    incarnation: str
    name: str


@asynccontextmanager
async def lead(state: Path, store: Store) -> AsyncIterator[Leadership]:
    """Hold the leadership of the estate whose state folder this is. Raises `Conflict` when another process has it."""
    descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
            raise Conflict(f"process {holder} leads this estate already ({state}): stop it first") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        incarnation = await store.incarnation()
        yield Leadership(incarnation=incarnation, name=f"{os.uname().nodename}:{os.getpid()}")
    finally:
        os.close(descriptor)


def is_led(state: Path) -> bool:
    """Return whether a process leads the estate whose state folder this is, at this moment."""
    try:
        descriptor = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
