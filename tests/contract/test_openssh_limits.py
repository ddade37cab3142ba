"""What OpenSSH's own limits do to a place that runs many commands and forwards many connections at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from openssh import openssh_host

from evac.core.errors import Unavailable
from evac.places import open_place

SOON = timedelta(seconds=60)


@pytest.mark.parametrize("more", ["", "MaxSessions 4", "MaxSessions 2"], ids=["as shipped", "four", "two"])
async def test_more_commands_than_sessions_wait_their_turn(more: str, tmp_path: Path) -> None:
    async with openssh_host(tmp_path, more=more) as host, open_place(host.settings()) as place:
        numbers = range(30)
        done = await asyncio.gather(
            *(place.run(["sh", "-c", f"sleep 0.1; echo {number}"], timeout=SOON) for number in numbers)
        )
        assert [int(each.out) for each in done] == list(numbers)
        await place.ping()


async def test_a_server_that_allows_one_session_only_is_said_to_need_more(tmp_path: Path) -> None:
    async with openssh_host(tmp_path, more="MaxSessions 1") as host, open_place(host.settings()) as place:
        await place.ping()
        with pytest.raises(Unavailable, match="true was not run; MaxSessions"):
            await place.run(["true"], timeout=timedelta(seconds=4))


async def test_forwarded_connections_are_no_sessions(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    greeter = await asyncio.start_server(greet, "127.0.0.1", 0)

    async def ask(port: int, number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        waiting.append(writer)
        while len(waiting) < 100:
            await asyncio.sleep(0.01)
        writer.write(b"%d\n" % number)
        return int(await reader.readline())

    waiting: list[asyncio.StreamWriter] = []
    async with greeter, openssh_host(tmp_path, more="MaxSessions 2") as host, open_place(host.settings()) as place:
        async with place.forward(*greeter.sockets[0].getsockname()) as (_, port):
            assert await asyncio.gather(*(ask(port, number) for number in range(100))) == list(range(100))
        for writer in waiting:
            writer.close()
