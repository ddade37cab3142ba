"""A connection to one member that stays open, and the batches of statements that travel on it in one round trip.

Intuition: over a link with a round trip of 100 ms, ten statements one after the other cost a second of outage. So a
verb sends all it needs at once (libpq's pipeline, each statement committed by itself) and the waiting is done by the
server. Because the answers come after all is sent, what must not happen is prevented *there*: a batch that changes
anything opens with a guard (`guard.py`) that ends its own session if the member has seen a higher term, and with it
all that was sent behind.

How an error is told: before anything was sent `Unavailable`; a server's refusal `Rejected`; a connection lost, or a
time that ran out, after a change was sent `Indeterminate`. No message holds a password.

What this is not: a pool. One batch at a time; who must not wait for another uses a session of his own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.drivers.libpq import lines_of
from evac.drivers.postgresql.settings import PostgresqlSettings
from evac.ports import Place

Rows: TypeAlias = list[tuple[Any, ...]]
Statement: TypeAlias = "str | sql.Composable"
Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

REFUSES = "evac refuses: "
"""How the guard's warning begins; what follows is the reason."""
REJECTED, UNAVAILABLE, INDETERMINATE = "EV001", "EV002", "EV003"
"""SQLSTATEs our own blocks raise, by the error they stand for."""

_FORBIDDEN = "42501"
_PASSING = ("40", "53", "55P03")
"""SQLSTATEs, or their classes, of what may go well a moment later: conflicts, resources, a lock somebody holds."""
_OPTIONS = (
    "-c search_path=pg_catalog -c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=5s "
    "-c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 "
    "-c default_transaction_read_only=off -c client_min_messages=warning"
)
"""Nothing evac sends waits for a standby, and no statement (it may hold a password) reaches the server's log."""

_NEVER_BY_ITSELF = 2**31
"""psycopg prepares a statement that was run so often; evac says which it wants prepared."""


