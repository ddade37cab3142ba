"""Leases: a right that its holder renews, and whose end is judged by whoever waits for it.

Intuition: two machines do not share a clock, but each can count how long ago something was on its own. A lease is a
record with a version that every renewal changes. The holder counts from the moment it *sent* the renewal that
succeeded and lays the right down at an age of `hold`. Whoever wants it counts from the moment its own read of a
version *returned*; when the version has not changed for `wait`, the holder's count, begun earlier, has run out. The
store's own time to live is not used.

The inequality (`docs/design/safety.md` 2), with A = max(hold + demote, watchdog + reset):

    wait · (1 - drift)  >  A · (1 + drift) + freeze

What this is not: reading and writing the record (`engine.election`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from evac.core.estate import RegionId
from evac.core.observation import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """A lease's times. `renew` is how often it is renewed, `hold` the age at which its holder lays it down, `wait` how
    long others wait for a version that does not change.

    `demote` is the longest that laying down takes, `watchdog` and `reset` what enforces it where the holder itself
    may be frozen (zero: nothing does), `freeze` the longest pause of a whole machine that is covered, and `drift` how
    much two clocks' rates may differ, as a share.
    """

    renew: timedelta
    hold: timedelta
    wait: timedelta
    demote: timedelta = timedelta()
    watchdog: timedelta = timedelta()
    reset: timedelta = timedelta()
    freeze: timedelta = timedelta()
    drift: float = 1e-3

    @property
    def age_max(self) -> timedelta:
        """Return A: no later than this after sending its last renewal the holder has laid the right down."""
        return max(self.hold + self.demote, self.watchdog + self.reset)

    @property
    def wait_min(self) -> timedelta:
        """Return the bound that `wait` has to exceed."""
        return (self.age_max * (1 + self.drift) + self.freeze) / (1 - self.drift)

    def problems(self) -> tuple[str, ...]:
        """Return what keeps two holders from being excluded, with the numbers; () when nothing does."""
        found = []
        if not timedelta() < self.renew < self.hold:
            found.append(f"renewed every {_s(self.renew)}, laid down at an age of {_s(self.hold)}: renew it sooner")
        if self.wait <= self.wait_min:
            found.append(
                f"others wait {_s(self.wait)}, but the holder may go on for up to {_s(self.wait_min)}"
                f" (hold {_s(self.hold)} + demote {_s(self.demote)}, watchdog {_s(self.watchdog)} + reset"
                f" {_s(self.reset)}, freeze {_s(self.freeze)}, clock rates {self.drift:g}): wait longer"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease in its holder's hands: the version of the newest renewal that succeeded, and when that was sent."""

    version: int
    sent_at: Instant

    def lasts(self, now: Instant, timing: LeaseTiming) -> bool:
        """Return whether the holder may still act on it."""
        return now - self.sent_at < timing.hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Somebody else's lease as one who waits sees it: its version, and when the first read of that returned."""

    version: int
    read_at: Instant

    def seen(self, version: int, now: Instant) -> Awaited:
        """Return what is known after another read, which returned `now`."""
        return self if version == self.version else Awaited(version=version, read_at=now)

    def over(self, now: Instant, timing: LeaseTiming) -> bool:
        """Return whether its holder has certainly laid it down."""
        return now - self.read_at >= timing.wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads: a process of the agent in `region`, since `since` (wall time, for people). `reign` counts leaders."""

    name: str
    region: RegionId
    reign: int
    since: datetime


def _s(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
