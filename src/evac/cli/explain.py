"""`evac explain REGION`: what is known of a region, what evac makes of it, and why it does what it does, or nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.opening import Chosen
from evac.cli.standing import asking_the_store, note_cut, parts_lines, plain_cut, unwatched
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
from evac.core.decision import CallPerson, Decision
from evac.core.errors import EvacError
from evac.core.estate import RegionId
from evac.core.incident import Incident, incident
from evac.core.news import DecisionNews, VerdictNews
from evac.core.objectives import Forecast
from evac.core.quiet import Window
from evac.core.readiness import Readiness
from evac.core.restraint import Restrained
from evac.core.snapshot import Snapshot
from evac.core.triggers import Standing
from evac.core.verdict import Verdict
from evac.engine.codec import to_plain
from evac.opened import OpenEstate
from evac.opening import CutOff, ask_or_recall, state_folder
from evac.report.incidents import by_hand, incident_line
from evac.report.lines import decision_line, verdict_lines
from evac.report.plans import rpo
from evac.report.triggers import standing_lines
from evac.report.words import span, utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A region's verdict, and by group: the decision, what losing the region would cost if the primaries are there, and
    how ready the region is to take over if they are not.
    """

    region: RegionId
    verdict: Verdict
    incident: Incident | None
    """What kind of failure the verdict is, how bad, and whom it hits; None where nothing is known to have failed."""
    by_hand: str
    """What a person can do about it, beside what evac does; empty without an incident."""
    decisions: tuple[Decision, ...]
    if_lost: dict[str, Forecast]
    readiness: dict[str, Readiness]
    restraints: dict[str, tuple[Restrained, ...]]
    """By group, all that holds automation back now, whether or not anything ails it."""
    windows: tuple[Window, ...]
    """The maintenance that is under way."""
    triggers: tuple[Standing, ...]
    """How the triggers stand of what has its primaries there."""
    voiceless: dict[str, str]
    """The regions whose view does not count, each with the reason."""
    silent: str
    """Why the region itself is not heard; empty if it is."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("explain")
    def explain(
        region: Annotated[str, typer.Argument(help="The region.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show what is known of a region, and why evac acts or not."""
        Chosen(estate=estate, environment=environment, state=state, store=store).named(region)
        with asking_the_store(state_folder(estate, state)):
            (snapshot, found, led), cut = asyncio.run(_read(region, estate, environment, state, store))
        note_cut(cut)
        if as_json:
            print_json({"led": led, **to_plain(found), "cut_off": plain_cut(cut)})
            return
        out = console()
        for line in lines(found, snapshot, led=None if cut else led, wall=datetime.now(UTC)):
            out.print(line, markup=False)


async def _read(
    region: str, path: Path, environment: str | None, state: Path | None, store: str | None
) -> tuple[tuple[Snapshot, Explained, bool], CutOff | None]:
    async def ask(opened: OpenEstate, cut: CutOff | None) -> tuple[Snapshot, Explained, bool]:
        snapshot = await opened.last_known()
        led = cut is None and await opened.is_watched(state_folder(path, state))
        return snapshot, await _explain(RegionId(region), snapshot, opened), led

    return await ask_or_recall(path, ask, environment=environment, state=state, store=store)


async def _explain(region: RegionId, snapshot: Snapshot, opened: OpenEstate) -> Explained:
    verdict = next((v for v in snapshot.verdicts if v.region == region), None)
    if verdict is None:
        raise EvacError(f"who leads does not know {region} yet: restart evac, everywhere, with the estate as it is now")
    primaries = {p.group for p in snapshot.placements if p.primary == region}
    forecasts = await opened.objectives()
    ready: dict[str, Readiness] = {}
    with suppress(EvacError):  # from a view that is old nobody can tell
        for group in (p.group for p in snapshot.placements if p.primary != region):
            ready |= {str(group): each for each in await opened.readiness(group) if each.region == region}
    found = incident(
        verdict,
        estate=opened.loaded.estate,
        verdicts=snapshot.verdicts,
        voiceless=map(RegionId, snapshot.voiceless),
        placements=snapshot.placements,
        health=snapshot.health,
    )
    return Explained(
        region=region,
        verdict=verdict,
        incident=found,
        by_hand=by_hand(found) if found else "",
        decisions=snapshot.decisions,
        if_lost={str(g): forecast for g, forecast in forecasts.items() if g in primaries},
        readiness=ready,
        restraints=snapshot.restraints,
        windows=snapshot.windows,
        triggers=tuple(s for s in snapshot.triggers if s.region == region),
        voiceless=snapshot.voiceless,
        silent=snapshot.voiceless.get(region, ""),
    )


def lines(found: Explained, snapshot: Snapshot, *, led: bool | None, wall: datetime) -> list[str]:
    """Return what a person reads: what was seen, what it means, what is done about it and why, what else could be.

    `led` says whether somebody leads now, None where nobody can tell.
    """
    at, verdict = snapshot.at, found.verdict
    since = verdict.symptom_at
    news = [
        *verdict_lines(VerdictNews(at=at, verdict=verdict, before=None), since=since),
        *(decision_line(DecisionNews(at=at, decision=d), since=since) for d in found.decisions),
    ]
    old = "" if led is None else unwatched(snapshot, led=led, age=max(wall - snapshot.wall, timedelta()))
    said = [f"{found.region} as it was at {utc(snapshot.wall)}{': ' if old else ''}{old}"]
    said += parts_lines(snapshot, wall=snapshot.wall)
    said += [f"  {line.word:<9} {line.text}" for line in news]
    if found.incident is not None:
        said += [f"  {'incident':<9} {incident_line(found.incident)}", f"  {'by hand':<9} {found.by_hand}"]
    for decision in found.decisions:
        if isinstance(decision, CallPerson):
            said += [f"  {'rejected':<9} {r.region} for {decision.group}: {r.reason}" for r in decision.rejected]
    for group, held in found.restraints.items():
        said += [f"  {'held back':<9} {group}, {each.kind}: {each.reason}" for each in held]
    said += [
        f"  {'' if line.startswith(' ') else 'trigger':<9} {line}" for line in standing_lines(found.triggers, at=at)
    ]
    said += [f"  {'silent':<9} {found.silent}"] if found.silent else []
    said += [f"  {'no vote':<9} {r}: {why}" for r, why in found.voiceless.items() if r != found.region]
    for group, forecast in found.if_lost.items():
        said.append(
            f"  {'if lost':<9} {group} would be back in {span(forecast.rto)} (p95 {span(forecast.rto_p95)}), RPO"
            f" {rpo(forecast)}"
        )
    for group, ready in found.readiness.items():
        why = f": {'; '.join(ready.blocking)}" if ready.blocking else ""
        said.append(
            f"  {'ready' if ready.ready else 'not ready':<9} to take over {group}, scores {ready.score:.2f}{why}"
        )
        said += [f"  {'':<9} {hint}" for hint in ready.recommendations]
    return said
