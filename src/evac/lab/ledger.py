"""The ledger: the one table all of the lab's writers fill, and the one honest way to write to it.

Intuition: a write ends in one of three ways, and the hard part is to tell them apart. PostgreSQL answers yes, but adds
a WARNING, when the wait for its standbys was cancelled: the row may be nowhere else, so that is *unknown*. A refusal
with an SQLSTATE did not happen. A connection that breaks, or an administrator's stop, leaves it unknown. Nothing here
is ever tried twice.

The simple query protocol is used on purpose: there the yes comes after the commit, never before it. The table has
no key on `id`, so that a write that was done twice shows.

A session that does not answer in time is broken off at its socket, never cancelled: PostgreSQL would end a cancelled
wait for its standbys with a yes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import sql

from evac.lab.history import Ending

CREATE = """
    select pg_advisory_xact_lock(20261123);
    create table if not exists public.ledger (
        id text not null, client text not null, seq bigint not null, node text not null,
        at timestamptz not null default clock_timestamp());
    create table if not exists public.shop_canary (region text primary key, at timestamptz not null);
"""

INSERT = """
    insert into public.ledger (id, client, seq, node) values (%s, %s, %s, %s)
    returning ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
"""

UNSURE = ("08", "57P", "40003", "XX")
"""SQLSTATEs after which a commit may have happened: lost connections, stops from outside, internal errors."""


NO_TABLE = "42P01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a client wants written."""

    id: str
    client: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How a write ended. `timeline` is set when it was acknowledged."""

    ending: Ending
    timeline: int | None = None
    reason: str = ""


class Session:
    """One connection to PostgreSQL that knows how each of its writes ended. One statement at a time."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._warnings: list[str] = []
        connection.add_notice_handler(self._notice)

    @classmethod
    async def open(cls, conninfo: str, *, limit: float) -> Self:
        """Connect, or raise `psycopg.Error` or `TimeoutError` within the limit (seconds)."""
        async with asyncio.timeout(limit):
            connection = await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, cursor_factory=psycopg.AsyncClientCursor
            )
        return cls(connection)

    @property
    def usable(self) -> bool:
        """Return whether the connection is still there, as far as one can tell without asking."""
        return not (self._connection.closed or self._connection.broken)

    @property
    def server(self) -> tuple[str, int]:
        """Return the address and the port of the server that was reached."""
        info = self._connection.info
        return info.hostaddr or info.host, info.port

    async def write(self, order: Order, *, node: str, limit: float | None = None) -> Written:
        """Insert an order. With a limit (seconds) the session is broken off when it has passed.

        Where the table is missing it is made first: that failure is certain, so the write may follow.
        """
        written = await self._insert(order, node, limit)
        if written.ending is Ending.FAIL and written.reason.startswith(NO_TABLE):
            try:
                await self.query(CREATE, limit=limit)
            except psycopg.Error as error:
                return Written(ending=Ending.FAIL, reason=_reason(error))
            written = await self._insert(order, node, limit)
        return written

    async def _insert(self, order: Order, node: str, limit: float | None) -> Written:
        self._warnings.clear()
        try:
            rows = await self.query(INSERT, (order.id, order.client, order.seq, node), limit=limit)
        except psycopg.Error as error:
            sure = bool(error.sqlstate) and not str(error.sqlstate).startswith(UNSURE)
            return Written(ending=Ending.FAIL if sure else Ending.INFO, reason=_reason(error))
        if self._warnings:
            return Written(ending=Ending.INFO, reason=self._warnings[0])
        return Written(ending=Ending.OK, timeline=int(rows[0][0]))

    async def query(
        self, statement: str, parameters: Sequence[object] = (), *, limit: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; raises `psycopg.Error`. `limit` as for `write`."""
        timer = asyncio.get_running_loop().call_later(limit, self.break_off) if limit else None
        try:
            async with self._connection.cursor() as cursor:
                await cursor.execute(sql.SQL(statement), parameters or None)
                while cursor.nextset():
                    pass
                return await cursor.fetchall() if cursor.description else []
        finally:
            if timer:
                timer.cancel()

    def break_off(self) -> None:
        """Shut the socket under a statement that is waiting: the server is not told, and so cannot say yes."""
        if self.usable:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(str(notice.message_primary))


async def rows_at(conninfo: str, *, run: str | None = None) -> tuple[str, ...]:
    """Return the ids of all rows, or of one run's rows, that a server holds. Raises `psycopg.Error`."""
    pattern = f"{run}.%" if run else "%"
    session = await Session.open(conninfo, limit=5)
    try:
        return tuple(
            row[0] for row in await session.query("select id from public.ledger where id like %s", (pattern,), limit=30)
        )
    except psycopg.errors.UndefinedTable:
        return ()
    finally:
        await session.close()


def _reason(error: psycopg.Error) -> str:
    """Return an error as one line that begins with its SQLSTATE, if it has one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{error.sqlstate or ''} {lines[0]}".strip()
