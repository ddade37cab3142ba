"""A question that is given up leaves its connection usable; a silent one is replaced; a closed one is reopened."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from evac.core.estate import Probe, RegionId, ServiceId
from evac.drivers.probes import HTTP, TCP
from evac.drivers.probes.http import HttpSettings
from evac.drivers.probes.tcp import TcpSettings
from evac.drivers.probes.valkey import ValkeyKind, ValkeySettings
from evac.places.local import LocalPlace
from evac.ports import BadAnswer, Prober


class Page:
    """A small HTTP server: answers each request when it is let, with what it is told."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.status = 200
        self.body = b"ok"
        self.port = 0
        self.close_after_answer = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                number = self.requests
                await self.may_answer.wait()
                body = self.body + f" {number}".encode()
                writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                if self.close_after_answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    shown = Page()
    server = await asyncio.start_server(shown.serve, "127.0.0.1", 0)
    shown.port = server.sockets[0].getsockname()[1]
    try:
        yield shown
    finally:
        server.close()


def probe(kind: str, settings: object, *, as_client: bool = False) -> Probe:
    return Probe(kind=kind, service=ServiceId("shop"), region=RegionId("here"), settings=settings, as_client=as_client)


@asynccontextmanager
async def http(port: int, *, as_client: bool = False, **more: object) -> AsyncIterator[Prober]:
    settings = HttpSettings.parse({"host": "127.0.0.1", "port": port, **more})
    prober = await HTTP.open(probe("http", settings, as_client=as_client), LocalPlace())
    try:
        yield prober
    finally:
        await prober.close()


async def give_up(prober: Prober) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await prober.ask()


async def test_one_connection_serves_many_questions() -> None:
    async with page() as shown, http(shown.port, body="ok") as prober:
        assert [await prober.ask() for _ in range(3)] == ["", "", ""]
        assert (shown.connections, shown.requests) == (1, 3)


async def test_a_client_opens_a_connection_for_each_question() -> None:
    async with page() as shown, http(shown.port, as_client=True) as prober:
        assert [await prober.ask() for _ in range(3)] == ["", "", ""]
        assert shown.connections == 3


async def test_a_late_answer_is_never_taken_for_the_next_question() -> None:
    async with page() as shown, http(shown.port, body=" 2$") as prober:
        shown.may_answer.clear()
        await give_up(prober)
        shown.may_answer.set()
        assert await prober.ask() == ""
        assert (shown.connections, shown.requests) == (1, 2)


async def test_a_silent_connection_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evac.drivers.probes.kept.OWED_MAX", 0.0)
    async with page() as shown, http(shown.port) as prober:
        shown.may_answer.clear()
        await give_up(prober)
        await give_up(prober)
        shown.may_answer.set()
        assert await prober.ask() == ""
        assert shown.connections == 3


async def test_a_connection_that_the_server_closed_while_idle_is_no_failure() -> None:
    async with page() as shown, http(shown.port) as prober:
        shown.close_after_answer = True
        assert [await prober.ask() for _ in range(3)] == ["", "", ""]
        assert shown.connections == 3


async def test_what_is_not_well_is_named() -> None:
    async with page() as shown, http(shown.port, body="^fine") as prober:
        assert await prober.ask() == "HTTP 200, but the body does not match"
        shown.status = 503
        assert await prober.ask() == "HTTP 503"
    async with http(shown.port) as prober:
        assert await prober.ask() == "connection refused"


async def test_what_the_other_end_said_is_told_from_what_it_did_not() -> None:
    async with page() as shown, http(shown.port) as prober:
        assert await prober.ask() == ""
        shown.status = 503
        assert isinstance(await prober.ask(), BadAnswer)
    async with http(shown.port) as prober:
        assert isinstance(await prober.ask(), BadAnswer)
    prober = await HTTP.open(probe("http", HttpSettings.parse({"host": "255.255.255.255"})), LocalPlace())
    reason = await prober.ask()
    assert reason
    assert not isinstance(reason, BadAnswer)


class Forwarding(LocalPlace):
    """Gives another address than the one that is wanted, as an ssh place does, and hangs up: it cannot connect."""

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()


