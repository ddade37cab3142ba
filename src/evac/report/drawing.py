"""The plan as a graph and the run as a timeline, laid out as numbers that a template turns into SVG.

Intuition: a plan is drawn left to right, each step in the column after the last step it needs; a run is drawn top to
bottom, one bar a step on one time axis, under the phases of the recovery. Both are small, so a simple layering
(longest path) does what a layout engine would.

What this is not: a chart library, or the SVG itself (`templates/report.html.j2`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_

from evac.core.plan import Barrier, Step, StepId, in_order
from evac.report.measures import Lap
from evac.report.value import StepReport
from evac.report.words import span

NODE_WIDTH, NODE_HEIGHT = 172, 46
GAP_X, GAP_Y = 44, 14
MARGIN = 4
ROW = 26
LABEL_WIDTH = 250
CHART_WIDTH = 640
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Distances between marks on the time axis, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A step as a box; `x`, `y` is its upper left corner."""

    step: StepReport
    x: float
    y: float
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A need as a curve from one box's right side to another's left, as SVG path data."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A plan, laid out."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph(steps: Sequence[StepReport]) -> Graph:
    """Lay out a plan. Needs that a longer way already shows are left out."""
    by_id = {s.step.id: s for s in steps}
    column = _columns([s.step for s in steps])
    nodes: dict[StepId, Node] = {}
    filled: dict[int, int] = {}
    height = Counter(column.values())
    tallest = max(height.values(), default=1)
    for step in in_order(s.step for s in steps):
        place = column[step.id]
        row = filled.get(place, 0)
        filled[place] = row + 1
        top = MARGIN + (tallest - height[place]) * (NODE_HEIGHT + GAP_Y) / 2
        report = by_id[step.id]
        took = f" · {span(report.took)}" if report.took is not None else ""
        nodes[step.id] = Node(
            step=report,
            x=MARGIN + place * (NODE_WIDTH + GAP_X),
            y=top + row * (NODE_HEIGHT + GAP_Y),
            title=f"{step.action.verb} {step.action.component}",
            detail=f"{step.action.region}{took}",
        )
    edges = [_edge(nodes[a], nodes[b]) for a, b in shown_needs([s.step for s in steps])]
    columns = max(column.values(), default=0) + 1
    return Graph(
        width=2 * MARGIN + columns * NODE_WIDTH + (columns - 1) * GAP_X,
        height=2 * MARGIN + tallest * NODE_HEIGHT + (tallest - 1) * GAP_Y,
        nodes=tuple(nodes.values()),
        edges=tuple(edges),
    )


def _columns(steps: Sequence[Step]) -> dict[StepId, int]:
    column: dict[StepId, int] = {}
    passed: dict[Barrier, int] = {}
    for step in in_order(steps):
        after = (*(column[n] for n in step.needs if n in column), *(passed[b] for b in step.behind if b in passed))
        place = column[step.id] = max(after, default=-1) + 1
        passed.update((b, max(place, passed.get(b, 0))) for b in step.before)
    return column


def shown_needs(steps: Sequence[Step]) -> list[tuple[StepId, StepId]]:
    """Return what waits for what in a plan as pairs, without what follows from others (the transitive reduction).

    Sets of steps are bits of a number here: a plan of thousands has thousands of large ones.
    """
    ordered = in_order(steps)
    bit = {step.id: 1 << n for n, step in enumerate(ordered)}
    before: dict[StepId, int] = {}
    line: dict[Barrier, int] = {}
    passed: dict[Barrier, int] = {}
    shown: dict[StepId, int] = {}
    for step in ordered:
        waits = reduce(or_, (*(bit[n] for n in step.needs), *(line.get(b, 0) for b in step.behind)), 0)
        others = reduce(or_, (*(before[n] for n in step.needs), *(passed.get(b, 0) for b in step.behind)), 0)
        before[step.id] = waits | others
        shown[step.id] = waits & ~others
        for barrier in step.before:
            line[barrier] = line.get(barrier, 0) | bit[step.id]
            passed[barrier] = passed.get(barrier, 0) | before[step.id]
    return [(other.id, step.id) for step in steps for other in _of(shown[step.id], ordered)]


def _of(bits: int, ordered: Sequence[Step]) -> Iterator[Step]:
    while bits:
        yield ordered[(bits & -bits).bit_length() - 1]
        bits &= bits - 1


def _edge(start: Node, end: Node) -> Edge:
    x1, y1 = start.x + NODE_WIDTH, start.y + NODE_HEIGHT / 2
    x2, y2 = end.x, end.y + NODE_HEIGHT / 2
    bend = min(GAP_X, x2 - x1) * 0.55
    return Edge(path=f"M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A step on the time axis."""

    step: StepReport
    y: float
    x: float
    width: float
    label: str
    """The time it took, written beside the bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A phase above the bars."""

    lap: Lap
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run, laid out."""

    width: float
    height: float
    chart_x: float
    bars: tuple[Bar, ...]
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]


def timeline(steps: Sequence[StepReport], laps: Sequence[Lap]) -> Timeline:
    """Lay out a run's steps in the order they began; those that never began are not in it."""
    begun = sorted((s for s in steps if s.begin is not None), key=lambda s: (s.begin, s.end or timedelta.max))
    ends = [t for s in begun for t in (s.begin, s.end) if t is not None] + [lap.end for lap in laps]
    whole = max(ends, default=timedelta()).total_seconds() or 1.0
    scale = CHART_WIDTH / whole
    top = 44.0
    return Timeline(
        width=LABEL_WIDTH + CHART_WIDTH + 70,
        height=top + len(begun) * ROW + 26,
        chart_x=LABEL_WIDTH,
        bars=tuple(_bar(s, top + row * ROW, scale, whole) for row, s in enumerate(begun)),
        bands=tuple(
            Band(lap=lap, x=LABEL_WIDTH + lap.begin.total_seconds() * scale, width=lap.took.total_seconds() * scale)
            for lap in laps
        ),
        ticks=_ticks(whole, scale),
    )


def _bar(step: StepReport, y: float, scale: float, whole: float) -> Bar:
    assert step.begin is not None, "only steps that began are drawn"
    begin = step.begin.total_seconds()
    end = step.end.total_seconds() if step.end is not None else whole
    return Bar(
        step=step,
        y=y,
        x=LABEL_WIDTH + begin * scale,
        width=max((end - begin) * scale, 2.0),
        label=span(step.took) if step.took is not None else step.status.value,
    )


def _ticks(whole: float, scale: float) -> tuple[Tick, ...]:
    distance = next((t for t in TICKS if whole / t <= 8), TICKS[-1] * (1 + whole // (8 * TICKS[-1])))
    count = int(whole / distance + 1e-9)
    return tuple(Tick(x=LABEL_WIDTH + n * distance * scale, label=f"{n * distance:g} s") for n in range(count + 1))
