"""The promises of a primary's lease (S5), as a simulation's watch keeps them: whose it was when, by true time.

What this is not: the lease of the agents' lead, which is looked at where leaders are elected (`simulation`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import inf

from evac.core.estate import RegionId
from evac.core.lease import Tenure
from evac.core.timing import LeaseTiming
from evac.sim.writers import Acknowledged

Broken = Callable[[str, str], None]
"""Notes a rule by its name, and how it was broken."""


class Leases:
    """One component's lease, as its record has said. A restored store takes none of it back (docs/adr/0023)."""

    def __init__(self, timing: LeaseTiming, broken: Broken) -> None:
        self._timing = timing
        self._broken = broken
        self._renewed: dict[RegionId, list[float]] = {}
        """When it was written as each region's."""
        self._taken: dict[RegionId, float] = {}
        """Since when what a region had has been another's."""

    def written(self, tenure: Tenure, now: float) -> None:
        """Note whose it is, and since when."""
        self._taken.pop(tenure.region, None)
        for other in self._renewed:
            if other != tenure.region:
                self._taken.setdefault(other, now)
        self._renewed.setdefault(tenure.region, []).append(now)

    def told(self, yes: Acknowledged) -> None:
        """No yes comes from a primary whose lease was written too long ago, or has become another's."""
        if not self._renewed:
            return
        if self._taken.get(yes.node, inf) < yes.said:
            self._broken("S5", f"{yes.name} was acknowledged by {yes.node} after its lease had become another's")
        times = self._renewed.get(yes.node, [])
        before = bisect_right(times, yes.said)
        longest = self._timing.age_max.total_seconds() * (1 + self._timing.drift)
        longest += self._timing.freeze.total_seconds()
        first = min(written[0] for written in self._renewed.values())
        if yes.said - (times[before - 1] if before else first) > longest:
            self._broken("S5", f"{yes.name} was acknowledged by {yes.node}, whose lease was older than {longest:.2f} s")

    def has(self, region: RegionId) -> bool:
        """Return whether it is a region's by its record."""
        return region in self._renewed and region not in self._taken
