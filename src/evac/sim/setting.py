"""What a seed stands for, which of evac's rules are played by, and what a simulation comes to.

What this is not: the playing (`simulation`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from evac.core.estate import Detection, RegionId, ReplicationMode
from evac.core.timing import LeaseTiming
from evac.engine.election import LEADING, Candidate
from evac.sim import faults
from evac.sim.estates import FIVE, THREE
from evac.sim.faults import Script
from evac.sim.invariants import Violation
from evac.sim.members import Obedience


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of evac and of its drivers that a planted bug replaces."""

    candidate: type[Candidate] = Candidate
    timing: LeaseTiming = LEADING
    obedience: Obedience = field(default_factory=Obedience)
    detection: Detection = field(default_factory=Detection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated."""

    seed: int
    regions: int
    mode: ReplicationMode
    acks: int
    script: Script

    def __str__(self) -> str:
        how = f"any {self.acks} must acknowledge" if self.acks else "nobody must acknowledge"
        return f"seed {self.seed}: {self.regions} regions, {self.mode}, {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    setup: Setup
    violations: tuple[Violation, ...]
    simulated_s: float
    faults: Counter[str]
    states: frozenset[int]
    """Hashes of the states that were reached."""
    acknowledged: int
    runs: Counter[str]
    """How its runs ended, by kind."""
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The trace in a few letters: two simulations are the same if this is."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def setup(seed: int, *, regions: int | None = None, mode: ReplicationMode | None = None) -> Setup:
    """Return what a seed stands for; some of it may be given instead."""
    random = Random(f"setup {seed}")
    drawn_regions = random.choice((3, 3, 5))
    drawn_mode = random.choice((ReplicationMode.SYNC, ReplicationMode.SYNC, ReplicationMode.ASYNC))
    count, how = regions or drawn_regions, mode or drawn_mode
    acks = 0 if how is ReplicationMode.ASYNC else random.choice((1, 2)) if count > THREE_REGIONS else 1
    script = faults.write(Random(f"faults {seed}"), regions_of(count))
    return Setup(seed=seed, regions=count, mode=how, acks=acks, script=script)


THREE_REGIONS = 3


def regions_of(count: int) -> tuple[RegionId, ...]:
    return THREE if count == THREE_REGIONS else FIVE
