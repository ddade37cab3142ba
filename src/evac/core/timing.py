"""A lease's times, and the inequality that keeps two holders apart.

The inequality (`docs/design/safety.md` 2), with A = max(hold + demote, watchdog + reset):

    wait · (1 - drift)  >  A · (1 + drift) + freeze

What this is not: the lease (`core.lease`), or the watchdog's rule (`core.watchdog`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

WAIT_STEP = timedelta(seconds=0.5)


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
                f"two could hold it at one time: others wait {_s(self.wait)}, the holder may go on for up to"
                f" {_s(self.wait_min)} (hold {_s(self.hold)} + demote {_s(self.demote)},"
                f" watchdog {_s(self.watchdog)} + reset {_s(self.reset)}, freeze {_s(self.freeze)},"
                f" clock rates {self.drift:g}): wait longer"
            )
        return tuple(found)

    def waiting_enough(self) -> timedelta:
        """Return the shortest wait in half seconds that the bound allows: what is taken where nobody says one."""
        return WAIT_STEP * (math.floor(self.wait_min / WAIT_STEP) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How the primary of an asynchronous component is held, so that its silence proves, after a while, its end.

    `device` is a hardware watchdog that resets the machine where the watchdog itself cannot kill; used where it is
    there, empty for none.
    """

    timing: LeaseTiming
    device: str = ""


def _s(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
