"""The region's ssh server, on loopback: commands, and their end with the connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest

from evac.lab.servers import process
from evac.lab.servers.sshd import SshServer


@pytest.fixture(name="server")
async def _server(tmp_path: Path) -> AsyncIterator[SshServer]:
    client, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "client").write_bytes(client.export_private_key())
    (tmp_path / "authorized").write_bytes(client.export_public_key())
    (tmp_path / "host").write_bytes(host.export_private_key())
    for name in ("client", "host"):
        (tmp_path / name).chmod(0o600)
    (port,) = process.free_ports(1)
    server = SshServer(
        region="here",
        folder=tmp_path,
        address="127.0.0.1",
        port=port,
        host_key=tmp_path / "host",
        authorized=tmp_path / "authorized",
    )
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


def connect(server: SshServer, key: str = "client") -> asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        "127.0.0.1",
        server.port,
        username="evac",
        client_keys=[str(server.folder / key)],
        known_hosts=None,
        config=None,
    )


async def test_a_command_gets_its_input_and_gives_its_output_and_code(server: SshServer) -> None:
    async with connect(server) as connection:
        done = await connection.run("cat; echo oops >&2; exit 7", input="fed")
    assert (done.stdout, done.stderr, done.exit_status) == ("fed", "oops\n", 7)


async def test_a_command_that_does_not_read_its_input_ends_all_the_same(server: SshServer) -> None:
    async with connect(server) as connection:
        async with asyncio.timeout(10):
            process = await connection.create_process("echo done")
            with suppress(OSError):  # it may have ended before it is written to: that is what this is about
                process.stdin.write("x" * 1_000_000)
                process.stdin.write_eof()
            done = await process.wait()
    assert done.stdout == "done\n"


async def test_another_key_is_refused(server: SshServer) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(server, "host"):
            pass


async def test_a_command_dies_with_its_connection_and_what_left_its_session_lives(server: SshServer) -> None:
    async with connect(server) as connection:
        child = await connection.create_process("setsid sleep 60 & echo $! $$; exec sleep 60")
        away, own = (int(word) for word in (await child.stdout.readline()).split())
        assert process.alive(own)
        await process.until(lambda: os.getsid(away) == away, what="its child to have a session of its own")
        connection.abort()
    try:
        await process.until(lambda: not process.alive(own), what="the command to end")
        assert process.alive(away)
    finally:
        await process.kill([away])


async def test_a_connection_is_opened_on_behalf_of_the_client(server: SshServer) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    greeter = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with greeter, connect(server) as connection:
        reader, writer = await connection.open_connection("127.0.0.1", greeter.sockets[0].getsockname()[1])
        assert await reader.readline() == b"hello\n"
        writer.close()
