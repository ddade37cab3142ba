"""What a name server really does: compare-and-set on the term, whole updates, and nothing by a check."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from world_rfc2136 import RECORDS, SECRET, opened, shift

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.observation import Json
from evac.drivers.rfc2136.server import NameServer as Reached
from evac.drivers.rfc2136.server import Overtaken
from evac.drivers.rfc2136.settings import Rfc2136Settings
from evac.lab.servers import process
from evac.lab.servers.knot import NameServer, found, name_server
from evac.places.local import LocalPlace
from evac.ports import Driver, Truth

pytestmark = pytest.mark.skipif(found() is None, reason="knotd is not installed")


@pytest.fixture
async def knot(tmp_path: Path) -> AsyncIterator[NameServer]:
    async with name_server(tmp_path / "knot", records=RECORDS, secret=SECRET) as running:
        yield running


async def seen(driver: Driver, port: int) -> dict[str, Json]:
    servers = (await driver.observe()).detail["servers"]
    assert isinstance(servers, dict)
    server = servers[f"127.0.0.1:{port}"]
    assert isinstance(server, dict)
    return server


async def test_whatever_numbers_chance_draws_each_question_has_its_own(
    knot: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await opened(tmp_path, knot.port)
    monkeypatch.setattr("dns.entropy.random_16", lambda: 7)
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.1.1",)


async def test_a_name_follows_with_all_addresses_of_a_region(knot: NameServer, tmp_path: Path) -> None:
    driver = await opened(tmp_path, knot.port)
    receipt = await driver.do(shift({"us-east-1": 0, "eu-west-1": 30, "us-west-2": 70}))
    assert receipt.facts["weights"] == {"us-east-1": 0, "us-west-2": 100, "eu-west-1": 100}
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.2.1", "10.77.3.1", "fd77::3")
    assert (await seen(driver, knot.port))["ttl"] == 1
    await driver.do(shift({"us-east-1": 100}, term=8))
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.1.1",)
    assert (await driver.observe()).term == 8


async def test_the_term_survives_a_restart_of_the_server(knot: NameServer, tmp_path: Path) -> None:
    driver = await opened(tmp_path, knot.port)
    move = shift({"us-west-2": 100})
    await driver.do(move)
    await knot.kill()
    await knot.start()
    assert (await driver.holds(move)).truth is Truth.YES
    with pytest.raises(Rejected, match="has obeyed term 7; term 6 is over"):
        await driver.do(shift({"us-east-1": 100}, term=6))


async def test_an_update_that_was_decided_on_an_old_look_cannot_work(knot: NameServer, tmp_path: Path) -> None:
    driver = await opened(tmp_path, knot.port)
    settings = Rfc2136Settings.parse(
        {
            "servers": f"127.0.0.1:{knot.port}",
            "zone": "shop.example",
            "name": "api.shop.example",
            "addresses": {"us-east-1": "10.77.1.1"},
            "tsig": {"name": "evac", "secret": {"value": SECRET}},
        }
    )
    async with Reached(place=LocalPlace(), address=settings.servers[0], settings=settings).talk() as late:
        old_look = await late.look()
        await driver.do(shift({"us-west-2": 100}))
        with pytest.raises(Overtaken):
            await late.replace({"us-east-1": 100}, term=6, seen=old_look)
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.2.1",)


async def test_a_check_proves_the_rights_and_changes_nothing(knot: NameServer, tmp_path: Path) -> None:
    driver = await opened(tmp_path, knot.port)
    serial = (await seen(driver, knot.port))["serial"]
    assert [f for f in await driver.check() if not f.ok] == []
    assert (await seen(driver, knot.port))["serial"] == serial
    stranger = await opened(tmp_path, knot.port, key="stranger")
    assert ["the key is refused" in f.what for f in await stranger.check() if not f.ok] == [True]


async def test_an_address_of_no_region_is_a_finding(knot: NameServer, tmp_path: Path) -> None:
    driver = await opened(tmp_path, knot.port, addresses={"us-west-2": "10.77.2.1"})
    assert ["10.77.1.1, which is no region's" in f.what for f in await driver.check() if not f.ok] == [True]


async def test_every_server_is_told_and_one_that_is_down_is_left_out(knot: NameServer, tmp_path: Path) -> None:
    async with name_server(tmp_path / "second", records=RECORDS, secret=SECRET) as second:
        driver = await opened(tmp_path, knot.port, second.port)
        await driver.do(shift({"us-west-2": 100}))
        for port in (knot.port, second.port):
            assert (await seen(driver, port))["addresses"] == ("10.77.2.1",)
        await second.kill()
        await driver.do(shift({"us-east-1": 100}, term=8))
        assert (await driver.observe()).detail["silent"] == (f"127.0.0.1:{second.port}",)
        await second.start()
        assert (await driver.holds(shift({"us-east-1": 100}, term=8))).truth is Truth.NO


async def test_a_frozen_server_leaves_nothing_done(
    knot: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evac.drivers.rfc2136.server.ANSWER_MAX_S", 0.3)
    driver = await opened(tmp_path, knot.port)
    process.send(knot.pids(), signal.SIGSTOP)
    with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
        await driver.do(shift({"us-west-2": 100}))
    process.send(knot.pids(), signal.SIGCONT)
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.1.1",)


async def test_a_secondary_that_stays_behind_is_told_of(knot: NameServer, tmp_path: Path) -> None:
    async with name_server(tmp_path / "second", records=RECORDS, secret=SECRET) as second:
        address = f"127.0.0.1:{second.port}"
        driver = await opened(tmp_path, knot.port, secondaries=address, propagation_max="200ms")
        with pytest.raises(Indeterminate, match=r"still answers 10\.77\.1\.1; the primaries have it"):
            await driver.do(shift({"us-west-2": 100}))


async def test_a_lost_answer_can_be_undone_by_our_own_note(knot: NameServer, tmp_path: Path) -> None:
    move = shift({"us-west-2": 100})
    await (await opened(tmp_path, knot.port)).undo(move)
    await (await opened(tmp_path, knot.port)).do(move)
    driver = await opened(tmp_path, knot.port)
    await driver.undo(move)
    assert (await seen(driver, knot.port))["addresses"] == ("10.77.1.1",)
