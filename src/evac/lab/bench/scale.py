"""`python -m evac.lab.bench.scale`: what an estate costs as it grows, up to 9 regions of 10,000 services.

Intuition: nothing here is real but the code: estates are values (`large`), and what is measured is the processor time
of this process (`time.process_time`), which a busy machine changes little. Each size has a process of its own, so that
its memory is its own. Figures with a bound say `met` or `MISSED`; the others are told so that nothing is hidden.

The p99 of fewer than 100 rounds is the worst of them. A fold is measured in the batches that agents publish: 10,000
observations a second from all agents, two views a second each. The slope is that of the straight line through
log(figure) over log(services x regions), or log(steps), by least squares.

Exit code 1 when a bound was missed.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Move, View
from evac.core.detector import Detector, fold
from evac.core.effects import Do, effects
from evac.core.estate import Estate, RegionId
from evac.core.fold import apply
from evac.core.observation import Instant, Observation, Probed
from evac.core.plan import Plan, RunKind, Term
from evac.core.planning import plan_move
from evac.core.run import Done, Event, Opened, Receipt, Run, RunId, Started
from evac.core.snapshot import Snapshot
from evac.core.steps import Situation
from evac.core.verdict import Assessment
from evac.engine.codec import encode
from evac.engine.knowledge import Knowledge
from evac.engine.views import encode_view
from evac.lab.bench.large import beats, estate_of, everything, placements_of, probes, tellings, view_of

T = TypeVar("T")

SIZES = ((3, 1000), (6, 4000), (9, 10_000))
"""Regions and services: 3,000, 24,000 and 90,000 states."""
STEPS = (1000, 3200, 10_000)
RATE = 10_000
"""Observations a second, from all agents together."""
VIEWS = 2
"""Views a second that each agent publishes."""
STEPS_A_CHAIN = 18
"""A state in nine regions, its own lost: 8 refusals, a catch-up, a promotion, 7 that follow, a verification."""
RUN_BUDGET_S = 10.0
"""So much processor time at most is spent on folding a run; what was folded by then is what is told."""
AT = timedelta(hours=1)
WALL = datetime(2026, 1, 1, tzinfo=UTC)


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


def measure(regions: int, services: int, rounds: int) -> dict[str, float]:
    """Return all figures of one size."""
    estate = estate_of(regions, services)
    placements = placements_of(estate)
    detector = fold(Detector(policy=estate.detection), *everything(estate, AT - timedelta(seconds=1)))
    detector = fold(detector, *beats(estate, AT))
    found: dict[str, float] = {}
    known = Knowledge(detector=detector, placements=placements)
    found["well"] = _p99(lambda: _evaluate(estate, known), rounds)
    found["folding"], batch = _folding(estate, detector)
    found["rss"] = _rss_mb()
    lost = next(iter(estate.regions))
    known.detector = _after_loss(estate, detector, lost)
    found["lost"] = _p99(lambda: _evaluate(estate, known, now=AT + timedelta(seconds=3)), rounds)
    found["rss_peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["view"] = float(len(encode_view(lost, batch, now=AT + timedelta(minutes=1), life="bench")))
    assessment, view = _evaluate(estate, known)
    found["snapshot"] = float(len(encode(_snapshot(estate, known, assessment, view))))
    return found


def _evaluate(estate: Estate, known: Knowledge, *, now: Instant = AT) -> tuple[Assessment, View]:
    """What a controller does each time it evaluates, as far as it is thought and not told."""
    assessment = assess(known.detector, now=now, estate=estate)
    view = view_of(estate, known.detector, assessment, known.placements)
    for decision in decide(view, now=now):
        if known.is_news(decision):
            known.decisions[decision.group] = decision
    return assessment, view


def _after_loss(estate: Estate, detector: Detector, lost: RegionId) -> Detector:
    """A region is lost: for three looks nothing of it answers, and its agent is silent; all others are well."""
    for count in range(estate.detection.failures):
        at = AT + timedelta(seconds=count)
        detector = fold(detector, *probes(estate, at, lost=lost), *beats(estate, at, lost=lost))
    at = AT + timedelta(seconds=3)
    return fold(detector, *tellings(estate, at, lost=lost), *beats(estate, at, lost=lost))


def _folding(estate: Estate, detector: Detector) -> tuple[float, list[Observation]]:
    """The part of a core that folding takes at `RATE`, and what one agent's view had in it."""
    at = AT + timedelta(seconds=30)
    seen = _mixed(estate, at)
    size = max(1, RATE // (VIEWS * len(estate.regions)))
    batches = [list(islice(seen, size)) for _ in range(3 * VIEWS * len(estate.regions))]
    count = sum(map(len, batches))
    begun = time.process_time()
    for batch in batches:
        detector = fold(detector, *batch)
    spent = time.process_time() - begun
    first = next(iter(estate.regions))
    own = (replace(s, vantage=first) if isinstance(s, Probed) else s for s in batches[0])
    return spent / count * RATE, list(own)


def _mixed(estate: Estate, at: Instant) -> Iterator[Observation]:
    """Looks and members as they come, three to one, and again where that is not enough."""
    while True:
        at += timedelta(seconds=1)
        members = tellings(estate, at)
        looks = probes(estate, at)
        for member in members:
            yield member
            yield from islice(looks, 3)


def _snapshot(estate: Estate, known: Knowledge, assessment: Assessment, view: View) -> Snapshot:
    return Snapshot(
        estate=estate.name,
        at=assessment.at,
        wall=WALL,
        verdicts=tuple(assessment.verdicts.values()),
        voiceless={str(r): why for r, why in assessment.voiceless.items()},
        members=tuple(view.members.values()),
        placements=tuple(known.placements.values()),
        unplaced={},
        decisions=tuple(known.decisions.values()),
        active={},
        stuck={},
    )


def measure_plan(steps: int) -> dict[str, float]:
    """Return the figures of a plan of about so many steps: one group of nine regions whose home is lost."""
    services = max(1, round(steps / STEPS_A_CHAIN))
    estate = estate_of(9, services, group_size=services)
    lost, target = list(estate.regions)[:2]
    well = fold(Detector(policy=estate.detection), *everything(estate, AT - timedelta(seconds=1)))
    detector = _after_loss(estate, well, lost)
    assessment = assess(detector, now=AT + timedelta(seconds=3), estate=estate)
    (placement,) = placements_of(estate).values()
    here = Situation(estate=estate, assessment=assessment, members=detector.members, placement=placement)
    move = Move(group=placement.group, kind=RunKind.FAILOVER, source=lost, target=target, reasons=("lost",))
    begun = time.process_time()
    plan = plan_move(move, here, term=Term(2))
    planned = time.process_time() - begun
    entries, spent, whole = _fold_run(plan)
    return {"steps": len(plan.steps), "plan": planned, "entry_ms": 1000 * spent / entries, "whole": float(whole)}


def _fold_run(plan: Plan) -> tuple[int, float, bool]:
    """Fold a run in which all goes well, as far as the budget goes: entries, processor seconds, whether to the end."""
    opened = Opened(
        run=RunId("bench"), at=AT, wall=WALL, plan=plan, plan_hash="", decided_by="bench", symptom_at=AT, decision={}
    )
    kinds = {s.id: "starved" if s.action.verb == "refuse" else str(s.action.verb) for s in plan.steps}
    begun, entries = time.process_time(), 1
    run = apply(None, opened)
    while todo := [e for e in effects(run) if isinstance(e, Do)]:
        for event in chain.from_iterable(_done(run, effect, kinds[effect.step]) for effect in todo):
            run = apply(run, event)
            entries += 1
            if time.process_time() - begun > RUN_BUDGET_S:
                return entries, time.process_time() - begun, False
    return entries, time.process_time() - begun, True


def _done(run: Run, effect: Do, kind: str) -> tuple[Event, Event]:
    started = Started(at=AT, step=effect.step, attempt=effect.attempt, term=run.term)
    return started, Done(at=AT, step=effect.step, attempt=effect.attempt, receipt=Receipt(kind=kind))


def _p99(work: Callable[[], object], rounds: int) -> float:
    """The p99 of the processor time of some rounds, by nearest rank."""
    spent: list[float] = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return sorted(spent)[math.ceil(0.99 * rounds) - 1]


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def figures(sizes: Sequence[tuple[int, int]], steps: Sequence[int], rounds: int) -> list[Figure]:
    """Measure every size in a process of its own, and return the figures with the bounds they are judged by."""
    found = [_alone(measure, regions, services, rounds) for regions, services in sizes]
    plans = [_alone(measure_plan, count) for count in steps]
    states = tuple(regions * services for regions, services in sizes)
    counts = tuple(int(p["steps"]) for p in plans)

    def of(key: str, name: str, unit: str, *, bound: float | None = None, slope: float | None = None) -> Figure:
        values = tuple(f[key] for f in found)
        return Figure(name=name, unit=unit, sizes=states, values=values, bound=bound, slope_max=slope)

    def of_plan(key: str, name: str, unit: str, *, bound: float | None = None, slope: float | None = None) -> Figure:
        values = tuple(p[key] for p in plans)
        return Figure(name=name, unit=unit, sizes=counts, values=values, bound=bound, slope_max=slope)

    return [
        of("well", "assess and decide, all well, p99", "s", bound=1.0, slope=1.05),
        of("lost", "assess and decide, a region lost, p99", "s", bound=1.0, slope=1.05),
        of("folding", f"fold {RATE} observations/s", "core", bound=0.5),
        of("rss", "memory, resident", "MB", bound=300.0),
        of("rss_peak", "memory, at its peak, a region lost", "MB", bound=300.0),
        of("view", "one agent's view", "bytes"),
        of("snapshot", "snapshot, without health and sets", "bytes"),
        of_plan("plan", "plan", "s", bound=1.0, slope=1.05),
        of_plan("entry_ms", "fold one entry of its run", "ms"),
        of_plan("whole", f"its run folded to the end in {RUN_BUDGET_S:g} s", "1 = yes"),
    ]


def _alone(work: Callable[..., T], *given: int) -> T:
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
