"""What a trial is played on: a fresh lab, evac serving it from the site `ops`, and clients where they are wanted.

A trial gets a lab of its own: it comes up in seconds, and no trial can lean on what another one left.

What this is not: the trial (`trial`), or a way to look into evac: it is asked through the Python API, like anybody.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.config import load
from evac.core.assessment import Diagnosis
from evac.core.errors import EvacError
from evac.core.observation import MemberRole, MemberSeen
from evac.core.snapshot import Snapshot
from evac.daemon import open_store
from evac.lab import layout, world
from evac.lab.clients.record import SUMMARY
from evac.lab.clients.workload import Workload
from evac.lab.layout import Layout, Mode
from evac.lab.servers import process
from evac.lab.servers.process import Process
from evac.lab.world import Lab
from evac.opened import OpenEstate, state_folder

POLL_S = 0.2
READY_WAIT_S = 90.0
FLOW_WAIT_S = 30.0
FLOW_SHARE = 0.8
"""The share of the clients' rate that has to be acknowledged before a trial begins."""
EVAC = str(Path(sys.executable).parent / "evac")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A lab under evac's care. `dns` says whether there are name servers, `evac` is the process that serves."""

    lab: Lab
    evac: Process
    layout: Layout
    estate: OpenEstate
    dns: bool

    async def until(self, holds: Callable[[Snapshot], bool], *, within_s: float) -> bool:
        """Wait until evac's view holds something; return whether it came to that."""
        try:
            async with asyncio.timeout(within_s):
                while not holds(await self._snapshot()):  # noqa: ASYNC110 - the store tells of no view
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True

    async def _snapshot(self) -> Snapshot:
        """Return evac's newest view, waiting for the first."""
        while True:
            try:
                return await self.estate.health()
            except EvacError:
                await asyncio.sleep(POLL_S)

    @asynccontextmanager
    async def clients(self, workload: Workload, *, site: str) -> AsyncIterator[Path]:
        """Run clients at a site for as long as the context lives, from when most of their writes are acknowledged.

        Gives the folder of their record. Raises `EvacError` when they never get going.
        """
        folder = self.lab.folder / f"clients-{site}"
        workload.write(folder)
        clients = Process(
            name=f"clients at {site}",
            argv=self.lab.command(site, sys.executable, "-m", "evac.lab.clients", "--dir", str(folder)),
            log=folder / "clients.log",
        )
        await clients.start(ready=lambda _: (folder / SUMMARY).exists())
        try:
            await process.until(lambda: _flowing(folder, workload), what=f"{clients.name}", within_s=FLOW_WAIT_S)
            yield folder
        finally:
            await clients.stop()

    async def rows(self, folder: Path, *, primary: str, also: tuple[str, ...]) -> dict[str, list[str]]:
        """Return what is there in the end of the writes of clients and of further runs, read at the primary."""
        reader = (sys.executable, "-m", "evac.lab.rows", "--dir", str(folder), "--orders", primary, "--carts", primary)
        more = [word for run in also for word in ("--also", run)]
        printed = await process.run(self.lab.command("clients", *reader, *more))
        found: dict[str, list[str]] = json.loads(printed)
        return found


def _flowing(folder: Path, workload: Workload) -> bool:
    """Say whether the clients are acknowledged about as much as they write."""
    stores = json.loads((folder / SUMMARY).read_text())["stores"]
    wanted = {"orders": workload.rate, "carts": workload.append_rate if workload.valkey else 0.0}
    return all(stores.get(s, {}).get("per_second", 0) >= rate * FLOW_SHARE for s, rate in wanted.items() if rate)


@asynccontextmanager
async def stage(folder: Path, *, mode: Mode) -> AsyncIterator[Stage]:
    """Bring a lab up with evac serving it, both only for as long as the context lives. Raises `EvacError`."""
    async with world.lab(folder, mode=mode) as lab:
        evac = serving(lab, lab.estate)
        await evac.start(ready=lambda _: True)
        try:
            async with open_store(state_folder(lab.estate)) as store:
                yield Stage(
                    lab=lab,
                    evac=evac,
                    layout=layout.load(folder=lab.folder, mode=mode),
                    estate=OpenEstate(loaded=load(lab.estate), store=store, by="bench"),
                    dns=(await lab.status())["dns"] == "knot",
                )
        finally:
            await evac.stop()


def serving(lab: Lab, estate: Path) -> Process:
    """Return the process, not started yet, that serves an estate from the site `ops` of a lab."""
    return Process(
        name="evac serve",
        argv=lab.command("ops", EVAC, "serve", "--estate", str(estate)),
        log=lab.folder / "evac.log",
    )


def serves_well(snapshot: Snapshot, region: str) -> bool:
    """Say whether the one group is served from a region, with all others well, and standbys that stream and are waited
    for as declared.
    """
    return (
        bool(snapshot.placements)
        and not snapshot.active
        and not snapshot.unplaced
        and all(p.primary == region and not p.awaiting_rejoin for p in snapshot.placements)
        and all(verdict.diagnosis is Diagnosis.WELL for verdict in snapshot.verdicts)
        and all(_in_place(member, region) for member in snapshot.members)
        and all(standing.whole for standing in snapshot.sets)
    )


def sees_lost(snapshot: Snapshot, region: str) -> bool:
    """Say whether evac holds a region for unreachable."""
    return any(v.region == region and v.diagnosis is Diagnosis.UNREACHABLE for v in snapshot.verdicts)


def _in_place(member: MemberSeen, primary: str) -> bool:
    """Say whether a member is what it should be: the primary there, a streaming standby elsewhere; routers always."""
    state = member.state
    if state is None:
        return False
    if state.role is MemberRole.STANDBY:
        return member.region != primary and state.streaming
    return state.role is MemberRole.PRIMARY
