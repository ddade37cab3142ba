"""`evac status`: is it fine; if not, what is evac doing about it; what does it need from me. Then the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from evac.cli.standing import asking_the_store, cut_off, parts_lines, plain_cut, store_line, unwatched
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
from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin
from evac.core.estate import ComponentId, Estate, GroupId, Objectives, Purpose, RegionId
from evac.core.health import score
from evac.core.lease import Leader
from evac.core.objectives import Forecast
from evac.core.observation import MemberRole, MemberState
from evac.core.outlook import Point, Trend, trend
from evac.core.protection import Protect, say_set
from evac.core.snapshot import Snapshot
from evac.core.standing import SetStanding
from evac.core.traffic import Shift
from evac.core.verdict import Diagnosis
from evac.engine.outlook import Thought
from evac.opened import OpenEstate
from evac.opening import CutOff, ask_or_recall, state_folder
from evac.ports import StoreHealth
from evac.report.plans import rpo
from evac.report.triggers import how
from evac.report.words import columns, count, span

GROUPS_SHOWN_MAX = 10


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
        """Say whether all is fine, and what is needed from you. Exits with 1 if not.

        Where the store cannot be reached it says what this host's agent last knew of it, how that agent stands, and
        exits with 4.
        """
        with asking_the_store(state_folder(estate, state)):
            known, led = asyncio.run(_read(estate, environment, state, store))
        fine = led and _fine(known.snapshot)
        if as_json:
            print_json({"fine": fine, "led": led, **known.plain()})
        else:
            out = console()
            for line in lines(known, led=led, wall=datetime.now(UTC)):
                out.print(line, markup=False)
        if known.cut is not None:
            raise typer.Exit(4)
        if not fine:
            raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a status is made of: the newest view, and by group what a loss would cost, the promise, the past."""

    snapshot: Snapshot
    forecasts: Mapping[GroupId, Forecast]
    targets: Mapping[GroupId, Objectives]
    past: Mapping[str, Sequence[Point]]
    blocked: Mapping[GroupId, tuple[str, ...]]
    """Why nothing could be done for a group if its primary region were lost."""
    hosted: Mapping[RegionId, tuple[ComponentId, ...]] = field(default_factory=dict)
    """By region, the components that hold state and have their primaries there."""
    store: StoreHealth | None = None
    """How the store is, seen from here."""
    cut: CutOff | None = None
    """How this host's agent stands, where the store cannot be reached: all else is what that agent kept."""

    def rto_trend(self, group: GroupId) -> Trend:
        """Return where a group's time to recover is going."""
        return trend([p.rto for p in self.past.get(group, ())], self.forecasts[group].rto)

    def rpo_trend(self, group: GroupId) -> Trend:
        """Return where what a group would lose is going."""
        return trend([p.rpo for p in self.past.get(group, ())], self.forecasts[group].rpo)

    def plain(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "snapshot": self.snapshot,
            "scores": {v.region: score(v.region, self.snapshot.health) for v in self.snapshot.verdicts},
            "objectives": {
                group: {
                    "target": self.targets[group],
                    "forecast": forecast,
                    "rto_trend": self.rto_trend(group).value,
                    "rpo_trend": self.rpo_trend(group).value,
                    "past": self.past.get(group, ()),
                }
                for group, forecast in self.forecasts.items()
            },
            "blocked_if_lost": self.blocked,
            "store": self.store,
            "cut_off": plain_cut(self.cut),
        }


def blocked(thoughts: Sequence[Thought]) -> dict[GroupId, tuple[str, ...]]:
    """Return why nothing could be done for a group if its primary region were lost, where nothing could."""
    return {e.group: e.blocks for thought in thoughts for e in thought.each if e.serves and e.blocks}


async def _read(path: Path, environment: str | None, state: Path | None, store: str | None) -> tuple[Known, bool]:
    """Return what is known, and whether somebody watches."""

    async def ask(opened: OpenEstate, cut: CutOff | None) -> tuple[Known, bool]:
        snapshot = await opened.last_known()
        if cut is None:
            pause, windows = await opened.quiet()
            snapshot = replace(snapshot, pause=pause, paused=pause.reason if pause else "", windows=windows)
        known = Known(
            cut=cut,
            snapshot=snapshot,
            hosted=_hosted(snapshot, opened.loaded.estate),
            forecasts=await opened.objectives(),
            targets={g: opened.loaded.estate.promised(g) for g in opened.loaded.estate.home},
            past=await opened.past_objectives(),
            blocked=blocked(await opened.what_ifs()),
            store=await opened.store_health(),
        )
        return known, cut is None and await opened.is_watched(state_folder(path, state))

    (known, led), _ = await ask_or_recall(path, ask, environment=environment, state=state, store=store)
    return known, led


def _hosted(snapshot: Snapshot, estate: Estate) -> dict[RegionId, tuple[ComponentId, ...]]:
    found: dict[RegionId, tuple[ComponentId, ...]] = {}
    for p in snapshot.placements:
        parts = tuple(c.id for c in estate.group_components(p.group, Purpose.STATE))
        found[p.primary] = (*found.get(p.primary, ()), *parts)
    return found


def _fine(snapshot: Snapshot) -> bool:
    calm = all(isinstance(d, Hold) and not d.watching for d in snapshot.decisions)
    known = not snapshot.unplaced and not snapshot.voiceless and not snapshot.stuck and not snapshot.missing
    well = all(v.diagnosis is Diagnosis.WELL for v in snapshot.verdicts)
    covered = all(standing.whole for standing in snapshot.sets)
    home = not any(p.awaiting_rejoin or p.entry for p in snapshot.placements)
    return calm and known and well and covered and home


