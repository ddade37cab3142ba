"""`evac plan`: a dry run; what a move would do now, how long it would take, what it would lose."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    GroupOption,
    JsonOption,
    StateOption,
    StoreOption,
    console,
    print_json,
)
from evac.core.objectives import Forecast
from evac.core.plan import Plan
from evac.opened import open_estate
from evac.report.plans import plan_lines


class MoveKind(StrEnum):
    """The moves a person can plan."""

    FAILOVER = "failover"
    SWITCHOVER = "switchover"
    FAILBACK = "failback"
    SHIFT = "shift"


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("plan")
    def plan(
        kind: Annotated[MoveKind, typer.Argument(help="What would be done.")],
        region: Annotated[
            str | None, typer.Argument(help="The region to leave (failover), or to go to (switchover, shift).")
        ] = None,
        to: Annotated[str | None, typer.Option("--to", help="The region to move to. Default: the best one.")] = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        accept_loss: Annotated[
            bool, typer.Option("--accept-loss", help="Plan as if a person took the place of a fence.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Show the plan of a move as it would be made now: steps, graph, forecast. Nothing is changed."""
        source = region if kind is MoveKind.FAILOVER else None
        target = region if kind in (MoveKind.SWITCHOVER, MoveKind.SHIFT) and to is None else to
        made, forecast = asyncio.run(_plan(estate, environment, state, store, kind, source, target, group, accept_loss))
        if as_json:
            print_json({"plan": made, "forecast": forecast})
            return
        out = console()
        for line in plan_lines(made, forecast):
            out.print(line, markup=False)


async def _plan(
    path: Path,
    environment: str | None,
    state: Path | None,
    store: str | None,
    kind: MoveKind,
    source: str | None,
    target: str | None,
    group: str | None,
    accept_loss: bool,
) -> tuple[Plan, Forecast]:
    async with open_estate(path, environment=environment, state=state, store=store) as estate:
        made = await estate.plan(source, target, kind=kind.value, group=group, accept_loss=accept_loss)
        return made, await estate.forecast(made)
