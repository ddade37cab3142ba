"""`evac runs`: every run, one line each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    console,
    print_json,
)
from evac.core.run import Run
from evac.opening import read_estate


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("runs")
    def runs(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List every run, oldest first."""
        found = asyncio.run(_read(estate, environment, state, store))
        if as_json:
            print_json([_row(run) for run in found])
            return
        out = console()
        for run in found:
            row = _row(run)
            where = row["source"] if row["source"] == row["target"] else f"{row['source']} to {row['target']}"
            out.print(
                f"{row['run']}  {row['opened']}  {row['kind']:<10} {row['group']}: {where}"
                f"  {row['outcome']}  {row['steps_done']} of {row['steps']} steps",
                markup=False,
            )
        if not found:
            out.print("no runs yet", markup=False)


async def _read(path: Path, environment: str | None, state: Path | None, store: str | None) -> Sequence[Run]:
    async with read_estate(path, environment=environment, state=state, store=store) as opened:
        return await opened.runs()


def _row(run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "opened": run.opened.wall.isoformat(timespec="seconds"),
        "kind": run.plan.kind.value,
        "group": run.plan.group,
        "source": run.plan.source,
        "target": run.plan.target,
        "outcome": run.settled.outcome.value if run.settled else "under way",
        "steps_done": sum(run.done(s) for s in run.plan.steps),
        "steps": len(run.plan.steps),
    }
