"""The process that is a lab: `python -m evac.lab.supervisor`, in namespaces of its own; when it ends, all of it ends.

It builds the sites, starts the WAN and the servers, then obeys orders from a socket in the lab's folder: a line of
JSON each (`status`, `fault`, `heal`, `down`). The state of the network is worked out anew from the faults that are on.

What this is not: it never starts a server again by itself, and it knows nothing of evac's plans.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evac.core.errors import EvacError
from evac.lab import control, keys, layout, namespaces
from evac.lab.estate import write_estate
from evac.lab.faults import KILLED_ALONE, Fault, FaultKind, Target, boot_s
from evac.lab.layout import STORE_USER, Layout
from evac.lab.ledger import CREATE
from evac.lab.regions import Region
from evac.lab.servers import knot, postgresql, process
from evac.lab.wan.client import Wan
from evac.lab.wan.links import Direction, Link, with_faults

ELECTED_WAIT_S = 30.0
"""How long the first agent may take to lead: etcd elects a leader of its own before."""


class Supervisor:
    """A lab that is up."""

    def __init__(self, lab: Layout) -> None:
        self.lab = lab
        passwords = keys.make(lab)
        self._store_password = passwords.etcd
        self.regions = {name: Region(lab, name, passwords) for name in lab.regions}
        self.wan = Wan()
        self.faults: list[Fault] = []
        self.down = asyncio.Event()
        self._changing = asyncio.Lock()
        self._timings_s: dict[str, float] = {}
        self._since_s = boot_s()

    async def up(self) -> None:
        """Build everything. The network has no distances until the standbys have their first copy."""
        began = time.monotonic()
        await namespaces.create(self.lab.numbers)
        links = self.lab.links()
        near = {direction: dataclasses.replace(link, delay_s=0.0, jitter_s=0.0) for direction, link in links.items()}
        async with asyncio.TaskGroup() as group:
            group.create_task(self.wan.start(sites=self.lab.numbers, links=near, seed=self.lab.spec.seed))
            for region in self.regions.values():
                group.create_task(region.prepare())
        self._timings_s["network"] = time.monotonic() - began
        await self._provision()
        self._timings_s["databases"] = time.monotonic() - began
        write_estate(self.lab, dns=knot.found() is not None)
        async with asyncio.TaskGroup() as group:
            boots = [group.create_task(region.boot(but="agent")) for region in self.regions.values()]
        problems = [problem for boot in boots for problem in boot.result()]
        if problems:
            raise process.ServerError("\n".join(problems))
        self._timings_s["servers"] = time.monotonic() - began
        if self.lab.form == "distributed":
            await self._ask_for_users()
            self._timings_s["store"] = time.monotonic() - began
        await self.wan.set(links)
        if self.lab.form == "distributed":
            await self._elect()
        self._timings_s["all"] = time.monotonic() - began

    async def _ask_for_users(self) -> None:
        """Let the store ask who comes, before the first agent does and while it has no distances."""
        first = next(iter(self.regions.values())).etcd
        prefix = f"evac/{self.lab.spec.name}/"
        await first.ask_for_users(user=STORE_USER, password=self._store_password, prefix=prefix)

    async def _elect(self) -> None:
        """Start the agents, the home's first, so that the leader is in the region that the faults are for."""
        first, *others = (region.agent for region in self.regions.values())
        await first.start()
        deadline = time.monotonic() + ELECTED_WAIT_S
        while not first.leads:
            if time.monotonic() > deadline:
                raise process.ServerError(f"no agent leads after {ELECTED_WAIT_S:.0f} s: see {first.log}")
            await asyncio.sleep(0.05)
        for other in others:
            await other.start()

    async def _provision(self) -> None:
        """Make the first primary and its standbys, with the shop's tables, streaming."""
        primary, *standbys = (region.postgresql for region in self.regions.values())
        await primary.initialise()
        await primary.start()
        await _sql(primary, f"CREATE DATABASE {postgresql.DATABASE}", dbname="postgres")
        await _sql(primary, CREATE)

        async def attach(standby: postgresql.Member) -> None:
            await standby.clone(primary)
            await standby.start()

        async with asyncio.TaskGroup() as group:
            for standby in standbys:
                group.create_task(attach(standby))
        acks = 1 if self.lab.mode == "sync" else 0
        names = postgresql.synchronous_names([s.region for s in standbys], acks=acks)
        await _sql(primary, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await _sql(primary, "SELECT pg_reload_conf()")

    def reap(self) -> None:
        """Take note of servers that have ended: who killed them may be waiting for them to be gone."""
        for region in self.regions.values():
            region.reap()

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what an order says and return the answer. Raises `EvacError` for what cannot be done."""
        match order.get("do"):
            case "status":
                return await self.status()
            case "fault":
                return await self.begin(control.decode_fault(order["fault"]))
            case "heal":
                return await self.heal(order.get("region"))
            case "down":
                self.down.set()
                return {"down": True}
            case other:
                raise EvacError(f"the lab does not know the order {other!r}")

    async def begin(self, fault: Fault) -> dict[str, Any]:
        """Bring a fault about; answer when it took effect, and when it was complete."""
        region = self._checked(fault)
        async with self._changing:
            on_network = fault.kind not in _PROCESS_ONLY
            at_s = await self.wan.set(self._links((*self.faults, fault))) if on_network else boot_s()
            match fault.kind:
                case FaultKind.KILL if fault.what in KILLED_ALONE:
                    await region.kill(fault.what)
                case FaultKind.KILL:
                    await region.kill_services()
                case FaultKind.POWER:
                    await region.kill_all()
                case FaultKind.FREEZE:
                    region.freeze(fault.what)
                case FaultKind.DISK_FULL:
                    region.fill_disk()
                case FaultKind.CUT | FaultKind.CUT_IN | FaultKind.CUT_OUT | FaultKind.DELAY | FaultKind.LOSS:
                    pass
            self.faults.append(dataclasses.replace(fault, at_s=at_s))
            return {"fault": control.encode_fault(self.faults[-1]), "at_s": at_s, "done_s": boot_s()}

    def _checked(self, fault: Fault) -> Region:
        if fault.region not in self.regions:
            raise EvacError(f"no region {fault.region}; this lab has {', '.join(self.regions)}")
        if fault.to is not None and (fault.to not in self.lab.numbers or fault.to == fault.region):
            raise EvacError(f"no other site {fault.to}; this lab has {', '.join(self.lab.numbers)}")
        region = self.regions[fault.region]
        if (
            fault.what is Target.WATCHDOG
            and fault.kind in (FaultKind.KILL, FaultKind.FREEZE)
            and not region.watchdogs()
        ):
            raise EvacError(f"no watchdog runs in {fault.region}: only a primary that is held under a lease has one")
        return region

    async def heal(self, name: str | None) -> dict[str, Any]:
        """End the faults of a region, or all; boot what they killed."""
        if name is not None and name not in self.regions:
            raise EvacError(f"no region {name}; this lab has {', '.join(self.regions)}")
        async with self._changing:
            ended = [fault for fault in self.faults if name in (None, fault.region)]
            self.faults = [fault for fault in self.faults if fault not in ended]
            at_s = await self.wan.set(self._links(self.faults))
            regions = {fault.region for fault in ended}
            for each in regions:
                self.regions[each].thaw()
                self.regions[each].free_disk()
            broken = {fault.region for fault in ended if fault.kind in _BOOT_AFTER}
            boots = await asyncio.gather(*(self.regions[each].boot() for each in sorted(broken)))
        problems = [problem for boot in boots for problem in boot]
        healed = [control.encode_fault(f) for f in ended]
        return {"healed": healed, "at_s": at_s, "done_s": boot_s(), "problems": problems}

    def _links(self, faults: Sequence[Fault]) -> dict[Direction, Link]:
        return with_faults(self.lab.links(), faults)

    async def status(self) -> dict[str, Any]:
        """Return what there is and what is wrong with it on purpose."""
        wan = await self.wan.ask()
        regions = {
            name: {
                "address": self.lab.address(name),
                "servers": {server: str(region.state(server)) for server in region.servers},
            }
            for name, region in self.regions.items()
        }
        return {
            "name": self.lab.spec.name,
            "folder": str(self.lab.folder),
            "mode": self.lab.mode,
            "form": self.lab.form,
            "home": self.lab.spec.home,
            "up_s": round(boot_s() - self._since_s, 1),
            "timings_s": {what: round(took, 2) for what, took in self._timings_s.items()},
            "dns": "knot" if knot.found() else "missing: install Knot DNS (package knot); the lab goes on without DNS",
            "regions": regions,
            "sites": {name: self.lab.address(name) for name in self.lab.spec.sites},
            "faults": [control.encode_fault(fault) for fault in self.faults],
            "wan": {"cpu_s": round(wan["cpu_s"], 3), "counts": wan["counts"], "refused": wan["refused"]},
        }


_PROCESS_ONLY = frozenset({FaultKind.KILL, FaultKind.FREEZE, FaultKind.DISK_FULL})
_BOOT_AFTER = frozenset({FaultKind.KILL, FaultKind.POWER, FaultKind.DISK_FULL})


async def _sql(member: postgresql.Member, statement: str, *, dbname: str = postgresql.DATABASE) -> None:
    """Run a statement in a member's own namespace."""
    psql = member.command("psql", "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-c", statement)
    where = {"PGHOST": member.address, "PGPORT": str(member.port), "PGUSER": postgresql.USER}
    await process.run(psql, environment=where | {"PGPASSWORD": member.password, "PGDATABASE": dbname})


def clear(folder: Path, regions: Sequence[str]) -> None:
    """Remove what an earlier lab left here: its world is gone, and a store that speaks of it would mislead."""
    for name in regions:
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.rmtree(folder / ".evac", ignore_errors=True)
    for leftover in (*folder.glob("evac.db*"), folder / "control.sock", folder / "estate.yaml"):
        leftover.unlink(missing_ok=True)


async def serve(lab: Layout, *, tied: bool) -> None:
    """Be a lab until told to go down (or, if `tied`, until standard input ends)."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    clear(lab.folder, lab.regions)
    supervisor = Supervisor(lab)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.down.set)
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    if tied:
        loop.add_reader(sys.stdin.fileno(), supervisor.down.set)
    building = asyncio.create_task(supervisor.up())
    ending = asyncio.create_task(supervisor.down.wait())
    await asyncio.wait({building, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not building.done():
        return
    building.result()
    with control.bind(lab.control) as listening:
        server = await asyncio.start_unix_server(lambda r, w: control.answer(supervisor.obey, r, w), sock=listening)
        async with server:
            await ending
    lab.control.unlink(missing_ok=True)


def main(argv: Sequence[str]) -> None:
    """Read the options and be a lab."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.supervisor", description="Be a lab.")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--estate", type=Path)
    parser.add_argument("--mode", choices=("sync", "async"), default="sync")
    parser.add_argument("--form", choices=("embedded", "distributed"), default="embedded")
    parser.add_argument("--tied", action="store_true", help="end when standard input ends")
    options = parser.parse_args(argv)
    try:
        lab = layout.load(folder=options.dir, file=options.estate, mode=options.mode, form=options.form)
        asyncio.run(serve(lab, tied=options.tied))
    except* EvacError as group:
        print("\n".join(str(error) for error in _leaves(group)), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # the servers die with the process namespace, whose first process waits for us


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
