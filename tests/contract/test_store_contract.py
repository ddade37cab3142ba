"""What every store promises, tried on each of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import cast

import consul_emulator
import consul_stores
import pytest
import zookeeper_ensembles
from etcd_clusters import QUICK, Members, address, lasting, needs_etcd
from zookeeper_ensembles import Servers, needs_zookeeper

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import COMMIT_WRITES_MAX, VALUE_BYTES_MAX, Change, Inspectable, Store
from evac.sim.cluster import Cluster, Line
from evac.sim.estates import EAST, THREE
from evac.sim.network import Network
from evac.stores.etcd import EtcdStore
from evac.stores.etcd.wire import COMPACT
from evac.stores.feed import KEPT_MAX
from evac.stores.logged import LoggedStore
from evac.stores.memory import MemoryStore
from evac.stores.sqlite import SqliteStore
from fakes.grounds import MemoryGround


@pytest.fixture(scope="session", name="alone")
def _alone() -> Iterator[Members]:
    """An etcd of one member, for all tests of this process: each has a namespace of its own."""
    with lasting(1) as members:
        yield members


@pytest.fixture(scope="session", name="three")
def _three() -> Iterator[Members]:
    """An etcd of three members, likewise."""
    with lasting(3) as members:
        yield members


@pytest.fixture(scope="session", name="ensemble")
def _ensemble() -> Iterator[Servers]:
    """A ZooKeeper of three servers, likewise."""
    with zookeeper_ensembles.lasting(3) as servers:
        yield servers


@pytest.fixture(scope="session", name="emulated")
def _emulated() -> Iterator[consul_emulator.Running]:
    """An emulator of Consul's HTTP API, likewise."""
    with consul_emulator.running() as emulated:
        yield emulated


KINDS = [
    "memory",
    "sqlite",
    "modelled",
    "logged",
    *(pytest.param(kind, marks=needs_etcd) for kind in ("alone", "three")),
    pytest.param("ensemble", marks=needs_zookeeper),
    "emulated",
]


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            made = await SqliteStore.open(tmp_path / "evac.db")
        case "modelled":
            made = modelled().line(EAST)
        case "logged":
            made = LoggedStore(MemoryGround())
        case "ensemble":
            made = zookeeper_ensembles.store_at(zookeeper_ensembles.address(request.getfixturevalue("ensemble")))
        case "emulated":
            made = consul_stores.store_at(consul_stores.address(request.getfixturevalue("emulated")))
        case cluster:
            made = EtcdStore(address(request.getfixturevalue(cluster)), patience=QUICK)
    yield made
    await made.close()


def modelled() -> Cluster:
    """A store of the simulator's, in three regions that are close."""
    ways = {frozenset((a, b)): 0.001 for a in THREE for b in THREE if a != b}
    network = Network(regions=THREE, one_way=ways, random=Random(0))
    return Cluster(network, random=Random(0), committed=lambda changes: None)


async def take(store: Store, prefix: str, *, after: int, count: int) -> list[Change]:
    """Return the first changes of a watch."""
    changes: list[Change] = []
    async with aclosing(store.watch(prefix, after=after)) as watch:
        async for change in watch:
            changes.append(change)
            if len(changes) == count:
                break
    return changes


async def test_what_was_written_is_read(store: Store) -> None:
    revision = await store.commit(expect={"a/1": 0}, put={"a/1": b"one", "a/2": b"\x00two", "b": b""})
    assert [(r.key, r.value) for r in await store.list("a/")] == [("a/1", b"one"), ("a/2", b"\x00two")]
    record = await store.get("b")
    assert record is not None
    assert record.value == b""
    assert record.version > 0
    assert await store.revision() == revision
    assert await store.get("nothing") is None


async def test_a_commit_happens_whole_or_not_at_all(store: Store) -> None:
    await store.commit(expect={}, put={"a": b"1"})
    before = await store.revision()
    with pytest.raises(Conflict):
        await store.commit(expect={"b": 0, "a": 0}, put={"b": b"2"}, delete=["a"])
    assert await store.revision() == before
    assert await store.get("b") is None
    assert await store.get("a") is not None


async def test_a_commit_may_expect_a_version_and_change_nothing(store: Store) -> None:
    revision = await store.commit(expect={}, put={"a": b"1"})
    record = await store.get("a")
    assert record is not None
    assert await store.commit(expect={"a": record.version}, put={}) == revision
    with pytest.raises(Conflict):
        await store.commit(expect={"a": 0}, put={})


