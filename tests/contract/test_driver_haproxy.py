"""What HAProxy really does: traffic follows, old sessions end, and what a restart forgets."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from entered_place import EnteredPlace
from pydantic import ValidationError
from world_haproxy import REGIONS, opened, serve, shift, short_folder, tried

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.drivers.haproxy.api import RuntimeApi
from evac.drivers.haproxy.settings import HaproxySettings
from evac.lab.servers import process
from evac.lab.servers.haproxy import Balancer, balancer, binary
from evac.lab.servers.process import Process
from evac.places.local import LocalPlace
from evac.ports import Truth


@dataclass(frozen=True, slots=True)
class World:
    folder: Path
    running: Balancer
    serving: Mapping[str, asyncio.Server]

    @property
    def api(self) -> str:
        return f"127.0.0.1:{self.running.api_port}"

    async def served_by(self) -> set[str]:
        """Ask ten times, as ten clients, and return which regions answered."""
        answers = set()
        for _ in range(10):
            async with httpx.AsyncClient() as client:
                answers.add((await client.get(f"http://127.0.0.1:{self.running.port}/")).text)
        return answers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with _world(tmp_path) as made:
        yield made


@asynccontextmanager
async def _world(folder: Path, *, socket: Path | None = None) -> AsyncIterator[World]:
    serving = {region: await serve(region) for region in REGIONS}
    servers = {region: ("127.0.0.1", each.sockets[0].getsockname()[1]) for region, each in serving.items()}
    try:
        async with balancer(folder / "haproxy", servers=servers, weights={REGIONS[0]: 100}, socket=socket) as running:
            yield World(folder, running, serving)
    finally:
        for each in serving.values():
            each.close()


async def test_clients_follow_the_weights(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api})
    assert await world.served_by() == {"us-east-1"}
    receipt = await driver.do(shift({"us-west-2": 100}))
    assert receipt.facts["before"] == {"us-east-1": 100, "us-west-2": 0, "eu-west-1": 0}
    assert await world.served_by() == {"us-west-2"}
    await driver.do(shift({"us-west-2": 50, "eu-west-1": 50.4}))
    assert await world.served_by() == {"us-west-2", "eu-west-1"}


async def test_a_door_is_tried_as_a_client_does(world: World) -> None:
    url = f"http://127.0.0.1:{world.running.port}/?q=1"
    driver = await opened(world.folder, {"api": world.api, "client_url": url})
    receipt = await driver.do(tried("us-east-1"))
    assert (receipt.kind, receipt.facts["serves"], receipt.facts["status"]) == ("verify", "us-east-1", 200)
    with pytest.raises(Rejected, match="sends nobody to us-west-2"):
        await driver.do(tried("us-west-2"))
    with pytest.raises(Rejected, match="sends nobody to mars"):
        await driver.do(tried("mars"))


async def test_a_door_behind_which_nobody_answers_is_not_well(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api})
    assert (await driver.do(tried("us-east-1"))).facts == {"serves": "us-east-1"}
    world.serving["us-east-1"].close()
    await process.until(lambda: _down(world), what="HAProxy's own checks", within_s=10)
    with pytest.raises(Unavailable, match="finds us-east-1 down"):
        await driver.do(tried("us-east-1"))


def _down(world: World) -> bool:
    with socket.create_connection(("127.0.0.1", world.running.api_port)) as asking:
        asking.sendall(b"show servers state shop\n")
        return " us-east-1 127.0.0.1 0 " in asking.makefile().read()


@pytest.mark.parametrize(
    ("status", "well"), [("204 No Content", True), ("302 Found", True), ("404 Not Found", False), ("503 Sorry", False)]
)
async def test_what_a_client_is_answered_counts(world: World, status: str, well: bool) -> None:
    answering = await serve("", status=status)
    port = answering.sockets[0].getsockname()[1]
    driver = await opened(world.folder, {"api": world.api, "client_url": f"http://127.0.0.1:{port}"})
    try:
        if well:
            assert (await driver.do(tried("us-east-1"))).facts["status"] == int(status[:3])
        else:
            with pytest.raises(Unavailable, match=f"HTTP {status[:3]}"):
                await driver.do(tried("us-east-1"))
    finally:
        answering.close()


async def test_a_door_that_keeps_a_client_waiting_is_not_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evac.drivers.haproxy.client.ANSWER_MAX_S", 0.2)
    url = f"http://127.0.0.1:{world.running.port}/slow"
    driver = await opened(world.folder, {"api": world.api, "client_url": url})
    with pytest.raises(Unavailable, match=re.escape(url)):
        await driver.do(tried("us-east-1"))


@pytest.mark.parametrize("url", ["shop.example/health", "ftp://shop.example", "http://"])
def test_what_is_no_address_for_a_client_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="is no http or https address"):
        HaproxySettings.parse({"api": "127.0.0.1:9999", "backend": "shop", "client_url": url})


async def test_requests_on_their_way_to_a_region_that_is_left_are_closed(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api})
    async with httpx.AsyncClient() as client:
        slow = asyncio.ensure_future(client.get(f"http://127.0.0.1:{world.running.port}/slow"))
        while not await _sessions(world, "us-east-1"):
            await asyncio.sleep(0.01)
        await driver.do(shift({"us-west-2": 100}))
        assert (await slow).status_code in (502, 503)


async def _sessions(world: World, region: str) -> int:
    api = RuntimeApi(place=LocalPlace(), address=world.api)
    look = await api.look(backend="shop", term_variable=None)
    return int(look.counters[region]["scur"])


async def test_maintenance_keeps_a_region_out_and_a_weight_brings_it_back(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api, "at_zero": "maint"})
    await driver.do(shift({"us-west-2": 100}))
    assert await world.served_by() == {"us-west-2"}
    await driver.do(shift({"us-east-1": 100}, term=8))
    assert await world.served_by() == {"us-east-1"}


async def test_a_restart_forgets_weights_and_term(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api})
    move = shift({"us-west-2": 100})
    await driver.do(move)
    assert (await driver.observe()).term == 7
    await world.running.stop()
    await world.running.start()
    seen = await driver.observe()
    assert seen.term is None
    assert seen.detail["weights"] == {"us-east-1": 100, "us-west-2": 0, "eu-west-1": 0}
    assert (await driver.holds(move)).truth is Truth.NO


async def test_a_lost_answer_can_be_undone_by_our_own_note(world: World) -> None:
    driver = await opened(world.folder, {"api": world.api})
    move = shift({"us-west-2": 100})
    assert (await driver.undo(move)).facts["weights"] == {"us-east-1": 100, "us-west-2": 0, "eu-west-1": 0}
    await driver.do(move)
    await (await opened(world.folder, {"api": world.api})).undo(move)
    assert await world.served_by() == {"us-east-1"}


async def test_of_two_instances_one_may_be_down(world: World, tmp_path: Path) -> None:
    async with _world(tmp_path / "second") as second:
        driver = await opened(world.folder, {"api": [world.api, second.api]})
        await driver.do(shift({"us-west-2": 100}))
        assert await second.served_by() == {"us-west-2"}
        await second.running.stop()
        await driver.do(shift({"eu-west-1": 100}, term=8))
        assert await world.served_by() == {"eu-west-1"}
        assert (await driver.observe()).detail["silent"] == [second.api]
        await second.running.start()
        assert (await driver.holds(shift({"eu-west-1": 100}, term=8))).truth is Truth.NO


async def test_a_frozen_instance_leaves_nothing_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evac.drivers.haproxy.api.ANSWER_MAX_S", 0.2)
    driver = await opened(world.folder, {"api": world.api})
    process.send(world.running.pids(), signal.SIGSTOP)
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        await driver.do(shift({"us-west-2": 100}))
    process.send(world.running.pids(), signal.SIGCONT)
    assert await world.served_by() == {"us-east-1"}


async def test_check_names_what_an_emergency_would_find(world: World) -> None:
    wrong = await opened(world.folder, {"api": world.api, "servers": {"eu-west-1": "frankfurt"}})
    assert [f.what for f in await wrong.check() if not f.ok] == [f"HAProxy at {world.api} lacks eu-west-1"]
    elsewhere = await opened(world.folder, {"api": world.api, "backend": "nosuch"})
    assert "backend nosuch: Can't find backend." in (await elsewhere.check())[0].what


@asynccontextmanager
async def _changed(world: World, *changes: tuple[str, str]) -> AsyncIterator[Process]:
    """Run the same HAProxy with its configuration changed."""
    text = (world.running.folder / "haproxy.cfg").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    configuration = world.folder / "changed.cfg"
    configuration.write_text(text)
    await world.running.kill()
    log = world.folder / "changed.log"
    changed = Process(name="haproxy", argv=(binary(), "-db", "-f", str(configuration)), log=log)
    try:
        await _start(world, changed)
        yield changed
    finally:
        await changed.kill()


async def _start(world: World, process_: Process) -> None:
    await process_.start(ready=lambda pid: process.listening(pid, world.running.api_port))


async def test_a_lesser_user_is_told_what_to_give_it(world: World) -> None:
    async with _changed(world, ("level admin", "level operator")):
        driver = await opened(world.folder, {"api": world.api})
        assert ["level admin" in f.remedy for f in await driver.check() if not f.ok] == [True]
        with pytest.raises(Rejected, match="Permission denied"):
            await driver.do(shift({"us-west-2": 100}))
        assert await world.served_by() == {"us-east-1"}


async def test_a_state_file_brings_the_weights_back_but_not_the_term(world: World) -> None:
    """The lab's HAProxy loads one at its start."""
    driver = await opened(world.folder, {"api": world.api, "state_file": str(world.running.state_file)})
    await driver.do(shift({"us-west-2": 60, "eu-west-1": 40}))
    await world.running.kill()
    await world.running.start()
    seen = await driver.observe()
    assert seen.term is None
    assert seen.detail["weights"] == {"us-east-1": 0, "us-west-2": 60, "eu-west-1": 40}


