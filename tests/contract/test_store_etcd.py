"""The store on etcd when its members are not as they should be: real servers, killed, frozen, restarted, restored."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from etcd_clusters import QUICK, Members, address, leader, needs_etcd, opened
from store_trials import Watcher, is_another_life, losing_replies, outlives, write

from evac.core.errors import Conflict, StoreUnavailable
from evac.engine.clock import BootClock
from evac.lab.servers import etcd, process
from evac.lab.servers.authority import Authority
from evac.stores.etcd import EtcdAddress, EtcdStore, draw_leader, is_leader_near, upkeep
from evac.stores.etcd.store import PAGE
from evac.stores.urls import Tls

pytestmark = needs_etcd


@asynccontextmanager
async def cluster(folder: Path, count: int = 3, *, flags: tuple[str, ...] = ()) -> AsyncIterator[Members]:
    """Run a cluster with a leader for one test."""
    regions = [f"region-{n}" for n in range(1, count + 1)]
    async with etcd.running(etcd.laid_out(folder, regions=regions, flags=flags)) as members:
        await leader(members)
        yield members


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_a_member_lost_costs_no_write_no_doubt_and_no_change(how: str, whom: str, tmp_path: Path) -> None:
    async with cluster(tmp_path) as members:
        leads = await leader(members)
        victim = leads if whom == "leader" else next(region for region in members if region != leads)
        # The victim is named first: it is asked, and holds the stream.
        first = {victim: members[victim]} | {r: m for r, m in members.items() if r != victim}
        async with opened(first) as store:
            start = await store.revision()
            watcher = Watcher(store, "n/", after=start)
            for n in range(5):
                await write(store, n)
            await watcher.until(5)
            if how == "killed":
                await members[victim].kill()
            else:
                members[victim].freeze()
            for n in range(5, 10):
                await write(store, n)
            await watcher.until(10)
            if how == "killed":
                await members[victim].start()
            else:
                members[victim].thaw()
            await write(store, 10)
            await watcher.until(11)
            assert [change.key for change in watcher.seen] == [f"n/{n:03d}" for n in range(11)]
            assert len({change.revision for change in watcher.seen}) == 11
            assert not watcher.task.done()
            await watcher.end()


async def test_a_copy_that_is_behind_what_was_told_is_not_read(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:
        await store.commit(expect={}, put={"a": b"1"})
        await members["region-1"].kill()
        told = await store.commit(expect={}, put={"a": b"2"})
        near = await store.get("a", near=True)
        assert near is not None
        assert near.version == told
        await members["region-2"].kill()
        await members["region-3"].kill()
        await members["region-1"].start()
        store.members.prefer(members["region-1"].endpoint)  # alone, it answers with what it last heard of
        with pytest.raises(StoreUnavailable):
            await store.get("a", near=True)
        with pytest.raises(StoreUnavailable):
            await store.list("a", near=True)


async def test_the_cluster_is_led_from_where_it_is_written(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members:
        led = await leader(members)
        first = next(region for region in members if region != led)
        order = {first: members[first]} | {region: m for region, m in members.items() if region != first}
        async with opened(order) as store:
            assert not await is_leader_near(store)
            assert await draw_leader(store)
            async with asyncio.timeout(20):
                while await leader(members) != first:
                    await asyncio.sleep(0.05)
            assert await draw_leader(store)
            assert await is_leader_near(store)
            await write(store, 1)
            await members[first].kill()
            assert not await draw_leader(store)


async def test_the_member_named_first_is_asked_again_when_it_is_back(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:
        nearest = store.members.current
        watcher = Watcher(store, "n/", after=await store.revision())
        await write(store, 0)
        await members["region-1"].kill()
        await write(store, 1)
        assert store.members.current != nearest
        await members["region-1"].start()
        async with asyncio.timeout(20):
            while store.members.current != nearest:
                await asyncio.sleep(0.05)
        await write(store, 2)
        await watcher.until(3)
        await watcher.end()


async def test_without_a_majority_it_is_unavailable_and_goes_on_when_there_is_one(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:
        revision = await store.commit(expect={}, put={"a": b"1"})
        watcher = Watcher(store, "", after=revision)
        for region in ("region-2", "region-3"):
            await members[region].kill()
        asked = (store.get("a"), store.commit(expect={"a": revision}, put={"a": b"2"}))
        async with asyncio.timeout(2 * QUICK.whole.total_seconds()):
            said = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, StoreUnavailable) and "majority" in str(each) for each in said)
        await members["region-2"].start()
        await leader(members)
        record = await store.get("a")
        assert record is not None
        # What was given up may have come through when the majority was back; by the next commit that is decided.
        assert record.value in (b"1", b"2")
        await store.commit(expect={"a": record.version}, put={"a": b"3"})
        await watcher.until(2 if record.value == b"2" else 1)
        assert watcher.seen[-1].record is not None
        assert watcher.seen[-1].record.value == b"3"
        await watcher.end()


async def test_what_was_acknowledged_is_there_after_a_restart_of_all(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:

        async def restart() -> None:
            for member in members.values():
                await member.kill()
            for member in members.values():
                await member.start()
            await leader(members)

        await outlives(store, restart)


async def test_a_commit_that_was_given_up_is_void_once_the_next_one_is_made(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:
        await store.commit(expect={}, put={"view": b"old"})
        leads = await leader(members)
        frozen = next(region for region in members if region != leads)
        store.members.prefer(members[frozen].endpoint)
        members[frozen].freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await store.commit(expect={}, put={"view": b"late"})
        store.members.leave(members[frozen].endpoint)
        await store.commit(expect={}, put={"view": b"new"})
        members[frozen].thaw()
        async with httpx.AsyncClient(trust_env=False) as client:  # it has worked off what lay in its buffers
            await client.post(f"http://{members[frozen].endpoint}/v3/kv/range", json={"key": "YQ=="}, timeout=10)
        await asyncio.sleep(0.5)
        record = await store.get("view")
        assert record is not None
        assert record.value == b"new"


async def test_a_commit_whose_reply_was_lost_is_done_once_and_no_conflict_with_itself(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members:
        member = members["region-1"]
        async with losing_replies(member.port) as (port, lose):
            two = replace(address(members), endpoints=(f"127.0.0.1:{port}", member.endpoint))
            store = EtcdStore(two, patience=QUICK)
            first = await store.commit(expect={"a": 0}, put={"a": b"1"})
            lose.set()
            second = await store.commit(expect={"a": first}, put={"a": b"2"})
            record = await store.get("a")
            assert record is not None
            assert (record.value, record.version) == (b"2", second)
            store.members.prefer(f"127.0.0.1:{port}")
            with pytest.raises(Conflict):
                await store.commit(expect={"a": first}, put={"a": b"3"})
            store.members.prefer(f"127.0.0.1:{port}")
            assert await store.commit(expect={"a": second}, put={}, delete=["a"]) > second
            assert await store.get("a") is None
            await store.close()


async def test_history_is_forgotten_by_one_of_many_and_a_watch_that_comes_too_late_is_told(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members, opened(members) as store:
        start = await store.revision()
        watcher = Watcher(store, "n/", after=start)
        async with opened(members, namespace=store.members.address.namespace) as dead:
            await write(dead, 0)
            dead._slots._made = 0  # as one that was killed: it does not tidy up
        await watcher.until(1)  # what is forgotten from here on, it has seen
        assert len(await store.read_all(f"{store.own}slots/")) == 1
        mine, yours = await upkeep.forget(store, None), await upkeep.forget(store, None)
        assert mine == yours
        await write(store, 1)
        await watcher.until(2)
        mine = await upkeep.forget(store, mine)
        assert await upkeep.forget(store, yours) == mine
        await upkeep.forget(store, mine)
        assert await store.read_all(f"{store.own}slots/") == ()  # its own, too, was not used for long
        await write(store, 2)
        await watcher.until(3)
        with pytest.raises(StoreUnavailable, match="no longer kept"):
            await anext(store.watch("n/", after=start - 1))
        now = await upkeep.size(store)
        assert 0 < now.in_use_bytes <= now.on_disk_bytes < upkeep.LARGE_BYTES
        assert (now.answered, now.members) == (1, 1)
        await watcher.end()


async def test_a_quiet_watch_outlives_the_forgetting_and_the_loss_of_its_member(tmp_path: Path) -> None:
    async with cluster(tmp_path) as members, opened(members) as store:
        start = await store.revision()
        watcher = Watcher(store, "quiet/", after=start)
        for n in range(3):
            await write(store, n)
        stream = next(iter(store._streams))
        async with asyncio.timeout(20):
            while stream.feed.revision <= start + 3:
                await asyncio.sleep(0.05)
        await store.ask("/v3/kv/compaction", {"revision": str(stream.feed.revision)})
        await members["region-1"].kill()
        await store.commit(expect={}, put={"quiet/1": b""})
        await watcher.until(1)
        await watcher.end()


@pytest.mark.parametrize("looks_on", [True, False], ids=["a process looks on", "one that ended left a note"])
async def test_a_store_restored_from_a_backup_is_another_one(looks_on: bool, tmp_path: Path) -> None:
    note = tmp_path / "seen.json"
    async with cluster(tmp_path / "cluster", 1) as members:
        member = members["region-1"]
        where = address(members)
        store = EtcdStore(where, patience=QUICK, witness=note)
        born = await store.incarnation()
        old = await store.commit(expect={}, put={"a": b"1"})
        snapshot = tmp_path / "snapshot.db"
        await process.run(
            [str(etcd.binary("etcdctl")), f"--endpoints={member.endpoint}", "snapshot", "save", str(snapshot)]
        )
        for n in range(5):
            await write(store, n)
        watcher = Watcher(store, "n/", after=await store.revision())
        if not looks_on:
            await watcher.end()
            await store.close()
        await member.kill()
        shutil.rmtree(member.folder / "data")
        await process.run([str(etcd.binary("etcdutl")), "snapshot", "restore", str(snapshot), *_restored_as(member)])
        await member.start()
        await leader(members)
        if not looks_on:
            store = EtcdStore(where, patience=QUICK, witness=note)
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            async with asyncio.timeout(20):
                await (watcher.task if looks_on else store.revision())
        now = await store.incarnation()
        assert now.split(".")[0] == born.split(".")[0]  # etcd's own identity says nothing
        await is_another_life(store, opened(members, namespace=where.namespace), born=born, old=old)
        await store.close()


def _restored_as(member: etcd.Member) -> list[str]:
    own, (host, port) = member.region, member.peers[member.region]
    peer = f"http://{host}:{port}"
    return [
        f"--name={own}",
        f"--data-dir={member.folder / 'data'}",
        f"--initial-cluster={own}={peer}",
        f"--initial-advertise-peer-urls={peer}",
    ]


async def test_a_store_of_another_life_takes_no_commit_of_this_one(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members, opened(members) as store:
        at = await store.commit(expect={}, put={"a": b"1"})
        async with opened(members, namespace=store.members.address.namespace) as other:
            old = await other.incarnation()
            other._begin_anew(None)  # as when it notices a restore
            new = await other.incarnation()
            assert new != old
        watcher = Watcher(store, "", after=at)
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await store.commit(expect={"a": at}, put={"a": b"2"})
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await watcher.task
        assert await store.incarnation() == new
        record = await store.get("a")
        assert record is not None
        assert record.value == b"1"
        await store.commit(expect={"a": at}, put={"a": b"2"})


async def test_users_sign_in_again_by_themselves_and_wrong_passwords_are_said_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1, flags=("--auth-token-ttl=1",)) as members:
        member = members["region-1"]
        await _with_users(member)
        word, wrong = tmp_path / "word", tmp_path / "wrong"
        word.write_text("right-secret\n")
        wrong.write_text("wrong-secret")
        where = replace(address(members, namespace="evac/shop"), user="evac", password_file=word)
        store = EtcdStore(where, patience=QUICK)
        first = await store.commit(expect={}, put={"a": b"1"})
        watcher = Watcher(store, "", after=first)
        await member.kill()  # it forgets its tokens
        await member.start()
        await leader(members)
        await store.commit(expect={"a": first}, put={"a": b"2"})
        await watcher.until(1)
        await asyncio.sleep(2.5)  # and they run out
        await store.commit(expect={}, put={"a": b"3"})
        await watcher.until(2)
        looked = await upkeep.forget(store, await upkeep.forget(store, None))
        assert (await upkeep.forget(store, looked)).version > looked.version
        await watcher.end()
        await store.close()
        for broken, why in (
            (replace(where, password_file=wrong), "look at the user in the store's URL and at the password file"),
            (replace(where, password_file=tmp_path / "none"), "no password: .*none: No such file"),
            (replace(where, user=None, password_file=None), "it asks for a user"),
            (replace(where, namespace="elsewhere"), "grant the user's role readwrite"),
        ):
            store = EtcdStore(broken, patience=QUICK)
            with pytest.raises(StoreUnavailable, match=why) as refused:
                await store.commit(expect={}, put={"a": b""})
            assert "secret" not in str(refused.value)
            await store.close()


async def _with_users(member: etcd.Member) -> None:
    """Turn authentication on: root, and a user evac that may use the namespace evac/shop."""
    for words in (
        "user add root:root-secret",
        "user grant-role root root",
        "role add evac",
        "role grant-permission evac readwrite --prefix=true evac/shop/",
        "user add evac:right-secret",
        "user grant-role evac evac",
        "auth enable",
    ):
        await process.run([str(etcd.binary("etcdctl")), f"--endpoints={member.endpoint}", *words.split()])


async def test_tls_trusts_its_own_authority_only_and_shows_a_certificate(tmp_path: Path) -> None:
    authority = Authority.found(tmp_path / "ca")
    shown, client = authority.sign("etcd", address="127.0.0.1"), authority.sign("evac", address="127.0.0.1")
    stranger = Authority.found(tmp_path / "stranger").sign("evac", address="127.0.0.1")
    expired = authority.sign("expired", address="127.0.0.1", valid=timedelta(minutes=-5))
    members = etcd.laid_out(tmp_path, regions=["region-1"], certificate=shown)
    async with etcd.running(members):
        plain = address(members)
        right = replace(plain, tls=Tls(ca=client.ca, certificate=client.file, key=client.key))
        store = EtcdStore(right)
        revision = await store.commit(expect={}, put={"a": b"1"})
        watcher = Watcher(store, "", after=revision)
        await store.commit(expect={}, put={"b": b"1"})
        await watcher.until(1)
        await watcher.end()
        await store.close()
        hasty = replace(QUICK, whole=timedelta(seconds=1))
        for tls, why in (
            (Tls(ca=stranger.ca, certificate=client.file, key=client.key), "CERTIFICATE_VERIFY_FAILED"),
            (Tls(ca=client.ca, certificate=stranger.file, key=stranger.key), "refuses .*look at cert and key"),
            (Tls(ca=client.ca, certificate=expired.file, key=expired.key), "refuses .*expired"),
            (Tls(ca=client.ca), "refuses .*whether they are named"),
        ):
            store = EtcdStore(replace(plain, tls=tls), patience=hasty)
            with pytest.raises(StoreUnavailable, match=why):
                await store.revision()
            await store.close()
        store = EtcdStore(plain, patience=hasty)
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await store.revision()
        await store.close()
        for tls, file in ((Tls(ca=tmp_path / "none"), "none"), (Tls(ca=client.key), "evac.key")):
            with pytest.raises(StoreUnavailable, match=f"{file}: .*look at ca, cert and key"):
                EtcdStore(replace(plain, tls=tls))


async def test_a_certificate_that_is_renewed_on_disk_is_shown_by_the_next_connection(tmp_path: Path) -> None:
    authority = Authority.found(tmp_path / "ca")
    shown, client = authority.sign("etcd", address="127.0.0.1"), authority.sign("evac", address="127.0.0.1")
    expired = authority.sign("expired", address="127.0.0.1", valid=timedelta(minutes=-5))
    for old, named in ((expired.file, "shown.pem"), (expired.key, "shown.key")):
        shutil.copy(old, tmp_path / named)
    members = etcd.laid_out(tmp_path, regions=["region-1"], certificate=shown)
    async with etcd.running(members):
        tls = Tls(ca=client.ca, certificate=tmp_path / "shown.pem", key=tmp_path / "shown.key")
        store = EtcdStore(replace(address(members), tls=tls), patience=QUICK)
        with pytest.raises(StoreUnavailable, match="refuses .*expired"):
            await store.revision()
        for new, named in ((client.file, "shown.pem"), (client.key, "shown.key")):
            shutil.copy(new, tmp_path / named)
        await store.commit(expect={}, put={"a": b"1"})
        await store.close()


async def test_what_is_too_large_is_refused_with_what_to_do_and_nothing_is_written(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1, flags=("--max-txn-ops=60",)) as members, opened(members) as store:
        with pytest.raises(StoreUnavailable, match=r"--max-txn-ops \(a commit of 100 writes"):
            await store.commit(expect={}, put={f"k/{n}": b"" for n in range(100)})
        with pytest.raises(StoreUnavailable, match="--max-request-bytes"):
            await store.commit(expect={}, put={f"k/{n}": bytes(1024 * 1024) for n in range(3)})
        assert await store.list("k/") == ()
        await store.commit(expect={}, put={f"k/{n}": bytes(10) for n in range(50)})
        await store.commit(expect={}, put={"k/large": bytes(1024 * 1024)})
        assert len(await store.list("k/")) == 51


async def test_a_full_database_says_so_and_can_still_be_read(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1, flags=("--quota-backend-bytes=1500000",)) as members, opened(members) as store:
        await store.commit(expect={}, put={"a": b"1"})
        with pytest.raises(StoreUnavailable, match="its database is full.*alarm disarm"):
            for n in range(10):
                await store.commit(expect={}, put={f"k/{n}": bytes(500_000)})
        assert await store.get("a") is not None


async def test_long_lists_are_read_whole(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members, opened(members) as store:
        numbers = range(2 * PAGE + 1)
        for at in range(0, len(numbers), 100):
            await store.commit(expect={}, put={f"k/{n:04d}": str(n).encode() for n in numbers[at : at + 100]})
        assert [record.value for record in await store.list("k/")] == [str(n).encode() for n in numbers]


async def test_nothing_of_it_runs_on_when_it_is_closed(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members:
        before = asyncio.all_tasks()
        async with opened(members) as store:
            watchers = [Watcher(store, prefix, after=0) for prefix in ("a", "b")]
            await store.commit(expect={}, put={"a": b""})
            await watchers[0].until(1)
        for watcher in watchers:
            with pytest.raises(StoreUnavailable, match="closed"):
                await watcher.task
        assert asyncio.all_tasks() == before
        async with opened(members, namespace=store.members.address.namespace) as again:
            assert await again.read_all(f"{again.own}slots/") == ()


async def test_what_nobody_reads_any_more_is_ended(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1) as members:
        store = EtcdStore(address(members), patience=replace(QUICK, linger=timedelta(milliseconds=500)))
        watcher = Watcher(store, "", after=0)
        await store.commit(expect={}, put={"a": b""})
        await watcher.until(1)
        await watcher.end()
        async with asyncio.timeout(20):
            while store._streams or not all(keeper.done() for keeper in store._keepers):
                await asyncio.sleep(0.05)
        await store.close()


async def test_a_cluster_that_is_not_there_is_unavailable_within_the_bound() -> None:
    port = process.free_ports(1)[0]
    nowhere = EtcdAddress(endpoints=(f"127.0.0.1:{port}",), namespace="evac")
    store = EtcdStore(nowhere, patience=replace(QUICK, whole=timedelta(seconds=1)))
    began = BootClock().now()
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} cannot be reached"):
        await store.get("a")
    assert BootClock().now() - began < timedelta(seconds=20)
    await store.close()
