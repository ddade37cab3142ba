"""RFC 2136's world for the driver contract: one real Knot with the shop's zone."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from driver_world import Stage, Story

from evac.core.estate import Component, ComponentId, Purpose, RegionId, ServiceId
from evac.core.observation import Json
from evac.core.plan import Action, Term, Verb
from evac.drivers.rfc2136 import KIND
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.lab.servers.knot import KEY_NAME, found, name_server
from evac.places.local import LocalPlace
from evac.ports import Driver, Surroundings

ADDRESSES = {"us-east-1": "10.77.1.1", "us-west-2": "10.77.2.1", "eu-west-1": ["10.77.3.1", "fd77::3"]}
SECRET = base64.b64encode(b"the shop's key, for tests only").decode()
RECORDS = ("api A 10.77.1.1",)


def shift(weights: dict[str, Json], *, term: int = 7) -> Action:
    return Action(
        component=ComponentId("shop-dns"),
        region=RegionId("us-east-1"),
        verb=Verb.SHIFT,
        term=Term(term),
        args={"weights": weights},
    )


async def opened(folder: Path, *ports: int, secret: str = SECRET, key: str = KEY_NAME, **more: object) -> Driver:
    settings: dict[str, object] = {
        "servers": [f"127.0.0.1:{port}" for port in ports],
        "zone": "shop.example",
        "name": "api.shop.example",
        "addresses": ADDRESSES,
        "ttl": "1s",
        "tsig": {"name": key, "secret": {"value": secret}},
    }
    parsed = KIND.settings.parse(settings | more)
    component = Component(
        id=ComponentId("shop-dns"),
        service=ServiceId("shop"),
        driver="rfc2136",
        purpose=Purpose.ROUTER,
        members={RegionId(region): parsed for region in ADDRESSES},
    )
    surroundings = Surroundings(
        component=component, region=RegionId("us-east-1"), place=LocalPlace(), clock=BootClock(), keep=folder / "keep"
    )
    return await KIND.open(parsed, surroundings)


class Rfc2136World:
    kind = KIND
    stories = ("prepare", "shift")
    refusals = (
        "nothing left",
        "unknown region",
        "wrong key",
        "asked with a wrong key",
        "key without rights",
        "zone not there",
    )

    @asynccontextmanager
    async def raised(self, folder: Path) -> AsyncIterator[Stage]:
        if found() is None:
            pytest.skip("knotd is not installed")
        (dead,) = process.free_ports(1)
        async with name_server(folder / "knot", records=RECORDS, secret=SECRET) as running:
            driver = await opened(folder, running.port)
            wrong = base64.b64encode(b"somebody else's").decode()

            async def look() -> object:
                return (await driver.observe()).detail["weights"]

            move = shift({"us-east-1": 0, "us-west-2": 100, "eu-west-1": 0})
            asked = replace(move, verb=Verb.PREPARE)
            yield Stage(
                observed=(driver,),
                stories={
                    "prepare": Story(driver=driver, action=asked, look=look, settled=True),
                    "shift": Story(driver=driver, action=move, look=look),
                },
                silent=await opened(folder / "silent", dead),
                silent_action=move,
                refused={
                    "nothing left": (driver, shift({"us-east-1": 0}), "never left empty"),
                    "unknown region": (driver, shift({"mars": 100}), "has no addresses for mars"),
                    "wrong key": (await opened(folder / "1", running.port, secret=wrong), move, "the key is refused"),
                    "asked with a wrong key": (
                        await opened(folder / "4", running.port, secret=wrong),
                        asked,
                        "the key is refused",
                    ),
                    "key without rights": (await opened(folder / "2", running.port, tsig=None), move, "may this key"),
                    "zone not there": (
                        await opened(folder / "3", running.port, zone="other.example", name="api.other.example"),
                        move,
                        "with authority",
                    ),
                },
                secrets=[SECRET, wrong],
            )


WORLD = Rfc2136World()
