"""`evac check`: validates the estate and tries every connection and right that an emergency would need."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
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
from evac.core.estate import ComponentId, Observer, RegionId
from evac.daemon import World, open_world
from evac.drivers import observer_kinds, probe_kinds
from evac.drivers.settings import NO_SECRET
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
    """Every place first, then what is asked from there, all at once; an answer that does not come is a finding too."""
    with TemporaryDirectory(prefix="evac-check-") as state:
        async with open_world(loaded, state=Path(state)) as world:
            first = [*_try_stores(world), *((region, _try_place(world, region)) for region in world.places)]
            found = await asyncio.gather(*[_bounded(where, tries) for where, tries in first])
            out = {where for lines in found for where, finding in lines if not finding.ok}
            found += await asyncio.gather(
                *[
                    _not_asked(where, region) if region in out else _bounded(where, tries(world))
                    for where, region, tries in _tries(world)
                ]
            )
    return [line for lines in found for line in lines]


def _try_stores(world: World) -> Iterator[tuple[str, AsyncIterator[Finding]]]:
    if isinstance(world.store, EtcdStore):
        yield "store", _try_store(world.store)
    elif isinstance(world.store, LoggedStore):
        yield "store", _try_log(world.store, world.loaded.store)


def _tries(world: World) -> Iterator[tuple[str, RegionId, Callable[[World], AsyncIterator[Finding]]]]:
    """What is asked, from which region, and how."""
    for region in world.places:
        for c in world.members[region]:
            yield f"{c} in {region}", region, partial(_try_member, region=region, component=c)
    for i, p in enumerate(world.loaded.estate.probes):
        yield f"probe {p.kind} of {p.service} in {p.region}", p.region, partial(_try_probe, index=i)
    for o in world.loaded.estate.observers:
        yield f"observer {o.name} from {o.vantage}", o.vantage, partial(_try_observer, observer=o)


async def _not_asked(where: str, region: RegionId) -> list[tuple[str, Finding]]:
    """What cannot be tried, since it is tried from a region that cannot be reached, and what it would say is not so."""
    return [(where, Finding(ok=False, asked=False, what=f"not asked: {region} cannot be reached"))]


async def _bounded(where: str, tries: AsyncIterator[Finding]) -> list[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    try:
        async with asyncio.timeout(LONGEST_CHECK.total_seconds()):
            found += [(where, _with_its_remedy(finding)) async for finding in tries]
    except TimeoutError:
        found.append((where, Finding(ok=False, what=f"no answer in {LONGEST_CHECK.total_seconds():g} s", remedy="")))
    except EvacError as error:
        found.append((where, Finding(ok=False, what=str(error))))
    return found


def _with_its_remedy(finding: Finding) -> Finding:
    """A finding without a general remedy where it says itself what to do: the secret is missing, and nothing else."""
    return replace(finding, remedy="") if NO_SECRET in finding.what else finding


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


async def _try_place(world: World, region: RegionId) -> AsyncIterator[Finding]:
    place = world.places[region]
    await place.ping()
    done = await place.run(["true"], timeout=timedelta(seconds=5))
    yield Finding(ok=done.code == 0, what="answers, and runs commands")


async def _try_member(world: World, region: RegionId, component: ComponentId) -> AsyncIterator[Finding]:
    for finding in await world.members[region][component].check():
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
        level = _level(finding)
        out.print(f"{level:<4}  {where}: {finding.what}", markup=False)
        if level != "ok" and finding.remedy:
            out.print(f"      do: {finding.remedy}", markup=False)
    levels = Counter(_level(finding) for _, finding in findings)
    said = f"{levels['FAIL']} failed" if levels["FAIL"] else "all well"
    said += f", {levels['skip']} not asked" if levels["skip"] else ""
    said += f", {count(levels['warn'], 'warning')}" if levels["warn"] else ""
    out.print(f"{count(len(findings), 'check')}, {said}", markup=False)


def _level(finding: Finding) -> str:
    if not finding.asked:
        return "skip"
    return "FAIL" if not finding.ok else "warn" if finding.warning else "ok"
