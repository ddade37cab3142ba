"""One process for all regions keeps no lease: it does not begin where agents have held a primary under one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import pytest

from evac import daemon
from evac.config import Loaded, load
from evac.core.errors import Conflict
from evac.core.estate import ComponentId
from evac.core.news import silent
from evac.engine.lease_record import lease_key
from evac.stores.memory import MemoryStore

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
DATABASE = ComponentId("orders-db")


@pytest.fixture(name="leased")
def _leased(tmp_path: Path) -> Loaded:
    file = tmp_path / "estate.yaml"
    file.write_text(STARTER.read_text().replace("{mode: sync, acks: 1}", "{mode: async, lease: {}}"))
    return load(file, store="etcd://127.0.0.1:1")


async def test_nobody_leads_without_leases_where_agents_hold_one(
    leased: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leased.estate.held == (DATABASE,)
    store = MemoryStore()
    await store.commit(expect={}, put={lease_key(DATABASE): b"somebody's"})

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[MemoryStore]:
        yield store

    monkeypatch.setattr(daemon, "open_store", opened)
    with pytest.raises(Conflict, match="orders-db is held under a lease, .*: start evac's agents"):
        async with daemon.running(leased, state=tmp_path, announce=silent, name="all by itself"):
            raise AssertionError("it began")
