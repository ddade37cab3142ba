"""`python -m evac.lab.bench.scale`: what an estate costs as it grows, up to 9 regions of 10,000 services.

Intuition: nothing here is real but the code: estates are values (`large`), and what is measured is the processor time
of this process (`time.process_time`), which a busy machine changes little. Each size has a process of its own, so that
its memory is its own. Figures with a bound say `met` or `MISSED`; the others are told so that nothing is hidden.

Estates are measured as what leads one (`leading`), plans alone (`long_run`). The p99 of fewer than 100 rounds is the
worst of them; how a time grows is seen at the shortest, since the worst is what happened beside it (a pass of the
garbage collector weighs most where there is least to do). The slope is that of the straight line through log(figure)
over log(services x regions), or log(steps), by least squares.

Exit code 1 when a bound was missed.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from evac.core.plan import RunKind
from evac.engine.parts import BATCH_BYTES_MAX
from evac.engine.views import VIEW_BYTES_MAX
from evac.lab.bench.leading import RATE, measure
from evac.lab.bench.long_run import RUN_BUDGET_S, measure_plan

T = TypeVar("T")

SIZES = ((3, 1000), (6, 4000), (9, 10_000))
"""Regions and services: 3,000, 24,000 and 90,000 states."""
STEPS = (1000, 3200, 10_000)
LINEAR = 1.05
"""What is counted (bytes, calls) and has a slope of no more than this grows no faster than what it is a cost of."""
LINEAR_TIME = 1.1
"""And what takes time. A machine takes longer for the same work where less of it fits into its caches: a plan of 10,016
steps takes 0.5 % more instructions a step than one of 1016 (slope 1.002, by valgrind), but 76 instead of 15 misses of a
cache of 1 MB, and its times show slopes of 1.02 to 1.08. n log n would show 1.12.
"""
LEVEL = 0.1
"""And with no more than this it does not grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure over the sizes. `bound` judges the last size, `slope_max` the slope; None: told, not judged."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    bound: float | None = None
    slope_max: float | None = None

    @property
    def slope(self) -> float:
        """Return the slope in log-log; 0 with fewer than two sizes."""
        xs, ys = [math.log(s) for s in self.sizes], [math.log(max(v, 1e-9)) for v in self.values]
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - mean_x) ** 2 for x in xs)
        return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0

    @property
    def missed(self) -> tuple[str, ...]:
        """Return which bounds it missed, in words."""
        large = self.bound is not None and self.values[-1] > self.bound
        steep = self.slope_max is not None and self.slope > self.slope_max
        said = (f"{self.values[-1]:.3g} > {self.bound:g} {self.unit}" if large else "",)
        return tuple(s for s in (*said, f"slope {self.slope:.2f} > {self.slope_max}" if steep else "") if s)

    @property
    def verdict(self) -> str:
        """Return `met`, `MISSED` and by what, or `-` where nothing judges it."""
        if self.bound is None and self.slope_max is None:
            return "-"
        return "MISSED: " + "; ".join(self.missed) if self.missed else "met"


