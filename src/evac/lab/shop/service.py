"""What the shop does: orders into PostgreSQL, carts into Valkey, and an honest word about both.

Answers: 200 it is done; 202 nobody knows whether it is done; 503 it is certainly not done; 400 what was asked makes no
sense. A write is tried once. Work that outlasts the shop's patience goes on behind its back, as 202 says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias, cast

import psycopg
import valkey.asyncio
import valkey.exceptions
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff

from evac.lab.history import Ending
from evac.lab.ledger import CREATE, Order, Session
from evac.lab.shop.sessions import NotNow, Sessions

Json: TypeAlias = dict[str, Any]

CANARY = (
    "insert into public.shop_canary values (%s, clock_timestamp()) on conflict (region) do update set at = excluded.at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """Sessions by what they are for: orders that wait must not make a shop that is well look ill."""

    orders: Sessions
    health: Sessions
    canary: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer."""

    status: HTTPStatus
    body: Mapping[str, Any]


def open_valkey(url: str, *, limit: float) -> valkey.asyncio.Valkey:
    """Return a client that never tries a command twice, and waits at most `limit` seconds for each."""
    client: valkey.asyncio.Valkey = valkey.asyncio.Valkey.from_url(
        url,
        socket_timeout=limit,
        socket_connect_timeout=limit,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return client


class Shop:
    """One region's shop. `patience` is how long (seconds) a client waits for a store before it is told 202."""

    def __init__(
        self,
        *,
        region: str,
        pools: Pools,
        carts: valkey.asyncio.Valkey,
        background: asyncio.TaskGroup,
        patience: float = 1.0,
    ) -> None:
        self._region = region
        self._pools = pools
        self._carts = carts
        self._background = background
        self._patience = patience

    async def answer(self, *, method: str, path: str, body: Json) -> Reply:
        """Answer one request."""
        match method, path:
            case "POST", "/orders":
                return await self._patiently(self._order(body), late=HTTPStatus.ACCEPTED)
            case "POST", "/carts":
                return await self._cart(body)
            case "GET", "/health":
                return await self._patiently(self._health(), late=HTTPStatus.SERVICE_UNAVAILABLE)
            case "GET", "/canary":
                return await self._patiently(self._canary(), late=HTTPStatus.SERVICE_UNAVAILABLE)
            case _:
                return self._say(HTTPStatus.NOT_FOUND, error=f"there is no {method} {path}")

    async def _patiently(self, work: Coroutine[Any, Any, Reply], *, late: HTTPStatus) -> Reply:
        """Wait for work as long as a client would; when that is over let it go on, and say `late`."""
        task = self._background.create_task(work)
        await asyncio.wait({task}, timeout=self._patience)
        if task.done():
            return task.result()
        return self._say(late, reason=f"no answer from the database in {self._patience:g} s")

    async def _order(self, body: Json) -> Reply:
        try:
            order = Order(id=str(body["id"]), client=str(body["client"]), seq=int(body["seq"]))
        except (KeyError, TypeError, ValueError):
            return self._say(HTTPStatus.BAD_REQUEST, error="an order has an id, a client and a seq")
        try:
            async with self._pools.orders.lend() as session:
                written = await session.write(order, node=self._region)
        except NotNow as error:
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, reason=str(error))
        match written.ending:
            case Ending.OK:
                return self._say(HTTPStatus.OK, id=order.id, timeline=written.timeline)
            case Ending.INFO:
                return self._say(HTTPStatus.ACCEPTED, id=order.id, reason=written.reason)
            case Ending.FAIL:
                return self._say(HTTPStatus.SERVICE_UNAVAILABLE, id=order.id, reason=written.reason)

    async def _cart(self, body: Json) -> Reply:
        client = str(body.get("client", ""))
        try:
            # valkey-py types a command's answer as maybe a coroutine; of the asynchronous client it always is one
            count = await cast("Coroutine[Any, Any, int]", self._carts.incr(f"cart:{client}"))
        except (valkey.exceptions.ResponseError, valkey.exceptions.AuthenticationError) as error:
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, reason=str(error))
        except (valkey.exceptions.ValkeyError, OSError) as error:
            return self._say(HTTPStatus.ACCEPTED, reason=str(error) or type(error).__name__)
        return self._say(HTTPStatus.OK, count=count)

    async def _health(self) -> Reply:
        """Say whether the shop and both its stores answer; being a standby is no illness."""
        try:
            async with self._pools.health.lend() as session:
                await session.query("select 1", limit=self._patience)
            await cast("Coroutine[Any, Any, bool]", self._carts.ping())
        except (NotNow, psycopg.Error, valkey.exceptions.ValkeyError, OSError) as error:
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, reason=str(error) or type(error).__name__)
        return self._say(HTTPStatus.OK)

    async def _canary(self) -> Reply:
        """Do one piece of real work: write and read a row where that is possible, else read one."""
        try:
            async with self._pools.canary.lend() as session:
                return await self._sing(session)
        except (NotNow, psycopg.Error) as error:
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, reason=str(error).strip() or type(error).__name__)

    async def _sing(self, session: Session) -> Reply:
        standby = (await session.query("select pg_is_in_recovery()"))[0][0]
        if not standby:
            try:
                await session.query(CANARY, (self._region,))
            except psycopg.errors.UndefinedTable:
                await session.query(CREATE)
                await session.query(CANARY, (self._region,))
        rows = await session.query(
            "select at::text from public.shop_canary where region = %s or %s limit 1", (self._region, standby)
        )
        return self._say(HTTPStatus.OK, role="standby" if standby else "primary", at=rows[0][0] if rows else None)

    def _say(self, status: HTTPStatus, **body: object) -> Reply:
        return Reply(status=status, body={**body, "node": self._region})