async def test_versions_never_repeat_even_after_a_deletion(store: Store) -> None:
    versions = []
    for value in (b"1", b"2", b"3"):
        await store.commit(expect={}, put={"a": value})
        record = await store.get("a")
        assert record is not None
        versions.append(record.version)
        await store.commit(expect={"a": record.version}, put={}, delete=["a", "never-there"])
    assert versions == sorted(set(versions))


async def test_prefixes_are_literal_and_sorted(store: Store) -> None:
    await store.commit(expect={}, put={"a%/2": b"", "a%/10": b"", "ab/1": b"", "a_": b"", "a%": b""})
    assert [r.key for r in await store.list("a%/")] == ["a%/10", "a%/2"]


async def test_a_watch_yields_every_change_in_order_also_those_before_it_began(store: Store) -> None:
    start = await store.revision()
    await store.commit(expect={}, put={"w/1": b"1", "other": b""})
    await store.commit(expect={}, put={"w/1": b"2"})
    early = asyncio.create_task(take(store, "w/", after=start, count=4))
    await asyncio.sleep(0)
    await store.commit(expect={}, put={}, delete=["w/1"])
    await store.commit(expect={}, put={"w/2": b"3"})
    seen = await early
    assert [c.record.value if c.record else None for c in seen] == [b"1", b"2", None, b"3"]
    assert [c.revision for c in seen] == sorted({c.revision for c in seen})
    assert seen == await take(store, "w/", after=start, count=4)
    assert seen[2:] == await take(store, "w/", after=seen[1].revision, count=2)


async def test_a_watch_too_far_behind_is_told_so(store: Store) -> None:
    await store.commit(expect={}, put={"a": b""})
    match store:
        case MemoryStore() | LoggedStore():
            store._feed.skip(await store.revision() + KEPT_MAX + 1)
        case SqliteStore():
            for _ in range(3):
                store._writer.execute("UPDATE life SET revision = revision + ?", (KEPT_MAX,))
            await asyncio.sleep(0.2)
        case Line():
            store.forget()
        case _:
            await cast(EtcdStore, store).ask(COMPACT, {"revision": str(await store.revision())})
    with pytest.raises(StoreUnavailable, match="no longer kept"):
        await take(store, "", after=0, count=1)


async def test_many_writers_of_one_counter_lose_nothing(store: Store) -> None:
    async def add() -> None:
        while True:
            record = await store.get("n")
            count, version = (int(record.value), record.version) if record else (0, 0)
            try:
                await store.commit(expect={"n": version}, put={"n": str(count + 1).encode()})
            except Conflict:
                continue
            return

    await asyncio.gather(*(add() for _ in range(20)))
    record = await store.get("n")
    assert record is not None
    assert record.value == b"20"


async def test_a_malformed_commit_is_a_programming_error(store: Store) -> None:
    with pytest.raises(AssertionError):
        await store.commit(expect={}, put={"a": b""}, delete=["a"])
    with pytest.raises(AssertionError):
        await store.commit(expect={}, put={"a": bytes(VALUE_BYTES_MAX + 1)})
    with pytest.raises(AssertionError):
        await store.commit(expect={}, put={f"{n}": b"" for n in range(COMMIT_WRITES_MAX)}, delete=["one more"])


async def test_a_commit_takes_as_many_keys_as_the_port_says(store: Store) -> None:
    keys = [f"k/{n:03d}" for n in range(COMMIT_WRITES_MAX)]
    await store.commit(expect=dict.fromkeys(keys, 0), put=dict.fromkeys(keys, b"a"))
    records = await store.list("k/")
    assert [r.key for r in records] == keys
    versions = {r.key: r.version for r in records}
    await store.commit(expect=versions, put=dict.fromkeys(keys[::2], b"b"), delete=keys[1::2])
    assert [(r.key, r.value) for r in await store.list("k/")] == [(key, b"b") for key in keys[::2]]


async def test_a_closed_store_says_so_and_ends_its_watches(store: Store) -> None:
    watching = asyncio.create_task(take(store, "", after=0, count=1))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await watching
    for ask in (store.get("a"), store.list(""), store.revision(), store.incarnation()):
        with pytest.raises(StoreUnavailable):
            await ask
    with pytest.raises(StoreUnavailable):
        await store.commit(expect={}, put={"a": b""})


async def test_a_store_keeps_its_incarnation(store: Store) -> None:
    assert await store.incarnation() == await store.incarnation() != ""


async def test_what_was_read_in_another_life_is_not_written_in_this_one(store: Store) -> None:
    born = await store.incarnation()
    revision = await store.commit(expect={}, put={"a": b"1"}, life=born)
    with pytest.raises(Conflict, match="another life"):
        await store.commit(expect={"a": revision}, put={"a": b"2"}, life=f"not {born}")
    found = await store.get("a")
    assert found is not None
    assert found.value == b"1"
    assert await store.commit(expect={"a": revision}, put={"a": b"3"}, life=born) > revision


