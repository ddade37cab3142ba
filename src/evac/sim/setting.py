"""What a seed stands for, which of evac's rules are played by, and what a simulation comes to.

What this is not: the playing (`simulation`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from evac.core.estate import RegionId, ReplicationMode
from evac.core.policy import Detection
from evac.core.timing import Holding, LeaseTiming
from evac.engine.election import LEADING, Candidate
from evac.engine.holding import Keeper
from evac.sim import faults
from evac.sim.estates import NINE
from evac.sim.faults import Script
from evac.sim.obedience import Obedience
from evac.sim.violation import Violation

HOLDING = LeaseTiming(
    renew=timedelta(seconds=1),
    hold=timedelta(seconds=5),
    wait=timedelta(seconds=8.5),
    watchdog=timedelta(seconds=6),
    reset=timedelta(seconds=1),
    freeze=timedelta(seconds=1),
    drift=0.02,
)
"""The lease of a primary: as shipped, with clocks as far apart as simulated ones are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of evac and of its drivers that a planted bug replaces."""

    candidate: type[Candidate] = Candidate
    timing: LeaseTiming = LEADING
    keeper: type[Keeper] = Keeper
    holding: LeaseTiming = HOLDING
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
    held: bool = False
    """Whether the primary is under a lease; an asynchronous one's only."""
    routed: bool = False
    """Whether there are routers."""

    def holding(self, rules: Rules) -> Holding | None:
        """How the primary is held, if it is."""
        return Holding(timing=rules.holding) if self.held else None

    def __str__(self) -> str:
        how = f"any {self.acks} must acknowledge" if self.acks else "nobody must acknowledge"
        how += ", held under a lease" if self.held else ""
        how += ", with routers" if self.routed else ""
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
    acknowledged: Counter[RegionId]
    """How many writes, by the region whose member said yes."""
    runs: Counter[str]
    """How its runs ended, by kind."""
    primary: RegionId | None
    """Where the primary is at the end; None where there is not exactly one."""
    orphans: int
    """How many writes were found on a former primary alone, and reported."""
    called: bool
    """Whether a person was called at any time."""
    terms: tuple[int, ...]
    """The terms that runs were opened or taken up in, in their order."""
    late: Counter[str]
    """What became of orders that came late: `refused`, or `obeyed`."""
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
    held = how is ReplicationMode.ASYNC and Random(f"held {seed}").random() < HELD
    routed = Random(f"routed {seed}").random() < ROUTED
    script = faults.write(Random(f"faults {seed}"), regions_of(count), held=held)
    return Setup(seed=seed, regions=count, mode=how, acks=acks, script=script, held=held, routed=routed)


REGIONS = range(3, len(NINE) + 1)
"""So many regions can be played."""
THREE_REGIONS = 3
ROUTED = 0.2
"""How many simulations have routers."""
HELD = 0.6
"""How many of the asynchronous primaries are under a lease."""


def regions_of(count: int) -> tuple[RegionId, ...]:
    return NINE[:count]