async def test_a_static_algorithm_and_a_cookie_are_findings(world: World) -> None:
    async with _changed(world, ("balance roundrobin", "balance static-rr\n    cookie R insert")):
        driver = await opened(world.folder, {"api": world.api})
        remedies = [f.remedy for f in await driver.check() if not f.ok]
        assert ["roundrobin" in remedies[0], "at_zero: maint" in remedies[1]] == [True, True]


async def test_a_socket_without_socat_is_said_to_need_it(world: World) -> None:
    driver = await opened(
        world.folder, {"api": "/run/haproxy/admin.sock"}, place=EnteredPlace("env", "PATH=/nonexistent")
    )
    for asked in (driver.observe(), driver.do(shift({"us-west-2": 100}))):
        with pytest.raises(Unavailable, match="socat is missing there; install it, or give host:port"):
            await asked
    assert ["socat is missing" in finding.what for finding in await driver.check()] == [True]


needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")


@needs_socat
async def test_a_frozen_instance_behind_a_socket_leaves_its_change_uncertain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evac.drivers.haproxy.api.ANSWER_MAX_S", 0.3)
    with short_folder() as sockets:
        async with _world(tmp_path, socket=sockets / "api") as world:
            api = RuntimeApi(place=LocalPlace(), address=str(world.running.socket))
            process.send(world.running.pids(), signal.SIGSTOP)
            with pytest.raises(Unavailable, match="before it had answered"):
                await api.look(backend="shop", term_variable=None)
            with pytest.raises(Indeterminate, match="before it had answered"):
                await api.change(["set server shop/us-east-1 weight 1"], backend="shop", term_variable=None)
            process.send(world.running.pids(), signal.SIGCONT)


@needs_socat
@pytest.mark.skipif(os.geteuid() != 0, reason="as a plain user nobody else's socket is at hand")
async def test_a_socket_that_evac_may_not_write_to_is_named(tmp_path: Path) -> None:
    with short_folder() as sockets:
        sockets.chmod(0o755)
        async with _world(tmp_path, socket=sockets / "api") as world:
            nobody = EnteredPlace("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            driver = await opened(world.folder, {"api": str(world.running.socket)}, place=nobody)
            with pytest.raises(Unavailable, match="let evac's user there write to the socket"):
                await driver.do(shift({"us-west-2": 100}))
