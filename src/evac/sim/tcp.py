"""TCP over a link that loses packets, as far as a probe can tell: when does an answer arrive?

Intuition: TCP loses nothing, it only makes wait. A lost segment is sent again after the retransmission time-out, a
lost retransmission after twice that, and so on; meanwhile everything sent later on the same connection waits behind
it. So on a connection that is kept open, questions asked one after the other share the fate of one stall: their
failures are anything but independent. A new connection pays more: its first packet is sent again only after a second.

Method: RFC 6298 (the time-out is the smoothed round trip plus its variation, which Linux holds at 200 ms or more, and
doubles; 1 s before the first measurement). Left out, so that stalls here are longer than real ones: tail loss probes
and fast retransmission (RFC 8985). The order of segments sent within the same half second is that of their senders.

What this is not: throughput; a probe sends little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from random import Random

RTO_VARIATION = 0.2
"""Seconds that a time-out adds to the round trip, at least (Linux, TCP_RTO_MIN)."""
RTO_FIRST = 1.0
"""Seconds before the first packet of a connection is sent again; doubled each time."""
RTO_MAX = 120.0
"""Seconds beyond which a time-out is not doubled."""


@dataclass(slots=True)
class Link:
    """What two places share: each packet, either way, is lost with probability `loss`. Times are in seconds."""

    round_trip: float
    loss: float = 0.0

    @property
    def lossy(self) -> bool:
        return self.loss > 0.0


@dataclass(slots=True)
class Way:
    """One direction of one connection. Nothing sent on it arrives before what was sent earlier."""

    link: Link
    blocked_until: float = -inf

    def send(self, at: float, random: Random, *, lost: bool | None = None) -> float:
        """Return when a segment sent at `at` arrives; infinity when nothing passes. `lost` may tell its fate."""
        link = self.link
        if self.blocked_until > at:
            return self.blocked_until + link.round_trip / 2
        if random.random() < link.loss if lost is None else lost:
            at += _repeated(RTO_VARIATION + link.round_trip, link.loss, random)
            self.blocked_until = at
        return at + link.round_trip / 2


@dataclass(slots=True)
class Connection:
    """An established connection: a question goes out, and an answer comes back."""

    link: Link
    out: Way = field(init=False)
    back: Way = field(init=False)

    def __post_init__(self) -> None:
        self.out, self.back = Way(self.link), Way(self.link)

    def stalled(self, at: float) -> bool:
        """Return whether something sent at `at` would wait behind a lost segment."""
        return self.out.blocked_until > at or self.back.blocked_until > at


def connect(link: Link, at: float, random: Random) -> float:
    """Return when a connection that is begun at `at` is established: its first packet and the answer passed."""
    lost = 1 - (1 - link.loss) ** 2
    waited = _repeated(RTO_FIRST, lost, random) if random.random() < lost else 0.0
    return at + waited + link.round_trip


def _repeated(wait: float, lost: float, random: Random) -> float:
    """How long until a try is not lost, the first one having been; waits double."""
    if lost >= 1.0:
        return inf
    after = wait
    while random.random() < lost:
        wait = min(2 * wait, RTO_MAX)
        after += wait
    return after
