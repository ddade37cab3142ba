"""A way from this machine to servers inside a lab: TCP ports of the loopback that end at addresses of the lab.

Intuition: a socket belongs to the network it was made in, whoever holds it. So the listeners are made out here, and
handed to a process at one of the lab's sites, which accepts on them and connects from there.

    async with gateway.opened(lab, site="ops", to=("10.77.1.1:2379",)) as endpoints:
        ...                                           # endpoints == ("127.0.0.1:40123",)

What this is not: part of the WAN; what comes through has the distances of the site it comes out at.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from evac.lab.servers.process import Process
from evac.lab.world import Lab

_CHUNK = 65536


@asynccontextmanager
async def opened(lab: Lab, *, site: str, to: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
    """Keep a port open for each address (`host:port`) for as long as the context lives; gives the ports' addresses."""
    with contextlib.ExitStack() as sockets:
        listeners = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in to]
        pairs = [f"{each.fileno()}={address}" for each, address in zip(listeners, to, strict=True)]
        process = Process(
            name=f"gateway at {site}",
            argv=lab.command(site, sys.executable, "-m", "evac.lab.gateway", *pairs),
            log=lab.folder / "gateway.log",
            inherits=[each.fileno() for each in listeners],
        )
        await process.start(ready=lambda _: True)  # who connects before it accepts waits in the listener's queue
        try:
            yield tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in listeners)
        finally:
            await process.kill()


async def _serve(pairs: Sequence[str]) -> None:
    """Pass on for ever what comes in at listeners (`fd=host:port`)."""
    async with asyncio.TaskGroup() as tasks:
        for pair in pairs:
            number, _, address = pair.partition("=")
            host, _, port = address.rpartition(":")
            tasks.create_task(_listen(socket.socket(fileno=int(number)), host, int(port)))


async def _listen(listener: socket.socket, host: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end. A connection that breaks ends both."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
