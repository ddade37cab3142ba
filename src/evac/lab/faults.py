"""What can be done to a region, as values.

A fault has a beginning, which is the instant it took effect on boot time, and ends by being healed. What it does to the
network is worked out in `wan.links`; what it does to processes and disks is done by `regions`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """The kinds of fault."""

    KILL = "kill"
    """Every process of the region but its ssh server is killed (SIGKILL), or only the `agent`, the `watchdog` of its
    primary, or the member of evac's `store`; the host lives on."""
    POWER = "power"
    """The network falls silent, then every process is killed. Healing boots it as an init system would."""
    CUT = "cut"
    """Nothing passes between the region and the others (or one other), in both directions; also what is under way."""
    CUT_IN = "cut-in"
    """Nothing enters; what it sends arrives."""
    CUT_OUT = "cut-out"
    """Nothing leaves; it hears everybody."""
    DELAY = "delay"
    """The round trip grows by `value` seconds."""
    LOSS = "loss"
    """Each wire packet is lost with probability `value`, in each direction."""
    FREEZE = "freeze"
    """Processes are stopped in their tracks (SIGSTOP): the `database`, the `cache`, the `entry` (its load balancer),
    evac's `agent`, the `watchdog` of its primary, its member of evac's `store`, or `all` with the ssh server."""
    DISK_FULL = "disk-full"
    """The file system of the region's PostgreSQL has no byte left."""


class Target(StrEnum):
    """What of a region is frozen, or killed."""

    DATABASE = "database"
    CACHE = "cache"
    ENTRY = "entry"
    AGENT = "agent"
    WATCHDOG = "watchdog"
    STORE = "store"
    ALL = "all"


KILLED_ALONE = frozenset({Target.AGENT, Target.WATCHDOG, Target.STORE})
"""What can be killed by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `at_s` is when it took effect, in seconds of boot time (`boot_s`); None before it did."""

    kind: FaultKind
    region: str
    to: str | None = None
    value: float = 0.0
    what: Target = Target.DATABASE
    at_s: float | None = None

    def __str__(self) -> str:
        toward = f" to {self.to}" if self.to else ""
        match self.kind:
            case FaultKind.LOSS:
                return f"{self.kind} {self.value:.0%} {self.region}{toward}"
            case FaultKind.DELAY:
                return f"{self.kind} {self.value * 1000:.0f} ms {self.region}{toward}"
            case FaultKind.KILL if self.what in KILLED_ALONE:
                return f"{self.kind} {self.what} {self.region}"
            case FaultKind.FREEZE:
                return f"{self.kind} {self.what} {self.region}"
            case _:
                return f"{self.kind} {self.region}{toward}"


def boot_s() -> float:
    """Return boot time in seconds: one clock for every process of the machine, in all namespaces."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
