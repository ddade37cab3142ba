"""The store on Consul's documented HTTP API, on an emulator of it: agents silent, without a leader, restored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import consul_emulator
import pytest
from consul_emulator import Running
from consul_stores import QUICK, address, opened, store_at
from store_trials import Watcher, is_another_life, write

from evac.core.errors import Conflict, StoreUnavailable
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.lab.servers.authority import Authority, Certificate
from evac.ports import COMMIT_WRITES_MAX
from evac.stores.consul import ConsulAddress, ConsulGround
from evac.stores.logged import LoggedStore
from evac.stores.logged.store import SEGMENT_ENTRIES
from evac.stores.logged.upkeep import HISTORY, Upkeep, size
from evac.stores.urls import Tls

LARGE = b"".join((n * 7919).to_bytes(4, "big") for n in range(262_144))


@pytest.fixture(name="emulated")
def _emulated() -> Iterator[Running]:
    with consul_emulator.running() as emulated:
        yield emulated


def ground_of(store: LoggedStore) -> ConsulGround:
    assert isinstance(store.ground, ConsulGround)
    return store.ground


@pytest.mark.parametrize("how", ["silent", "leaderless", "losing answers"])
async def test_an_agent_lost_costs_no_write_no_doubt_and_no_change(how: str, emulated: Running) -> None:
    fault = emulated.faults[0]
    async with opened(emulated) as store:
        watcher = Watcher(store, "n/", after=await store.revision())
        for n in range(5):
            await write(store, n)
        await watcher.until(5)
        match how:
            case "silent":
                fault.speaking.clear()
            case "leaderless":
                fault.leaderless = True
            case _:
                fault.loses_answers = True
        for n in range(5, 10):
            await write(store, n)
        await watcher.until(10)
        assert (await size(store)).answered == 2
        fault.speaking.set()
        fault.leaderless = fault.loses_answers = False
        await write(store, 10)
        await watcher.until(11)
        assert [change.key for change in watcher.seen] == [f"n/{n:03d}" for n in range(11)]
        assert len({change.revision for change in watcher.seen}) == 11
        await watcher.end()


async def test_a_commit_whose_answer_was_lost_is_done_once_and_no_conflict_with_itself(emulated: Running) -> None:
    async with opened(emulated) as store:
        first = await store.commit(expect={"a": 0}, put={"a": b"1"})
        emulated.faults[0].loses_answers = True
        second = await store.commit(expect={"a": first}, put={"a": b"2"})
        record = await store.get("a")
        assert record is not None
        assert (record.value, record.version) == (b"2", second)
        with pytest.raises(Conflict):
            await store.commit(expect={"a": first}, put={"a": b"3"})


async def test_whoever_has_less_patience_than_the_store_leaves_a_silent_agent_all_the_same(emulated: Running) -> None:
    store = store_at(address(emulated), patience=replace(QUICK, attempt=timedelta(seconds=30)))
    await store.commit(expect={}, put={"a": b"1"})
    emulated.faults[0].speaking.clear()
    tries = 0
    while tries < 10:
        tries += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.6):
                await store.commit(expect={}, put={"a": b"2"})
                break
    assert tries < 10
    await store.close()


async def test_without_a_leader_it_is_unavailable_and_what_was_given_up_is_decided_by_the_next_commit(
    emulated: Running,
) -> None:
    store = store_at(address(emulated), patience=replace(QUICK, whole=timedelta(seconds=1)))
    revision = await store.commit(expect={}, put={"a": b"1"})
    for fault in emulated.faults:
        fault.leaderless = True
    asked = (store.get("a"), store.commit(expect={"a": revision}, put={"a": b"2"}))
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) and "No cluster leader" in str(each) for each in said)
    for fault in emulated.faults:
        fault.leaderless, fault.loses_answers = False, True
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await store.commit(expect={"a": revision}, put={"a": b"3"})
    for fault in emulated.faults:
        fault.loses_answers = False
    record = await store.get("a")
    assert record is not None
    assert record.value == b"3", "it had come, and its answers were lost"
    await store.commit(expect={"a": record.version}, put={"a": b"4"})
    await store.close()


@pytest.mark.parametrize("looks_on", [True, False], ids=["a process looks on", "one that ended left a note"])
async def test_a_datacenter_restored_from_a_snapshot_is_another_one(
    looks_on: bool, emulated: Running, tmp_path: Path
) -> None:
    where, note = address(emulated), tmp_path / "seen.json"
    store = store_at(where, witness=note)
    born = await store.incarnation()
    old = await store.commit(expect={}, put={"a": b"1"})
    snapshot = emulated.datacenter.snapshot()
    for n in range(5):
        await write(store, n)
    watcher = Watcher(store, "n/", after=await store.revision())
    await asyncio.sleep(0.1)
    if not looks_on:
        await watcher.end()
        await store.close()
    emulated.datacenter.restore(snapshot)
    if not looks_on:
        store = store_at(where, witness=note)
    with pytest.raises(StoreUnavailable, match="restored from a backup"):
        async with asyncio.timeout(20):
            await (watcher.task if looks_on else store.revision())
    await is_another_life(store, opened(emulated, namespace=where.namespace), born=born, old=old)
    await store.close()


async def test_the_log_stays_short_within_consuls_limits_and_who_comes_late_reads_the_snapshot(
    emulated: Running,
) -> None:
    async with opened(emulated) as store:
        start, pairs = await store.revision(), emulated.datacenter.pairs
        await store.commit(expect={}, put={"large": LARGE})
        assert COMMIT_WRITES_MAX > consul_emulator.OPERATIONS_MAX
        await store.commit(expect={}, put={f"k/{n}": b"" for n in range(COMMIT_WRITES_MAX)})
        for n in range(SEGMENT_ENTRIES):
            await store.commit(expect={}, put={f"n/{n % 7}": str(n).encode()})
        assert max(len(pair.value) for pair in pairs.values()) < consul_emulator.VALUE_BYTES_MAX
        upkeep, clock = Upkeep(store=store, entries_max=SEGMENT_ENTRIES), BootClock()
        await upkeep.look(clock.now())
        await upkeep.look(clock.now())
        before = len(pairs)
        await upkeep.look(clock.now() + HISTORY)
        assert len(emulated.datacenter.pairs) < before - SEGMENT_ENTRIES
        namespace = ground_of(store).address.namespace
        async with opened(emulated, namespace=namespace) as late:
            assert await late.list("") == await store.list("")
            with pytest.raises(StoreUnavailable, match="no longer kept"):
                await anext(late.watch("", after=start))
            await late.commit(expect={}, put={"n/1": b"last"})
            assert await late.list("") == await store.list("")


async def test_a_token_lets_in_is_read_anew_and_stands_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    file.write_text("right-secret\n")
    monkeypatch.setenv("EVAC_TEST_TOKEN", "other-secret")
    tokens = {"right-secret": "evac/", "other-secret": "evac/", "foreign-secret": "elsewhere/"}
    with consul_emulator.running(1, tokens=tokens) as emulated:
        where = replace(address(emulated), token_file=file)
        store = store_at(where)
        revision = await store.commit(expect={}, put={"a": b"1"})
        del tokens["right-secret"]
        tokens["new-secret"] = "evac/"
        file.write_text("new-secret")
        assert await store.commit(expect={"a": revision}, put={"a": b"2"}) > revision
        await store.close()
        store = store_at(replace(where, token_file=None, token_env="EVAC_TEST_TOKEN"))
        assert await store.get("a") is not None
        await store.close()
        foreign, spaced = tmp_path / "foreign", tmp_path / "spaced"
        foreign.write_text("foreign-secret")
        spaced.write_text("no secret\nat all")
        for broken, why in (
            (replace(where, token_file=foreign), 'key_prefix "evac/.*" { policy = "write" }'),
            (replace(where, token_file=None), "Permission denied"),
            (replace(where, token_file=tmp_path / "none"), "no token: .*none: No such file"),
            (replace(where, token_file=spaced), "is empty, or no token"),
            (replace(where, token_file=None, token_env="EVAC_TEST_NONE"), "no token: EVAC_TEST_NONE is not set"),
        ):
            store = store_at(broken)
            for ask in (store.get("a"), store.commit(expect={}, put={"a": b""})):
                with pytest.raises(StoreUnavailable, match=why) as refused:
                    await ask
                assert "secret" not in str(refused.value)
            await store.close()
    assert "secret" not in caplog.text


async def test_a_token_that_may_read_and_not_write_is_refused_by_the_transaction() -> None:
    with consul_emulator.running(1) as emulated:
        where = address(emulated)
        store = store_at(where)
        await store.commit(expect={}, put={"a": b"1"})
        emulated.datacenter.read_only = True
        assert await store.get("a") is not None
        with pytest.raises(StoreUnavailable, match="give the token a policy to write"):
            await store.commit(expect={}, put={"a": b"2"})
        await store.close()


async def test_tls_trusts_its_own_authority_only_and_shows_a_certificate(tmp_path: Path) -> None:
    authority = Authority.found(tmp_path / "ca")
    shown, client = authority.sign("consul", address="127.0.0.1"), authority.sign("evac", address="127.0.0.1")
    stranger = Authority.found(tmp_path / "stranger").sign("evac", address="127.0.0.1")
    mine = Tls(ca=client.ca, certificate=client.file, key=client.key)
    with consul_emulator.running(1, tls=_serving(shown)) as emulated:
        where = replace(address(emulated), tls=mine)
        store = store_at(where)
        await store.commit(expect={}, put={"a": b"1"})
        await store.close()
        for tls, why in (
            (replace(mine, ca=stranger.ca), "not trusted.*look at ca"),
            (replace(mine, certificate=stranger.file, key=stranger.key), "refuses .*look at cert and key"),
            (Tls(ca=client.ca), "HANDSHAKE_FAILURE"),
            (None, "did not answer"),
        ):
            store = store_at(replace(where, tls=tls), patience=replace(QUICK, whole=timedelta(seconds=1)))
            with pytest.raises(StoreUnavailable, match=why):
                await store.revision()
            await store.close()


def _serving(certificate: Certificate) -> ssl.SSLContext:
    """Show a certificate, and ask for one of the same authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.ca)
    context.load_cert_chain(certificate.file, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # refuses within the handshake, before Python's server hangs up
    return context


async def test_what_does_not_answer_as_consul_does_is_named(emulated: Running) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    where = ConsulAddress(endpoints=(endpoint,), namespace="evac/shop")
    store = store_at(where, patience=replace(QUICK, whole=timedelta(seconds=1)))
    with pytest.raises(StoreUnavailable, match=f"{endpoint} does not answer as Consul does"):
        await store.get("a")
    await store.close()
    server.close()
    hasty = replace(QUICK, whole=timedelta(seconds=1))
    elsewhere = store_at(replace(address(emulated), datacenter="nowhere"), patience=hasty)
    with pytest.raises(StoreUnavailable, match="No path to datacenter"):
        await elsewhere.get("a")
    await elsewhere.close()


async def test_nothing_of_it_runs_on_when_it_is_closed(emulated: Running) -> None:
    before = asyncio.all_tasks()
    async with opened(emulated) as store:
        watchers = [Watcher(store, prefix, after=0) for prefix in ("a", "b")]
        await store.commit(expect={}, put={"a": b""})
        await watchers[0].until(1)
    for watcher in watchers:
        with pytest.raises(StoreUnavailable, match="closed"):
            await watcher.task
    assert asyncio.all_tasks() == before


async def test_agents_that_are_not_there_are_unavailable_within_the_bound() -> None:
    port = process.free_ports(1)[0]
    nowhere = ConsulAddress(endpoints=(f"127.0.0.1:{port}",), namespace="evac")
    store = store_at(nowhere, patience=replace(QUICK, whole=timedelta(seconds=1)))
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} cannot be reached"):
        await store.get("a")
    await store.close()
