"""Move frames between the sites' raw sockets: `python -m evac.lab.wan.process`, inside the `wan` namespace.

One socket a site, on the veth that leads there. With `PACKET_VNET_HDR` a frame keeps what the kernel left to the
hardware (checksums, segmentation), so that large frames stay one; with `PACKET_IGNORE_OUTGOING` we do not hear
ourselves.

Standard input is the control: a line of JSON for each order, answered by a line on standard output. The answer to new
links comes when they have taken effect, with the instant on boot time. Its end is ours.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import socket
import sys
import time
from typing import Any

from evac.lab.faults import boot_s
from evac.lab.wan.carrier import Carrier
from evac.lab.wan.links import Direction, Link

_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _PACKET_QDISC_BYPASS = 263, 15, 23, 20
_ETH_P_ALL = 0x0003
_FRAME_MAX = 10 + 14 + 65_536
_BATCH = 64
_SOCKET_BUFFER = 4 * 1024 * 1024
_IDLE_S = 60.0


def port(site: int) -> str:
    """Return the name of the interface, in the `wan` namespace, that leads to a site."""
    return f"to{site}"


def open_port(site: int) -> socket.socket:
    """Return a raw socket on the interface that leads to a site."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    raw.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    raw.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    raw.bind((port(site), _ETH_P_ALL))
    raw.setblocking(False)
    return raw


def encode_links(links: dict[Direction, Link]) -> list[Any]:
    """Return links as JSON can carry them."""
    return [[a, b, dataclasses.asdict(link)] for (a, b), link in links.items()]


def decode_links(rows: list[Any]) -> dict[Direction, Link]:
    """Return the links that `encode_links` wrote."""
    return {(a, b): Link(**link) for a, b, link in rows}


class Wire:
    """The sockets, and the carrier between them."""

    def __init__(self, start: dict[str, Any]) -> None:
        sites: dict[str, int] = start["sites"]
        self.carrier = Carrier(sites, decode_links(start["links"]), seed=start["seed"])
        self.ports = {number: open_port(number) for number in sites.values()}
        self._sites = {raw.fileno(): number for number, raw in self.ports.items()}
        self._buffer = bytearray(_FRAME_MAX)
        self.refused = 0

    def run(self) -> None:
        """Carry until the control ends."""
        control = sys.stdin.fileno()
        watched = [control, *self._sites]
        pending = b""
        while True:
            due_s = self.carrier.due_s()
            wait_s = _IDLE_S if due_s is None else max(0.0, due_s - time.monotonic())
            readable, _, _ = select.select(watched, [], [], wait_s)
            for ready in readable:
                if ready != control:
                    self._read(ready)
                    continue
                chunk = os.read(control, 1 << 16)
                if not chunk:
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    print(json.dumps(self.obey(json.loads(line))), flush=True)
            self._send()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what the control says, and return the answer."""
        if "links" in order:
            self.carrier.set(decode_links(order["links"]))
        counts = {f"{a}>{b}": dataclasses.asdict(c) for (a, b), c in self.carrier.counts().items()}
        return {"at_s": boot_s(), "cpu_s": time.process_time(), "refused": self.refused, "counts": counts}

    def _read(self, descriptor: int) -> None:
        """Take up what a site sent, a bounded number of frames at a time."""
        site = self._sites[descriptor]
        raw, buffer, take = self.ports[site], self._buffer, self.carrier.take
        now_s = time.monotonic()
        for _ in range(_BATCH):
            try:
                size = raw.recv_into(buffer)
            except OSError:  # nothing more to read, or an interface that is going away
                return
            take(site, bytes(buffer[:size]), now_s=now_s)

    def _send(self) -> None:
        for site, frame in self.carrier.deliver(now_s=time.monotonic()):
            try:
                self.ports[site].send(frame)
            except OSError:
                self.refused += 1  # a full ring, as a full queue on a path: the sender will send again


def main() -> None:
    """Read the start line, open the sockets, say so, and carry."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(sys.stdin.fileno(), 1)
    wire = Wire(json.loads(line))
    print(json.dumps({"ready": True, "at_s": boot_s()}), flush=True)
    wire.run()


if __name__ == "__main__":
    main()
