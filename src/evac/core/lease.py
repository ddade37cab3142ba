"""Leases: a right that its holder renews, and whose end is judged by whoever waits for it.

Intuition: two machines do not share a clock, but each can count how long ago something was on its own. A lease is a
record with a version that every renewal changes. The holder counts from the moment it *sent* the renewal that
succeeded and lays the right down at an age of `hold`. Whoever wants it counts from the moment it *heard* of a version,
by a read or a watch, or, where it knows the holder's clock, from when that was sent at the latest; when the version has
not changed for `wait`, the holder's count, begun earlier, has run out. The store's own time to live is not used.

What this is not: the times and what they must satisfy (`core.timing`), or reading and writing the record
(`engine.election`, `engine.holding`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from evac.core.estate import RegionId
from evac.core.observation import Instant
from evac.core.plan import Term
from evac.core.timing import LeaseTiming


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
    """Somebody else's lease as one who waits sees it: its version, and when that was heard of first."""

    version: int
    read_at: Instant

    def seen(self, version: int, now: Instant) -> Awaited:
        """Return what is known after another read, which returned `now`."""
        return self if version == self.version else Awaited(version=version, read_at=now)

    def sent(self, at: Instant) -> Awaited:
        """Return what is known where, by its holder's clock, the version was sent at `at` at the latest."""
        return replace(self, read_at=min(self.read_at, at))

    def left(self, now: Instant, timing: LeaseTiming) -> timedelta:
        """Return how long it is until its holder has certainly laid it down; not above zero where it has."""
        return self.read_at + timing.wait - now

    def over(self, now: Instant, timing: LeaseTiming) -> bool:
        """Return whether its holder has certainly laid it down."""
        return self.left(now, timing) <= timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads: a process of the agent in `region`, since `since` (wall time, for people). `reign` counts leaders."""

    name: str
    region: RegionId
    reign: int
    since: datetime


class Again(StrEnum):
    """How a keeper has a member started again that is down: the argument `again` of the undo of a stop.

    AS_IT_WAS  as a primary if it was one when it died, by its own data, else as a standby
    STANDBY    as a standby, or not at all if it was a primary
    """

    AS_IT_WAS = "as-it-was"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """In which region a component's primary may be: what its lease's record says. `term` is that of the run that
    brought it there. While a record names a region, a watchdog is armed there.

    `waited` says that it was taken when the holder before had certainly run out; otherwise it was given, or taken by
    other proof. `life` is the store's incarnation in which it was written: in another one, which a backup began, it
    names nobody, and only says that somebody may hold on to what came after it. `back` says that it was taken back as a
    run turned back: until it was `waited` for nothing is started under it, whoever reads this.
    """

    region: RegionId
    term: Term
    waited: bool = False
    life: str = ""
    back: bool = False
