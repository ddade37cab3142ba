"""The store on ZooKeeper when its servers are not as they should be: real ones, killed, frozen, restarted, restored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import zookeeper_ensembles
from store_trials import Watcher, is_another_life, losing_replies, outlives, write
from zookeeper_ensembles import QUICK, Servers, address, laid_out, leader, mended, needs_zookeeper, opened, store_at

from evac.core.errors import Conflict, StoreUnavailable
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.lab.servers.authority import Authority, Certificate
from evac.stores.logged import LoggedStore
from evac.stores.logged.store import SEGMENT_ENTRIES
from evac.stores.logged.upkeep import HISTORY, Upkeep, size
from evac.stores.urls import Tls
from evac.stores.zookeeper import ZookeeperAddress, ZookeeperGround

pytestmark = needs_zookeeper


@pytest.fixture(scope="session", name="shaken")
def _shaken() -> Iterator[Servers]:
    """An ensemble of three for whoever mistreats it: it is whole when a test begins."""
    with zookeeper_ensembles.lasting(3) as servers:
        yield servers


@asynccontextmanager
async def one_server(folder: Path, **settings: str) -> AsyncIterator[Servers]:
    async with zookeeper_ensembles.running(laid_out(folder, 1, settings=settings)) as servers:
        yield servers


def ground_of(store: LoggedStore) -> ZookeeperGround:
    assert isinstance(store.ground, ZookeeperGround)
    return store.ground


def first(victim: int, servers: Servers) -> Servers:
    """The same servers, one of them named first: it is asked, and tells the watch."""
    return {victim: servers[victim]} | {n: server for n, server in servers.items() if n != victim}


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_a_server_lost_costs_no_write_no_doubt_and_no_change(how: str, whom: str, shaken: Servers) -> None:
    await mended(shaken)
    leads = await leader(shaken)
    victim = leads if whom == "leader" else next(n for n in shaken if n != leads)
    async with opened(first(victim, shaken)) as store:
        start = await store.revision()
        watcher = Watcher(store, "n/", after=start)
        for n in range(5):
            await write(store, n)
        await watcher.until(5)
        await shaken[victim].kill() if how == "killed" else shaken[victim].freeze()
        for n in range(5, 10):
            await write(store, n)
        await watcher.until(10)
        await shaken[victim].start() if how == "killed" else shaken[victim].thaw()
        await write(store, 10)
        await watcher.until(11)
        assert [change.key for change in watcher.seen] == [f"n/{n:03d}" for n in range(11)]
        assert len({change.revision for change in watcher.seen}) == 11
        assert not watcher.task.done()
        await watcher.end()


async def test_the_server_named_first_is_asked_again_when_it_is_back(shaken: Servers) -> None:
    await mended(shaken)
    leads = await leader(shaken)
    nearest = next(n for n in shaken if n != leads)
    async with opened(first(nearest, shaken)) as store:
        session = ground_of(store).session
        await write(store, 0)
        await shaken[nearest].kill()
        await write(store, 1)
        assert session.current != shaken[nearest].endpoint
        assert await size(store) == replace(await size(store), answered=2, members=3)
        await shaken[nearest].start()
        async with asyncio.timeout(20):
            while session.current != shaken[nearest].endpoint:
                await asyncio.sleep(0.05)
        await write(store, 2)


async def test_without_a_majority_it_is_unavailable_and_goes_on_when_there_is_one(shaken: Servers) -> None:
    await mended(shaken)
    store = store_at(address(shaken), patience=replace(QUICK, whole=timedelta(seconds=3)))
    revision = await store.commit(expect={}, put={"a": b"1"})
    watcher = Watcher(store, "", after=revision)
    for number in (2, 3):
        await shaken[number].kill()
    asked = (store.get("a"), store.commit(expect={"a": revision}, put={"a": b"2"}))
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) and "majority" in str(each) for each in said)
    await mended(shaken)
    record = await store.get("a")
    assert record is not None
    # What was given up may have come through when the majority was back; by the next commit that is decided.
    assert record.value in (b"1", b"2")
    await store.commit(expect={"a": record.version}, put={"a": b"3"})
    await watcher.until(2 if record.value == b"2" else 1)
    assert watcher.seen[-1].record is not None
    assert watcher.seen[-1].record.value == b"3"
    await watcher.end()
    await store.close()


async def test_what_was_acknowledged_is_there_after_a_restart_of_all(shaken: Servers) -> None:
    await mended(shaken)
    async with opened(shaken) as store:

        async def restart() -> None:
            await zookeeper_ensembles.kill(shaken)
            await mended(shaken)

        await outlives(store, restart)


async def test_a_commit_that_was_given_up_is_void_once_the_next_one_is_made(shaken: Servers) -> None:
    await mended(shaken)
    leads = await leader(shaken)
    frozen = next(n for n in shaken if n != leads)
    async with opened(first(frozen, shaken)) as store:
        await store.commit(expect={}, put={"view": b"old"})
        shaken[frozen].freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.commit(expect={}, put={"view": b"late"})
        await store.commit(expect={}, put={"view": b"new"})
        shaken[frozen].thaw()
        await mended(shaken)
        await asyncio.sleep(0.5)  # it has worked off what lay in its buffers
        record = await store.get("view")
        assert record is not None
        assert record.value == b"new"


async def test_whoever_has_less_patience_than_the_store_leaves_a_frozen_server_all_the_same(shaken: Servers) -> None:
    await mended(shaken)
    leads = await leader(shaken)
    frozen = next(n for n in shaken if n != leads)
    store = store_at(address(first(frozen, shaken)), patience=replace(QUICK, attempt=timedelta(seconds=30)))
    await store.commit(expect={}, put={"a": b"1"})
    shaken[frozen].freeze()
    tries = 0
    while tries < 20:
        tries += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.7):
                await store.commit(expect={}, put={"a": b"2"})
                break
    assert tries < 20
    shaken[frozen].thaw()
    await store.close()


async def test_many_writers_in_many_processes_lose_nothing_and_see_the_same(shaken: Servers) -> None:
    await mended(shaken)
    namespace = address(shaken).namespace

    async def add(store: LoggedStore) -> None:
        while True:
            record = await store.get("n")
            count, version = (int(record.value), record.version) if record else (0, 0)
            try:
                await store.commit(expect={"n": version}, put={"n": str(count + 1).encode()})
                return
            except Conflict:
                continue

    async with (
        opened(shaken, namespace=namespace) as one,
        opened(first(2, shaken), namespace=namespace) as two,
        opened(first(3, shaken), namespace=namespace) as three,
    ):
        watchers = [Watcher(store, "n", after=await store.revision()) for store in (one, two, three)]
        await asyncio.gather(*[add(store) for store in (one, two, three) for _ in range(5)])
        for watcher in watchers:
            await watcher.until(15)
            assert [int(c.record.value) for c in watcher.seen if c.record] == list(range(1, 16))
            assert watcher.seen == watchers[0].seen
            await watcher.end()


async def test_a_commit_whose_reply_was_lost_is_done_once_and_no_conflict_with_itself(tmp_path: Path) -> None:
    async with one_server(tmp_path) as servers, losing_replies(servers[1].port) as (port, lose):
        two = replace(address(servers), endpoints=(f"127.0.0.1:{port}", servers[1].endpoint))
        store = store_at(two)
        watcher = Watcher(store, "", after=await store.revision())
        revision = await store.commit(expect={"a": 0}, put={"a": b"1"})
        lose.set()
        second = await store.commit(expect={"a": revision}, put={"a": b"2"})
        record = await store.get("a")
        assert record is not None
        assert (record.value, record.version) == (b"2", second)
        await watcher.until(2)
        assert [change.revision for change in watcher.seen] == [revision, second]
        with pytest.raises(Conflict):
            await store.commit(expect={"a": revision}, put={"a": b"3"})
        await watcher.end()
        await store.close()


@pytest.mark.parametrize("looks_on", [True, False], ids=["a process looks on", "one that ended left a note"])
async def test_a_store_restored_from_a_backup_is_another_one(looks_on: bool, tmp_path: Path) -> None:
    note = tmp_path / "seen.json"
    async with one_server(tmp_path) as servers:
        server = servers[1]
        where = address(servers)
        store = store_at(where, witness=note)
        born = await store.incarnation()
        old = await store.commit(expect={}, put={"a": b"1"})
        await server.kill()
        shutil.copytree(server.data, tmp_path / "backup")
        await zookeeper_ensembles.start(servers)
        for n in range(5):
            await write(store, n)
        watcher = Watcher(store, "n/", after=await store.revision())
        if not looks_on:
            await watcher.end()
            await store.close()
        await server.kill()
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "backup", server.data)
        await zookeeper_ensembles.start(servers)
        if not looks_on:
            store = store_at(where, witness=note)
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            async with asyncio.timeout(20):
                await (watcher.task if looks_on else store.revision())
        await is_another_life(store, opened(servers, namespace=where.namespace), born=born, old=old)
        await store.close()


async def test_the_log_stays_short_and_who_comes_late_reads_the_snapshot(tmp_path: Path) -> None:
    async with one_server(tmp_path) as servers, opened(servers) as store:
        ground, start = ground_of(store), await store.revision()
        noise = b"".join((n * 7919).to_bytes(4, "big") for n in range(262_144))
        await store.commit(expect={}, put={"large": noise})
        for n in range(SEGMENT_ENTRIES):
            await store.commit(expect={}, put={f"n/{n % 7}": str(n).encode()})
        upkeep, clock = Upkeep(store=store, entries_max=SEGMENT_ENTRIES), BootClock()
        assert len(await ground.names("parts-1")) > 1
        await upkeep.look(clock.now())
        await upkeep.look(clock.now())
        await upkeep.look(clock.now() + HISTORY)
        assert await ground.children("log") == ["2"]
        assert await ground.names("parts-1") == []
        assert (await size(store)).entries < SEGMENT_ENTRIES
        async with opened(servers, namespace=ground.address.namespace) as late:
            assert await late.list("") == await store.list("")
            with pytest.raises(StoreUnavailable, match="no longer kept"):
                await anext(late.watch("", after=start))
            await late.commit(expect={}, put={"n/1": b"last"})
            assert await late.list("") == await store.list("")


async def test_users_are_known_by_password_and_no_log_tells_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with one_server(tmp_path) as servers:
        word, wrong = tmp_path / "word", tmp_path / "wrong"
        word.write_text("right-secret\n")
        wrong.write_text("wrong-secret")
        where = replace(address(servers), user="evac", password_file=word)
        store = store_at(where)
        await store.commit(expect={}, put={"a": b"1"})
        await servers[1].kill()
        await zookeeper_ensembles.start(servers)
        record = await store.get("a")
        assert record is not None
        await store.close()
        for broken, why in (
            (replace(where, password_file=wrong), "look at the user in the store's URL"),
            (replace(where, user=None, password_file=None), "may not be used as who is named"),
            (replace(where, password_file=tmp_path / "none"), "no password: .*none: No such file"),
        ):
            store = store_at(broken)
            for ask in (store.get("a"), store.commit(expect={}, put={"a": b""})):
                with pytest.raises(StoreUnavailable, match=why) as refused:
                    await ask
                assert "secret" not in str(refused.value)
            await store.close()
    assert "secret" not in caplog.text


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # kazoo forgets what no handshake came of
async def test_tls_trusts_its_own_authority_only_and_shows_a_certificate(tmp_path: Path) -> None:
    authority = Authority.found(tmp_path / "ca")
    shown, client = authority.sign("zookeeper", address="127.0.0.1"), authority.sign("evac", address="127.0.0.1")
    stranger = Authority.found(tmp_path / "stranger").sign("evac", address="127.0.0.1")
    mine = Tls(ca=client.ca, certificate=client.file, key=client.key)
    async with _with_tls(tmp_path / "server", shown) as where:
        other_name = replace(where, endpoints=(where.endpoints[0].replace("127.0.0.1", "localhost"),))
        store = store_at(replace(where, tls=mine))
        await store.commit(expect={}, put={"a": b"1"})
        watcher = Watcher(store, "", after=await store.revision())
        await store.commit(expect={}, put={"b": b"1"})
        await watcher.until(1)
        await watcher.end()
        await store.close()
        hasty = replace(QUICK, whole=timedelta(seconds=1))
        for asked, tls, why in (
            (where, replace(mine, ca=stranger.ca), "not trusted.*look at ca"),
            (other_name, mine, "not trusted.*Hostname mismatch"),
            (where, Tls(ca=client.ca, certificate=stranger.file, key=stranger.key), "refuses .*look at cert and key"),
            (where, Tls(ca=client.ca), "refuses .*whether they are named"),
            (where, None, "did not answer"),
        ):
            store = store_at(replace(asked, tls=tls), patience=hasty)
            with pytest.raises(StoreUnavailable, match=why):
                await store.revision()
            await store.close()
        with pytest.raises(StoreUnavailable, match="none: .*look at ca, cert and key"):
            store_at(replace(where, tls=Tls(ca=tmp_path / "none")))


@asynccontextmanager
async def _with_tls(folder: Path, certificate: Certificate) -> AsyncIterator[ZookeeperAddress]:
    """Run a server that is asked over TLS, and by those only who show a certificate."""
    both = folder / "both.pem"
    folder.mkdir()
    both.write_text(certificate.key.read_text() + certificate.file.read_text())
    port = process.free_ports(1)[0]
    settings = {
        "secureClientPort": str(port),
        "secureClientPortAddress": "127.0.0.1",
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.location": str(both),
        "ssl.keyStore.type": "PEM",
        "ssl.trustStore.location": str(certificate.ca),
        "ssl.trustStore.type": "PEM",
        "ssl.clientAuth": "need",
    }
    async with one_server(folder, **settings) as servers:
        yield replace(address(servers), endpoints=(f"127.0.0.1:{port}",))


async def test_nothing_of_it_runs_on_when_it_is_closed(tmp_path: Path) -> None:
    async with one_server(tmp_path) as servers:
        tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
        async with opened(servers) as store:
            watchers = [Watcher(store, prefix, after=0) for prefix in ("a", "b")]
            await store.commit(expect={}, put={"a": b""})
            await watchers[0].until(1)
        for watcher in watchers:
            with pytest.raises(StoreUnavailable, match="closed"):
                await watcher.task
        assert asyncio.all_tasks() == tasks
        left = {thread for thread in set(threading.enumerate()) - threads if not thread.name.startswith("asyncio")}
        assert left == set()


async def test_an_ensemble_that_is_not_there_is_unavailable_within_the_bound() -> None:
    port = process.free_ports(1)[0]
    nowhere = ZookeeperAddress(endpoints=(f"127.0.0.1:{port}",), namespace="evac")
    store = store_at(nowhere, patience=replace(QUICK, whole=timedelta(seconds=1)))
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} cannot be reached"):
        await store.get("a")
    await store.close()
