"""How old a record can be at most, by what this process has committed itself.

Intuition: a store counts its commits. A record of a higher revision than one of this process's own commits was written
after that commit, and so after it was sent, which this process's own boot clock has timed. An agent commits what it
sees twice a second; so an order that comes by a watch is known to be young without asking anybody, and one that is
found after a pause, of the process or of the whole machine, is not.

What this is not: the age itself, or a clock that two machines share.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from evac.core.observation import Instant

KEPT = 16
"""How many commits are remembered: several seconds of them."""


class Recency:
    """The latest commits of one process, by the time each was sent and the revision that it got."""

    def __init__(self) -> None:
        self._commits: deque[tuple[Instant, int]] = deque(maxlen=KEPT)

    def committed(self, *, sent: Instant, revision: int) -> None:
        """Note a commit of this process."""
        self._commits.append((sent, revision))

    def age_max(self, version: int, *, now: Instant) -> timedelta | None:
        """Return what a record of this version is no older than; None where nothing is known."""
        after = [sent for sent, revision in self._commits if revision < version]
        return now - max(after) if after else None
