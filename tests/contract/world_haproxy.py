"""HAProxy's worlds for the driver contract: one real HAProxy with a server a region, of which the first answers.

Its runtime API is reached as TCP, or as a UNIX socket by `socat`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from driver_world import Stage, Story

from evac.core.estate import Component, ComponentId, Purpose, RegionId, ServiceId
from evac.core.observation import Json
from evac.core.plan import Action, Term, Verb
from evac.drivers.haproxy import KIND
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.lab.servers.haproxy import Balancer, balancer
from evac.places.local import LocalPlace
from evac.ports import Driver, Place, Surroundings

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")


def shift(weights: dict[str, Json], *, term: int = 7) -> Action:
    return Action(
        component=ComponentId("shop-lb"),
        region=RegionId(REGIONS[0]),
        verb=Verb.SHIFT,
        term=Term(term),
        args={"weights": weights},
    )


def tried(region: str, *, term: int = 7) -> Action:
    """Ask whether whoever comes in by this door is served by a region."""
    action = shift({}, term=term)
    return replace(action, verb=Verb.VERIFY, args={"serves": region})


async def serve(region: str, *, status: str = "200 OK") -> asyncio.Server:
    """Serve a region's clients on a free port: each is told the region, but who asks for /slow is told nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" /slow" in head:
                await reader.read()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(region)}\r\n\r\n{region}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def opened(folder: Path, settings: dict[str, object], *, place: Place | None = None) -> Driver:
    parsed = KIND.settings.parse({"backend": "shop", **settings})
    component = Component(
        id=ComponentId("shop-lb"),
        service=ServiceId("shop"),
        driver="haproxy",
        purpose=Purpose.ROUTER,
        members={RegionId(region): parsed for region in REGIONS},
    )
    surroundings = Surroundings(
        component=component,
        region=RegionId(REGIONS[0]),
        place=place or LocalPlace(),
        clock=BootClock(),
        keep=folder / "keep",
    )
    return await KIND.open(parsed, surroundings)


def api_of(running: Balancer) -> str:
    """Return where a balancer's runtime API is: its socket if it has one."""
    return str(running.socket) if running.socket else f"127.0.0.1:{running.api_port}"


class HaproxyWorld:
    kind = KIND
    stories = ("prepare", "shift", "verify")
    refusals = ("nowhere", "unknown region")

    def __init__(self, *, by_socket: bool = False) -> None:
        self._by_socket = by_socket

    @asynccontextmanager
    async def raised(self, folder: Path) -> AsyncIterator[Stage]:
        if self._by_socket and shutil.which("socat") is None:
            pytest.skip("socat is not installed")
        dead, *others = process.free_ports(3)
        with short_folder() as sockets:
            socket = sockets / "api" if self._by_socket else None
            nobody = str(sockets / "nobody") if self._by_socket else f"127.0.0.1:{dead}"
            async with await serve(REGIONS[0]) as first:
                ports = (first.sockets[0].getsockname()[1], *others)
                servers = {region: ("127.0.0.1", port) for region, port in zip(REGIONS, ports, strict=True)}
                async with balancer(
                    folder / "haproxy", servers=servers, weights={REGIONS[0]: 100}, socket=socket
                ) as running:
                    yield await self._stage(folder, api_of(running), nobody)

    async def _stage(self, folder: Path, api: str, nobody: str) -> Stage:
        driver = await opened(folder, {"api": api})
        silent = await opened(folder / "silent", {"api": nobody})

        async def look() -> object:
            return (await driver.observe()).detail["weights"]

        move = shift({"us-east-1": 0, "us-west-2": 100, "eu-west-1": 0})
        asked = replace(move, verb=Verb.PREPARE)
        return Stage(
            observed=(driver,),
            stories={
                "prepare": Story(driver=driver, action=asked, look=look, settled=True),
                "shift": Story(driver=driver, action=move, look=look),
                "verify": Story(driver=driver, action=tried(REGIONS[0]), look=look, settled=True),
            },
            silent=silent,
            silent_action=move,
            refused={
                "nowhere": (driver, shift({"us-east-1": 0, "us-west-2": 0}), "never sent nowhere"),
                "unknown region": (driver, shift({"mars": 100}), "has no server mars"),
            },
        )


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's: a UNIX socket's path has about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="evac-") as name:
        yield Path(name)


WORLD = HaproxyWorld()