async def test_a_forwarding_that_hangs_up_is_no_answer() -> None:
    prober = await HTTP.open(probe("http", HttpSettings.parse({"host": "there"})), Forwarding())
    reason = await prober.ask()
    assert reason == "connection closed by the other end"
    assert not isinstance(reason, BadAnswer)

    prober = await TCP.open(
        probe("tcp", TcpSettings.parse({"host": "there", "port": 1, "send": "x", "expect": "y"})), Forwarding()
    )
    assert not isinstance(await prober.ask(), BadAnswer)


async def test_of_a_name_with_several_addresses_each_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async with page() as shown:
        port = shown.port

    async def two(*_: object, **__: object) -> list[object]:
        here = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*here, ("127.0.0.1", port)), (*here, ("127.0.0.2", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    prober = await HTTP.open(probe("http", HttpSettings.parse({"host": "two.test", "port": port})), LocalPlace())
    reason = await prober.ask()
    assert reason == "connection refused"
    assert isinstance(reason, BadAnswer)


async def test_what_cannot_be_asked_for_was_not_answered() -> None:
    async with page() as shown, http(shown.port, path="/a b") as prober:
        reason = await prober.ask()
    assert reason.startswith("cannot be asked for: ")
    assert not isinstance(reason, BadAnswer)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"-LOADING Valkey is loading the dataset in memory\r\n", "Valkey is loading the dataset in memory"),
        (b"-ERR max number of clients reached\r\n", "max number of clients reached"),
        (b"-NOAUTH Authentication required.\r\n", "Authentication required."),
        (b"", "connection closed by the other end"),
    ],
)
async def test_what_valkey_says_or_that_it_hangs_up_is_an_answer(said: bytes, reason: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    settings = ValkeySettings.parse({"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]})
    prober = await ValkeyKind().open(probe("valkey", settings), LocalPlace())
    answer = await prober.ask()
    server.close()
    assert answer == reason
    assert isinstance(answer, BadAnswer)


async def test_a_line_on_which_no_valkey_speaks_is_not_asked_again() -> None:
    """What was left of its answer was taken for the next one, until the other end hung up."""
    answers = iter((b"hello\r\n", b"$nonsense\r\n", b"$-1\r\n", b"$-1\r\n"))

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                writer.write(next(answers))
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    settings = ValkeySettings.parse({"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]})
    prober = await ValkeyKind().open(probe("valkey", settings), LocalPlace())
    first, second = await prober.ask(), await prober.ask()
    assert isinstance(first, BadAnswer)
    assert first.startswith("not Valkey: ")
    assert isinstance(second, BadAnswer)
    assert [await prober.ask(), await prober.ask()] == ["", ""]
    await prober.close()
    server.close()


async def test_what_does_not_speak_http_is_named() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with http(server.sockets[0].getsockname()[1]) as prober:
        assert (await prober.ask()).startswith("not HTTP")
    server.close()


def test_a_body_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        HttpSettings.parse({"host": "h", "body": "("})


class Behind(LocalPlace):
    """A place whose forwardings accept near, as those over ssh do, whatever the other end does."""

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        async def carry(near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far, out = await asyncio.open_connection(host, port)
            except OSError:
                writer.transport.abort()
                return
            writer.write(await far.read(4096))
            out.close()
            writer.close()

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()
        finally:
            server.close()


async def tcp(place: LocalPlace, port: int, expect: str | None = None) -> str:
    settings = TcpSettings.parse({"host": "127.0.0.1", "port": port, "expect": expect})
    prober = await TCP.open(probe("tcp", settings), place)
    try:
        return await prober.ask()
    finally:
        await prober.close()


@pytest.mark.parametrize("place", [LocalPlace, Behind])
async def test_a_port_accepts_or_does_not(place: type[LocalPlace]) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await tcp(place(), port) == ""
    assert await tcp(place(), port, "^220 ") == ""
    assert await tcp(place(), port, "^SSH") == "it does not say what is expected"
    server.close()
    await server.wait_closed()
    assert await tcp(place(), port) == "connection refused"
    assert await tcp(place(), port, "^220 ") in (
        "connection refused",
        "connection closed by the other end",
        "connection closed before it said anything",
    )
