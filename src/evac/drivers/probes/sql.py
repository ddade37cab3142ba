"""SQL probes for PostgreSQL: a standby answers a query; a primary writes a row and reads it.

Intuition: a primary whose disk is full, or whose synchronous standbys are all silent, still answers `select 1`. Only a
write that is acknowledged proves that it does its job. With `write`, one small row in `evac.canary` (64 rows at most,
one of them by backend, so that several vantage points do not wait for one another's locks) is written and read in one
message. A row that is written over its own old place needs no room, so now and then, and always once one was refused,
the same message takes some: a temporary file beside the database, gone at once. What the server is, it says itself: a
server in recovery is asked for a reading only.

Spoken with libpq's asynchronous calls (`psycopg.pq`): cancelling a psycopg connection waits for the server's answer,
which a cut-off server never gives, and a reply that is given up must stay owed (`kept`).
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from evac.core.estate import Probe
from evac.drivers.libpq import lines_of
from evac.drivers.probes.kept import Asker, Broken, Line, OpenLine
from evac.drivers.settings import Secret, Settings
from evac.ports import Place, Prober

_READ = b"select pg_is_in_recovery()"
_WRITE = b"""
insert into evac.canary (id, written_at) values (pg_backend_pid() % 64, clock_timestamp())
    on conflict (id) do update set written_at = excluded.written_at;
select written_at from evac.canary where id = pg_backend_pid() % 64;
"""
_ROOM = b"""
set local work_mem = 64;
set local temp_tablespaces = '';
select count(*) from generate_series(1, 4000)
    where pg_size_bytes(current_setting('log_temp_files')) not between 0 and 131072
"""
"""What needs some 60 kB of disk for a moment; not where the server's log would tell of each such file."""
_ROOM_EACH = 4
"""Of so many questions that go well one takes room, which costs the server as much as all else of it. One that is
refused is followed by others that take some, so that failures stand in a row."""
_CREATE = b"""
create schema if not exists evac;
create table if not exists evac.canary (id integer primary key, written_at timestamptz not null)
"""
_READ_ONLY = b"25006"
_LIMITED = b"53400"
"""More than this role's `temp_file_limit`: whether the disk has room cannot be tried."""
_MISSING = (b"42P01", b"3F000")
_CREATED_MEANWHILE = (b"23505", b"42P07", b"42P06")
_CONNECTION_LOST = (b"08", b"57P")
"""SQLSTATE classes after which a connection is gone: connection exceptions, and a server that shuts down."""


