"""What every place keeps, on this host and over ssh to real servers: asyncssh's, and OpenSSH's where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import asyncssh
import pytest
from openssh import OpensshHost, openssh_host

from evac.core.errors import Indeterminate, Unavailable
from evac.places import open_place
from evac.ports import Place
from fakes.loopback_ssh import LoopbackHost, loopback_host

SOON = timedelta(seconds=20)
Host: TypeAlias = "LoopbackHost | OpensshHost"


_SERVERS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Host]]] = {
    "asyncssh": loopback_host,
    "openssh": openssh_host,
}


@pytest.fixture(params=list(_SERVERS))
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Host]:
    async with _SERVERS[request.param](tmp_path) as running:
        yield running


@pytest.fixture(params=["local", *_SERVERS])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "local":
        async with open_place(None) as local:
            yield local
        return
    async with _SERVERS[request.param](tmp_path) as running, open_place(running.settings()) as over_ssh:
        yield over_ssh


async def ended(pid: int) -> None:
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        await asyncio.sleep(0.02)


async def written(path: Path) -> str:
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.02)
    return path.read_text()


async def echo_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


async def test_ping_answers_again_and_again(place: Place) -> None:
    for _ in range(3):
        await place.ping()
    await asyncio.gather(*(place.ping() for _ in range(5)))


async def test_run_gives_code_and_both_outputs(place: Place) -> None:
    done = await place.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=SOON)
    assert (done.code, done.out, done.err) == (3, b"out\n", b"err\n")


async def test_arguments_reach_the_command_as_they_are(place: Place) -> None:
    awkward = ["a b", "$HOME", "'", '"', "*", "", "ä\n;"]
    done = await place.run(["printf", "%s|", *awkward], timeout=SOON)
    assert done.out.decode() == "".join(f"{a}|" for a in awkward)


async def test_stdin_reaches_the_command_whole(place: Place) -> None:
    given = bytes(range(256)) * 4096
    assert (await place.run(["cat"], stdin=given, timeout=SOON)).out == given


async def test_a_missing_program_ends_with_127(place: Place) -> None:
    assert (await place.run(["/nonexistent/program"], timeout=SOON)).code == 127


async def test_a_command_that_ends_before_it_is_given_its_input_has_ended_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = asyncssh.SSHClientConnection.create_process

    async def late(self: asyncssh.SSHClientConnection, *args: Any, **given: Any) -> Any:
        process = await opened(self, *args, **given)
        if args and "exit 3" in args[0]:
            await process.channel.wait_closed()
        return process

    monkeypatch.setattr(asyncssh.SSHClientConnection, "create_process", late)
    async with open_place(host.settings()) as place:
        done = await place.run(["sh", "-c", "echo out; exit 3"], stdin=b"too late", timeout=SOON)
        assert (done.code, done.out) == (3, b"out\n")


async def test_time_out_is_indeterminate_and_kills(place: Place, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    with pytest.raises(Indeterminate, match="had not ended"):
        await place.run(["sh", "-c", f"echo $$ > {noted}; sleep 60"], timeout=timedelta(seconds=0.7))
    await ended(int(noted.read_text()))


async def test_cancelling_kills(place: Place, tmp_path: Path) -> None:
    """At once, or where the server passes no signals on at the command's own time limit."""
    noted, limit = tmp_path / "pid", timedelta(seconds=3)
    running = asyncio.ensure_future(place.run(["sh", "-c", f"echo $$ > {noted}; sleep 60"], timeout=limit))
    pid = int(await written(noted))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await ended(pid)


async def test_forward_reaches_the_target_and_keeps_half_closes(place: Place) -> None:
    server = await asyncio.start_server(echo_once, "127.0.0.1", 0)
    async with server, place.forward(*server.sockets[0].getsockname()) as (address, port):
        for text in (b"one", b"two" * 100_000):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(text)
            writer.write_eof()
            assert await reader.read() == text.upper()
            writer.close()
            await writer.wait_closed()


async def test_forward_to_a_closed_port_fails_at_once(place: Place) -> None:
    server = await asyncio.start_server(echo_once, "127.0.0.1", 0)
    gone = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()

    async def ask(address: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            return await reader.read()
        finally:
            writer.close()

    async with place.forward(*gone) as (address, port):
        with suppress(ConnectionError):  # refused or reset is as good as closed
            assert await ask(address, port) == b""


async def test_a_closed_place_is_unavailable(place: Place) -> None:
    await place.close()
    await place.close()
    with pytest.raises(Unavailable):
        await place.ping()
    with pytest.raises(Unavailable):
        await place.run(["true"], timeout=SOON)


async def test_a_lost_connection_makes_a_started_command_indeterminate(host: Host, tmp_path: Path) -> None:
    noted = tmp_path / "started"
    async with open_place(host.settings()) as place:
        running = asyncio.ensure_future(place.run(["sh", "-c", f"echo x > {noted}; sleep 60"], timeout=SOON))
        await written(noted)
        host.drop()
        with pytest.raises(Indeterminate, match="lost while sh ran"):
            await running


async def test_it_connects_again_by_itself_and_the_forwarded_port_stays(host: Host) -> None:
    server = await asyncio.start_server(echo_once, "127.0.0.1", 0)
    quick = host.settings(retry_min=timedelta(milliseconds=20), retry_max=timedelta(milliseconds=40))
    async with server, open_place(quick) as place, place.forward(*server.sockets[0].getsockname()) as local:
        before = await place.ping()
        assert await place.ping() == before
        host.stop_listening()
        host.drop()
        with pytest.raises(Unavailable, match="connect|lost|closed"):
            while True:
                await place.ping()
        with pytest.raises(Unavailable, match="cannot be reached: .* by hand: ssh"):
            while True:
                await place.run(["true"], timeout=SOON)
        await host.start()
        while True:
            try:
                assert await place.ping() != before
                break
            except Unavailable:
                await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*local)
        writer.write(b"again")
        writer.write_eof()
        assert await reader.read() == b"AGAIN"
        writer.close()


async def test_an_unknown_host_key_is_refused(host: Host, tmp_path: Path) -> None:
    settings = host.settings()
    (tmp_path / "known_hosts").write_text("")
    async with open_place(settings) as place:
        with pytest.raises(Unavailable, match="not trusted"):
            await place.ping()


async def test_a_silent_connection_is_given_up(host: Host) -> None:
    """A host that froze answers no keepalive: who waits is told, although TCP still stands."""
    async with open_place(host.settings(silence_max=timedelta(seconds=0.5))) as place:
        await place.ping()
        host.freeze()
        with pytest.raises(Unavailable, match="keepalive|ended"):
            await place.ping()


async def test_what_the_body_raises_leaves_as_it_is(host: Host) -> None:
    with pytest.raises(KeyError):
        async with open_place(host.settings()) as place:
            await place.ping()
            raise KeyError("mine")
