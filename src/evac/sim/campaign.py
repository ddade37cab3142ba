"""Many seeds, one after the other or side by side, and what came of all of them together.

What this is not: a simulation (`simulation`). A seed is the same here and alone.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog

from evac.core.estate import ReplicationMode
from evac.sim.setting import Result, Rules, Setup, setup
from evac.sim.simulation import simulate

SWEPT_AFTER = 500_000
"""Python looks for rubbish in rings after so many more objects were made than let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a setup is given instead of drawn from the seed."""

    regions: int | None = None
    mode: ReplicationMode | None = None

    def setup(self, seed: int) -> Setup:
        """Return what a seed stands for with this choice."""
        return setup(seed, regions=self.regions, mode=self.mode)

    def replay(self, seed: int) -> str:
        """Return the command that shows a seed once more."""
        regions = f" --regions {self.regions}" if self.regions else ""
        mode = f" --mode {self.mode}" if self.mode else ""
        return f"evac sim --seed {seed}{regions}{mode}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of many seeds."""

    seeds: int = 0
    violations: int = 0
    simulated_s: float = 0.0
    wall_s: float = 0.0
    acknowledged: int = 0
    states: set[int] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one more seed."""
        self.seeds += 1
        self.violations += len(result.violations)
        self.simulated_s += result.simulated_s
        self.acknowledged += result.acknowledged.total()
        self.states |= result.states
        self.faults += result.faults
        self.runs += result.runs
        if result.violations:
            self.failed.append(result.setup.seed)

    def plain(self) -> dict[str, object]:
        """Return the tally as JSON holds it."""
        return {
            "seeds": self.seeds,
            "violations": self.violations,
            "simulated_s": round(self.simulated_s),
            "wall_s": round(self.wall_s, 1),
            "states": len(self.states),
            "faults": dict(sorted(self.faults.items())),
        }


def run(
    seeds: range,
    *,
    choice: Choice,
    told: Callable[[Result], None],
    jobs: int = 1,
    rules: Rules | None = None,
) -> Tally:
    """Simulate these seeds, `jobs` at a time; `told` hears of each as it ends."""
    tally, began = Tally(), time.monotonic()
    with _results(seeds, choice=choice, jobs=jobs, rules=rules) as results:
        for result in results:
            tally.add(result)
            told(result)
    tally.wall_s = time.monotonic() - began
    return tally


@contextmanager
def _results(seeds: range, *, choice: Choice, jobs: int, rules: Rules | None) -> Iterator[Iterator[Result]]:
    one = partial(_one, choice=choice, rules=rules)
    if jobs == 1:
        yield map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield pool.imap(one, seeds, chunksize=1)


def _one(seed: int, *, choice: Choice, rules: Rules | None) -> Result:
    with silence(), _little_sweeping():
        return simulate(choice.setup(seed), rules=rules)


@contextmanager
def _little_sweeping() -> Iterator[None]:
    """Let Python look for rubbish in rings rarely: a simulation makes much, and keeps almost none of it."""
    if sys.implementation.name != "cpython":  # others have a collector without a threshold
        yield
        return
    before = gc.get_threshold()
    gc.set_threshold(SWEPT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def silence() -> Iterator[None]:
    """Keep the engine's log out of a simulation, whose trace tells all."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
