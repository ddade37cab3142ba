"""A large snapshot is written in parts: only those that changed, in commits of a bounded size, read as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.core.decision import Hold
from evac.core.detector import fold
from evac.core.estate import GroupId, RegionId
from evac.core.news import silent
from evac.core.observation import MemberSeen
from evac.core.sharing import divide
from evac.core.snapshot import REFRESHED_AFTER, Part, Snapshot
from evac.engine.codec import encode, encode_plain, to_plain
from evac.engine.controller import Controller
from evac.engine.parts import (
    BATCH_BYTES_MAX,
    LOOKED_AT_WITHIN,
    PARTS_AT_ONCE,
    PREFIX,
    Parts,
    in_batches,
    key_of,
    left_over,
)
from evac.engine.snapshots import EVERY, KEY, publish, read_snapshot, take
from evac.lab.bench.large import estate_of, everything, placements_of
from evac.ports import VALUE_BYTES_MAX
from evac.stores.memory import MemoryStore

ESTATE = estate_of(3, 300)
"""30 groups in a few shares."""
SHARES = divide(ESTATE)
START, WALL = timedelta(hours=1), datetime(2026, 11, 23, tzinfo=UTC)
SICK = GroupId("group-0000")
ALL = 10**9
"""Room for all there is."""


class Seconds:
    """A clock that goes on only by sleeping. In each sleep the next part of a story happens; then it ends."""

    def __init__(self, story: Iterator[None] | None = None) -> None:
        self.at = START
        self.story = story or iter(())

    def now(self) -> timedelta:
        return self.at

    def wall(self) -> datetime:
        return WALL + self.at

    async def sleep(self, duration: timedelta) -> None:
        assert duration == EVERY
        self.at += duration
        if next(self.story, self) is self:
            raise asyncio.CancelledError


class Noting(MemoryStore):
    """A store that notes which keys each commit wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[str]] = []

    async def commit(self, **what: object) -> int:
        put = what["put"]
        assert isinstance(put, dict)
        self.written.append(list(put))
        assert sum(map(len, put.values())) <= BATCH_BYTES_MAX
        return await super().commit(**what)  # type: ignore[arg-type]


def watching(clock: Seconds, store: MemoryStore) -> Controller:
    """A controller that has seen all well, and decided so."""
    controller = Controller(estate=ESTATE, store=store, clock=clock, announce=silent, name="a")
    controller.known.placements = placements_of(ESTATE)
    controller.known.decisions = {g: Hold(group=g, reasons=("all is well",)) for g in ESTATE.home}
    controller.known.detector = fold(controller.known.detector, *everything(ESTATE, START))
    return controller


async def told(controller: Controller, clock: Seconds, store: MemoryStore) -> Snapshot:
    """What is read after snapshots were written for as long as the clock's story goes on."""
    await asyncio.wait({asyncio.create_task(publish(controller, store=store, clock=clock))})
    snapshot = await read_snapshot(store)
    assert snapshot is not None
    return snapshot


def seconds(count: int) -> Iterator[None]:
    return iter([None] * count)


async def test_all_of_it_is_read_as_it_is_known() -> None:
    clock, store = Seconds(seconds(1)), Noting()
    controller = watching(clock, store)
    snapshot = await told(controller, clock, store)
    assert (snapshot.parts, snapshot.missing) == (len(SHARES), 0)
    there = controller.known.detector.members.values()
    assert sorted(repr(replace(m, at=START)) for m in snapshot.members) == sorted(
        repr(replace(m, at=START)) for m in there
    )
    assert {snapshot.at - m.at for m in snapshot.members} == {timedelta()}, "all of it was seen as it was written"
    assert snapshot.placements == tuple(controller.known.placements.values())
    assert snapshot.decisions == tuple(controller.known.decisions.values())
    assert len(snapshot.health) == 900
    assert len(snapshot.sets) == 300


async def test_what_has_not_changed_is_not_written_again() -> None:
    clock, store = Seconds(seconds(2 * LOOKED_AT_WITHIN)), Noting()
    await told(watching(clock, store), clock, store)
    assert len(store.written[0]) == 1 + len(SHARES)
    assert set(map(tuple, store.written[1:])) == {(KEY,)}


async def test_a_decision_is_told_at_once_and_with_nothing_else() -> None:
    clock, store = Seconds(), Noting()
    controller = watching(clock, store)

    def story() -> Iterator[None]:
        yield
        controller.known.decisions[SICK] = Hold(group=SICK, reasons=("it is down",))
        yield

    clock.story = story()
    snapshot = await told(controller, clock, store)
    assert store.written[2] == [KEY, key_of(0)]
    assert next(d.reasons for d in snapshot.decisions if d.group == SICK) == ("it is down",)


