"""`evac what-if [REGION]`: if that region died now, what evac would do, how long it would take, what would be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeAlias

import typer

from evac.cli.opening import Chosen
from evac.cli.standing import asking_the_store, note_cut, plain_cut
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
from evac.core.errors import EvacError
from evac.core.estate import Estate, GroupId, RegionId
from evac.core.forcing import lost_of
from evac.core.news import DecisionNews
from evac.core.snapshot import UNSEEN
from evac.core.what_if import WhatIf
from evac.engine.outlook import Thought
from evac.opened import OpenEstate
from evac.opening import CutOff, ask_or_recall, state_folder
from evac.report.lines import decision_line
from evac.report.plans import plan_lines
from evac.report.words import span

Unplaced: TypeAlias = Mapping[RegionId, Mapping[GroupId, Sequence[str]]]
"""By region, the groups with somebody there of which nobody knows where their primaries are, and why."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("what-if")
    def what_if(
        region: Annotated[str | None, typer.Argument(help="The region that would die. Default: each of them.")] = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show what the loss of a region would come to now.

        For each group: the decision, the plan, its forecast, what would be lost, what blocks. Exits with 1 when
        primaries would be left where they are, or it is not known where they are.
        """
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store)
        if region is not None:
            chosen.named(region)
        with asking_the_store(state_folder(estate, state)):
            (thoughts, unplaced), cut = asyncio.run(_read(region, estate, environment, state, store))
        note_cut(cut)
        if as_json:
            print_json({"regions": thoughts, "unplaced": unplaced, "cut_off": plain_cut(cut)})
        else:
            out = console()
            for line in lines(thoughts, wall=datetime.now(UTC), whole=region is not None, unplaced=unplaced):
                out.print(line, markup=False)
        if unplaced or any(each.stays for thought in thoughts for each in thought.each):
            raise typer.Exit(1)


async def _read(
    region: str | None, path: Path, environment: str | None, state: Path | None, store: str | None
) -> tuple[tuple[tuple[Thought, ...], Unplaced], CutOff | None]:
    async def ask(opened: OpenEstate, _: CutOff | None) -> tuple[tuple[Thought, ...], Unplaced]:
        thoughts = tuple(t for t in await opened.what_ifs() if region in (None, t.region))
        why: Mapping[str, Sequence[str]] = {}
        with suppress(EvacError):  # without a view nobody can tell
            why = (await opened.last_known()).unplaced
        return thoughts, unplaced_in(thoughts, estate=opened.loaded.estate, why=why)

    (thoughts, unplaced), cut = await ask_or_recall(path, ask, environment=environment, state=state, store=store)
    if not thoughts:
        raise EvacError(
            "nothing has been thought through yet: it is, some seconds after evac serve (or most of the agents) started"
        )
    return (thoughts, unplaced), cut


def unplaced_in(thoughts: Iterable[Thought], *, estate: Estate, why: Mapping[str, Sequence[str]]) -> Unplaced:
    """Return the groups that a thought has nothing of though they have somebody there: nobody knows their primaries."""
    found: dict[RegionId, dict[GroupId, Sequence[str]]] = {}
    for thought in thoughts:
        there = {estate.services[c.service].group for c in estate.components.values() if thought.region in c.members}
        for group in sorted((there & estate.home.keys()) - {each.group for each in thought.each}):
            found.setdefault(thought.region, {})[group] = why.get(group) or [UNSEEN]
    return found


def lines(
    thoughts: Sequence[Thought], *, wall: datetime, whole: bool, unplaced: Unplaced = MappingProxyType({})
) -> list[str]:
    """Return what a person reads; with `whole` also the plans' steps."""
    said: list[str] = []
    for thought in thoughts:
        said.append(f"if {thought.region} died now (as thought through {span(wall - thought.wall)} ago)")
        said += [f"  {line}".rstrip() for each in thought.each for line in _each(each, whole=whole)]
        unknown = unplaced.get(thought.region, {})
        said += [f"  where {group}'s primaries are is not known: {'; '.join(why)}" for group, why in unknown.items()]
        said += ["  nobody there belongs to a group"] if not (thought.each or unknown) else []
        said += ["  the plans are too large to be kept: evac plan failover shows one"] if not thought.whole else []
    return said


def _each(each: WhatIf, *, whole: bool) -> Iterator[str]:
    role = "its primaries are there" if each.serves else "it stands by there"
    news = DecisionNews(at=timedelta(), decision=each.decision)
    yield f"{each.group}, {role}: {decision_line(news, since=timedelta()).text}"
    if each.forecast is not None:
        path = " → ".join(each.forecast.critical_path) or "nothing"
        who = f"by hand (evac failover {each.region}): " if each.stays else ""
        yield f"  {who}RTO {span(each.forecast.rto)} (p95 {span(each.forecast.rto_p95)}), critical path: {path}"
    for loss in each.losses:
        yield f"  {lost_of(loss)}"
    if each.blocks != each.decision.reasons:
        yield from (f"  blocks: {reason}" for reason in each.blocks)
    if whole and each.plan is not None and each.forecast is not None:
        yield ""
        yield from (f"  {line}".rstrip() for line in plan_lines(each.plan, each.forecast))
