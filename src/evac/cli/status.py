"""`evac status`: is it fine; if not, what is evac doing about it; what does it need from me. Then the evidence."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

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
from evac.core.assessment import Diagnosis
from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin
from evac.core.estate import GroupId, RegionId
from evac.core.objectives import Forecast
from evac.core.observation import MemberRole, MemberState
from evac.core.protection import Protect, say_set
from evac.core.snapshot import Snapshot
from evac.core.standing import SetStanding
from evac.core.traffic import Shift
from evac.opened import SNAPSHOT_FRESH, read_estate, state_folder
from evac.report.plans import rpo
from evac.report.words import span


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("status")
    def status(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Say whether all is fine, and what is needed from you. Exits with 1 if not."""
        snapshot, forecasts, led = asyncio.run(_read(estate, environment, state, store))
        fine = led and _fine(snapshot)
        if as_json:
            print_json({"fine": fine, "led": led, "snapshot": snapshot, "forecasts": forecasts})
        else:
            out = console()
            for line in lines(snapshot, forecasts, led=led, wall=datetime.now(UTC)):
                out.print(line, markup=False)
        if not fine:
            raise typer.Exit(1)


async def _read(
    path: Path, environment: str | None, state: Path | None, store: str | None
) -> tuple[Snapshot, dict[GroupId, Forecast], bool]:
    async with read_estate(path, environment=environment, state=state, store=store) as opened:
        led = await opened.is_watched(state_folder(path, state))
        return await opened.last_known(), await opened.objectives(), led


def _fine(snapshot: Snapshot) -> bool:
    calm = all(isinstance(d, Hold) and not d.watching for d in snapshot.decisions)
    known = not snapshot.unplaced and not snapshot.voiceless and not snapshot.stuck
    well = all(v.diagnosis is Diagnosis.WELL for v in snapshot.verdicts)
    covered = all(standing.whole for standing in snapshot.sets)
    home = not any(p.awaiting_rejoin or p.entry for p in snapshot.placements)
    return calm and known and well and covered and home


def lines(snapshot: Snapshot, forecasts: dict[GroupId, Forecast], *, led: bool, wall: datetime) -> list[str]:
    """Return what a person reads, the three answers first."""
    age = max(wall - snapshot.wall, timedelta())
    said = [_first(snapshot, led=led, age=age)]
    said += [f"  {p.group}: clients enter by {p.entry}, {p.primary} serves" for p in snapshot.placements if p.entry]
    said += [f"  {d.group}: {'; '.join(d.reasons)}" for d in snapshot.decisions if not _calm(d)]
    said += [f"  {g}: {'; '.join(why)}" for g, why in snapshot.unplaced.items()]
    said += [f"  automation is paused: {snapshot.paused}"] if snapshot.paused else []
    said.append("")
    said += [_region(snapshot, RegionId(str(v.region))) for v in snapshot.verdicts]
    said += [line for standing in snapshot.sets for line in _set(standing)]
    for group, forecast in forecasts.items():
        rto = f"{forecast.rto.total_seconds():.1f} s (p95 {forecast.rto_p95.total_seconds():.1f})"
        said.append(f"if {group}'s primary region were lost now: RTO {rto}   RPO {rpo(forecast)}")
    return said


def _first(snapshot: Snapshot, *, led: bool, age: timedelta) -> str:
    """Is it fine, what is done, what is needed."""
    if not led or age > SNAPSHOT_FRESH:
        return f"{snapshot.estate}: nobody watches; what follows is {span(age)} old. Needed from you: start evac serve"
    if snapshot.stuck:
        runs = ", ".join(snapshot.stuck.values())
        return f"{snapshot.estate}: not fine. Run {runs} is stuck. Needed from you: evac report {runs}"
    if any(isinstance(d, CallPerson) for d in snapshot.decisions):
        return f"{snapshot.estate}: not fine, and evac does not act by itself. Needed from you: see below"
    if any(isinstance(d, Ask) for d in snapshot.decisions):
        return f"{snapshot.estate}: not fine. Needed from you: evac approve, or evac pause"
    if snapshot.active:
        return f"{snapshot.estate}: run {', '.join(snapshot.active.values())} is under way. Nothing is needed from you"
    if _fine(snapshot):
        return f"{snapshot.estate}: fine. Nothing is needed from you"
    return f"{snapshot.estate}: not fine; evac watches. Nothing is needed from you yet"


def _calm(decision: Decision) -> bool:
    match decision:
        case Hold():
            return not decision.watching
        case Move() | Shift() | Ask() | CallPerson() | Rejoin() | Protect():
            return False


def _region(snapshot: Snapshot, region: RegionId) -> str:
    verdict = next(v for v in snapshot.verdicts if v.region == region)
    health = verdict.status.value if verdict.diagnosis == "well" else verdict.diagnosis.value
    members = [_member(m.component, m.state, m.reason) for m in snapshot.members if m.region == region]
    silent = f"  ({snapshot.voiceless[region]})" if region in snapshot.voiceless else ""
    return f"{region:<12} {health:<14} {'   '.join(members)}{silent}"


def _set(standing: SetStanding) -> list[str]:
    """Whom a primary waits for; if that is not what is declared, why."""
    if standing.alone:
        who = "waits for nobody: the promise to lose nothing is off until a standby streams again"
    else:
        who = f"waits for {', and for '.join(say_set(sync) for sync in standing.sets)}"
        who += f"; not for {', '.join(standing.missing)}" if standing.missing else ""
    lines = [f"{standing.component} {who}"]
    if standing.changed is not None and not standing.whole:
        change = standing.changed
        when = f"{change.wall.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"  since {when}, run {change.run} ({change.kind}): {'; '.join(change.reasons)}")
    return lines


def _member(component: str, state: MemberState | None, reason: str) -> str:
    if state is None:
        return f"{component}: no answer ({reason})"
    lag = f", lag {span(state.lag)}" if state.lag is not None and state.role is MemberRole.STANDBY else ""
    waits = f", waits for {state.sync_acks} of {len(state.sync_standbys)}" if state.sync_standbys else ""
    alone = "" if state.role is not MemberRole.STANDBY or state.streaming else ", stream broken"
    return f"{component}: {state.role.value}{lag}{waits}{alone}"