def lines(known: Known, *, led: bool, wall: datetime) -> list[str]:
    """Return what a person reads, the three answers first."""
    snapshot = known.snapshot
    age = max(wall - snapshot.wall, timedelta())
    if known.cut is not None:
        said = [*cut_off(known.cut, snapshot, known.hosted.get(known.cut.here.region, ()), wall=wall)]
    else:
        said = [_first(snapshot, led=led, age=age)]
    if led and snapshot.verdicts and all(v.heartbeat_age is None for v in snapshot.verdicts):
        said.append("  no region's host was ever heard: evac check says why")
    said += [f"  {p.group}: clients enter by {p.entry}, {p.primary} serves" for p in snapshot.placements if p.entry]
    said += [f"  {d.group}: {'; '.join(d.reasons)}" for d in snapshot.decisions if not _calm(d)]
    said += [f"  {g}: {'; '.join(why)}" for g, why in snapshot.unplaced.items()]
    said += [f"  trigger {s.trigger} for {s.group}: {how(s, at=snapshot.at)}" for s in snapshot.triggers if s.true]
    said += [f"  automation is paused: {snapshot.pause.in_words()}; on again: evac resume"] if snapshot.pause else []
    said += [f"  {window.in_words()}" for window in snapshot.windows]
    said += [f"  {_leads(snapshot.leader)}"] if snapshot.leader else []
    said += [f"  {store_line(known.store, commit=snapshot.commit)}"] if known.store else []
    said += parts_lines(snapshot, wall=wall)
    said += _primaries(snapshot)
    said.append("")
    said += columns([_HEADINGS, *(_region(snapshot, RegionId(str(v.region))) for v in snapshot.verdicts)])
    said += [line for standing in snapshot.sets for line in _set(standing)]
    for group, forecast in known.forecasts.items():
        target = known.targets[group]
        going = _going(known.rto_trend(group))
        rto = f"RTO {span(forecast.rto)} (p95 {span(forecast.rto_p95)}, target {span(target.rto)}{going})"
        loss = f"RPO {rpo(forecast)}, target {span(target.rpo)}{_going(known.rpo_trend(group))}"
        said.append(f"if {group}'s primary region were lost now: {rto}   {loss}")
    for group, reasons in known.blocked.items():
        said.append(f"if {group}'s primary region were lost now, evac would not move it: {'; '.join(reasons)}")
    return said


def _primaries(snapshot: Snapshot) -> list[str]:
    """Where the groups' primaries are, and in which term; of many, the first."""
    terms = [f"{p.group} in {p.primary}, term {p.term}" for p in snapshot.placements[:GROUPS_SHOWN_MAX]]
    more = len(snapshot.placements) - len(terms)
    rest = f"; and of {count(more, 'more group')}" if more else ""
    return [f"  primaries: {'; '.join(terms)}{rest}"] if terms else []


def _going(found: Trend) -> str:
    """Where a figure is going, as a part of a sentence; nothing while nobody can tell."""
    return "" if found is Trend.UNKNOWN else f", {found.value}"


def _first(snapshot: Snapshot, *, led: bool, age: timedelta) -> str:
    """Is it fine, what is done, what is needed."""
    if said := unwatched(snapshot, led=led, age=age):
        return f"{snapshot.estate}: {said}"
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


def _leads(leader: Leader) -> str:
    return f"{leader.region} leads since {_utc(leader.since)} ({leader.name}, reign {leader.reign})"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _calm(decision: Decision) -> bool:
    match decision:
        case Hold():
            return not decision.watching
        case Move() | Shift() | Ask() | CallPerson() | Rejoin() | Protect():
            return False


_HEADINGS = ("region", "health", "score", "answers in", "errors", "requests", "members")


def _region(snapshot: Snapshot, region: RegionId) -> tuple[str, ...]:
    """A region's row of the table; of its services, the worst figures."""
    verdict = next(v for v in snapshot.verdicts if v.region == region)
    health = verdict.status.value if verdict.diagnosis == "well" else verdict.diagnosis.value
    here = [h for h in snapshot.health if h.region == region]
    total = score(region, here)
    slowest = max((h.response for h in here if h.response is not None), default=None)
    errors = max((h.error_rate for h in here if h.error_rate is not None), default=None)
    carried = [h.throughput for h in here if h.throughput is not None]
    members = "   ".join(_member(m.component, m.state, m.reason) for m in snapshot.members if m.region == region)
    silent = f"  ({snapshot.voiceless[region]})" if region in snapshot.voiceless else ""
    return (
        region,
        health,
        "" if total is None else f"{total:.2f}",
        "" if slowest is None else span(slowest),
        "" if errors is None else f"{errors:.0%}",
        f"{sum(carried):g}/s" if carried else "",
        f"{members}{silent}",
    )


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
        lines.append(f"  since {_utc(change.wall)}, run {change.run} ({change.kind}): {'; '.join(change.reasons)}")
    return lines


def _member(component: str, state: MemberState | None, reason: str) -> str:
    if state is None:
        return f"{component}: no answer ({reason})"
    lag = f", lag {span(state.lag)}" if state.lag is not None and state.role is MemberRole.STANDBY else ""
    waits = f", waits for {state.sync_acks} of {len(state.sync_standbys)}" if state.sync_standbys else ""
    alone = "" if state.role is not MemberRole.STANDBY or state.streaming else ", stream broken"
    return f"{component}: {state.role.value}{lag}{waits}{alone}"
