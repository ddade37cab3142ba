"""`evac failover`, `switchover`, `failback`: a person moves a group."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from evac.cli.opening import Chosen, opened
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
    note,
    print_json_line,
    refuse_unasked,
)
from evac.core.errors import UnsafePlan
from evac.core.run import Outcome, Run
from evac.core.snapshot import Wish
from evac.opened import STRATEGIES
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
        """Move a group out of a region now. It need not answer any more."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        asked = Asked(chosen=chosen, as_json=as_json, yes=yes, reason=reason)
        asked.strategy(strategy)
        asked.move(Wish.FAILOVER, source=region, target=to, accept_loss=accept_loss)

    _add_planned(app)


def _add_planned(app: typer.Typer) -> None:
    """Add the moves of what is well: away, and home again."""

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
        """Move a healthy group to another region. No acknowledged write is lost."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        asked = Asked(chosen=chosen, as_json=as_json, yes=yes, reason=reason)
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
        """Move a group, or only its traffic, back to its home region."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        asked = Asked(chosen=chosen, as_json=as_json, yes=yes, reason=reason)
        asked.strategy(strategy)
        asked.move(Wish.FAILBACK, source=None, target=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One person's wish at one terminal."""

    chosen: Chosen
    as_json: bool
    yes: bool
    reason: str

    def strategy(self, strategy: str) -> None:
        """Refuse a strategy that is not there, before anything is started."""
        if strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise typer.BadParameter(f"{strategy} is not built yet; there is: {known}", param_hint="--strategy")

    def move(self, wish: Wish, *, source: str | None, target: str | None, accept_loss: bool = False) -> None:
        """Show the plan, ask, move, and end with the exit code of the run."""
        self.chosen.named(source, target)
        refuse_unasked(yes=self.yes)
        run = asyncio.run(self._move(wish, source, target, accept_loss=accept_loss))
        if run is None:
            raise UnsafePlan(("it was not confirmed",))
        assert run.settled is not None, "a move waits for its run's end"
        if self.as_json:
            outcome, reasons = run.settled.outcome.value, list(run.settled.reasons)
            print_json_line({"run": run.id, "outcome": outcome, "reasons": reasons})
        if run.settled.outcome is not Outcome.COMPLETED:
            raise typer.Exit(1)

    async def _move(self, wish: Wish, source: str | None, target: str | None, *, accept_loss: bool) -> Run | None:
        group = self.chosen.group
        async with opened(self.chosen) as estate:
            told = await estate.risks(group) if accept_loss else ()
            for risk in told:
                note(f"risk: {risk}")
            if not self.yes:
                plan = await estate.plan(source, target, kind=wish.value, group=group, accept_loss=accept_loss)
                if not confirmed(plan_lines(plan, await estate.forecast(plan)), plan.target):
                    return None
            run = await estate.ask(
                wish,
                group=group,
                region=source,
                target=target,
                accept_loss=accept_loss,
                told=told,
                reason=self.reason,
            )
            assert run is not None, "a move starts a run"
            return await estate.settled(run, Teller(as_json=self.as_json, estate=estate.loaded.estate))
