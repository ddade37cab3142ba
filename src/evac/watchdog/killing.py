"""Killing a server for certain: every process of it, however it came about, frozen or not.

Intuition: a process is the server's when it has one of its names and works in its folder, which holds for orphans whose
parent died and cannot be said of anybody's shell. Where it has a control group for itself, the kernel kills that as a
whole. Otherwise those that are there are killed, again and again until two looks in a row find nobody: one look may
miss a child that was made behind its back, whose parent it then killed.

A number may be somebody else's by the time a signal is sent: so the process is held by a descriptor first, looked at
again, and killed by that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress

EMPTY_LOOKS = 2
LOOKS_MAX = 400
"""About two seconds; then the caller comes back, and looks on."""
PAUSE_S = 0.005


def kill(folder: str, names: Collection[str]) -> bool:
    """SIGKILL all of a server; return whether none is left. Takes milliseconds where the kernel is well."""
    first = [*find(folder, names)]
    group = own_group(first)
    if group is not None:
        with suppress(OSError), open(os.path.join(group, "cgroup.kill"), "w") as order:
            order.write("1")
    empty = 0
    for _ in range(LOOKS_MAX):
        found = [*find(folder, names)]
        empty = 0 if found else empty + 1
        if empty == EMPTY_LOOKS:
            return True
        for pid in found:
            _kill_one(pid, folder, names)
        time.sleep(PAUSE_S)
    return False


def find(folder: str, names: Collection[str]) -> Iterator[int]:
    """Yield the processes of a server that live; the dead that nobody has reaped work nowhere, and are left out."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _is_one(int(entry), folder, names):
            yield int(entry)


def own_group(pids: Collection[int]) -> str | None:
    """Return the control group (version 2) that holds these processes and nobody else; None if there is none."""
    for mount in _group_mounts():
        paths = {_group_path(pid) for pid in pids}
        path = paths.pop() if len(paths) == 1 else None
        if path in (None, "/"):
            return None
        group = mount + path
        try:
            with open(os.path.join(group, "cgroup.procs")) as listed:
                inside = {int(line) for line in listed}
        except (OSError, ValueError):
            continue
        if inside and inside <= set(pids) and os.path.exists(os.path.join(group, "cgroup.kill")):
            return group
    return None


def _group_mounts() -> Iterator[str]:
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                yield where


def _group_path(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/cgroup") as groups:
            return next((line[3:].rstrip("\n") for line in groups if line.startswith("0::")), None)
    except OSError:
        return None


def _is_one(pid: int, folder: str, names: Collection[str]) -> bool:
    """Whether a process is the server's. Reads what the kernel has in memory: a dead disk does not hold it up."""
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().rstrip("\n") in names and os.readlink(f"/proc/{pid}/cwd") == folder
    except OSError:
        return False


def _kill_one(pid: int, folder: str, names: Collection[str]) -> None:
    with suppress(OSError):
        held = os.pidfd_open(pid)
        try:
            if _is_one(pid, folder, names):
                signal.pidfd_send_signal(held, signal.SIGKILL)
        finally:
            os.close(held)
