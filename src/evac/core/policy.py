"""What an operator can set of how evac detects and how it holds itself back.

What this is not: the use of these figures (`detector`, `assessment`, `deciding`), or the file that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from evac.core.kinds import ServiceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """When a view becomes a verdict (`safety.md` 1 gives the false alarms a day these figures lead to).

    A target is down after `failures` probes in a row fail, each within `timeout`, and up again after `successes`.
    A region's heartbeat is stale after `heartbeat_stale`. A verdict holds for `dwell` before anything acts on it;
    one that nothing but outside views supports (ingress failed), or that is about a primary which answers and waits for
    its standbys (docs/adr/0015), for `ingress_dwell`. `quorum` is how many outside vantage points must agree; 0 means a
    majority, and never fewer than two where two exist.

    A service is gray when, for a quorum, at least `gray_failing` of its client probes of the last `gray_window` failed.
    A region is gray when, for a quorum, at least `lossy_failing` of the probes of all kinds of the last `lossy_window`
    failed, of more than one service where more are looked at, some passed, clients met it too, and the same vantage
    points see hardly anything else fail.

    The defaults are chosen by simulation (`python -m evac.sim.loss`: TCP over links that lose packets, three regions).
    A dead region is decided on after 3.7 s, one that loses 40 % after 11 s (median; p95 23 s), and a healthy one that
    loses 10 % is left alone. Client probes alone need 14 s for 40 %: a client that waits for two lost handshakes tells
    something only every 2.5 s. The kept-open probes tell it twice a second each, and stall for seconds at 40 % but
    hardly ever at 10 %, where TCP's first or second retransmission still comes in time. With loss on all links the
    outside views of two vantage points coincide some fifty times a day, never for long: hence `ingress_dwell`.
    """

    interval: timedelta = timedelta(seconds=0.5)
    timeout: timedelta = timedelta(seconds=1)
    failures: int = 3
    successes: int = 2
    heartbeat_stale: timedelta = timedelta(seconds=2)
    dwell: timedelta = timedelta(milliseconds=200)
    ingress_dwell: timedelta = timedelta(seconds=10)
    client_interval: timedelta = timedelta(seconds=1)
    client_timeout: timedelta = timedelta(seconds=2.5)
    gray_window: timedelta = timedelta(seconds=12)
    gray_failing: float = 0.4
    lossy_window: timedelta = timedelta(seconds=6)
    lossy_failing: float = 0.3
    quorum: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What keeps automation from acting too often or onto a bad target.

    `hold_down` is how long after a failover nothing automatic follows; a target must score at least `target_score_min`.
    Flaps follow RFC 2439: `flap_penalty` points each, halved every `flap_half_life`, suppressed above
    `flap_suppress`, free again below `flap_reuse`.

    A standby that has been away for `standby_leaves_after` leaves the set that must acknowledge, and one that has
    streamed without a gap for `standby_returns_after` comes back into it; that wait doubles with each time the set
    shrank lately, by the same points.
    """

    hold_down: timedelta = timedelta(minutes=30)
    cooldown: Mapping[ServiceKind, timedelta] = field(default_factory=dict)
    """In place of `hold_down` for a group with services of these kinds, the longest of them."""
    target_score_min: float = 0.7
    recover_for: timedelta = timedelta(seconds=5)
    standby_leaves_after: timedelta = timedelta(seconds=10)
    standby_returns_after: timedelta = timedelta(seconds=5)
    flap_penalty: float = 1000.0
    flap_half_life: timedelta = timedelta(minutes=15)
    flap_suppress: float = 2000.0
    flap_reuse: float = 750.0
