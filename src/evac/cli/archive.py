"""`evac archive FOLDER`: old runs, out of the store and into files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    console,
    duration,
    print_json,
)
from evac.engine.archive import Archived, Stays
from evac.engine.codec import to_plain
from evac.opening import read_estate


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("archive")
    def archive(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; made if it is not there.")],
        before: Annotated[
            timedelta,
            typer.Option("--before", parser=duration, metavar="DURATION", help="Runs that ended so long ago: 90d."),
        ],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Take old runs out of the store, each into a file.

        What does not verify, is under way, or is stuck stays; then it ends with 1.
        """

        async def done() -> tuple[Sequence[Archived], Sequence[Stays]]:
            async with read_estate(estate, environment=environment, state=state, store=store) as opened:
                return await opened.archive(folder, older_than=before)

        gone, stay = asyncio.run(done())
        if as_json:
            print_json({"archived": [to_plain(one) for one in gone], "stay": [to_plain(one) for one in stay]})
        else:
            out = console()
            for one in gone:
                out.print(f"archived   run {one.run}: {one.file}", markup=False)
            for left in stay:
                out.print(f"stays      run {left.run}: {left.why}", markup=False)
            if not gone and not stay:
                out.print("no run is that old", markup=False)
        if stay:
            raise typer.Exit(1)
