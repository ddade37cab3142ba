"""`evac pause`, `resume`, `approve`, `resolve`, `rejoin`: what a person tells a running controller."""

from __future__ import annotations

import asyncio
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
    print_json,
)
from evac.core.run import RunId
from evac.core.snapshot import Wish
from evac.opened import open_estate

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is shown to everybody and kept.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("pause")
    def pause(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        reason: ReasonOption = "",
        as_json: JsonOption = False,
    ) -> None:
        """Turn automation off: evac watches and tells, and moves nothing by itself."""
        _ask(Wish.PAUSE, estate, environment, state, store, reason=reason, as_json=as_json, said="automation is off")

    @app.command("resume")
    def resume(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Turn automation on again."""
        _ask(Wish.RESUME, estate, environment, state, store, as_json=as_json, said="automation is on")

    @app.command("approve")
    def approve(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Approve the move that evac asks for."""
        _ask(Wish.APPROVE, estate, environment, state, store, group=group, as_json=as_json, said="approved")

    @app.command("resolve")
    def resolve(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Say that a person has mended what a stuck run left; evac acts for its group again."""
        _ask(Wish.RESOLVE, estate, environment, state, store, group=group, as_json=as_json, said="resolved")

    @app.command("rejoin")
    def rejoin(
        region: Annotated[str, typer.Argument(help="The returned region to make a standby again.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Rebuild a returned region as a standby; what only it has is saved first."""
        _ask(Wish.REJOIN, estate, environment, state, store, group=group, region=region, as_json=as_json, said="begun")


def _ask(
    wish: Wish,
    estate: Path,
    environment: str | None,
    state: Path | None,
    store: str | None,
    *,
    as_json: bool,
    said: str,
    group: str | None = None,
    region: str | None = None,
    reason: str = "",
) -> None:
    async def ask() -> RunId | None:
        async with open_estate(estate, environment=environment, state=state, store=store) as opened:
            run = await opened.ask(wish, group=group, region=region, reason=reason)
            if run is not None and wish is Wish.REJOIN:
                await opened.settled(run)
            return run

    run = asyncio.run(ask())
    if as_json:
        print_json({"wish": wish.value, "run": run})
    else:
        print(said + (f": run {run}; see it with evac report {run}" if run else ""))
