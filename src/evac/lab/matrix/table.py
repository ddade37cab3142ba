"""The matrix for people: one line a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import median

from rich.table import Table

from evac.lab.matrix.book import Entry
from evac.lab.matrix.outcome import HARNESS

HEADINGS = ("fault/mode/form", "n", "expected", "outcomes", "rto s", "lost", "orphans", "dual", "")


def lines(runs: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return the table's lines: runs of one row stand together."""
    return [_line(name, list(of)) for name, of in groupby(runs, key=lambda run: str(run["name"]))]


def as_table(runs: Sequence[Entry]) -> Table:
    """Return the table for a terminal."""
    table = Table(title="real faults", title_justify="left")
    for heading in HEADINGS:
        right = heading in ("n", "rto s", "lost", "orphans", "dual")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for line in lines(runs):
        table.add_row(*line)
    return table


def as_plain(runs: Sequence[Entry]) -> str:
    """Return the same as lines of columns, for a file or a pipe."""
    rows = [HEADINGS, *lines(runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def summary(runs: Sequence[Entry]) -> str:
    """Return the sums in one line."""
    played = [run for run in runs if run["outcome"] != HARNESS]
    broken = sum(bool(run["violations"]) for run in runs)
    sync = sum(run["lost_acked"] for run in played if run["mode"] == "sync")
    mean = sum(run["took_s"] for run in runs) / len(runs) if runs else 0.0
    return (
        f"{len(runs)} runs, {mean:.0f} s each: {_sum(played, 'dual_primary')} writes by a second owner, {sync} lost in"
        f" synchronous mode, {_sum(played, 'orphans_unreported')} lost and not reported in asynchronous mode,"
        f" {broken} runs broke a promise, {len(runs) - len(played)} could not be played"
    )


def _line(name: str, runs: Sequence[Entry]) -> tuple[str, ...]:
    outcomes = Counter(run["outcome"] for run in runs)
    times = [run["rto_s"] for run in runs if run["rto_s"] is not None]
    broken = dict.fromkeys(word for run in runs for word in run["violations"])
    return (
        name,
        str(len(runs)),
        str(runs[0]["expected"]),
        ", ".join(f"{outcome} {n}" if n > 1 else outcome for outcome, n in outcomes.items()),
        f"{median(times):.1f}" if times else "-",
        str(_sum(runs, "lost_acked")),
        str(_sum(runs, "orphans_reported")),
        str(_sum(runs, "dual_primary")),
        f"BROKEN: {'; '.join(broken)}" if broken else "ok" if HARNESS not in outcomes else "not played",
    )


def _sum(runs: Iterable[Mapping[str, object]], figure: str) -> int:
    return sum(value for run in runs if isinstance(value := run.get(figure), int))
