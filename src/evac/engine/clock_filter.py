"""How the clocks of agents stand to the reader's own, by the quickest of their records of late.

Intuition: a record says when it was sent, by its sender's clock, and the reader knows when it came. In between lie the
difference of two clocks, which hardly changes, and the way, which is never negative: so the smallest sum of late is
nearest to the difference alone (the clock filter of NTP, RFC 5905 section 10). A record that the store held up for a
second, while it chose a leader, is then read as a second old. If it were read as new, all that its agent sees within
the next second would seem to be older than what it has told already, and count for nothing.

What this is not: a clock that two machines share. Each agent's clock is set against the reader's, and only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from evac.core.estate import RegionId
from evac.core.observation import Instant

OF_LATE = timedelta(seconds=5)
"""A record of a view stays in the filter for this long at least, and twice as long at most: longer than a store takes
to choose a leader, and soon over where a machine was paused with its clock, whose records seem late until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The least differences of two spans on end: the present one, which began at `since`, and the one before."""

    life: str
    since: Instant
    least: timedelta
    before: timedelta


class ClockFilter:
    """What one reader knows of the clocks of all agents, by their records of `of_late` to twice as long."""

    def __init__(self, *, of_late: timedelta = OF_LATE) -> None:
        self._of_late = of_late
        self._known: dict[RegionId, _Known] = {}

    def sent_at(self, region: RegionId, *, life: str, sent: Instant, now: Instant) -> Instant:
        """Return when, on the reader's clock, a record was sent that has come `now`: then at the latest.

        `life` names the sender's clock: another one tells nothing of this one.
        """
        gap = now - sent
        known = self._known.get(region)
        if known is None or known.life != life or now - known.since >= 2 * self._of_late:
            known = _Known(life=life, since=now, least=gap, before=gap)
        elif now - known.since >= self._of_late:
            known = _Known(life=life, since=now, least=gap, before=known.least)
        else:
            known = _Known(life=life, since=known.since, least=min(known.least, gap), before=known.before)
        self._known[region] = known
        return sent + min(known.least, known.before)
