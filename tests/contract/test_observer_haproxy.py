"""How real clients fare, on a real HAProxy: each way to fail counts once a client, and unknown stays unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import Observer, RegionId, ServiceId
from evac.drivers.haproxy import OBSERVER
from evac.drivers.haproxy.settings import CountingSettings
from evac.lab.servers import process
from evac.lab.servers.haproxy import binary
from evac.lab.servers.process import Process
from evac.places.local import LocalPlace
from evac.ports import Counted, Watching

EAST, WEST = RegionId("us-east-1"), RegionId("us-west-2")
WAYS: Mapping[str, int | str] = {
    "ok": 200,
    "missing": 404,
    "broken": 500,
    "reset": "reset",
    "hangs": "hangs",
    "dead": "",
}
REQUESTS = 4


@asynccontextmanager
async def serving(way: int | str) -> AsyncIterator[int]:
    """A server that answers with a status, resets, hangs, or is not there."""
    hung = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if way == "reset":
                writer.transport.abort()
            elif way == "hangs":
                await hung.wait()
            else:
                writer.write(f"HTTP/1.1 {way} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    if not way:
        yield process.free_ports(1)[0]
        return
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        hung.set()


@dataclass(slots=True, kw_only=True)
class Running:
    port: int
    api: int
    process: Process

    async def ask(self, path: str, times: int = REQUESTS) -> None:
        for _ in range(times):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(f"GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
            writer.close()


@asynccontextmanager
async def haproxy(folder: Path, backends: Mapping[str, Mapping[str, int]]) -> AsyncIterator[Running]:
    """One with these backends, by server and port; the path's first part names the backend."""
    port, api = process.free_ports(2)
    lines = [
        f"global\n stats socket ipv4@127.0.0.1:{api} level user\ndefaults\n mode http\n timeout connect 1s",
        " timeout client 5s\n timeout server 300ms\n retries 1",
        f"frontend public\n bind 127.0.0.1:{port}\n use_backend %[path,field(2,/)]",
    ]
    for backend, servers in backends.items():
        lines.append(f"backend {backend}\n balance roundrobin\n option redispatch")
        lines += [f" server {name} 127.0.0.1:{at}" for name, at in servers.items()]
    lines.append(f"listen tcp\n mode tcp\n bind 127.0.0.1:{process.free_ports(1)[0]}\n server {EAST} 127.0.0.1:1\n")
    folder.mkdir(exist_ok=True)
    (folder / "haproxy.cfg").write_text("\n".join(lines))
    server = Process(
        name="haproxy", argv=(binary(), "-db", "-f", str(folder / "haproxy.cfg")), log=folder / "haproxy.log"
    )
    try:
        await server.start(ready=lambda pid: process.listening(pid, port) and process.listening(pid, api))
        yield Running(port=port, api=api, process=server)
    finally:
        await server.kill()


async def watching(*apis: int, services: tuple[str, ...], **more: Any) -> Watching:
    settings = CountingSettings.parse({"api": [f"127.0.0.1:{api}" for api in apis], **more})
    targets = frozenset((ServiceId(s), r) for s in services for r in (EAST, WEST))
    observer = Observer(name="clients", kind="haproxy", vantage=WEST, settings=settings, targets=targets)
    return await OBSERVER.open(observer, LocalPlace())


def counts(told: Any) -> dict[tuple[str, str], tuple[int, int]]:
    assert all(isinstance(c, Counted) and c.window.total_seconds() > 0 for c in told)
    return {(c.service, c.region): (c.requests, c.failed) for c in told}


async def test_every_way_to_fail_counts_once_a_client(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(serving(way)) for name, way in WAYS.items()}
        backends: dict[str, dict[str, int]] = {name: {EAST: port} for name, port in ports.items()}
        backends["moved"] = {EAST: ports["dead"], "app-1": ports["ok"], "app-2": ports["ok"]}
        one = await stack.enter_async_context(haproxy(tmp_path / "one", backends))
        two = await stack.enter_async_context(haproxy(tmp_path / "two", backends))
        known = {"service_names": {"ok": "shop"}, "region_names": {"app-1": WEST, "app-2": WEST}}
        services = ("shop", "moved", *(name for name in WAYS if name != "ok"))
        clients = await watching(one.api, two.api, services=services, **known)
        assert list(await clients.ask()) == [], "of what was before nobody knows when it was"

        for name in (*WAYS, "moved"):
            await one.ask(name)
        await two.ask("ok")
        assert counts(await clients.ask()) == {
            ("shop", EAST): (2 * REQUESTS, 0),
            ("missing", EAST): (REQUESTS, 0),
            **{(way, EAST): (REQUESTS, REQUESTS) for way in ("broken", "reset", "hangs", "dead")},
            ("moved", WEST): (REQUESTS, 0),
        }, "clients who were sent on to another region were served there"
        assert list(await clients.ask()) == [], "no clients, no word"
        (finding,) = await clients.check()
        assert finding.what == f"2 of 2 instances tell of {len(WAYS) + 2} of {2 * len(services)} targets"

        await two.process.kill()
        await one.ask("ok")
        assert counts(await clients.ask()) == {("shop", EAST): (REQUESTS, 0)}, "who is gone carries nobody"
        await two.process.start(ready=lambda pid: process.listening(pid, two.api))
        await two.ask("ok")
        assert list(await clients.ask()) == [], "one that counts anew says nothing at first"
        await two.ask("broken")
        assert counts(await clients.ask()) == {("broken", EAST): (REQUESTS, REQUESTS)}
        await one.process.kill()
        await two.process.kill()
        with pytest.raises(Unavailable, match="is it running"):
            await clients.ask()
        await clients.close()


@pytest.mark.parametrize("said", [b"Permission denied\n\n", b"# pxname,svname\na,b\n\n"])
async def test_what_is_no_statistics_is_no_knowledge(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        clients = await watching(server.sockets[0].getsockname()[1], services=("shop",))
        with pytest.raises(Rejected, match="runtime API|cannot read"):
            await clients.ask()
        await clients.close()


def test_whom_it_listens_to() -> None:
    settings = CountingSettings.parse({"api": ["10.0.0.1:9999", "127.0.0.1:9999", "/run/haproxy.sock", "localhost:1"]})
    assert OBSERVER.witnesses(settings) == {"10.0.0.1:9999"}
