"""How long a store on a log waits, and for what.

What this is not: the waiting. Each ground has its own members to ask.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what is waited for. The defaults suit round trips up to 200 ms."""

    attempt: timedelta = timedelta(seconds=2)
    """How long one member may keep silent before another one is asked; longer for what takes long to send."""
    whole: timedelta = timedelta(seconds=6)
    """How long members are asked one after another; then the store counts as unavailable."""
    suspicion: timedelta = timedelta(milliseconds=500)
    """How long a member must have kept silent to be left when whoever asks has lost patience itself."""
    look: timedelta = timedelta(seconds=10)
    """After so long a watch looks whether something came, though nothing was told."""
    back: timedelta = timedelta(seconds=10)
    """How seldom the member named first is tried again, once another one is asked."""
    pause_min: timedelta = timedelta(milliseconds=50)
    pause_max: timedelta = timedelta(milliseconds=250)
    """How long to wait when no member answered, before all are asked again: between the two, by chance."""

    def pause(self, chance: random.Random) -> float:
        """Return how many seconds to wait before members are asked again."""
        return chance.uniform(self.pause_min.total_seconds(), self.pause_max.total_seconds())
