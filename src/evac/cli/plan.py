"""`evac plan`: a dry run; what a move would do now, how long it would take, what it would lose."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from evac.cli.opening import Chosen, opened
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
        """Show what a move would do now: steps, graph, forecast. Nothing is changed."""
        source = region if kind is MoveKind.FAILOVER else None
        target = region if kind in (MoveKind.SWITCHOVER, MoveKind.SHIFT) and to is None else to
        if kind is MoveKind.FAILBACK and (region or to):
            raise typer.BadParameter("a failback goes home, so it takes no region", param_hint="region")
        if kind in (MoveKind.SWITCHOVER, MoveKind.SHIFT) and region and to:
            raise typer.BadParameter("name the region to move to once, here or with --to", param_hint="region")
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        made, forecast = asyncio.run(_plan(chosen, kind, source, target, accept_loss=accept_loss))
        if as_json:
            print_json({"plan": made, "forecast": forecast})
            return
        out = console()
        for line in plan_lines(made, forecast):
            out.print(line, markup=False)


async def _plan(
    chosen: Chosen, kind: MoveKind, source: str | None, target: str | None, *, accept_loss: bool
) -> tuple[Plan, Forecast]:
    async with opened(chosen, regions=(source, target)) as estate:
        made = await estate.plan(source, target, kind=kind.value, group=chosen.group, accept_loss=accept_loss)
        return made, await estate.forecast(made)
