"""From blocks with evac on and off to what evac costs: pure.

Intuition: a quad is on, off, off, on. Its ratio, both on over both off, is free of whatever drifts in a straight line
over it. The quads' ratios are independent looks at one number, whose mean has Student's interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TypeAlias

COST_MAX = 0.01
"""What an idle evac may cost a database of its throughput."""
QUAD = (True, False, False, True)
"""Whether evac is on, block by block."""
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, 0.975, by degrees of freedom from 1; beyond these the last one, which is a little wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One run of pgbench. `database_s` is the processor time of all of the primary's processes, `serving_s` of the
    backends that served evac's own connections, and that of what evac's probes had others ask (the shop), by name;
    `others_s` that of processes around it, the agents among them.
    """

    on: bool
    seconds: float
    transactions: int
    tps: float
    database_s: float
    serving_s: Mapping[str, float]
    others_s: Mapping[str, float]
    commits: int = 0
    """Transactions in the watched database that were not pgbench's."""
    sessions: int = 0
    """Connections made to it."""

    @property
    def others_per_s(self) -> float:
        """Return how much of a processor is used around the primary."""
        return sum(self.others_s.values()) / self.seconds


Figure: TypeAlias = Callable[[Block], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval; without bounds from a single look."""

    mean: float
    low: float = -math.inf
    high: float = math.inf

    def verdict(self, most: float) -> str:
        """Say whether it is certainly at most so much, certainly not, or neither."""
        if self.high <= most:
            return "met"
        return "MISSED" if self.low > most else "open: the interval is too wide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What evac costs, as parts of 1, and per second."""

    quads: int
    tps_off: float
    throughput: Interval
    """The part of pgbench's throughput that is missing while evac is on."""
    cpu_per_transaction: Interval
    """By how much more processor time the primary took for a transaction of pgbench, which no neighbour changes."""
    serving: Interval
    """The processor time of the backends that served evac, as a part of all that the primary used."""
    serving_by: Mapping[str, float]
    commits_per_s: float
    sessions_per_s: float
    others: Mapping[str, float] = field(default_factory=dict)
    """Processors used by what stands around the primary, more than with evac off: 0.02 is 2 % of one."""


def compare(blocks: Sequence[Block]) -> Comparison:
    """Compare whole quads; what is left over does not count."""
    quads = [blocks[at : at + len(QUAD)] for at in range(0, len(blocks) - len(QUAD) + 1, len(QUAD))]
    assert quads, "there is a whole quad"
    assert all(tuple(b.on for b in quad) == QUAD for quad in quads), "blocks come as QUAD has them"
    counted = [block for quad in quads for block in quad]
    on, off = [b for b in counted if b.on], [b for b in counted if not b.on]
    return Comparison(
        quads=len(quads),
        tps_off=_mean(off, lambda b: b.tps),
        throughput=interval([1 - _ratio(quad, lambda b: b.tps) for quad in quads]),
        cpu_per_transaction=interval([_ratio(quad, lambda b: b.database_s / b.transactions) - 1 for quad in quads]),
        serving=interval([sum(b.serving_s.values()) / b.database_s for b in on]),
        serving_by=_by_name(on, lambda b: {n: s / b.database_s for n, s in b.serving_s.items()}),
        commits_per_s=_more(on, off, lambda b: b.commits / b.seconds),
        sessions_per_s=_more(on, off, lambda b: b.sessions / b.seconds),
        others=_minus(_by_name(on, _others_per_s), _by_name(off, _others_per_s)),
    )


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of independent looks with Student's 95 % interval."""
    if len(values) < 2:
        return Interval(mean=fmean(values))
    freedom = min(len(values) - 1, len(_STUDENT))
    half = _STUDENT[freedom - 1] * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return Interval(mean=mean, low=mean - half, high=mean + half)


def _ratio(quad: Sequence[Block], figure: Figure) -> float:
    return fmean(figure(b) for b in quad if b.on) / fmean(figure(b) for b in quad if not b.on)


def _mean(blocks: Sequence[Block], figure: Figure) -> float:
    return fmean(figure(b) for b in blocks)


def _more(on: Sequence[Block], off: Sequence[Block], figure: Figure) -> float:
    return _mean(on, figure) - _mean(off, figure)


def _others_per_s(block: Block) -> Mapping[str, float]:
    return {name: s / block.seconds for name, s in block.others_s.items()}


def _by_name(blocks: Sequence[Block], figures: Callable[[Block], Mapping[str, float]]) -> dict[str, float]:
    """Return each name's mean; what a block does not name it has none of."""
    found = [figures(block) for block in blocks]
    names = dict.fromkeys(name for each in found for name in each)
    return {name: fmean(each.get(name, 0.0) for each in found) for name in names}


def _minus(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) - other.get(name, 0.0) for name in dict.fromkeys((*one, *other))}