async def test_what_a_member_says_is_told_soon() -> None:
    clock, store = Seconds(), Noting()
    controller = watching(clock, store)
    last = SHARES[-1].components[0]

    def story() -> Iterator[None]:
        yield
        silenced = MemberSeen(
            at=clock.at, component=last, region=RegionId("region-1"), state=None, reason="no answer in 2 s"
        )
        controller.known.detector = fold(controller.known.detector, silenced)
        yield from seconds(LOOKED_AT_WITHIN)

    clock.story = story()
    snapshot = await told(controller, clock, store)
    assert [written for written in store.written[1:] if len(written) > 1] == [[KEY, key_of(len(SHARES) - 1)]]
    assert any(m.component == last and m.state is None for m in snapshot.members)


def test_a_part_in_which_nothing_changes_is_written_again_now_and_then() -> None:
    clock = Seconds()
    controller = watching(clock, MemoryStore())
    parts = Parts.of(controller, SHARES)
    assert len(parts.due(controller.assess(), wall=WALL, room=ALL)) == len(SHARES)
    assert parts.due(controller.assess(), wall=WALL, room=ALL) == {}
    clock.at += REFRESHED_AFTER
    controller.known.detector = fold(controller.known.detector, *everything(ESTATE, clock.at))
    again: set[str] = set()
    for _ in range(LOOKED_AT_WITHIN):
        again |= set(parts.due(controller.assess(), wall=WALL, room=ALL))
    assert again == {key_of(number) for number in range(len(SHARES))}


def test_a_commit_takes_as_many_as_have_room_and_the_rest_follows() -> None:
    controller = watching(Seconds(), MemoryStore())
    parts = Parts.of(controller, SHARES)
    some = [list(parts.due(controller.assess(), wall=WALL, room=1)) for _ in SHARES]
    assert some == [[key_of(number)] for number in range(len(SHARES))]
    many = replace(SHARES[0], groups=(), services=(), components=())
    crowd = Parts.of(controller, [many] * (PARTS_AT_ONCE + 1))
    assert [len(crowd.due(controller.assess(), wall=WALL, room=ALL)) for _ in range(2)] == [PARTS_AT_ONCE, 1]


def test_what_is_put_goes_in_commits_of_a_bounded_size_in_its_order() -> None:
    third = bytes(BATCH_BYTES_MAX // 3)
    put = {"a": third, "b": third, "c": third, "d": bytes(VALUE_BYTES_MAX), "e": b""}
    assert [list(batch) for batch in in_batches(put)] == [["a", "b", "c"], ["d"], ["e"]]
    assert list(in_batches({})) == []


async def test_parts_of_another_division_are_not_read_and_are_taken_away() -> None:
    clock, store = Seconds(seconds(1)), Noting()
    controller = watching(clock, store)
    before = await told(controller, clock, store)
    strange = replace(before, parts=len(SHARES) + 2, members=(), placements=(), decisions=(), health=(), sets=())
    old = await store.get(key_of(0))
    assert old is not None
    put = {key_of(len(SHARES) + n): encode(replace(_part(controller), layout="of long ago")) for n in range(2)}
    await store.commit(expect={}, put={KEY: encode(strange), **put})
    mixed = await read_snapshot(store)
    assert mixed is not None
    assert (mixed.missing, len(mixed.placements)) == (2, len(before.placements))
    clock.story = seconds(1)
    await told(controller, clock, store)
    assert len(await store.list(PREFIX)) == len(SHARES)


def _part(controller: Controller) -> Part:
    return Parts.of(controller, SHARES).part(SHARES[0], controller.assess(), wall=WALL)


async def test_a_head_that_cannot_be_read_keeps_nobody_from_writing() -> None:
    clock, store = Seconds(seconds(1)), Noting()
    await store.commit(expect={}, put={KEY: b'{"of": "another evac"}'})
    assert (await told(watching(clock, store), clock, store)).missing == 0


async def test_a_part_that_cannot_be_read_is_missing_and_hides_nothing_else() -> None:
    clock, store = Seconds(seconds(1)), Noting()
    await told(watching(clock, store), clock, store)
    await store.commit(expect={}, put={key_of(1): b"xdamaged"})
    found = await read_snapshot(store)
    assert found is not None
    assert found.missing == 1
    assert found.members


async def test_what_an_older_evac_wrote_whole_is_read_as_it_is() -> None:
    clock, store = Seconds(), MemoryStore()
    whole = take(watching(clock, store), clock=clock)
    plain = {k: v for k, v in to_plain(whole).items() if k not in {"layout", "parts", "missing", "oldest"}}
    await store.commit(expect={}, put={KEY: encode_plain(plain)})
    assert await read_snapshot(store) == whole
    assert len(whole.members) == len(whole.health) == 900


async def test_nothing_is_read_where_nothing_was_written() -> None:
    assert await read_snapshot(MemoryStore()) is None


def test_a_division_into_fewer_parts_leaves_keys_over() -> None:
    there = [key_of(number) for number in range(5)]
    assert left_over(there, parts=3) == (key_of(3), key_of(4))
    assert left_over(there, parts=9) == ()
