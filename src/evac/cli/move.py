"""`evac failover`, `switchover`, `failback`: a person moves a group."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.telling import Teller
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
from evac.core.errors import UnsafePlan
from evac.core.run import Outcome, Run
from evac.core.snapshot import Wish
from evac.opened import open_estate
from evac.report.plans import plan_lines

ToOption = Annotated[str | None, typer.Option("--to", help="The region to move to. Default: the best one.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the report.")]
StrategyOption = Annotated[str, typer.Option("--strategy", help="How traffic is shifted: immediate.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("failover")
    def failover(
        region: Annotated[str, typer.Argument(help="The region to leave.")],
        to: ToOption = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        accept_loss: Annotated[
            bool,
            typer.Option(
                "--accept-loss",
                help="You are sure the old primary writes no more: go on without a fence. Recorded with your name.",
            ),
        ] = False,
        reason: ReasonOption = "",
        strategy: StrategyOption = "immediate",
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Move a group out of a region now, whether or not the region still answers."""
        asked = Asked(estate, environment, state, store, group, as_json=as_json, yes=yes, reason=reason)
        asked.strategy(strategy)
        asked.move(Wish.FAILOVER, source=region, target=to, accept_loss=accept_loss)

    @app.command("switchover")
    def switchover(
        to: Annotated[str | None, typer.Argument(help="The region to move to. Default: the best one.")] = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        reason: ReasonOption = "",
        strategy: StrategyOption = "immediate",
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Move a healthy group to another region; no acknowledged write is lost."""
        asked = Asked(estate, environment, state, store, group, as_json=as_json, yes=yes, reason=reason)
        asked.strategy(strategy)
        asked.move(Wish.SWITCHOVER, source=None, target=to)

    @app.command("failback")
    def failback(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        reason: ReasonOption = "",
        strategy: StrategyOption = "immediate",
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Move a group back to its home region; only its traffic, where nothing else is away."""
        asked = Asked(estate, environment, state, store, group, as_json=as_json, yes=yes, reason=reason)
        asked.strategy(strategy)
        asked.move(Wish.FAILBACK, source=None, target=None)


class Asked:
    """One person's wish at one terminal."""

    def __init__(
        self,
        estate: Path,
        environment: str | None,
        state: Path | None,
        store: str | None,
        group: str | None,
        *,
        as_json: bool,
        yes: bool,
        reason: str,
    ) -> None:
        self._estate = estate
        self._environment = environment
        self._state = state
        self._store = store
        self._group = group
        self._as_json = as_json
        self._yes = yes
        self._reason = reason

    def strategy(self, strategy: str) -> None:
        if strategy != "immediate":
            raise UnsafePlan((f"strategy {strategy} is not built yet; there is: immediate",))

    def move(self, wish: Wish, *, source: str | None, target: str | None, accept_loss: bool = False) -> None:
        """Show the plan, ask, move, and end with the exit code of the run."""
        run = asyncio.run(self._move(wish, source, target, accept_loss=accept_loss))
        if run is None:
            print("nothing was changed")
            raise typer.Exit(3)
        assert run.settled is not None, "a move waits for its run's end"
        if self._as_json:
            print_json({"run": run.id, "outcome": run.settled.outcome.value, "reasons": list(run.settled.reasons)})
        if run.settled.outcome is not Outcome.COMPLETED:
            raise typer.Exit(1)

    async def _move(self, wish: Wish, source: str | None, target: str | None, *, accept_loss: bool) -> Run | None:
        teller = Teller(as_json=self._as_json)
        async with open_estate(
            self._estate, environment=self._environment, state=self._state, store=self._store
        ) as estate:
            if not self._yes:
                plan = await estate.plan(source, target, kind=wish.value, group=self._group, accept_loss=accept_loss)
                if not confirmed(plan_lines(plan, await estate.forecast(plan)), plan.target):
                    return None
            run = await estate.ask(
                wish, group=self._group, region=source, target=target, accept_loss=accept_loss, reason=self._reason
            )
            assert run is not None, "a move starts a run"
            return await estate.settled(run, teller)
