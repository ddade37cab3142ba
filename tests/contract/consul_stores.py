"""Stores on the emulator of Consul's HTTP API, with short patience."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from consul_emulator import Running

from evac.stores.consul import ConsulAddress, ConsulGround
from evac.stores.logged import LoggedStore, Patience

QUICK = Patience(
    attempt=timedelta(milliseconds=500),
    whole=timedelta(seconds=5),
    look=timedelta(seconds=1),
    back=timedelta(milliseconds=300),
)
"""For loopback, where an answer that takes longer does not come."""


def address(emulated: Running, *, namespace: str = "") -> ConsulAddress:
    """Return where an emulated datacenter is; with a namespace that nobody uses unless one is named."""
    return ConsulAddress(endpoints=emulated.endpoints, namespace=namespace or f"evac/{uuid.uuid4().hex}")


def store_at(where: ConsulAddress, *, witness: Path | None = None, patience: Patience = QUICK) -> LoggedStore:
    """Return a store, to be closed by its owner."""
    return LoggedStore(ConsulGround(where, patience=patience), patience=patience, witness=witness)


@asynccontextmanager
async def opened(emulated: Running, *, namespace: str = "", witness: Path | None = None) -> AsyncIterator[LoggedStore]:
    """Open a store on an emulated datacenter, closed at the end."""
    store = store_at(address(emulated, namespace=namespace), witness=witness)
    try:
        yield store
    finally:
        await store.close()
