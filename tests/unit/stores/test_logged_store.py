"""A store on a log, when its ground loses answers, is late, is restored, or is read by many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import VALUE_BYTES_MAX, Change, Record
from evac.stores.logged import LoggedStore, Patience
from evac.stores.logged.ground import PART_BYTES_MAX, Entry, Place
from evac.stores.logged.snapshots import FOLDER, NEWEST
from evac.stores.logged.store import COMMIT_BYTES_MAX, OWN, RESTORED_BY_HAND, SEGMENT_ENTRIES
from evac.stores.logged.upkeep import HISTORY, Upkeep, size
from fakes.grounds import MemoryGround, Mishap

QUICK = Patience(pause_min=timedelta(0), pause_max=timedelta(milliseconds=1))
START = timedelta()


@asynccontextmanager
async def stores(count: int, ground: MemoryGround | None = None) -> AsyncIterator[list[LoggedStore]]:
    """Open so many stores on one ground, each as another process would."""
    first = ground or MemoryGround()
    opened = [LoggedStore(first if n == 0 else first.beside(), patience=QUICK) for n in range(count)]
    try:
        yield opened
    finally:
        for store in opened:
            await store.close()


def ground_of(store: LoggedStore) -> MemoryGround:
    assert isinstance(store.ground, MemoryGround)
    return store.ground


async def values(store: LoggedStore, prefix: str = "") -> dict[str, bytes]:
    return {record.key: record.value for record in await store.list(prefix)}


async def take(store: LoggedStore, prefix: str, *, after: int, count: int) -> list[Change]:
    changes = []
    async with asyncio.timeout(20), aclosing(store.watch(prefix, after=after)) as watch:
        async for change in watch:
            changes.append(change)
            if len(changes) == count:
                break
    return changes


async def test_what_one_writes_all_read_and_watch() -> None:
    async with stores(3) as (one, two, three):
        start = await two.revision()
        watching = asyncio.create_task(take(two, "", after=start, count=3))
        first = await one.commit(expect={"a": 0}, put={"a": b"1", "b": b"1"})
        second = await three.commit(expect={"a": first}, put={"a": b"2"})
        assert [(c.key, c.revision) for c in await watching] == [("a", first), ("b", first), ("a", second)]
        with pytest.raises(Conflict, match=f"a is at version {second}, {first} was expected"):
            await two.commit(expect={"a": first}, put={"a": b"3"})
        assert await one.incarnation() == await two.incarnation() == await three.incarnation() != ""


async def test_a_conflict_that_is_known_is_not_written_down() -> None:
    async with stores(1) as (store,):
        await store.commit(expect={}, put={"a": b"1"})
        entries = store.replica.count
        with pytest.raises(Conflict):
            await store.commit(expect={"a": 0}, put={"a": b"2"})
        assert store.replica.count == entries


async def test_a_member_that_is_behind_hides_no_end_of_a_commit() -> None:
    async with stores(1) as (store,):
        ground_of(store).behind = 1
        revision = await store.commit(expect={}, put={"a": b"1"})
        assert await store.commit(expect={"a": revision}, put={"a": b"2"}) > revision


async def test_a_commit_without_an_answer_is_unavailable_and_decided_by_the_next_one() -> None:
    async with stores(2) as (one, other):
        await one.commit(expect={}, put={"a": b"0"})
        ground = ground_of(one)
        for mishap, held in ((Mishap.NEVER, b"0"), (Mishap.LATE, b"0"), (Mishap.UNANSWERED, b"1")):
            ground.mishaps = [mishap]
            with pytest.raises(StoreUnavailable):
                await one.commit(expect={}, put={"a": b"1"})
            await one.commit(expect={}, put={f"next/{mishap.name}": b""})
            ground.release()
            assert (await values(other, "a"))["a"] == held


async def test_what_is_late_and_was_not_followed_may_still_happen_and_then_for_all() -> None:
    async with stores(2) as (one, other):
        await one.commit(expect={}, put={"a": b"0"})
        ground_of(one).mishaps = [Mishap.LATE]
        with pytest.raises(StoreUnavailable):
            await one.commit(expect={}, put={"a": b"late"})
        ground_of(one).release()
        assert await values(one) == await values(other) == {"a": b"late"}


async def test_segments_follow_one_another_and_are_forgotten_behind_a_snapshot() -> None:
    async with stores(2) as (one, slow):
        start = await slow.revision()
        upkeep = Upkeep(store=one, entries_max=SEGMENT_ENTRIES)
        await one.commit(expect={}, put={"first": b"kept"})
        await slow.catch_up()
        for n in range(2 * SEGMENT_ENTRIES):
            await one.commit(expect={}, put={f"n/{n % 5}": str(n).encode()})
        ground = ground_of(one)
        assert ground.kept.newest == 3
        await upkeep.look(START)  # writes it
        assert NEWEST in await ground.names(FOLDER)
        await upkeep.look(START + timedelta(seconds=1))  # knows it
        await upkeep.look(START + timedelta(seconds=1) + HISTORY)
        assert {segment for segment, _, _ in ground.kept.log} <= {2, 3}
        late = LoggedStore(ground.beside(), patience=QUICK)
        assert await values(late) == await values(one) == await values(slow)
        with pytest.raises(StoreUnavailable, match="no longer kept"):
            await take(late, "", after=start, count=1)
        with pytest.raises(StoreUnavailable, match="no longer kept"):
            await take(slow, "", after=start, count=1)
        assert await late.incarnation() == await one.incarnation() == await slow.incarnation()
        await late.commit(expect={}, put={"n/1": b"last"})
        assert await values(one) == await values(slow)
        await late.close()


async def test_of_two_snapshots_one_counts_and_what_is_left_of_the_other_goes() -> None:
    async with stores(2) as (one, other):
        looks = [Upkeep(store=store, entries_max=3, bytes_max=10**9) for store in (one, other)]
        for n in range(5):
            await one.commit(expect={}, put={"a": str(n).encode()})
        await asyncio.gather(*[look.look(START) for look in looks])
        names = set(await ground_of(one).names(FOLDER))
        assert len(names) == 3, "the record of the newest, and the parts of two"
        for minutes in (1, 3):
            await looks[0].look(START + timedelta(minutes=minutes))
        assert len(set(await ground_of(one).names(FOLDER))) == 2
        late = LoggedStore(ground_of(one).beside())
        assert await values(late) == await values(one)
        await late.close()


async def test_bytes_too_bring_a_snapshot_and_the_size_is_told() -> None:
    async with stores(1) as (store,):
        upkeep = Upkeep(store=store, bytes_max=10_000)
        await store.commit(expect={}, put={"a": bytes(range(256)) * 40})
        await upkeep.look(START)
        assert await ground_of(store).names(FOLDER) == []
        noise = b"".join(str(n * 7919).encode() for n in range(10_000))
        await store.commit(expect={}, put={"a": noise})
        await upkeep.look(START)
        now = await size(store)
        assert (now.keys, now.entries, now.answered, now.members) == (1, 0, 1, 1)
        assert now.state_bytes == len(noise) + 1


async def test_what_is_large_lies_in_parts_and_is_read_whole_or_not_at_all() -> None:
    large = b"".join((n * 7919).to_bytes(4, "big") for n in range(VALUE_BYTES_MAX // 4))
    async with stores(2) as (one, other):
        await one.commit(expect={}, put={"large": large, "small": b"x"})
        ground = ground_of(one)
        parts = [kept for (folder, _), kept in ground.kept.shelf.items() if folder.startswith("parts-")]
        assert len(parts) > 1
        assert max(len(part.content) for part in parts) == PART_BYTES_MAX
        assert (await values(other))["large"] == large
        name = next(name for folder, name in ground.kept.shelf if folder.startswith("parts-"))
        await ground.delete("parts-1", [name])
        third = LoggedStore(ground.beside())
        with pytest.raises(StoreUnavailable, match="not there to be read"):
            await third.get("small")
        await third.close()
        with pytest.raises(StoreUnavailable, match=f"takes {COMMIT_BYTES_MAX}"):
            noise = bytes(large[::-1]) + large
            await one.commit(expect={}, put={f"n/{n}": noise[n:][:VALUE_BYTES_MAX] for n in range(40)})


@pytest.mark.parametrize("with_its_numbers", [True, False])
async def test_a_ground_that_was_restored_is_another_life_for_all(with_its_numbers: bool) -> None:
    async with stores(2) as (one, other):
        old = await one.commit(expect={}, put={"a": b"1"})
        born = await one.incarnation()
        backup = ground_of(one).backup()
        lost = await one.commit(expect={}, put={"a": b"2"})
        await other.catch_up()
        watching = asyncio.create_task(take(one, "", after=lost, count=1))
        await asyncio.sleep(0.02)
        ground_of(one).restore(backup, with_its_numbers=with_its_numbers)
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await one.get("a")
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await watching
        now = await one.incarnation()
        assert now != born
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await other.commit(expect={"a": lost}, put={"a": b"3"})
        assert await other.incarnation() == now
        third = LoggedStore(ground_of(one).beside())
        assert await third.incarnation() == now
        await third.close()
        record = await other.get("a")
        assert record is not None
        assert (record.value, record.version) == (b"1", old)
        await other.commit(expect={"a": old}, put={"a": b"3"})


async def test_a_commit_of_the_old_life_does_not_happen_in_the_new_one_though_its_expectation_holds() -> None:
    async with stores(2) as (one, blind):
        await one.commit(expect={}, put={"a": b"1"})
        backup = ground_of(one).backup()
        await blind.commit(expect={}, put={"b": b"2"})
        ground_of(blind).mishaps = [Mishap.LATE]
        with pytest.raises(StoreUnavailable):
            await blind.commit(expect={}, put={"a": b"of the old life"})
        ground_of(one).restore(backup, with_its_numbers=True)
        ground_of(blind).release()  # nobody has noticed yet
        fresh = LoggedStore(ground_of(one).beside())
        assert await values(fresh) == {"a": b"1"}
        await fresh.close()


async def test_a_note_of_an_earlier_process_tells_of_a_restore_between_the_two(tmp_path: Path) -> None:
    note = tmp_path / "seen.json"
    ground = MemoryGround()
    first = LoggedStore(ground, witness=note)
    await first.commit(expect={}, put={"a": b"1"})
    backup, born = ground.backup(), await first.incarnation()
    await first.commit(expect={}, put={"a": b"2"})
    await first.close()
    same = LoggedStore(ground.beside(), witness=note)
    assert await same.incarnation() == born
    await same.close()
    ground.restore(backup, with_its_numbers=True)
    other = LoggedStore(ground.beside())  # writes over what was lost, as far as it had been
    for _ in range(3):
        await other.commit(expect={}, put={"a": b"3"})
    assert await other.incarnation() == born
    again = LoggedStore(ground.beside(), witness=note)
    with pytest.raises(StoreUnavailable, match="restored from a backup"):
        await again.revision()
    assert await again.incarnation() != born
    await again.close()
    assert await other.incarnation() != born
    await other.close()
    note.write_text("no note")
    without = LoggedStore(ground.beside(), witness=note)
    assert await values(without) == {"a": b"3"}
    await without.close()


async def test_whoever_restores_a_ground_can_say_so() -> None:
    async with stores(1) as (store,):
        await store.commit(expect={}, put={"a": b"1"})
        born, ground = await store.incarnation(), ground_of(store)
        await ground.put(OWN, RESTORED_BY_HAND, b"")
        late = LoggedStore(ground.beside())
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await late.get("a")
        assert await late.incarnation() not in ("", born)
        assert await ground.names(OWN) == []
        again = LoggedStore(ground.beside())
        assert await again.incarnation() == await late.incarnation()
        assert await values(again) == {"a": b"1"}
        for each in (late, again):
            await each.close()


async def test_a_store_that_was_emptied_is_another_life() -> None:
    async with stores(1) as (store,):
        empty = ground_of(store).backup()
        await store.commit(expect={}, put={"a": b"1"})
        born = await store.incarnation()
        ground_of(store).restore(empty, with_its_numbers=False)
        with pytest.raises(StoreUnavailable, match="restored from a backup"):
            await store.get("a")
        assert await store.incarnation() not in ("", born)
        assert await values(store) == {}


async def test_what_stands_on_the_shelf_and_is_not_evacs_is_refused_with_its_name() -> None:
    for content, why in (
        (b"no record", "is not evac's"),
        (b'{"count":1,"segment":1,"written":"wx"}', "cannot be read"),
    ):
        ground = MemoryGround()
        await ground.put(FOLDER, NEWEST, content)
        store = LoggedStore(ground)
        with pytest.raises(StoreUnavailable, match=why):
            await store.revision()
        await store.close()


STEPS = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["add", "blind", "snapshot", "seal", "release"]),
    st.sampled_from([None, None, *Mishap]),
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_goes_wrong_no_add_is_lost_or_doubled_and_all_see_the_same(
    steps: list[tuple[int, str, Mishap | None]],
) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[int, str, Mishap | None]]) -> None:
    """Count in one record by compare-and-set, and blindly in others, through three stores and every mishap."""
    done = unknown = 0
    async with stores(3) as opened:
        start = await opened[0].revision()
        watching = asyncio.create_task(watched(opened[0], after=start))
        ways = [Upkeep(store=store, entries_max=2) for store in opened]
        for number, (who, what, mishap) in enumerate(steps):
            store, ground = opened[who], ground_of(opened[who])
            ground.mishaps = [mishap] if mishap else []
            try:
                if what == "add":
                    record = await store.get("n")
                    count, version = (int(record.value), record.version) if record else (0, 0)
                    await store.commit(expect={"n": version}, put={"n": str(count + 1).encode()})
                    done += 1
                elif what == "blind":
                    await store.commit(expect={}, put={"blind": str(number).encode()})
                elif what == "snapshot":
                    await ways[who].look(START + timedelta(minutes=number))
                elif what == "seal":
                    await ground.seal(ground.kept.newest)
                else:
                    ground.release()
            except StoreUnavailable:
                unknown += what == "add"
            await opened[0].catch_up()  # who watches is given the time to
        for store in opened:
            ground_of(store).mishaps = []
            ground_of(store).release()
        found = [await values(store) for store in opened]
        assert found[0] == found[1] == found[2]
        assert done <= int(found[0].get("n", b"0")) <= done + unknown
        await opened[0].commit(expect={}, put={"end": b""})
        seen = await watching
        counted = [int(c.record.value) for c in seen if c.key == "n" and c.record]
        assert counted == list(range(1, len(counted) + 1))
        blind = [c.record.value for c in seen if c.key == "blind" and c.record]
        assert len(blind) == len(set(blind)), "a commit happened twice"
        assert [c.revision for c in seen] == sorted({c.revision for c in seen})
        late = LoggedStore(ground_of(opened[0]).beside())
        assert await values(late) == await values(opened[0])
        await late.close()


async def watched(store: LoggedStore, *, after: int) -> list[Change]:
    """Return all changes until the last one."""
    seen = []
    async with asyncio.timeout(20), aclosing(store.watch("", after=after)) as changes:
        async for change in changes:
            seen.append(change)
            if change.key == "end":
                break
    return seen


class Breaking(MemoryGround):
    """Breaks in ways that no ground should, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = asyncio.Event()
        self.reads: list[asyncio.Event | StoreUnavailable] = []
        """What the next reads wait for when they have read, or fail with."""

    async def wait(self, after: Place) -> None:
        await self.broken.wait()
        raise RuntimeError("a mistake in a ground")

    async def read(self, after: Place, *, fresh: bool) -> Sequence[Entry]:
        found, what = await super().read(after, fresh=fresh), self.reads.pop(0) if self.reads else None
        match what:
            case None:
                return found
            case StoreUnavailable():
                raise what
            case asyncio.Event():
                await what.wait()
                return found


