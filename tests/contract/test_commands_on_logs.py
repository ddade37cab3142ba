"""The command line against stores that are logs: from any folder, one controller, plain words about what is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import consul_emulator
import consul_stores
import pytest
import zookeeper_ensembles
from test_commands_on_etcd import EVAC, STARTER, evac
from zookeeper_ensembles import needs_zookeeper

from evac.lab.servers import process
from evac.lab.servers.process import Process


@asynccontextmanager
async def on_zookeeper(folder: Path) -> AsyncIterator[str]:
    """Give the URL of an ensemble of one."""
    async with zookeeper_ensembles.running(zookeeper_ensembles.laid_out(folder, 1)) as servers:
        yield f"zookeeper://{','.join(zookeeper_ensembles.address(servers).endpoints)}"


@asynccontextmanager
async def on_consul(folder: Path) -> AsyncIterator[str]:
    """Give the URL of an emulated datacenter."""
    with consul_emulator.running() as emulated:
        yield f"consul://{','.join(consul_stores.address(emulated).endpoints)}"


@pytest.mark.parametrize("stores", [pytest.param(on_zookeeper, marks=needs_zookeeper), on_consul])
async def test_whoever_names_the_store_sees_and_tells_the_controller_from_anywhere(
    stores: Callable[[Path], AbstractAsyncContextManager[str]], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    async with stores(tmp_path / "store") as url:
        members = url.count(",") + 1
        (here / "estate.yaml").write_text(STARTER.read_text())
        (there / "estate.yaml").write_text(STARTER.read_text().replace("\nname:", f"\nstore: {url}\nname:"))
        serving = Process(
            name="evac serve",
            argv=(*EVAC, "serve", "--estate", str(here / "estate.yaml"), "--store", url),
            log=tmp_path / "serve.log",
        )
        try:
            await serving.start(ready=lambda _: "watching my-shop" in process.tail(serving.log, lines=1000))
            code, said = await asyncio.to_thread(evac, "pause", "--estate", there / "estate.yaml")
            assert (code, said) == (0, "automation is off; on again: evac resume\n")
            _, said = await asyncio.to_thread(evac, "check", "--estate", there / "estate.yaml")
            assert f"{members} of {members} members answer" in said
            assert ("is asked in plain text" in said) == (members > 1)
        finally:
            await serving.stop()
