"""`evac replication`: who streams from whom, how far behind, how quickly, and whether anybody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.standing import note_cut, plain_cut
from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    busy,
    console,
    listening,
    print_json,
)
from evac.core.errors import EvacError
from evac.core.estate import Estate, GroupId, RegionId
from evac.core.observation import Instant, MemberRole, MemberSeen, Observation
from evac.core.replicating import SAID_WITHIN, Replica, Topology, topologies
from evac.core.snapshot import Snapshot
from evac.engine.clock import BootClock
from evac.engine.overhearing import Overheard
from evac.opened import OpenEstate
from evac.opening import CutOff, ask_or_recall, overhear_estate
from evac.report.topology import dot, stream, tree_lines
from evac.report.words import span, utc

LISTENS_FOR = timedelta(seconds=5)


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("replication")
    def show(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        lasting: Annotated[timedelta, listening("5s")] = LISTENS_FOR,
        as_dot: Annotated[bool, typer.Option("--dot", help="Print the topology as a graph for Graphviz.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Show who replicates from whom, lag, bandwidth and last sync.

        It listens for a while to what members say to their agents, and measures between two looks; what cannot be
        measured is not known (?). Exits with 1 unless each component has one primary, and all others stream.
        """
        if as_dot and as_json:
            raise typer.BadParameter("one of --dot and --json", param_hint="--dot")
        with busy(f"listens to the agents for {span(lasting)}"):
            told = asyncio.run(_read(estate, environment, state, store, lasting=lasting))
        note_cut(told.cut)
        if told.cut is None and not told.heard.seen:
            raise EvacError(f"no member told anything for {span(lasting)}: start evac serve, or evac agent everywhere")
        found = topologies(told.estate, told.looks(), primaries=told.primaries(), now=told.heard.until)
        if as_json:
            print_json(plain(found, told))
        elif as_dot:
            print(dot(told.estate.name, found, now=told.heard.until))
        else:
            out = console()
            for line in lines(found, told):
                out.print(line, markup=False)
        if not all(each.well for each in found):
            raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the answer is made of: what members said while it was listened, and what the newest view has of the others.

    `cut` is how this host's agent stands, where the store cannot be reached: then nothing could be listened to.
    """

    estate: Estate
    snapshot: Snapshot
    heard: Overheard
    cut: CutOff | None = None

    def looks(self) -> list[MemberSeen]:
        """Return all looks, on one clock. Who was not heard while it was listened is remembered, and never fresh."""
        looks = [seen for seen in self.heard.seen if isinstance(seen, MemberSeen)]
        heard = {(look.component, look.region) for look in looks}
        off = self.heard.until - (self.heard.wall - self.snapshot.wall) - self.snapshot.at
        remembered = [m for m in self.snapshot.members if (m.component, m.region) not in heard]
        latest = self.heard.until if self.cut else self.heard.since - SAID_WITHIN - timedelta.resolution
        return [*looks, *(replace(m, at=min(m.at + off, latest)) for m in remembered)]

    def primaries(self) -> dict[GroupId, RegionId]:
        """Return where the record has each group's primaries."""
        return {p.group: p.primary for p in self.snapshot.placements}


async def _read(
    path: Path, environment: str | None, state: Path | None, store: str | None, *, lasting: timedelta
) -> Told:
    async def ask(opened: OpenEstate, _: CutOff | None) -> tuple[Snapshot, Estate]:
        return await opened.last_known(), opened.loaded.estate

    (snapshot, estate), cut = await ask_or_recall(path, ask, environment=environment, state=state, store=store)
    if cut is not None:
        clock = BootClock()
        heard = Overheard(since=clock.now(), until=clock.now(), wall=clock.wall(), seen=())
    else:
        heard = await overhear_estate(
            path, wanted=_wanted, lasting=lasting, environment=environment, state=state, store=store
        )
    return Told(estate=estate, snapshot=snapshot, heard=heard, cut=cut)


def _wanted(seen: Observation) -> bool:
    return isinstance(seen, MemberSeen)


def plain(found: Sequence[Topology], told: Told) -> dict[str, object]:
    """Return it for machines."""

    def wall(at: Instant | None) -> object:
        return None if at is None else told.heard.wall_of(at)

    def member(each: Replica) -> dict[str, object]:
        moments = {"told": wall(each.told), "in_sync_at": wall(each.in_sync_at)}
        measured = {
            "rate": None if each.rate is None else each.rate.bytes_per_second,
            "rate_over": None if each.rate is None else each.rate.over,
        }
        return {f.name: getattr(each, f.name) for f in fields(each)} | moments | measured

    return {
        "fine": all(each.well for each in found),
        "since": wall(told.heard.since),
        "until": told.heard.wall,
        "components": [
            {f.name: getattr(each, f.name) for f in fields(each)} | {"replicas": [member(r) for r in each.replicas]}
            for each in found
        ],
        "cut_off": plain_cut(told.cut),
    }


def lines(found: Sequence[Topology], told: Told) -> list[str]:
    """Return what a person reads: what is wrong first, then each component's tree."""
    now = told.heard.until
    ill = [f"  {e.component}: {e.odd}" for e in found if e.odd]
    ill += [f"  {e.component} in {r.region}: {stream(r, e, now=now)}" for e in found for r in e.replicas if _ill(r)]
    fine = all(each.well for each in found)
    odd = "not as it should be" if any(each.odd for each in found) else "not every standby streams"
    first = "every standby streams" if fine else odd
    said = [f"{told.estate.name}: {first}", *ill]
    said.append(f"  as members told their agents for {span(told.heard.lasted)}, until {utc(told.heard.wall)}")
    for each in found:
        said += ["", *tree_lines(each, now=now)]
    return said


def _ill(replica: Replica) -> bool:
    streams = replica.role is MemberRole.PRIMARY or replica.streaming is True
    return not (replica.fresh and streams)
