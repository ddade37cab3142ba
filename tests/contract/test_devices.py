"""Devices, real ones: programs at a place, and an HTTP API on loopback. One suite: order, state, refusal, secrets."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.devices import DeviceSettings, open_device
from evac.places.local import LocalPlace
from evac.ports import Device

pytestmark = pytest.mark.asyncio

SECRET = "hunter2hunter2"
POWER = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "told").open("a").write(sys.argv[2] + " " + sys.stdin.read() + "\\n")
if (folder / "broken").exists():
    sys.exit("no power: " + (folder / "broken").read_text())
if sys.argv[2] == "off":
    (folder / "state").write_text("Off\\n")
else:
    print((folder / "state").read_text(), end="")
"""


@dataclass(slots=True, kw_only=True)
class Api:
    """A small cloud: one host's power, behind a token."""

    state: str = "running"
    status: int = 200
    told: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    """Set: requests are taken and not answered."""
    port: int = 0

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.told.append((request.command, request.path, dict(request.headers), body))
        if self.silent.is_set():
            request.wfile.close()
            return
        if request.headers.get("Authorization") != SECRET:
            _reply(request, 401, b"no")
            return
        if request.command == "POST" and self.status == 200:
            self.state = "Stopped"
        _reply(request, self.status, json.dumps({"host": {"power": [self.state]}}).encode())


def _reply(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def serving(api: Api) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.answer(self)

        def do_POST(self) -> None:
            api.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    with serving(made):
        yield made


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    return file


def over_http(port: int, token: Path, **changed: Any) -> DeviceSettings:
    said = {
        "off": {"url": f"http://127.0.0.1:{port}/hosts/7/power", "method": "POST", "body": '{"to": "off"}'},
        "state": {"url": f"http://127.0.0.1:{port}/hosts/7"},
        "field": "host.power.0",
        "secret_headers": {"Authorization": {"file": str(token)}},
        "timeout": "10s",
    }
    return DeviceSettings.parse({"http": {**said, **changed}, "says": "stopped"})


def by_command(folder: Path, token: Path) -> DeviceSettings:
    (folder / "state").write_text("on\n")
    run = [sys.executable, "-c", POWER, str(folder)]
    said = {"off": [*run, "off"], "state": [*run, "state"], "secret": {"file": str(token)}, "timeout": "30s"}
    return DeviceSettings.parse({"command": said})


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A device, and how it is made to refuse for now."""

    device: Device
    break_it: Callable[[], object]


@pytest_asyncio.fixture(params=["command", "http"])
async def given(request: pytest.FixtureRequest, tmp_path: Path, token: Path, api: Api) -> AsyncIterator[Given]:
    place = LocalPlace()
    if request.param == "command":
        device = open_device(by_command(tmp_path, token), place)
        yield Given(device=device, break_it=lambda: (tmp_path / "broken").write_text(SECRET))
    else:
        yield Given(device=open_device(over_http(api.port, token), place), break_it=lambda: setattr(api, "status", 503))
    await place.close()


async def test_it_says_that_its_host_is_off_once_it_was_told_to_and_may_be_told_twice(given: Given) -> None:
    assert not await given.device.says_off()
    await given.device.switch_off()
    assert await given.device.says_off()
    await given.device.switch_off()
    assert await given.device.says_off()


async def test_one_that_cannot_for_now_is_asked_again_and_gives_no_secret_away(given: Given) -> None:
    given.break_it()
    for ask in (given.device.switch_off, given.device.says_off):
        with pytest.raises(Unavailable) as caught:
            await ask()
        assert SECRET not in str(caught.value)


async def test_a_command_has_the_secret_on_its_standard_input(tmp_path: Path, token: Path) -> None:
    device = open_device(by_command(tmp_path, token), LocalPlace())
    await device.switch_off()
    assert (tmp_path / "told").read_text() == f"off {SECRET}\n"


async def test_a_request_is_sent_as_it_is_written(api: Api, token: Path) -> None:
    await open_device(over_http(api.port, token), LocalPlace()).switch_off()
    ((method, path, headers, body),) = api.told
    assert (method, path, body) == ("POST", "/hosts/7/power", b'{"to": "off"}')
    assert headers["Authorization"] == SECRET


async def test_an_answer_that_is_not_understood_is_not_off(api: Api, token: Path) -> None:
    api.state = "stopped"
    for where in ("", "host", "host.power.1", "host.power.x", "host.power.0.more"):
        assert not await open_device(over_http(api.port, token, field=where), LocalPlace()).says_off()
    assert await open_device(over_http(api.port, token), LocalPlace()).says_off()


async def test_what_was_sent_and_not_answered_may_have_been_done(api: Api, token: Path) -> None:
    api.silent.set()
    with pytest.raises(Indeterminate, match="no answer"):
        await open_device(over_http(api.port, token), LocalPlace()).switch_off()


async def test_what_never_left_or_is_forbidden_has_not_been_done(api: Api, tmp_path: Path, token: Path) -> None:
    probe = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    closed = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    with pytest.raises(Unavailable, match="no connection"):
        await open_device(over_http(closed, token), LocalPlace()).switch_off()
    token.write_text("wrong")
    with pytest.raises(Rejected, match="HTTP 401") as caught:
        await open_device(over_http(api.port, token), LocalPlace()).switch_off()
    assert "wrong" not in str(caught.value)
    for missing in (over_http(api.port, token, ca=str(tmp_path / "none.pem")), over_http(api.port, tmp_path / "none")):
        with pytest.raises(DriverError, match=r"none"):
            await open_device(missing, LocalPlace()).switch_off()


async def test_settings_name_one_way_and_no_secret_openly(tmp_path: Path, token: Path) -> None:
    both = {
        "command": {"off": ["a"], "state": ["b"]},
        "http": {"off": {"url": "http://a"}, "state": {"url": "http://a"}},
    }
    for wrong in (
        {},
        both,
        {"http": {"off": {"url": "http://user:pass@a/"}, "state": {"url": "http://a"}}},
        {"http": {"off": {"url": "http://a", "headers": {"Authorization": SECRET}}, "state": {"url": "http://a"}}},
    ):
        with pytest.raises(ValidationError) as caught:
            DeviceSettings.parse(wrong)
        assert SECRET not in str(caught.value)
