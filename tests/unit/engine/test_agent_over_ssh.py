"""An agent behind a real ssh connection: it sees through it, and falls silent with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from evac.core.errors import Unavailable
from evac.core.estate import Estate, Probe, Region, RegionId, RegionRole, ServiceId
from evac.core.observation import Heartbeat, Observation, Probed
from evac.core.policy import Detection
from evac.drivers.probes import TCP
from evac.drivers.probes.tcp import TcpSettings
from evac.engine.agent import Agent
from evac.engine.clock import BootClock
from evac.engine.clock_filter import ClockFilter
from evac.engine.views import decode_view, view_key
from evac.places import open_place
from fakes.loopback_ssh import loopback_host
from fakes.standing import NotingStore

HERE, THERE = RegionId("us-west-2"), RegionId("us-east-1")
DETECTION = Detection(interval=timedelta(milliseconds=50), timeout=timedelta(seconds=5))


def estate(port: int) -> Estate:
    region = Region(id=HERE, provider="lab", latitude=0, longitude=0, jurisdiction="US", role=RegionRole.ACTIVE)
    settings = TcpSettings(host="127.0.0.1", port=port, expect="hello")
    probe = Probe(kind="tcp", service=ServiceId("greeter"), region=THERE, settings=settings)
    regions = {HERE: region}
    return Estate(
        name="one", regions=regions, services={}, components={}, probes=(probe,), home={}, detection=DETECTION
    )


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def test_it_sees_through_ssh_and_falls_silent_with_it(tmp_path: Path) -> None:
    store = NotingStore()

    def told() -> list[Observation]:
        records = [put[view_key(HERE)] for put in store.written]
        return [o for r in records for o in decode_view(r, now=timedelta(hours=1), clocks=ClockFilter())]

    greeter = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = greeter.sockets[0].getsockname()[1]
    async with greeter, loopback_host(tmp_path) as host:
        quick = host.settings(retry_min=timedelta(milliseconds=20), retry_max=timedelta(milliseconds=40))
        async with open_place(quick) as place, asyncio.TaskGroup() as group:
            agent = Agent(
                HERE,
                estate=estate(port),
                store=store,
                place=place,
                clock=BootClock(),
                probe_kinds={"tcp": TCP},
                members={},
                chance=random.Random(1),
            )
            running = group.create_task(agent.run())
            await until(lambda: any(isinstance(o, Probed) and o.ok for o in told()))
            host.stop_listening()
            host.drop()
            with pytest.raises(Unavailable):
                while True:
                    await place.ping()
            silent_since = len(store.written)
            await host.start()
            await until(lambda: len(store.written) > silent_since + 3)
            running.cancel()
    assert all(o.ok for o in told() if isinstance(o, Probed)), "what failed because the place was gone is not told"
    assert any(isinstance(o, Heartbeat) for o in told())
