"""What a trial is played on: a fresh lab in evac's care, and clients where they are wanted.

In the embedded form one process serves the lab from the site `ops`; in the distributed one the lab's own agents do.

A trial gets a lab of its own: it comes up in seconds, and no trial can lean on what another one left.

What this is not: the trial (`trial`), or a way to look into evac: it is asked through the Python API, like anybody.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from evac.config import load
from evac.core.errors import EvacError
from evac.core.observation import MemberRole, MemberSeen
from evac.core.plan import MOVES
from evac.core.snapshot import Snapshot
from evac.core.verdict import Diagnosis
from evac.daemon import open_store
from evac.lab import gateway, layout, world
from evac.lab.clients.record import SUMMARY
from evac.lab.clients.workload import Workload
from evac.lab.layout import Form, Layout, Mode
from evac.lab.servers import process
from evac.lab.servers.process import Process
from evac.lab.world import Lab
from evac.opened import OpenEstate
from evac.opening import state_folder
from evac.stores.etcd import EtcdAddress

POLL_S = 0.2
READY_WAIT_S = 90.0
CALM_S = 3.0
FLOW_WAIT_S = 30.0
FLOW_SHARE = 0.8
"""The share of the clients' rate that has to be acknowledged before a trial begins."""
EVAC = str(Path(sys.executable).parent / "evac")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A lab under evac's care. `dns` says whether there are name servers; `serving` is None where agents serve."""

    lab: Lab
    serving: Process | None
    layout: Layout
    estate: OpenEstate
    dns: bool

    @property
    def evac(self) -> Process:
        """The process that serves, which only the embedded form has."""
        assert self.serving is not None, "agents serve the distributed form"
        return self.serving

    async def until(self, holds: Callable[[Snapshot], bool], *, within_s: float) -> bool:
        """Wait until evac's view holds something; return whether it came to that."""
        try:
            async with asyncio.timeout(within_s):
                while not holds(await self.view()):  # noqa: ASYNC110 - a watch ends with a store that is out
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True

    async def calm(self, region: str, *, within_s: float) -> bool:
        """Wait until a region has served well for `CALM_S` on end; return whether it came to that.

        What has just come back may be seen to fail once more by one vantage point, and moves are refused meanwhile.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self.until(lambda s: serves_well(s, region), within_s=within_s)
                    if not await self.until(lambda s: not serves_well(s, region), within_s=CALM_S):
                        return True
        except TimeoutError:
            return False

    async def until_written(self, *, before: int, entries: int, within_s: float) -> bool:
        """Wait until the journal of a move has so many entries, or the move is over; return whether it came to that.

        The first `before` runs do not count.
        """
        try:
            async with asyncio.timeout(within_s):
                async for _ in self.estate.changes("runs/"):
                    moves = [r for r in (await self.estate.runs())[before:] if r.plan.kind in MOVES]
                    if any(run.entries >= entries or run.settled for run in moves):
                        break
        except TimeoutError:
            return False
        return True

    async def view(self) -> Snapshot:
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
async def stage(
    folder: Path,
    *,
    mode: Mode,
    form: Form = "embedded",
    file: Path | None = None,
    amend: Callable[[Lab], None] | None = None,
) -> AsyncIterator[Stage]:
    """Bring a lab up with evac in charge of it, both only for as long as the context lives. Raises `EvacError`.

    `file` describes the lab; None: the shipped one does. `amend` may change its estate file before it is read; agents,
    which are part of the lab, have read it by then.
    """
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(world.lab(folder, file=file, mode=mode, form=form))
        if amend is not None:
            amend(lab)
        plan = layout.load(folder=lab.folder, file=file, mode=mode, form=form)
        loaded = load(lab.estate)
        evac = None
        if form == "embedded":
            evac = serving(lab, lab.estate)
            await evac.start(ready=lambda _: True)
            stack.push_async_callback(evac.stop)
        address = await _reached(lab, plan, loaded.store, stack) if isinstance(loaded.store, EtcdAddress) else None
        store = await stack.enter_async_context(open_store(state_folder(lab.estate), address))
        yield Stage(
            lab=lab,
            serving=evac,
            layout=plan,
            estate=OpenEstate(loaded=loaded, store=store, by="bench"),
            dns=(await lab.status())["dns"] == "knot",
        )


async def _reached(lab: Lab, plan: Layout, address: EtcdAddress, stack: AsyncExitStack) -> EtcdAddress:
    """Return the store's address as it is reached from this machine, the home's member last: that one dies."""
    members = tuple(reversed(plan.store_members(nearest=plan.spec.home)))
    endpoints = await stack.enter_async_context(gateway.opened(lab, site="ops", to=members))
    return replace(address, endpoints=endpoints)


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