async def test_a_mistake_in_a_ground_ends_watches_loudly_and_the_next_one_goes_on() -> None:
    ground = Breaking()
    async with stores(1, ground) as (store,):
        start = await store.revision()
        watching = asyncio.create_task(take(store, "", after=start, count=1))
        await asyncio.sleep(0.01)
        ground.broken.set()
        with pytest.raises(StoreUnavailable, match="not followed any more: RuntimeError"):
            await watching
        ground.broken.clear()
        again = asyncio.create_task(take(store, "", after=await store.revision(), count=1))
        await asyncio.sleep(0)
        await store.commit(expect={}, put={"a": b""})
        assert [change.key for change in await again] == ["a"]


async def test_a_read_that_failed_stands_for_no_other() -> None:
    ground = Breaking()
    async with stores(1, ground) as (store,):
        await store.commit(expect={}, put={"a": b"1"})
        other = LoggedStore(ground.beside())
        slow = asyncio.Event()
        ground.reads = [slow, StoreUnavailable("no answer")]
        first = asyncio.create_task(store.get("a"))
        await asyncio.sleep(0.01)
        await other.commit(expect={}, put={"a": b"2"})
        failing, late = asyncio.create_task(store.get("a")), asyncio.create_task(store.get("a"))
        await asyncio.sleep(0)
        slow.set()
        old, failed, new = await asyncio.gather(first, failing, late, return_exceptions=True)
        assert isinstance(failed, StoreUnavailable)
        assert isinstance(old, Record)
        assert isinstance(new, Record)
        assert (old.value, new.value) == (b"1", b"2")
        await other.close()
