"""The network between regions, as a model: how long a message takes, and which ways are cut.

Intuition: a way leads from one region to another, and each direction can be cut by itself. A region that is dead
has no ways at all. Nothing tells a sender that its message was lost; it waits, as in the world.

What this is not: loss by the packet (`loss`, `tcp`), or bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from evac.core.estate import RegionId

INSIDE = 0.0005
"""A message within a region takes so many seconds."""
JITTER = 0.25
"""Every message takes up to so much longer, as a share."""


@dataclass(slots=True, kw_only=True)
class Network:
    """Regions, the ways between them, and what is wrong with those."""

    regions: Sequence[RegionId]
    one_way: Mapping[frozenset[RegionId], float]
    """Seconds from one region to another."""
    random: Random
    dead: set[RegionId] = field(default_factory=set)
    cuts: set[tuple[RegionId, RegionId]] = field(default_factory=set)
    """Ways that are cut, as from and to."""
    changes: int = 0
    """Counts what was cut and mended."""

    def passes(self, source: RegionId, to: RegionId) -> bool:
        """Return whether a message would arrive that is sent now."""
        return source not in self.dead and to not in self.dead and (source, to) not in self.cuts

    def delay(self, source: RegionId, to: RegionId) -> float:
        """Return how many seconds the next message takes."""
        base = INSIDE if source == to else self.one_way[frozenset((source, to))]
        return base * (1 + JITTER * self.random.random())

    @property
    def longest(self) -> float:
        """Return how many seconds a message takes at most."""
        return max(self.one_way.values(), default=INSIDE) * (1 + JITTER)

    def cut(self, source: RegionId, to: RegionId) -> None:
        """Let nothing through in this direction."""
        self.cuts.add((source, to))
        self.changes += 1

    def mend(self, source: RegionId, to: RegionId) -> None:
        """Let everything through again in this direction."""
        self.cuts.discard((source, to))
        self.changes += 1

    def lose(self, region: RegionId) -> None:
        """A region is gone."""
        self.dead.add(region)
        self.changes += 1

    def find(self, region: RegionId) -> None:
        """A region is back."""
        self.dead.discard(region)
        self.changes += 1

    def core(self) -> frozenset[RegionId]:
        """Return the regions that see, both ways, a majority of all: where a cluster with a member in each can work."""
        both = {
            a: {b for b in self.regions if self.passes(a, b) and self.passes(b, a)}
            for a in self.regions
            if a not in self.dead
        }
        needed = len(self.regions) // 2 + 1
        return frozenset(r for r, seen in both.items() if len(seen) >= needed)
