"""The results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from evac.lab.bench.results import Result, phases


def as_table(results: Sequence[Result]) -> Table:
    """Return one line a case: its figure, the promises, and where the time went."""
    table = Table(title="what clients saw", title_justify="left")
    for heading in ("case", "n", "median s", "min-max s", "target s", "lost", "orphans", "two owners", "phases s", ""):
        left = heading in ("case", "phases s", "")
        table.add_column(heading, justify="left" if left else "right", overflow="fold", no_wrap=heading == "case")
    for result in results:
        values = result.figure(result.case.figure)
        limit = result.case.median_max_s
        verdicts = [trial.verdict for trial in result.trials]
        table.add_row(
            result.case.name,
            str(len(result.trials)),
            f"{values['median']:.2f}" if values else "-",
            f"{values['min']:.2f}-{values['max']:.2f}" if values else "-",
            f"{limit:g}" + (f" ({result.case.because})" if result.case.because else "") if limit is not None else "-",
            str(sum(len(verdict.lost) for verdict in verdicts)),
            str(sum(trial.orphans_reported for trial in result.trials)),
            str(sum(len(verdict.two_owners) for verdict in verdicts)),
            " ".join(f"{name} {seconds:.2f}" for name, seconds in phases(result.trials).items()),
            "ok" if not result.failures else f"MISSED: {'; '.join(result.failures)}",
        )
    return table
