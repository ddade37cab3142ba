"""What becomes of each frame: where it goes, whether it is lost, when it arrives. Pure: it is given time and a seed.

Intuition: a frame that is taken up is put into a heap under the instant at which it is due. A direction never
reorders: jitter can make a frame later than the one before it, not earlier, as on a real path. Blocking is looked at
twice, when a frame is taken up and when it is due, so that a cut silences also what is under way.

What this is not: a model of bandwidth. What it is not asked to carry, it drops: anything but IPv4 and ARP.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from evac.lab.wan.links import Direction, Link
from evac.lab.wan.segments import segments

HEADER = 10
"""Bytes of the virtio header that the kernel puts before each frame (checksum and segmentation still to be done)."""

BACKLOG_MAX_BYTES = 64 * 1024 * 1024
"""What one direction may have under way; more is dropped, as a router's full queue would."""

_TYPE = HEADER + 12
_IPV4, _ARP = b"\x08\x00", b"\x08\x06"
_IPV4_TARGET_SITE = HEADER + 14 + 16 + 2
_ARP_TARGET_SITE = HEADER + 14 + 24 + 2


@dataclass(slots=True)
class Count:
    """What one direction has seen so far, in frames (a large one may stand for many wire packets)."""

    carried: int = 0
    lost: int = 0
    blocked: int = 0
    full: int = 0
    octets: int = 0


@dataclass(slots=True)
class _Path:
    """One direction as it is now."""

    to: int
    link: Link
    random: Random
    last_due_s: float = 0.0
    under_way: int = 0
    count: Count = field(default_factory=Count)


class Carrier:
    """All frames under way. Sites are given as their numbers: the third byte of their address, 10.77.<site>.1."""

    def __init__(self, sites: Mapping[str, int], links: Mapping[Direction, Link], *, seed: int) -> None:
        self._sites = dict(sites)
        self._paths = {
            (sites[a], sites[b]): _Path(to=sites[b], link=link, random=Random(f"{seed}/{a}/{b}"))
            for (a, b), link in links.items()
        }
        self._heap: list[tuple[float, int, _Path, bytes]] = []
        self._sequence = 0

    def set(self, links: Mapping[Direction, Link]) -> None:
        """Change the links, at once and also for what is under way (except for its delay)."""
        for (a, b), link in links.items():
            self._paths[self._sites[a], self._sites[b]].link = link

    def take(self, source: int, frame: bytes, *, now_s: float) -> None:
        """Take up a frame that site `source` sent."""
        path = self._paths.get((source, destination(frame)))
        if path is None:
            return
        link = path.link
        if link.blocked:
            path.count.blocked += 1
        elif link.loss == 0:
            self._queue(path, frame, now_s=now_s)
        else:
            for packet in segments(frame):
                if path.random.random() < link.loss:
                    path.count.lost += 1
                else:
                    self._queue(path, packet, now_s=now_s)

    def _queue(self, path: _Path, frame: bytes, *, now_s: float) -> None:
        if path.under_way + len(frame) > BACKLOG_MAX_BYTES:
            path.count.full += 1
            return
        link = path.link
        due_s = now_s + link.delay_s + (link.jitter_s * path.random.random() if link.jitter_s else 0.0)
        path.last_due_s = due_s = max(due_s, path.last_due_s)
        path.under_way += len(frame)
        self._sequence += 1
        heapq.heappush(self._heap, (due_s, self._sequence, path, frame))

    def due_s(self) -> float | None:
        """Return when the next frame is due; None when none is under way."""
        return self._heap[0][0] if self._heap else None

    def deliver(self, *, now_s: float) -> list[tuple[int, bytes]]:
        """Return the frames that are due, each with the site it goes to."""
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            _, _, path, frame = heapq.heappop(self._heap)
            path.under_way -= len(frame)
            if path.link.blocked:
                path.count.blocked += 1
            else:
                path.count.carried += 1
                path.count.octets += len(frame)
                due.append((path.to, frame))
        return due

    def counts(self) -> dict[Direction, Count]:
        """Return what each direction has seen."""
        names = {number: name for name, number in self._sites.items()}
        return {(names[a], names[b]): path.count for (a, b), path in self._paths.items()}


def destination(frame: bytes) -> int:
    """Return the number of the site a frame is for; 0 when it is neither IPv4 nor ARP."""
    kind = frame[_TYPE : _TYPE + 2]
    at = _IPV4_TARGET_SITE if kind == _IPV4 else _ARP_TARGET_SITE if kind == _ARP else 0
    return frame[at] if at and len(frame) > at else 0
