"""A local port whose connections come out at the far end of an ssh connection.

Intuition: a listener on 127.0.0.1 that lives as long as its context; each connection it accepts becomes one
direct-tcpip channel of whatever ssh connection stands at that moment. So a client keeps one address while the ssh
connection behind it comes and goes, and learns of a missing one by a closed socket instead of by silence.

What this is not: a proxy that buffers or retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncssh

from evac.core.errors import Unavailable

CONNECTIONS_MAX = 256
"""Connections through one forwarding at a time, those still being opened included; more are closed at once."""
LINGER_S = 10.0
"""How long the other direction may go on when one has ended: a target that went silent holds no channel for ever."""
_CHUNK = 64 * 1024

_Connect: TypeAlias = "Callable[[], Awaitable[asyncssh.SSHClientConnection]]"
_Reader: TypeAlias = "asyncio.StreamReader | asyncssh.SSHReader[bytes]"
_Writer: TypeAlias = "asyncio.StreamWriter | asyncssh.SSHWriter[bytes]"


@asynccontextmanager
async def forward_through(
    connection: _Connect, host: str, port: int, *, group: asyncio.TaskGroup
) -> AsyncIterator[tuple[str, int]]:
    """Give the local address; `connection` returns the ssh connection of the moment, or raises `Unavailable`.

    The connections' tasks belong to `group` and are ended with the context.
    """
    carried: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(carried) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = group.create_task(_carry(connection, reader, writer, host, port), name=f"forward {host}:{port}")
        carried.add(task)
        task.add_done_callback(carried.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    address: tuple[str, int] = server.sockets[0].getsockname()
    try:
        yield address
    finally:
        server.close()
        for task in carried:
            task.cancel()
        if carried:
            await asyncio.wait(carried)


async def _carry(
    connection: _Connect,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
) -> None:
    """Open the far end of one connection and copy both ways until one side breaks or both have ended.

    The opening is not given up when the client leaves: ssh has no way to take it back, and one that succeeds late
    would stay open for nobody.
    """
    try:
        far = await connection()
        far_reader, far_writer = await far.open_connection(host, port)
    except (Unavailable, asyncssh.Error, OSError):
        writer.transport.abort()
        return
    except BaseException:
        writer.transport.abort()
        raise
    whole = False
    try:
        await _both_ways((reader, far_writer), (far_reader, writer))
        whole = True
    except* (asyncssh.Error, OSError):
        pass  # the sockets are aborted below: that is how a broken connection is told
    finally:
        for end in (writer, far_writer):
            end.close() if whole else _abort(end)


async def _both_ways(out: tuple[_Reader, _Writer], back: tuple[_Reader, _Writer]) -> None:
    async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as both:
        for reader, writer in (out, back):
            both.create_task(_copy(reader, writer, limit))


async def _copy(reader: _Reader, writer: _Writer, limit: asyncio.Timeout) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    limit.reschedule(asyncio.get_running_loop().time() + LINGER_S)


def _abort(end: _Writer) -> None:
    if isinstance(end, asyncio.StreamWriter):
        end.transport.abort()
    else:
        end.channel.abort()
