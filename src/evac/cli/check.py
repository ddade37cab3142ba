"""`evac check`: validates the estate and tries every connection and right that an emergency would need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StoreOption,
    busy,
    console,
    print_json,
)
from evac.config import Loaded, load
from evac.core.errors import EvacError
from evac.core.estate import Observer
from evac.daemon import World, open_world
from evac.drivers import observer_kinds, probe_kinds
from evac.engine.codec import to_plain
from evac.ports import Finding
from evac.report.triggers import declared
from evac.report.words import count
from evac.stores import logged
from evac.stores.consul import ConsulAddress
from evac.stores.etcd import EtcdStore, size
from evac.stores.logged import LoggedStore
from evac.stores.opening import StoreAddress
from evac.stores.zookeeper import ZookeeperAddress

LONGEST_CHECK = timedelta(seconds=20)


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("check")
    def check(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
        offline: Annotated[bool, typer.Option("--offline", help="Read the file only; connect to nothing.")] = False,
    ) -> None:
        """Try all that an emergency would need. Changes nothing.

        The estate file is validated first, then every connection, right, tool and setting is tried, from where evac
        would use it.
        """
        loaded = load(estate, environment=environment, store=store)
        findings = [("estate", Finding(ok=True, what=f"{estate}: {_summary(loaded)}"))]
        findings += [("estate", Finding(ok=True, warning=True, what=w)) for w in loaded.warnings]
        findings += [(f"trigger {t.name}", Finding(ok=True, what=declared(t))) for t in loaded.estate.triggers]
        if not offline:
            with busy("trying every connection and right"):
                findings += asyncio.run(_try_all(loaded))
        if as_json:
            print_json([{"where": where, **to_plain(finding)} for where, finding in findings])
        else:
            _show(findings)
        if not all(f.ok for _, f in findings):
            raise typer.Exit(1)


def _summary(loaded: Loaded) -> str:
    estate = loaded.estate
    return (
        f"{len(estate.regions)} regions, {len(estate.services)} services, {len(estate.components)} components,"
        f" {len(estate.probes)} probes"
    )


async def _try_all(loaded: Loaded) -> list[tuple[str, Finding]]:
    """Every place, member and probe at once; an answer that does not come is a finding too."""
    with TemporaryDirectory(prefix="evac-check-") as state:
        async with open_world(loaded, state=Path(state)) as world:
            found = await asyncio.gather(*[_bounded(where, tries) for where, tries in _tries(world)])
    return [line for lines in found for line in lines]


def _tries(world: World) -> list[tuple[str, AsyncIterator[Finding]]]:
    tries: list[tuple[str, AsyncIterator[Finding]]] = []
    if isinstance(world.store, EtcdStore):
        tries.append(("store", _try_store(world.store)))
    elif isinstance(world.store, LoggedStore):
        tries.append(("store", _try_log(world.store, world.loaded.store)))
    for region in world.places:
        tries.append((region, _try_place(world, region)))
        tries += [(f"{c} in {region}", _try_member(world, region, c)) for c in world.members[region]]
    tries += [
        (f"probe {p.kind} of {p.service} in {p.region}", _try_probe(world, i))
        for i, p in enumerate(world.loaded.estate.probes)
    ]
    tries += [(f"observer {o.name} from {o.vantage}", _try_observer(world, o)) for o in world.loaded.estate.observers]
    return tries


async def _bounded(where: str, tries: AsyncIterator[Finding]) -> list[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    try:
        async with asyncio.timeout(LONGEST_CHECK.total_seconds()):
            found += [(where, finding) async for finding in tries]
    except TimeoutError:
        found.append((where, Finding(ok=False, what=f"no answer in {LONGEST_CHECK.total_seconds():g} s", remedy="")))
    except EvacError as error:
        found.append((where, Finding(ok=False, what=str(error))))
    return found


async def _try_store(store: EtcdStore) -> AsyncIterator[Finding]:
    await store.revision()
    now = await size(store)
    megabytes = f"{now.on_disk_bytes / 1024**2:.1f} MB on the disk, {now.in_use_bytes / 1024**2:.1f} in use"
    what = f"{store.members.address}: {now.answered} of {now.members} members answer; {megabytes}"
    yield Finding(ok=now.answered == now.members, what=what, remedy="start the members that are missing")
    address = store.members.address
    if address.tls is None and now.members > 1:
        what = (
            f"{address} is asked in plain text: whoever is on the way between regions reads and changes what evac does"
        )
        yield Finding(
            ok=True, warning=True, what=what, remedy="write etcds:// with ca, cert and key, and give etcd TLS"
        )
    elif address.tls is not None and address.tls.certificate is None:
        what = f"{address} lets in whoever shows no certificate"
        yield Finding(ok=True, warning=True, what=what, remedy="--client-cert-auth in etcd; cert and key in the URL")
    if address.user is None and now.members > 1:
        what = f"{address} asks for no user: whoever reaches it may change everything in it"
        yield Finding(ok=True, warning=True, what=what, remedy="`etcdctl auth enable`, and user@ with a password-file")


async def _try_log(store: LoggedStore, address: StoreAddress | None) -> AsyncIterator[Finding]:
    now = await logged.size(store)
    kept = f"{now.keys} keys, {now.state_bytes / 1024**2:.1f} MB, {now.entries} of the log's entries"
    what = f"{address}: {now.answered} of {now.members} members answer; {kept} since its newest snapshot"
    yield Finding(ok=now.answered == now.members, what=what, remedy="start the members that are missing")
    if now.members == 1:
        return
    if address is not None and address.tls is None:
        what = (
            f"{address} is asked in plain text: whoever is on the way between regions reads and changes what evac does"
        )
        yield Finding(ok=True, warning=True, what=what, remedy="write one s more, as in consuls://, with ca")
    if isinstance(address, ZookeeperAddress) and address.user is None:
        what = f"{address} asks for no user: whoever reaches it may change everything in it"
        yield Finding(ok=True, warning=True, what=what, remedy="name user@ and a password-file in the store's URL")
    if isinstance(address, ConsulAddress) and not address.has_token:
        what = f"{address} asks for no token: whoever reaches it may change everything in it"
        yield Finding(ok=True, warning=True, what=what, remedy="turn Consul's ACLs on, and name a token-file")


async def _try_place(world: World, region: str) -> AsyncIterator[Finding]:
    place = next(p for r, p in world.places.items() if r == region)
    await place.ping()
    done = await place.run(["true"], timeout=timedelta(seconds=5))
    yield Finding(ok=done.code == 0, what="answers, and runs commands")


async def _try_member(world: World, region: str, component: str) -> AsyncIterator[Finding]:
    members = next(m for r, m in world.members.items() if r == region)
    driver = next(d for c, d in members.items() if c == component)
    for finding in await driver.check():
        yield finding


async def _try_probe(world: World, index: int) -> AsyncIterator[Finding]:
    probe = world.loaded.estate.probes[index]
    prober = await probe_kinds()[probe.kind].open(probe, world.places[probe.region])
    try:
        reason = await prober.ask()
    finally:
        await prober.close()
    yield Finding(ok=not reason, what=reason or "the service did its job")


async def _try_observer(world: World, observer: Observer) -> AsyncIterator[Finding]:
    watching = await observer_kinds()[observer.kind].open(observer, world.places[observer.vantage])
    try:
        findings = await watching.check()
    finally:
        await watching.close()
    for finding in findings:
        yield finding


def _show(findings: list[tuple[str, Finding]]) -> None:
    out = console()
    for where, finding in findings:
        level = "FAIL" if not finding.ok else "warn" if finding.warning else "ok"
        out.print(f"{level:<4}  {where}: {finding.what}", markup=False)
        if level != "ok" and finding.remedy:
            out.print(f"      do: {finding.remedy}", markup=False)
    bad, warned = sum(not f.ok for _, f in findings), sum(f.ok and f.warning for _, f in findings)
    said = f"{bad} failed" if bad else "all well"
    also = f", {count(warned, 'warning')}" if warned else ""
    out.print(f"{count(len(findings), 'check')}, {said}{also}", markup=False)
