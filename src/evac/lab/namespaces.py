"""One network namespace a site, each joined to the namespace `wan` by a pair of virtual interfaces.

Every neighbour is written down beforehand: a site that is cut off is silence then, as on a real path, and not "no route
to host" as on one's own cable. IPv6 is off, so that nothing speaks that the WAN would not carry.

Runs inside the lab's own user, network and mount namespaces, where we are root whoever we are outside.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from evac.lab.servers import process
from evac.lab.wan.process import port

WAN = "wan"
_RUN = Path("/run/netns")
_DEVICE = "eth0"
WINDOW = 64
"""Packets that a connection may send before the first is acknowledged, where Linux ships 10: hosts that replicate over
long links are set so, since a stream that begins anew would otherwise take further round trips for its first segment.
"""


def within(site: str) -> tuple[str, ...]:
    """Return the command that enters a site's network namespace and runs what follows."""
    return ("nsenter", f"--net={_RUN / site}", "--")


async def create(numbers: Mapping[str, int]) -> None:
    """Make the namespaces of these sites, and of the WAN, with all their interfaces up."""
    await process.run(("mount", "-t", "tmpfs", "tmpfs", "/run"))
    await process.run(("mount", "-t", "tmpfs", "tmpfs", "/dev/shm"))
    await process.run(("mkdir", str(_RUN)))
    await _batch(f"netns add {name}" for name in (WAN, *numbers))
    await _batch(
        f"link add {_DEVICE} netns {site} address {_hardware(n)} type veth peer name {port(n)} netns {WAN}"
        for site, n in numbers.items()
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_set_up(WAN, [f"link set {port(n)} up" for n in numbers.values()]))
        for site, number in numbers.items():
            group.create_task(_set_up(site, _site_orders(number, others=set(numbers.values()) - {number})))


def _site_orders(number: int, *, others: Iterable[int]) -> list[str]:
    """Return the orders, in the words of `ip`, that give a site its address and its neighbours."""
    return [
        "link set lo up",
        f"addr add 10.77.{number}.1/16 dev {_DEVICE}",
        f"link set {_DEVICE} up",
        f"route change 10.77.0.0/16 dev {_DEVICE} scope link src 10.77.{number}.1 initcwnd {WINDOW} initrwnd {WINDOW}",
        *(f"neigh add 10.77.{n}.1 lladdr {_hardware(n)} dev {_DEVICE} nud permanent" for n in others),
    ]


async def _set_up(name: str, orders: list[str]) -> None:
    """Bring a namespace's interfaces up, with IPv6 off."""
    off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"
    text = "\n".join(orders)
    await process.run((*within(name), "sh", "-ec", f"{{ {off}; }} 2>/dev/null || :\nip -batch - <<'END'\n{text}\nEND"))


async def _batch(orders: Iterable[str]) -> None:
    text = "\n".join(orders)
    await process.run(("sh", "-ec", f"ip -batch - <<'END'\n{text}\nEND"))


def _hardware(number: int) -> str:
    return f"02:00:0a:4d:{number:02x}:01"


def pids(site: str) -> tuple[int, ...]:
    """Return every process in a site's namespace, whoever started it."""
    wanted = (_RUN / site).stat().st_ino
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                inode = os.stat(f"/proc/{entry.name}/ns/net").st_ino
                state = Path(f"/proc/{entry.name}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if inode == wanted and state not in "ZX":
                found.append(int(entry.name))
    return tuple(found)


async def kill_all(site: str, *, spare: Iterable[int] = ()) -> None:
    """SIGKILL every process of a site except those spared, until none is left."""
    kept = frozenset(spare)
    while found := [pid for pid in pids(site) if pid not in kept]:
        process.send(found, signal.SIGKILL)
        await asyncio.sleep(0.005)
