"""Prometheus as an observer, on Debian's real server and on a fake that keeps the same contract."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_server import BINARY, PASSWORD, Exporter, exporter, prometheus

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import Observer, RegionId, ServiceId
from evac.drivers.prometheus import KIND
from evac.drivers.prometheus.settings import PrometheusSettings
from evac.lab.servers.authority import Authority
from evac.places.local import LocalPlace
from evac.ports import Sighted, Watching
from fakes.prometheus import fake_prometheus

EAST, WEST = RegionId("us-east-1"), RegionId("us-west-2")
SHOP, ORDERS = ServiceId("shop"), ServiceId("orders")


def plainly(port: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}", "query": "well"}


async def watching(settings: Mapping[str, Any], *services: ServiceId) -> Watching:
    targets = frozenset((s, r) for s in services or (SHOP, ORDERS) for r in (EAST, WEST))
    observer = Observer(
        name="metrics", kind="prometheus", vantage=WEST, settings=PrometheusSettings.parse(settings), targets=targets
    )
    return await KIND.open(observer, LocalPlace())


@dataclass(slots=True, kw_only=True)
class World:
    """A Prometheus to ask. `sample` gives one sample of each series, of an age; with None the server says when it was
    taken, again at each scrape.
    """

    settings: Mapping[str, Any]
    sample: Callable[..., Awaitable[None]]
    forget: Callable[..., Awaitable[None]]
    """Ends each series, or those of one instance."""

    async def watching(self, **more: Any) -> Watching:
        return await watching({**self.settings, **more})


@asynccontextmanager
async def _fake() -> AsyncIterator[World]:
    async with fake_prometheus() as fake:

        async def sample(values: Mapping[tuple[str, str, str], float], *, age_s: float | None = 0.0) -> None:
            for (service, region, instance), value in values.items():
                labels = (("service", service), ("region", region), ("instance", instance))
                fake.series[labels] = value, time.time() - (age_s or 0.0)

        async def forget(instance: str = "") -> None:
            for labels in [each for each in fake.series if instance in ("", dict(each)["instance"])]:
                fake.ended[labels] = fake.series.pop(labels)

        yield World(settings=plainly(fake.port), sample=sample, forget=forget)


def scraped_world(scraped: Exporter, settings: Mapping[str, Any]) -> World:
    """The real one, by what it scrapes."""

    async def again() -> None:
        """Return when a scrape that began after this is in."""
        seen = scraped.scraped
        async with asyncio.timeout(20):
            while scraped.scraped < seen + 2:
                await asyncio.sleep(0.02)

    async def sample(values: Mapping[tuple[str, str, str], float], *, age_s: float | None = 0.0) -> None:
        at = "" if age_s is None else f" {(time.time() - age_s) * 1000:.0f}"
        for (service, region, instance), value in values.items():
            series = f'{settings["query"]}{{service="{service}",region="{region}",instance="{instance}"}}'
            scraped.lines[series] = f"{value}{at}"
        await again()

    async def forget(instance: str = "") -> None:
        for series in [each for each in scraped.lines if f'instance="{instance}' in each]:
            del scraped.lines[series]
        await again()

    return World(settings=settings, sample=sample, forget=forget)


def said(sighted: Any) -> dict[tuple[str, str], bool]:
    return {(s.service, s.region): s.ok for s in sighted}


async def soon(one: Watching) -> dict[tuple[str, str], bool]:
    """What it says as soon as it says anything."""
    async with asyncio.timeout(20):
        while not (found := said(await one.ask())):
            await asyncio.sleep(0.05)
    return found


async def one_question_tells_of_many_and_a_sample_counts_once(world: World) -> None:
    one = await world.watching()
    both = {("shop", EAST, "a"): 1.0, ("orders", EAST, "a"): 0.0, ("of-nobody", EAST, "a"): 0.0}
    await world.sample(both)
    assert await soon(one) == {(SHOP, EAST): True, (ORDERS, EAST): False}
    assert list(await one.ask()) == [], "the same samples are no second look"
    await world.sample({("shop", EAST, "a"): 0.0})
    assert await soon(one) == {(SHOP, EAST): False}
    (finding,) = await one.check()
    assert "2 of 4 targets" in finding.what
    assert (finding.warning, "orders in us-west-2, shop in us-west-2" in finding.remedy) == (True, True)
    await one.close()


async def what_is_stale_is_unknown_whatever_it_says(world: World) -> None:
    one = await world.watching(age_max="5s")
    await world.sample({("shop", EAST, "a"): 0.0, ("orders", EAST, "a"): 1.0}, age_s=20)
    assert list(await one.ask()) == []
    (finding,) = await one.check()
    assert not finding.ok
    await world.sample({("shop", EAST, "a"): 0.0}, age_s=2)
    (sighted,) = await one.ask()
    assert isinstance(sighted, Sighted)
    assert (sighted.service, sighted.ok, sighted.reason) == (
        SHOP,
        False,
        f"{world.settings['query']}: 1 of 1 series not well",
    )
    assert sighted.age >= timedelta(seconds=2)
    await one.close()


async def what_is_no_longer_sampled_is_unknown(world: World) -> None:
    one = await world.watching()
    await world.sample({("shop", EAST, "a"): 1.0}, age_s=None)
    assert await soon(one)
    await world.forget()
    assert list(await one.ask()) == []
    await one.close()


async def of_several_series_any_or_all_must_be_well(world: World) -> None:
    some, every = [await world.watching(instances=which) for which in ("any", "all")]
    await world.sample({("shop", EAST, "a"): 1.0, ("shop", EAST, "b"): 0.0})
    assert (await soon(some), await soon(every)) == ({(SHOP, EAST): True}, {(SHOP, EAST): False})
    await world.sample({("shop", EAST, "a"): 0.0})
    assert list(await some.ask()) == [], "not before b was looked at again as well"
    await world.sample({("shop", EAST, "b"): 0.0})
    assert await soon(some) == {(SHOP, EAST): False}
    await some.close()
    await every.close()


async def some_series_that_is_stale_may_be_what_decides(world: World) -> None:
    some, every = [await world.watching(instances=which) for which in ("any", "all")]
    await world.sample({("shop", EAST, "a"): 1.0, ("orders", EAST, "a"): 0.0}, age_s=20)
    await world.sample({("shop", EAST, "b"): 0.0, ("orders", EAST, "b"): 1.0})
    assert await soon(some) == {(ORDERS, EAST): True}, "the stale one of the shop may be well"
    assert await soon(every) == {(SHOP, EAST): False}, "the stale one of the orders may fail"
    await some.close()
    await every.close()


async def a_series_that_ended_may_be_the_one_that_was_well(world: World) -> None:
    some, every = [await world.watching(instances=which) for which in ("any", "all")]
    await world.sample({("shop", EAST, "a"): 1.0, ("shop", EAST, "b"): 0.0}, age_s=None)
    assert (await soon(some), await soon(every)) == ({(SHOP, EAST): True}, {(SHOP, EAST): False})
    await world.forget("a")
    await world.sample({("shop", EAST, "b"): 0.0}, age_s=None)
    assert list(await some.ask()) == [], "a may be well still"
    assert await soon(every) == {(SHOP, EAST): False}, "whatever a is"
    _, finding = await some.check()
    assert (finding.ok, finding.warning) == (True, True)
    assert "1 series of shop in us-east-1 ended" in finding.what
    await world.sample({("shop", EAST, "b"): 1.0}, age_s=None)
    assert await soon(some) == {(SHOP, EAST): True}
    await world.sample({("shop", EAST, "b"): 0.0}, age_s=None)
    assert await soon(some) == {(SHOP, EAST): False}, "it was well without a"
    await some.close()
    await every.close()


async def of_series_that_all_failed_none_was_the_well_one(world: World) -> None:
    one = await world.watching()
    await world.sample({("shop", EAST, "a"): 1.0, ("shop", EAST, "b"): 1.0}, age_s=None)
    assert await soon(one) == {(SHOP, EAST): True}
    await world.sample({("shop", EAST, "a"): 0.0, ("shop", EAST, "b"): 0.0}, age_s=None)
    assert await soon(one) == {(SHOP, EAST): False}
    await world.forget("a")
    await world.sample({("shop", EAST, "b"): 0.0}, age_s=None)
    assert await soon(one) == {(SHOP, EAST): False}
    await one.close()


async def other_names_and_values(world: World) -> None:
    one = await world.watching(
        well_min=0.0,
        well_max=0.5,
        service_names={"checkout": "shop", "cart": "shop"},
        region_names={"use1": "us-east-1"},
    )
    await world.sample({("checkout", "use1", "a"): 0.9, ("orders", "use1", "a"): 0.5, ("shop", EAST, "a"): 0.1})
    assert await soon(one) == {(SHOP, EAST): False, (ORDERS, EAST): True}
    await one.close()


CONTRACT = (
    one_question_tells_of_many_and_a_sample_counts_once,
    what_is_stale_is_unknown_whatever_it_says,
    what_is_no_longer_sampled_is_unknown,
    of_several_series_any_or_all_must_be_well,
    some_series_that_is_stale_may_be_what_decides,
    a_series_that_ended_may_be_the_one_that_was_well,
    of_series_that_all_failed_none_was_the_well_one,
    other_names_and_values,
)


@pytest.mark.parametrize("holds", CONTRACT, ids=lambda holds: holds.__name__)
async def test_the_contract_on_a_fake(holds: Callable[[World], Awaitable[None]]) -> None:
    async with _fake() as world:
        await holds(world)


@pytest.mark.skipif(BINARY is None, reason="prometheus is not installed")
async def test_the_contract_on_a_real_server_that_wants_tls_and_a_password(tmp_path: Path) -> None:
    """One server for all, since it begins to scrape five seconds after its start."""
    certificate = Authority.found(tmp_path / "ca").sign("prometheus", address="127.0.0.1")
    async with exporter() as scraped, prometheus(tmp_path, scrapes=scraped, certificate=certificate) as (port, server):
        secure = {"query": "well", "url": f"https://127.0.0.1:{port}", "user": "evac", "ca": str(certificate.ca)}
        await scraped_world(scraped, secure).forget()
        for number, holds in enumerate(CONTRACT):
            settings = {**secure, "query": f"well_{number}", "password": {"value": PASSWORD}}
            await holds(world := scraped_world(scraped, settings))
            await world.forget()
        await strangers_are_refused(secure, tmp_path)

        one = await world.watching()
        server.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await one.ask()
        server.thaw()
        await world.sample({("shop", EAST, "a"): 1.0})
        assert await soon(one) == {(SHOP, EAST): True}
        await server.kill()
        with pytest.raises(Unavailable, match="Prometheus at https://127.0.0.1"):
            await one.ask()
        await one.close()


async def strangers_are_refused(secure: Mapping[str, Any], folder: Path) -> None:
    wrong = await watching({**secure, "password": {"value": "hunter2hunter2"}})
    with pytest.raises(Rejected, match=r"HTTP 401; correct .*password") as refused:
        await wrong.ask()
    assert "hunter2" not in str(refused.value)
    await wrong.close()
    trusting = await watching({**secure, "ca": None, "password": {"value": PASSWORD}})
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await trusting.ask()
    await trusting.close()
    missing = await watching({**secure, "ca": str(folder / "none"), "password": {"value": PASSWORD}})
    with pytest.raises(Rejected, match="cannot be read"):
        await missing.ask()
    await missing.close()


async def test_what_is_no_answer_is_no_knowledge() -> None:
    async with fake_prometheus() as fake:
        fake.authorization = "Bearer sesame"
        one = await watching({**plainly(fake.port), "bearer": {"value": "sesame"}})
        for raw, why in (
            (b"<html>", "no answer of a Prometheus"),
            (b'{"status":"error","error":"query timed out"}', "query timed out"),
            (b'{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}', "a scalar instead of a vector"),
            (b'{"status":"success","data":{"resultType":"vector","result":[{}]}}', "a row without labels and value"),
        ):
            fake.raw = raw
            with pytest.raises(Rejected, match=why):
                await one.ask()
        fake.raw = None
        fake.series[(("service", "shop"), ("region", EAST))] = 1.0, time.time() + 60
        assert list(await one.ask()) == [], "a sample from the server's future has no age"
        await one.close()


async def test_a_clock_that_is_set_back_does_not_silence_it_for_long() -> None:
    async with fake_prometheus() as fake:
        one = await watching(plainly(fake.port))
        now = time.time()

        def row(server: float, sampled: float) -> bytes:
            rows = [{"metric": {"service": "shop", "region": EAST}, "value": [server, str(sampled)]}]
            return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()

        fake.raw = row(now, now - 1)
        assert len(await one.ask()) == 1
        fake.raw = row(now - 3600, now - 3601)
        assert len(await one.ask()) == 1
        await one.close()


async def test_a_series_that_ended_is_waited_for_no_longer_than_a_while() -> None:
    async with fake_prometheus() as fake:
        one = await watching(plainly(fake.port))
        start = time.time()

        def rows(server: float, **instances: float) -> bytes:
            labels = {"service": "shop", "region": EAST}
            each = [{"metric": labels, "value": [server, str(sign * (server - 1))]} for sign in instances.values()]
            return json.dumps({"status": "success", "data": {"resultType": "vector", "result": each}}).encode()

        for after, instances, told in (
            (0, {"a": 1, "b": -1}, [True]),
            (10, {"b": -1}, []),
            (299, {"b": -1}, []),
            (301, {"b": -1}, [False]),
            (302, {"a": 1, "b": -1}, [True]),
            (-3600, {"b": -1}, [False]),
        ):
            fake.raw = rows(start + after, **instances)
            sighted = await one.ask()
            assert [s.ok for s in sighted if isinstance(s, Sighted)] == told, after
        await one.close()


async def test_what_cannot_be_asked_of_the_past_is_said_and_fails_no_check() -> None:
    async with fake_prometheus() as fake:
        one = await watching(plainly(fake.port), SHOP)
        for region in (EAST, WEST):
            fake.series[(("service", "shop"), ("region", region))] = 1.0, time.time()
        fake.has_a_past = False
        well, past = await one.check()
        assert (well.ok, well.warning, past.ok, past.warning) == (True, False, True, True)
        assert "which series have ended cannot be asked" in past.what
        await one.close()


@pytest.mark.parametrize("token", ["open\nsesame", "open sesame", "sésame", "sesame\x01"])
async def test_a_token_that_no_header_can_carry_is_refused_without_being_repeated(token: str) -> None:
    async with fake_prometheus() as fake:
        one = await watching({**plainly(fake.port), "bearer": {"value": token}})
        with pytest.raises(Rejected, match="is not one line of printable ASCII") as refused:
            await one.ask()
        assert token not in str(refused.value)
        await one.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bound_is_a_number_that_values_can_reach(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        PrometheusSettings.parse({**plainly(1), "well_min": value})
