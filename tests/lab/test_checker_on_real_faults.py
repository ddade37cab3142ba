"""The checker and the clients on a real lab without evac: a careless promotion is caught, and a calm hour is not."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evac.lab import layout, measures, world
from evac.lab.clients import at_lab
from evac.lab.clients.record import SUMMARY
from evac.lab.clients.workload import Workload
from evac.lab.judge import heard, judge
from evac.lab.layout import Layout
from evac.lab.servers import postgresql, process
from evac.lab.servers.process import Process
from evac.lab.world import Lab

pytestmark = pytest.mark.lab
OLD = "us-east-1"
NEW = "us-west-2"


@asynccontextmanager
async def _clients(lab: Lab, site: str, workload: Workload) -> AsyncIterator[Path]:
    folder = lab.folder / f"clients-{site}"
    workload.write(folder)
    command = lab.command(site, sys.executable, "-m", "evac.lab.clients", "--dir", str(folder))
    clients = Process(name=site, argv=command, log=folder / "clients.log")
    try:
        await clients.start(ready=lambda _: (folder / SUMMARY).exists())
        yield folder
    finally:
        await clients.stop()


async def _promote(lab: Lab, shape: Layout) -> None:
    """Promote a standby the way nobody should: without asking what became of the primary."""
    psql = (str(postgresql.bin_dir() / "psql"), "--no-psqlrc", "--quiet", "-c")
    where = f"host={shape.address(NEW)} dbname=shop user=evac password={(shape.secrets / 'pg').read_text()}"
    for statement in ("alter system set synchronous_standby_names = ''", "select pg_promote()"):
        await process.run(lab.command("ops", *psql, statement, where))
    await process.run(lab.command("ops", *psql, "select pg_reload_conf()", where))


async def _rows(lab: Lab, folder: Path, region: str, *, also: str) -> dict[str, list[str]]:
    reader = (sys.executable, "-m", "evac.lab.rows", "--dir", str(folder), "--orders", region, "--also", also)
    found: dict[str, list[str]] = json.loads(await process.run(lab.command("clients", *reader)))
    return found


async def test_careless_promotion_shows_two_owners_and_lost_writes(tmp_path: Path) -> None:
    async with world.lab(tmp_path / "lab", mode="async") as lab:
        shape = layout.load(folder=lab.folder, mode="async")
        outer = at_lab.outside(shape, dns=(await lab.status())["dns"] == "knot", append_rate=0, appenders=0)
        inner = at_lab.inside(shape, OLD, rate=20)
        async with _clients(lab, "clients", outer) as outside, _clients(lab, OLD, inner) as inside:
            await asyncio.sleep(2)
            cut = await lab.fault("cut", OLD)
            assert cut.at_s is not None
            await asyncio.sleep(1)
            await _promote(lab, shape)
            await asyncio.sleep(4)
        rows = await _rows(lab, outside, NEW, also=inner.run)
        verdict = judge([outside, inside], rows=rows)["orders"]
        kept = set(rows["orders"])
        after = [w.id for w in heard([inside], store="orders") if w.invoked > cut.at_s and w.acknowledged_at]

    assert not verdict.kept
    assert {found.owner.node for found in verdict.two_owners} == {OLD}
    assert set(after) <= set(verdict.lost)
    assert not set(after) & kept
    assert not verdict.doubled
    assert not verdict.phantom


async def test_synchronous_primary_that_is_cut_off_acknowledges_nothing(tmp_path: Path) -> None:
    async with world.lab(tmp_path / "lab", mode="sync") as lab:
        shape = layout.load(folder=lab.folder)
        outer = at_lab.outside(shape, dns=(await lab.status())["dns"] == "knot", append_rate=0, appenders=0)
        inner = at_lab.inside(shape, OLD, rate=20)
        async with _clients(lab, "clients", outer) as outside, _clients(lab, OLD, inner) as inside:
            await asyncio.sleep(2)
            cut = await lab.fault("cut", OLD)
            assert cut.at_s is not None
            await asyncio.sleep(4)
            healed = await lab.heal(OLD)
            await asyncio.sleep(4)
        verdict = judge([outside, inside], rows=await _rows(lab, outside, OLD, also=inner.run))["orders"]
        writes = heard([outside, inside], store="orders")

    assert verdict.kept, verdict
    gap = measures.longest_gap(writes, since=cut.at_s, until=healed.at_s)
    assert gap is not None
    assert gap.seconds > 3
    assert measures.recovered_after(writes, fault_at=cut.at_s) is None
