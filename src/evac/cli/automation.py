"""`evac pause`, `resume`, `approve`, `resolve`, `rejoin`, `degrade`: what a person tells a running controller."""

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
    YesOption,
    confirmed,
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

    _add_for_standbys(app)


def _add_for_standbys(app: typer.Typer) -> None:
    """Add what is said of standbys: one that is back, or that none is left."""

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

    @app.command("degrade")
    def degrade(
        region: Annotated[str, typer.Argument(help="The region of the primary that is to go on alone.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        reason: ReasonOption = "",
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Let a primary whose standbys are all away acknowledge alone. What it writes then may be lost with its region,
        until a standby streams again: evac takes it back by itself."""
        risk = f"what the primary in {region} acknowledges alone is lost with it; evac ends this when a standby streams"
        if not (yes or confirmed((risk,), region)):
            print("nothing was changed")
            raise typer.Exit(3)
        said = "the primary may go on alone"
        _ask(
            Wish.DEGRADE,
            estate,
            environment,
            state,
            store,
            group=group,
            region=region,
            reason=reason,
            as_json=as_json,
            said=said,
        )


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
            if run is not None and wish in (Wish.REJOIN, Wish.DEGRADE):
                await opened.settled(run)
            return run

    run = asyncio.run(ask())
    if as_json:
        print_json({"wish": wish.value, "run": run})
    else:
        print(said + (f": run {run}; see it with evac report {run}" if run else ""))
