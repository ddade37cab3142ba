"""A client of Valkey: finds the primary by asking all hosts for their role, and appends ids to a list of its own.

It asks them at once and takes the first that says yes; whoever refused it last is taken when no other one will. It
keeps its one connection to each, also to a server that refused: who looks for the primary asks again, and does not
connect again.

Lists, because an append can be lost or doubled and either shows. In one transaction it reads whose reign it is: the
replication id changes with every promotion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, cast

import valkey.asyncio
import valkey.exceptions
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff

from evac.lab.clients.record import Pace, Record
from evac.lab.clients.workload import split
from evac.lab.history import Ending, Owner


class Appender:
    """One client's connections, and which of them is to the primary."""

    def __init__(self, servers: Mapping[str, str], *, password: str | None, limit: float, wait: int) -> None:
        self._servers = dict(servers)
        self._password = password
        self._limit = limit
        self._wait = wait
        self._primary = ""
        self._refused = ""
        self._clients: dict[str, valkey.asyncio.Valkey] = {}
        self._asked: dict[str, asyncio.Task[bool]] = {}

    async def connected(self) -> bool:
        """Return whether there is a connection to a primary, after looking for one once if there is none."""
        if not self._primary:
            # A server that has not answered an earlier question yet is not asked another one on top.
            waited = {region: task for region, task in self._asked.items() if not task.done()}
            self._asked = {r: waited.get(r) or asyncio.create_task(self._leads(r)) for r in self._servers}
            self._primary = await self._first(self._servers.keys() - {self._refused}) or await self._first(
                self._servers.keys() & {self._refused}
            )
        return bool(self._primary)

    async def _first(self, regions: Collection[str]) -> str:
        """Return which of those asked is the first to say that it is the primary; empty when none does."""
        left = {self._asked[region]: region for region in regions}
        while left:
            done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                region = left.pop(task)
                if task.result():
                    return region
        return ""

    async def _leads(self, region: str) -> bool:
        client = self._clients.setdefault(region, self._open(region))
        try:
            role = await cast("Coroutine[Any, Any, list[Any]]", client.role())
        except (valkey.exceptions.ValkeyError, OSError):
            await self._close(region)
            return False
        return role[0] in ("master", b"master")

    def _open(self, region: str) -> valkey.asyncio.Valkey:
        host, port = split(self._servers[region])
        return valkey.asyncio.Valkey(
            host=host,
            port=port,
            password=self._password,
            socket_timeout=self._limit,
            socket_connect_timeout=self._limit,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            max_connections=1,
            lib_name=None,  # it would be told in two round trips more
            lib_version=None,
        )

    async def append(self, *, key: str, id: str) -> tuple[Ending, Owner | None, str]:
        """Append an id once, and say how it ended. After anything but yes the other servers come first."""
        assert self._primary, "append comes after connected"
        region = self._primary
        client = self._clients[region]
        try:
            async with client.pipeline(transaction=True) as both:
                both.rpush(key, id)
                both.info("replication")
                _, info = await both.execute()
            if self._wait:
                reached = await cast("Coroutine[Any, Any, int]", client.wait(self._wait, int(self._limit * 500)))
                if reached < self._wait:
                    return Ending.INFO, None, f"{reached} of {self._wait} replicas have it"
        except valkey.exceptions.ResponseError as error:
            self._leave(region)
            return Ending.FAIL, None, str(error)
        except (valkey.exceptions.ValkeyError, OSError) as error:
            self._leave(region)
            await self._close(region)
            return Ending.INFO, None, f"{type(error).__name__} {error}".strip()
        return Ending.OK, Owner(node=region, term=info["master_replid"], address=split(self._servers[region])[0]), ""

    def _leave(self, region: str) -> None:
        self._primary = ""
        self._refused = region

    async def _close(self, region: str) -> None:
        await self._clients.pop(region).aclose()

    async def close(self) -> None:
        """Close all connections."""
        self._primary = ""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        for region in list(self._clients):
            await self._close(region)


def key_of(client: str, *, run: str) -> str:
    """Return the list that a client appends to."""
    return f"appended:{run}:{client}"


async def append_all(*, client: str, appender: Appender, pace: Pace, record: Record) -> None:
    """Append one id after another until the record says stop."""
    seq = 0
    while not record.stop.is_set():
        await pace()
        if not await appender.connected():
            continue
        seq += 1
        id = record.begin(client=client, seq=seq, store="carts", via="append")
        how, owner, reason = await appender.append(key=key_of(client, run=record.run), id=id)
        record.end(id, how, owner=owner, reason=reason)
    await appender.close()


async def appended_at(address: str, *, password: str | None, run: str) -> tuple[str, ...]:
    """Return all ids of one run that a server holds. Raises `ValkeyError` or `OSError`."""
    host, port = split(address)
    client = valkey.asyncio.Valkey(host=host, port=port, password=password, decode_responses=True, socket_timeout=5)
    try:
        found: list[str] = []
        async for key in client.scan_iter(match=key_of("*", run=run), count=1000):
            found += await cast("Coroutine[Any, Any, list[str]]", client.lrange(key, 0, -1))
        return tuple(found)
    finally:
        await client.aclose()