class Session:
    """One member's connection, opened when first needed, opened again when it was lost."""

    def __init__(self, *, settings: PostgresqlSettings, region: RegionId, place: Place, dbname: str = "") -> None:
        self._settings = settings
        self._place = place
        self._dbname = dbname or settings.dbname
        self.where = f"{region}: PostgreSQL at {settings.host}:{settings.port}"
        self._connection: Connection | None = None
        self._around = AsyncExitStack()
        self._turn = asyncio.Lock()
        self._refusals: list[str] = []

    async def look(self, *statements: Statement, within: timedelta, planned: bool = False) -> list[Rows]:
        """Run statements that change nothing; return each one's rows. A connection found dead is opened again once.

        What is asked again and again is `planned`: the server keeps its plan, which may cost more than the answer.
        """
        async with self._turn:
            reused = self._connection is not None
            try:
                return await self._batch(statements, within=within, changing=False, planned=planned)
            except Unavailable:
                if not reused or self._connection is not None:
                    raise
                return await self._batch(statements, within=within, changing=False, planned=planned)

    async def change(self, *statements: Statement, within: timedelta, planned: bool = False) -> list[Rows]:
        """Run statements that change something, in one round trip, each committed by itself; `planned` as in `look`."""
        async with self._turn:
            return await self._batch(statements, within=within, changing=True, planned=planned)

    async def ready(self) -> None:
        """Open the connection if it is not open, so that a later batch need not wait for it."""
        async with self._turn:
            await self._opened()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        around, self._around = self._around, AsyncExitStack()
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()
        await around.aclose()

    async def _batch(
        self, statements: Sequence[Statement], *, within: timedelta, changing: bool, planned: bool
    ) -> list[Rows]:
        connection = await self._opened()
        self._refusals.clear()
        sending = asyncio.ensure_future(_send(connection, statements, planned=planned))
        try:
            done, _ = await asyncio.wait({sending}, timeout=within.total_seconds())
        except asyncio.CancelledError:
            await self._give_up(connection, sending)
            raise
        if not done:
            await self._give_up(connection, sending)
            said = f"{self.where} did not answer within {within.total_seconds():g} s"
            raise Indeterminate(f"{said}; it may have done what it was asked") if changing else Unavailable(said)
        try:
            return sending.result()
        except psycopg.Error as error:
            translated = self._translate(error, changing=changing)
            if connection.closed or connection.broken:
                await self.close()
            raise translated from None

    async def _opened(self) -> Connection:
        connection = self._connection
        if connection is not None and _alive(connection):
            return connection
        await self.close()
        try:
            async with asyncio.timeout(self._settings.connect_timeout.total_seconds()), AsyncExitStack() as around:
                host, port = await around.enter_async_context(
                    self._place.forward(self._settings.host, self._settings.port)
                )
                self._connection = await self._connect(host, port)
                self._around = around.pop_all()
        except TimeoutError:
            seconds = self._settings.connect_timeout.total_seconds()
            raise Unavailable(f"{self.where} took no connection within {seconds:g} s") from None
        except (psycopg.Error, OSError) as error:
            raise self._refused_connection(error) from None
        self._connection.add_notice_handler(self._noticed)
        return self._connection

    async def _connect(self, host: str, port: int) -> Connection:
        settings = self._settings
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        conninfo = make_conninfo(
            host=settings.host,
            hostaddr=found[0][4][0],
            port=port,
            dbname=self._dbname,
            user=settings.user,
            password=settings.password.read() if settings.password else None,
            application_name="evac",
            options=_OPTIONS,
            gssencmode="disable",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=8000,
            **settings.tls,
        )
        return await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=_NEVER_BY_ITSELF)

    async def _give_up(self, connection: Connection, sending: asyncio.Future[list[Rows]]) -> None:
        """Cut the socket under a batch: asking the server to cancel would wait for a server that may be frozen."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=_duplicate(connection)) as wire:
            wire.shutdown(socket.SHUT_RDWR)
        with suppress(psycopg.Error, asyncio.CancelledError):
            await sending
        await self.close()

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        said = notice.message_primary or ""
        if said.startswith(REFUSES):
            self._refusals.append(said.removeprefix(REFUSES))

    def _refused_connection(self, error: Exception) -> DriverError:
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        text = _first_line(error)
        if "password authentication failed" in text or "no pg_hba.conf entry" in text or "does not exist" in text:
            return Rejected(f"{self.where} refuses user {self._settings.user}: {text}")
        if state is not None and state[:2] in ("28", "3D", "42"):
            return Rejected(f"{self.where} refuses user {self._settings.user}: {text}")
        return Unavailable(f"{self.where} takes no connection: {text}")

    def _translate(self, error: psycopg.Error, *, changing: bool) -> DriverError:
        if self._refusals:
            return Rejected(f"{self.where} refuses: {self._refusals[-1]}")
        state, text = error.sqlstate, _first_line(error)
        if state == REJECTED:
            return Rejected(f"{self.where}: {text}")
        if state == UNAVAILABLE:
            return Unavailable(f"{self.where}: {text}")
        if state == INDETERMINATE:
            return Indeterminate(f"{self.where}: {text}")
        if state is None or state[:2] in ("08", "57"):
            said = f"{self.where} ended the connection: {text}"
            return Indeterminate(f"{said}; it may have done what it was asked") if changing else Unavailable(said)
        said = f"{self.where}: {text} (SQLSTATE {state})"
        if state == _FORBIDDEN:
            return Rejected(f"{said}; evac needs a superuser")
        if changing:
            return Indeterminate(said)
        return Unavailable(said) if state.startswith(_PASSING) else Rejected(said)


async def _send(connection: Connection, statements: Sequence[Statement], *, planned: bool) -> list[Rows]:
    async with connection.pipeline() as pipeline:
        cursors = []
        for statement in statements:
            query = statement.encode() if isinstance(statement, str) else statement.as_bytes(connection)
            cursors.append(await connection.execute(query, prepare=planned))
            # `pipeline.sync()` would wait for the answers so far: a round trip for each statement. This only sends the
            # message that ends the statement's transaction; all answers are awaited once, when the pipeline is left.
            pipeline._enqueue_sync()
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]


def _alive(connection: Connection) -> bool:
    """Say whether nothing on this side knows of the connection's end, reading what has come in."""
    if connection.closed or connection.broken:
        return False
    try:
        connection.pgconn.consume_input()
    except psycopg.Error:
        return False
    return connection.pgconn.status == psycopg.pq.ConnStatus.OK


def _duplicate(connection: Connection) -> int:
    return os.dup(connection.pgconn.socket)


def _first_line(error: Exception) -> str:
    text = lines_of(str(error).strip() or type(error).__name__)
    return text[-1] if isinstance(error, psycopg.OperationalError) and error.sqlstate is None else text[0]