async def test_what_sqlite_was_given_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path / "evac.db")
    revision = await first.commit(expect={}, put={"a": b"1", "b": b""})
    born = await first.incarnation()
    await first.close()
    second = await SqliteStore.open(tmp_path / "evac.db")
    assert (await second.revision(), await second.incarnation()) == (revision, born)
    watching = asyncio.create_task(take(second, "a", after=0, count=2))
    await asyncio.sleep(0.01)
    await second.commit(expect={}, put={"a": b"2"})
    assert [c.record and c.record.value for c in await watching] == [b"1", b"2"]
    await second.close()
    shutil.copy(tmp_path / "evac.db", tmp_path / "copy.db")
    copy = await SqliteStore.open(tmp_path / "copy.db")
    assert await copy.incarnation() != born
    await copy.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from evac.stores.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    for n in range(10**9):
        await store.commit(expect={}, put={f"n/{n:09d}": b"x" * 100})
        print(n, flush=True)

asyncio.run(main())
"""


def start_writer(path: Path) -> subprocess.Popen[bytes]:
    """Start a process that commits as fast as it can, and says each time that it has."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)


async def test_a_watch_hears_another_process_and_nothing_acknowledged_is_lost_when_that_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "evac.db"
    store = await SqliteStore.open(path)
    writer = start_writer(path)
    try:
        heard = await take(store, "n/", after=0, count=50)
        assert [c.key for c in heard] == [f"n/{n:09d}" for n in range(50)]
        await store.commit(expect={}, put={"mine": b""})
        assert [c.key for c in await take(store, "mine", after=0, count=1)] == ["mine"]
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.stdout is not None
        told = writer.stdout.read().split()
        writer.stdout.close()
        writer.wait()
    kept = {r.key for r in await store.list("n/")}
    assert {f"n/{int(n):09d}" for n in told} <= kept
    await store.close()


async def test_a_full_disk_and_a_lock_are_unavailable_and_change_nothing(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "evac.db")
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(expect={}, put={"big": bytes(200_000), "small": b""})
    assert await store.get("small") is None
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store._writer.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "evac.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.commit(expect={}, put={"small": b""})
    other.execute("ROLLBACK")
    other.close()
    await store.commit(expect={}, put={"small": b""})
    await store.close()


async def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "evac.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreUnavailable, match=r"evac\.db"):
        await SqliteStore.open(tmp_path / "evac.db")
    with pytest.raises(StoreUnavailable):
        await SqliteStore.open(tmp_path / "no-such-folder" / "evac.db")


async def test_changes_that_nobody_needs_any_more_are_dropped(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "evac.db")
    await store.commit(expect={}, put={"a": b"1"})
    store._writer.execute("UPDATE life SET revision = ?", (KEPT_MAX + 511,))
    await store.commit(expect={}, put={"a": b"2"})
    assert store._reader.execute("SELECT count(*) FROM changes").fetchone() == (1,)
    await store.close()


async def test_a_watch_that_is_overtaken_is_told_so() -> None:
    store = MemoryStore()
    for n in range(KEPT_MAX + 1):
        await store.commit(expect={}, put={"n": str(n).encode()})
    with pytest.raises(StoreUnavailable, match="no longer kept"):
        await take(store, "", after=0, count=1)
    assert len(await take(store, "", after=1, count=KEPT_MAX)) == KEPT_MAX


async def test_a_look_for_other_processes_that_fails_is_made_again(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "evac.db")
    broken = sqlite3.connect(tmp_path / "evac.db")
    broken.close()
    assert store._look(broken, 7) == 7
    await store.close()


async def test_the_nearest_copy_is_no_older_than_what_was_told(store: Store) -> None:
    for n in range(5):
        revision = await store.commit(expect={}, put={"a/1": str(n).encode()})
        near = await store.get("a/1", near=True)
        assert near is not None
        assert near.version == revision
        assert await store.list("a/", near=True) == (near,)
    await store.commit(expect={}, put={}, delete=["a/1"])
    assert await store.get("a/1", near=True) is None
    assert await store.list("a/", near=True) == ()


async def test_a_store_that_can_says_how_it_is(store: Store) -> None:
    if not isinstance(store, Inspectable):
        return
    await store.commit(expect={}, put={"a": b"1"})
    found = await store.health()
    assert all(member.up for member in found.members)
    assert sum(member.leads for member in found.members) == 1
    assert found.read is not None
    assert found.size is not None
    assert found.size > 0
    assert found.limit is None or found.limit > found.size
