"""`evac pause`, `resume`, `approve`, `resolve`, `rejoin`, `degrade`: what a person tells a running controller."""

from __future__ import annotations

import asyncio
from datetime import timedelta
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
    YesOption,
    busy,
    confirmed,
    duration,
    note,
    print_json,
    refuse_unasked,
)
from evac.core.errors import UnsafePlan
from evac.core.run import Outcome, Run
from evac.core.snapshot import Wish
from evac.opening import read_estate
from evac.report.words import span

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is shown to everybody and kept.")]


LastingOption = Annotated[
    timedelta | None,
    typer.Option("--for", parser=duration, metavar="DURATION", help="How long, as 30m or 2h. Then it ends by itself."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("pause")
    def pause(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        reason: ReasonOption = "",
        lasting: LastingOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Turn automation off, everywhere. evac watches and tells, and moves nothing by itself.

        What keeps two from writing goes on: leases run out, and a run under way is carried on.
        """
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store)
        until = f" after {span(lasting)} by itself, or" if lasting else ""
        said = f"automation is off; on again{until}: evac resume"
        _tell(Wish.PAUSE, chosen, as_json=as_json, said=said, reason=reason, lasting=lasting)

    @app.command("resume")
    def resume(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Turn automation on again."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store)
        _tell(Wish.RESUME, chosen, as_json=as_json, said="automation is on")

    _add_maintenance(app)
    _add_words(app)
    _add_for_standbys(app)


def _add_maintenance(app: typer.Typer) -> None:
    """Add what a person says of work that is expected to disturb something."""

    @app.command("maintenance")
    def maintenance(
        lasting: LastingOption = None,
        region: Annotated[str | None, typer.Option("--region", help="What has its primaries in this region.")] = None,
        group: Annotated[str | None, typer.Option("--group", help="This group. Default: all.")] = None,
        reason: ReasonOption = "",
        end: Annotated[bool, typer.Option("--end", help="It is over: what was announced so.")] = False,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Announce work: what it disturbs does not move by itself.

        Until it is over evac says what it would do, and calls nobody for it; a person can move by hand. What keeps two
        from writing goes on.
        """
        if end is (lasting is not None):
            wrong = "one of --for and --end, not both" if end else "say how long it lasts, or --end"
            raise typer.BadParameter(wrong, param_hint="--for")
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        chosen.named(region)
        wish = Wish.MAINTAINED if end else Wish.MAINTAIN
        said = "it is over" if end or lasting is None else f"nothing moves by itself there for {span(lasting)}"
        _tell(wish, chosen, as_json=as_json, said=said, reason=reason, region=region, lasting=lasting)


def _add_words(app: typer.Typer) -> None:
    """Add what a person says when evac has asked, or has come to the end of what it may do."""

    @app.command("approve")
    def approve(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Approve the move that evac asks for. Returns when it has begun; evac runs shows how far it is."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        _tell(Wish.APPROVE, chosen, as_json=as_json, said="approved")

    @app.command("resolve")
    def resolve(
        run: Annotated[str | None, typer.Argument(help="The stuck run. Default: the only one there is.")] = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Say that what a stuck run left is mended. evac acts for its group again."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        chosen.named()
        if run is not None:
            asyncio.run(_there(run, chosen))
        _tell(Wish.RESOLVE, chosen, as_json=as_json, said="resolved", run=run)


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
        """Make a returned region a standby again. What only it has is saved first.

        Returns when it is done, with 1 if it did not come to be.
        """
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        _run(Wish.REJOIN, chosen, region, doing=f"rebuilds {region}", as_json=as_json)

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
        """Let a primary whose standbys are all away acknowledge alone.

        What it writes then may be lost with its region, until a standby streams again: evac takes it back by itself.
        """
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        chosen.named(region)
        refuse_unasked(yes=yes)
        risk = f"what the primary in {region} acknowledges alone is lost with it; evac ends this when a standby streams"
        if not (yes or confirmed((risk,), region)):
            raise UnsafePlan(("it was not confirmed",))
        doing = f"lets the primary in {region} go on alone"
        _run(Wish.DEGRADE, chosen, region, doing=doing, as_json=as_json, reason=reason)


async def _there(run: str, chosen: Chosen) -> None:
    """Raise `NotThere` when no such run was ever opened, before anything is started."""
    async with read_estate(
        chosen.estate, environment=chosen.environment, state=chosen.state, store=chosen.store
    ) as estate:
        await estate.has_run(run)


def _tell(
    wish: Wish,
    chosen: Chosen,
    *,
    as_json: bool,
    said: str,
    reason: str = "",
    run: str | None = None,
    region: str | None = None,
    lasting: timedelta | None = None,
) -> None:
    """Tell the controller, and say what it made of it. What it remembers is enough for all but an approval."""

    watched = "; nobody watches until evac serve, or an agent, runs" if wish in (Wish.PAUSE, Wish.RESUME) else ""

    async def ask() -> str | None:
        async with opened(chosen, looks=wish is Wish.APPROVE, afterwards=watched) as estate:
            return await estate.ask(wish, group=chosen.group, region=region, reason=reason, run=run, lasting=lasting)

    begun = asyncio.run(ask())
    if as_json:
        print_json({"wish": wish.value, "run": begun})
    else:
        print(said + (f": run {begun}; see it with evac report {begun}" if begun else ""))


def _run(wish: Wish, chosen: Chosen, region: str, *, doing: str, as_json: bool, reason: str = "") -> None:
    """Wish for a run, and stay with it to its end."""

    async def ask() -> Run:
        async with opened(chosen, regions=[region]) as estate:
            run = await estate.ask(wish, group=chosen.group, region=region, reason=reason)
            assert run is not None, f"{wish} starts a run"
            note(f"run {run} {doing}; it goes on when you leave: evac report {run}")
            with busy(f"run {run} {doing}"):
                return await estate.settled(run)

    run = asyncio.run(ask())
    assert run.settled is not None, "a run is waited for to its end"
    outcome, reasons = run.settled.outcome, run.settled.reasons
    if as_json:
        print_json({"wish": wish.value, "run": run.id, "outcome": outcome.value, "reasons": list(reasons)})
    else:
        why = f": {'; '.join(reasons)}" if reasons else ""
        print(f"run {run.id} {outcome.value}{why}; see it with evac report {run.id}")
    if outcome is not Outcome.COMPLETED:
        raise typer.Exit(1)