def figures(sizes: Sequence[tuple[int, int]], steps: Sequence[int], rounds: int) -> list[Figure]:
    """Measure every size in a process of its own, and return the figures with the bounds they are judged by."""
    found = [_alone(measure, regions, services, rounds) for regions, services in sizes]
    plans = [_alone(measure_plan, count, RunKind.FAILOVER) for count in steps]
    moves = [_alone(measure_plan, count, RunKind.SWITCHOVER) for count in steps]
    states = tuple(regions * services for regions, services in sizes)

    def of(key: str, name: str, unit: str, *, bound: float | None = None, slope: float | None = None) -> Figure:
        values = tuple(f[key] for f in found)
        return Figure(name=name, unit=unit, sizes=states, values=values, bound=bound, slope_max=slope)

    def of_plans(made: Sequence[Mapping[str, float]], what: str) -> tuple[Figure, ...]:
        counts = tuple(int(p["steps"]) for p in made)

        def one(key: str, name: str, unit: str, *, bound: float | None = None, slope: float | None = None) -> Figure:
            values = tuple(p[key] for p in made)
            return Figure(name=f"{what}, {name}", unit=unit, sizes=counts, values=values, bound=bound, slope_max=slope)

        return (
            one("plan", "the longest of nine", "s", bound=1.0),
            one("plan_least", "the shortest of nine", "s", slope=LINEAR_TIME),
            one("plan_calls", "calls of functions", "calls", slope=LINEAR),
            one("waits", "names of what steps wait for", "names", slope=LINEAR),
            one("entry_ms", "fold one entry of its run", "ms", slope=LEVEL),
            one("whole", f"its run folded to the end in {RUN_BUDGET_S:g} s", "1 = yes"),
        )

    return [
        of("well", "assess and decide, all well, p99", "s", bound=1.0),
        of("well_least", "that, the shortest round", "s", slope=LINEAR_TIME),
        of("lost", "assess and decide, a region lost, p99", "s", bound=1.0),
        of("lost_least", "that, the shortest round, a region lost", "s", slope=LINEAR_TIME),
        of("folding", f"read and fold {RATE} observations/s", "core", bound=0.5),
        of("publishing", "write snapshots, all well", "core", slope=LINEAR_TIME),
        of("think", "think one region's loss through", "s", slope=LINEAR_TIME),
        of("stretch", "of that, before something else gets a turn", "s", bound=1.0),
        of("rss_bare", "memory, the program alone", "MB"),
        of("rss", "memory, all well", "MB", bound=300.0),
        of("rss_peak", "memory, at its peak, a region lost", "MB", bound=300.0),
        of("view", "the largest view", "bytes", bound=VIEW_BYTES_MAX),
        of("views_rate", "views, all agents, all looking twice a minute", "bytes/s", slope=LINEAR),
        of("status", "snapshot, all its parts", "bytes", slope=LINEAR),
        of("status_rate", "snapshots written, all well", "bytes/s", slope=LINEAR),
        of("commit", "the largest commit of a snapshot, a region lost", "bytes", bound=BATCH_BYTES_MAX),
        of("told", "snapshots until the loss is told of all groups", "s"),
        of("thoughts", "what the loss of each region would come to", "bytes", slope=LINEAR),
        of("steps", "steps of all plans after the loss", "steps"),
        *of_plans(plans, "plan"),
        *of_plans(moves, "plan of a planned move"),
    ]


def _alone(work: Callable[..., T], *given: int | RunKind) -> T:
    """Do some work in a process of its own, begun anew."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def as_table(found: Sequence[Figure]) -> Table:
    """Return one line a figure."""
    table = Table(title="what an estate costs as it grows", title_justify="left")
    for heading in ("figure", "unit", "sizes", "values", "bound", "slope", ""):
        table.add_column(heading, overflow="fold")
    for figure in found:
        table.add_row(
            figure.name,
            figure.unit,
            " ".join(map(str, figure.sizes)),
            " ".join(f"{v:.0f}" if v >= 1000 else f"{v:.3g}" for v in figure.values),
            "-" if figure.bound is None else f"{figure.bound:g}",
            f"{figure.slope:.2f}" + (f" (at most {figure.slope_max:g})" if figure.slope_max else ""),
            figure.verdict,
        )
    return table


def as_json(found: Sequence[Figure]) -> dict[str, object]:
    """Return the figures as plain data, with slopes and verdicts."""
    return {"figures": [asdict(f) | {"slope": f.slope, "verdict": f.verdict} for f in found]}


def main(argv: Sequence[str]) -> int:
    """Read the options, measure, print and write, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.bench.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(f"{r}x{s}" for r, s in SIZES), help="regions x services, by comma")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="steps of the plans, by comma")
    parser.add_argument("--rounds", type=int, default=20, help="assessments of each kind (20)")
    parser.add_argument("--json", action="store_true", help="print the JSON, not the table")
    parser.add_argument("--out", type=Path, default=Path("build/scale.json"))
    options = parser.parse_args(argv)
    try:
        sizes = [(int(r), int(s)) for r, s in (size.split("x") for size in options.sizes.split(","))]
        steps = [int(count) for count in options.steps.split(",")]
    except ValueError:
        parser.error("sizes are written 3x1000,9x10000 and steps 1000,10000")
    found = figures(sizes, steps, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(as_json(found), indent=1) + "\n")
    say = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    if options.json:
        sys.stdout.write(options.out.read_text())
    else:
        say.print(as_table(found))
    return 1 if any(f.missed for f in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
