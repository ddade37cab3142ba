"""How much processor time the processes of a lab have used, by what they are for.

Intuition: the kernel counts for every process, whoever it runs beside, and to the nanosecond for those that live. Those
of the primary that have ended (pgbench's backends) stand in the postmaster's account of its children.

What this is not: a profile. It says who worked, not at what.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evac.lab.servers.process import words

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_NANOSECOND_S = 1e-9
OWN = "bench"
"""The `application_name` of what measures, which is nobody's cost."""
SERVING = {"evac": "looks and chores", "evac probe": "sql probes"}
"""What evac's own connections are called, and what they are for."""
ASKED = "what probes had the shop ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Processor seconds since each process began. `database` is all of the primary's; `serving` by process and name."""

    database: float
    serving: Mapping[tuple[int, str], float]
    others: Mapping[tuple[int, str], float]


def between(one: Mapping[tuple[int, str], float], later: Mapping[tuple[int, str], float]) -> dict[str, float]:
    """Return what was used from one reading to a later one, by name. A process that began since counts from its birth,
    one that ended since counts no more."""
    used: dict[str, float] = {}
    for (pid, name), seconds in later.items():
        used[name] = used.get(name, 0.0) + seconds - one.get((pid, name), 0.0)
    return used


def read(lab_pids: Sequence[int], database_pids: Sequence[int], backends: Mapping[int, str]) -> Account:
    """Read the accounts now. `database_pids` has the postmaster first; `backends` names those that serve, by the
    process id that they know themselves by."""
    serving = {(pid, backends[own]): _alive_s(pid) for pid in database_pids if (own := _own_pid(pid)) in backends}
    others = {(pid, name): sum(_ticks(pid)) * _TICK_S for pid in lab_pids if (name := label(words(pid)))}
    ended = sum(_ticks(database_pids[0])[2:]) * _TICK_S
    return Account(database=ended + sum(_alive_s(pid) for pid in database_pids), serving=serving, others=others)


def name_of(application: str) -> str:
    """Return what a client's connection to the watched database is for; empty for the measurement's own."""
    return "" if application == OWN else SERVING.get(application, ASKED)


def label(words: Sequence[str]) -> str:
    """Return what a process of the lab is for, by its command line; empty for what is not told."""
    if "evac.watchdog" in words:
        return "watchdog"
    if "agent" in words and "--region" in words:
        return f"agent {words[words.index('--region') + 1]}"
    if "evac.lab.shop" in words:
        return "shop"
    program = os.path.basename(words[0]) if words else ""
    return {"etcd": "store", "haproxy": "proxy", "valkey-server": "cache"}.get(program, "")


def pinned(pids: Sequence[int], processors: frozenset[int]) -> None:
    """Have processes, and all that they begin from now on, run on these processors only."""
    for pid in pids:
        try:
            threads = [int(entry) for entry in os.listdir(f"/proc/{pid}/task")]
        except FileNotFoundError:
            continue
        for thread in threads:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, processors)


def _own_pid(pid: int) -> int:
    """Return the process id that a process sees itself by, inside its lab."""
    lines = _bytes(pid, "status").splitlines()
    return next((int(line.split()[-1]) for line in lines if line.startswith(b"NSpid:")), 0)


def _alive_s(pid: int) -> float:
    said = _bytes(pid, "schedstat").split()
    return int(said[0]) * _NANOSECOND_S if said else 0.0


def _ticks(pid: int) -> tuple[int, ...]:
    """Return its own ticks in user and kernel mode, and those of its children that have ended."""
    fields = _bytes(pid, "stat").rpartition(b")")[2].split()
    return tuple(int(tick) for tick in fields[11:15])


def _bytes(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