class SqlSettings(Settings):
    """Where the database is, as whom to ask, and whether to write."""

    host: str
    """Host name or address, as seen from the region that probes."""
    port: int = 5432
    """TCP port; default 5432."""
    dbname: str
    """Database."""
    user: str
    """Role; with `write` it must be allowed to create the schema `evac` once, or find it there."""
    password: Secret | None = None
    """Its password; default none."""
    write: bool = False
    """Whether a primary must also write and read one row in `evac.canary`; default no."""
    sslmode: str = "prefer"
    """TLS as libpq names it (disable, prefer, require, verify-full); default prefer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """What the server said instead of doing it: its SQLSTATE, and its message."""

    code: bytes
    reason: str


class SqlLine:
    """One libpq connection in its asynchronous mode. Remembers whether the server was a standby when last asked."""

    def __init__(self, connection: pq.abc.PGconn, *, write: bool) -> None:
        self._connection = connection
        self._write = write
        self._standby = False
        self._room = _ROOM
        self._room_in = 0
        """How many questions come before one that takes room."""

    async def ask(self) -> str:
        if self._standby or not self._write:
            reason, self._standby = await self._read()
            if reason or self._standby or not self._write:
                return reason
        refusal = await self._write_canary()
        if refusal is None or refusal.code != _READ_ONLY:
            return refusal.reason if refusal else ""
        reason, self._standby = await self._read()
        return reason or ("" if self._standby else f"a primary, but it refuses writes: {refusal.reason}")

    async def settle(self) -> None:
        await self._results()

    async def close(self) -> None:
        self._connection.finish()

    async def _read(self) -> tuple[str, bool]:
        """Return what went wrong, if anything, and whether the server is a standby."""
        results = await self._query(_READ)
        refusal = _refusal(results)
        if refusal is not None:
            return refusal.reason, self._standby
        return "", results[-1].get_value(0, 0) == b"t"

    async def _write_canary(self) -> _Refusal | None:
        refusal = await self._write_row()
        if refusal is None or refusal.code not in _MISSING:
            return refusal
        refusal = _refusal(await self._query(_CREATE))
        if refusal is None or refusal.code in _CREATED_MEANWHILE:
            refusal = await self._write_row()
        return refusal

    async def _write_row(self) -> _Refusal | None:
        room = b"" if self._room_in else self._room
        refusal = _refusal(await self._query(_WRITE + room))
        if room and refusal is not None and refusal.code == _LIMITED:
            self._room = b""
            refusal = _refusal(await self._query(_WRITE))
        self._room_in = 0 if refusal else (self._room_in or _ROOM_EACH) - 1
        return refusal

    async def _query(self, text: bytes) -> list[pq.abc.PGresult]:
        try:
            self._connection.send_query(text)
        except psycopg.Error as error:
            raise Broken(_first_line(error)) from error
        return await self._results()

    async def _results(self) -> list[pq.abc.PGresult]:
        """Send what is not sent yet, and read all results; may be cancelled and called again."""
        connection = self._connection
        results: list[pq.abc.PGresult] = []
        try:
            while connection.flush():
                await _ready(connection.socket, write=True)
            while True:
                while connection.is_busy():
                    await _ready(connection.socket)
                    connection.consume_input()
                result = connection.get_result()
                if result is None:
                    return results
                results.append(result)
        except psycopg.Error as error:
            raise Broken(_first_line(error)) from error


def _refusal(results: list[pq.abc.PGresult]) -> _Refusal | None:
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            code = result.error_field(pq.DiagnosticField.SQLSTATE)
            if code is None or code.startswith(_CONNECTION_LOST):
                raise Broken("connection closed by the other end", answered=code is not None)
            text = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or code
            return _Refusal(code=code, reason=text.decode(errors="replace"))
    if not results:
        raise Broken("connection closed by the other end")
    return None


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


async def _ready(descriptor: int, *, write: bool = False) -> None:
    """Wait until the socket can be read (or written)."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    (loop.add_writer if write else loop.add_reader)(descriptor, wake)
    try:
        await woken
    finally:
        (loop.remove_writer if write else loop.remove_reader)(descriptor)


async def _connect(settings: SqlSettings, host: str, port: int) -> pq.abc.PGconn:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    conninfo = make_conninfo(
        host=settings.host,
        hostaddr=found[0][4][0],
        port=port,
        dbname=settings.dbname,
        user=settings.user,
        password=settings.password.read() if settings.password else None,
        sslmode=settings.sslmode,
        gssencmode="disable",
        application_name="evac probe",
    )
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        while (status := connection.connect_poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise _not_connected(lines_of(connection.get_error_message())[-1].rpartition("failed: ")[2])
            await _ready(connection.socket, write=status == pq.PollingStatus.WRITING)
        connection.nonblocking = 1
    except BaseException:
        connection.finish()
        raise
    return connection


def _not_connected(said: str) -> Exception:
    """What became of a connection, by libpq's words: `FATAL` is the server's own."""
    return ConnectionRefusedError() if said == "Connection refused" else Broken(said, answered=said.startswith("FATAL"))


def _opener(settings: SqlSettings) -> OpenLine:
    async def open_line(host: str, port: int) -> Line:
        return SqlLine(await _connect(settings, host, port), write=settings.write)

    return open_line


class SqlKind:
    """The kind `sql`."""

    name = "sql"
    settings = SqlSettings

    async def open(self, probe: Probe, place: Place) -> Prober:
        settings = probe.settings
        assert isinstance(settings, SqlSettings)
        return Asker(
            place=place, host=settings.host, port=settings.port, open_line=_opener(settings), fresh=probe.as_client
        )
