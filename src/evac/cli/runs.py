"""`evac runs`: every run, one line each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
from evac.engine.archive import Archived
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
        archived, found = asyncio.run(_read(estate, environment, state, store))
        if as_json:
            print_json([*map(_row_archived, archived), *map(_row, found)])
            return
        out = console()
        for gone in archived:
            out.print(f"{_what(_row_archived(gone))}  {gone.outcome}  archived: {gone.file}", markup=False)
        for run in found:
            row = _row(run)
            out.print(f"{_what(row)}  {row['outcome']}  {row['steps_done']} of {row['steps']} steps", markup=False)
        if not found and not archived:
            out.print("no runs yet", markup=False)


async def _read(
    path: Path, environment: str | None, state: Path | None, store: str | None
) -> tuple[Sequence[Archived], Sequence[Run]]:
    async with read_estate(path, environment=environment, state=state, store=store) as opened:
        return await opened.archived(), await opened.runs()


def _what(row: Mapping[str, object]) -> str:
    where = row["source"] if row["source"] == row["target"] else f"{row['source']} to {row['target']}"
    return f"{row['run']}  {row['opened']}  {row['kind']:<10} {row['group']}: {where}"


def _row_archived(gone: Archived) -> dict[str, object]:
    return {
        "run": gone.run,
        "opened": gone.opened.isoformat(timespec="seconds"),
        "kind": gone.kind.value,
        "group": gone.group,
        "source": gone.source,
        "target": gone.target,
        "outcome": gone.outcome.value,
        "archived": gone.file,
        "sha256": gone.sha256,
    }


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
