"""A client of Valkey: finds the primary by asking the hosts for their role, and appends ids to a list of its own.

It keeps its connections, also to a server that refused: who looks for the primary asks again, and does not connect
again.

Lists, because an append can be lost or doubled and either shows. In one transaction it reads whose reign it is: the
replication id changes with every promotion.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
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
        self._order = list(servers)
        self._password = password
        self._limit = limit
        self._wait = wait
        self._primary = ""
        self._clients: dict[str, valkey.asyncio.Valkey] = {}

    async def connected(self) -> bool:
        """Return whether there is a connection to a primary, after looking for one once if there is none."""
        if self._primary:
            return True
        for region in self._order:
            client = self._clients.setdefault(region, self._open(region))
            try:
                role = await cast("Coroutine[Any, Any, list[Any]]", client.role())
            except (valkey.exceptions.ValkeyError, OSError):
                await self._close(region)
                continue
            if role[0] in ("master", b"master"):
                self._primary = region
                return True
        return False

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
            single_connection_client=True,
        )

    async def append(self, *, key: str, id: str) -> tuple[Ending, Owner | None, str]:
        """Append an id once, and say how it ended. After anything but yes another server is asked first."""
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
        self._order.sort(key=lambda other: other == region)

    async def _close(self, region: str) -> None:
        await self._clients.pop(region).aclose()

    async def close(self) -> None:
        """Close all connections."""
        self._primary = ""
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
