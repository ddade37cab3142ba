"""Who leads: one at a time, the next one soon after, whatever becomes of the store's answers. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from evac.core.errors import Conflict, StoreUnavailable
from evac.core.estate import RegionId
from evac.core.lease import Leader
from evac.core.observation import Instant
from evac.engine.election import KEY, LEADING, Candidate, leader
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.lines import CLOCK, Line

SOON = LEADING.wait + 2 * LEADING.renew
"""Within so long of a leader's end there is another one."""


@dataclass(slots=True)
class Reigns:
    """Who led when: (name, from, to)."""

    told: list[tuple[str, Instant, Instant]] = field(default_factory=list)
    now: set[str] = field(default_factory=set)

    async def lead(self, mine: Leader) -> None:
        began = CLOCK.now()
        assert not self.now, "two lead at once"
        self.now.add(mine.name)
        try:
            await asyncio.Event().wait()
        finally:
            self.now.remove(mine.name)
            self.told.append((mine.name, began, CLOCK.now()))


def candidate(name: str, line: Line, *, favoured: bool = True) -> Candidate:
    async def never() -> bool:
        return False

    return Candidate(
        name=name,
        region=RegionId(name),
        store=line,
        clock=CLOCK,
        chance=random.Random(name),
        favoured=None if favoured else never,
    )


def test_one_leads_and_another_follows_soon_after_it_is_cut_off() -> None:
    async def tell() -> Reigns:
        store, reigns = MemoryStore(), Reigns()
        lines = {name: Line(store) for name in ("a", "b", "c")}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(candidate(n, line).stand(reigns.lead)) for n, line in lines.items()]
            await CLOCK.sleep(timedelta(seconds=60))
            (first,) = reigns.now
            recorded = await leader(store)
            assert recorded is not None
            assert (recorded.name, recorded.reign) == (first, 1)
            lines[first].cut = True
            cut_at = CLOCK.now()
            await CLOCK.sleep(SOON)
            (second,) = reigns.now
            assert second != first
            [(name, _, ended)] = reigns.told
            assert name == first
            assert ended - cut_at <= LEADING.hold
            lines[first].cut = False
            await CLOCK.sleep(timedelta(seconds=60))
            assert reigns.now == {second}
            for task in tasks:
                task.cancel()
        return reigns

    assert len(time.run(tell()).told) == 2


def test_the_wait_begins_when_the_last_renewal_is_heard_of_however_slowly_the_store_answers() -> None:
    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        lines = {name: Line(store) for name in ("a", "b")}
        async with asyncio.TaskGroup() as group:
            tasks = {n: group.create_task(candidate(n, line).stand(reigns.lead)) for n, line in lines.items()}
            await CLOCK.sleep(timedelta(seconds=10))
            (first,) = reigns.now
            [other] = lines.keys() - {first}
            lines[other].slow = timedelta(seconds=1.5)
            slow_at = CLOCK.now()
            await store.commit(expect={}, put={f"{KEY}s of other kinds": b""})
            while (renewed_at := lines[first].renewed_at) is None or renewed_at < slow_at:
                await CLOCK.sleep(timedelta(milliseconds=10))
            tasks[first].cancel()
            await CLOCK.sleep(timedelta(seconds=1.5))
            lines[other].slow = timedelta()
            await CLOCK.sleep(renewed_at + LEADING.wait + LEADING.renew - CLOCK.now())
            assert reigns.now == {other}
            tasks[other].cancel()

    time.run(tell())


def test_who_hears_of_no_renewal_reads_the_lease_before_it_takes_it() -> None:
    class Deaf(Line):
        async def revision(self) -> int:
            raise StoreUnavailable("nothing is heard")

    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        lines = {name: Deaf(store) for name in ("a", "b")}
        async with asyncio.TaskGroup() as group:
            tasks = {n: group.create_task(candidate(n, line).stand(reigns.lead)) for n, line in lines.items()}
            await CLOCK.sleep(timedelta(seconds=60))
            (first,) = reigns.now
            assert reigns.told == []
            tasks[first].cancel()
            await CLOCK.sleep(2 * SOON)
            assert reigns.now == lines.keys() - {first}
            for task in tasks.values():
                task.cancel()

    time.run(tell())


def test_a_lease_that_can_no_longer_be_followed_ends_the_candidate() -> None:
    class Broken(Line):
        async def revision(self) -> int:
            raise ValueError("no number")

    async def tell() -> None:
        with pytest.raises(ExceptionGroup) as ended:
            await candidate("a", Broken(MemoryStore())).stand(Reigns().lead)
        assert ended.group_contains(ValueError, match="no number")

    time.run(tell())


def test_who_begins_while_the_store_is_away_leads_when_it_is_there() -> None:
    async def tell() -> None:
        reigns, line = Reigns(), Line(MemoryStore(), cut=True)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            assert reigns.now == set()
            line.cut = False
            await CLOCK.sleep(LEADING.renew)
            assert reigns.now == {"a"}
            task.cancel()

    time.run(tell())


def test_a_renewal_whose_reply_was_lost_is_still_a_renewal() -> None:
    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        line = Line(store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            for _ in range(5):
                line.replies_lost = 1
                await CLOCK.sleep(timedelta(seconds=5))
            assert reigns.now == {"a"}
            assert reigns.told == []
            task.cancel()

    time.run(tell())


def test_renewals_whose_replies_are_all_lost_lengthen_no_reign() -> None:
    """That the lease was found renewed does not say when that was sent."""

    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        line = Line(store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            line.replies_lost, lost_at = 1000, CLOCK.now()
            await CLOCK.sleep(timedelta(seconds=20))
            [(_, _, ended)] = reigns.told
            assert ended - lost_at <= LEADING.hold
            task.cancel()

    time.run(tell())


def test_a_store_too_slow_to_renew_in_time_ends_a_reign() -> None:
    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        line = Line(store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            line.slow = timedelta(seconds=30)
            slow_at = CLOCK.now()
            await CLOCK.sleep(timedelta(seconds=5))
            [(_, _, ended)] = reigns.told
            assert ended - slow_at <= LEADING.hold
            task.cancel()

    time.run(tell())


def test_a_leader_that_laid_its_lease_down_takes_it_again_as_soon_as_it_reaches_the_store() -> None:
    async def tell() -> timedelta:
        store, reigns = MemoryStore(), Reigns()
        line = Line(store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            line.cut = True
            await CLOCK.sleep(LEADING.hold + LEADING.renew)
            assert reigns.now == set()
            line.cut = False
            mended_at = CLOCK.now()
            await CLOCK.sleep(SOON)
            task.cancel()
        recorded = await leader(store)
        assert recorded is not None
        assert recorded.reign == 2
        [_, (_, began, _)] = reigns.told
        return began - mended_at

    assert time.run(tell()) <= LEADING.renew


def test_who_cannot_lead_though_it_has_the_lease_lets_another_one_try() -> None:
    async def tell() -> None:
        async def fail(mine: Leader) -> None:
            await CLOCK.sleep(LEADING.renew / 7)
            raise StoreUnavailable("it can be written, and not be read")

        store, reigns = MemoryStore(), Reigns()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(candidate("a", Line(store)).stand(fail))]
            await CLOCK.sleep(LEADING.renew)
            tasks.append(group.create_task(candidate("b", Line(store)).stand(reigns.lead)))
            await CLOCK.sleep(4 * SOON)
            assert reigns.now == {"b"}
            for task in tasks:
                task.cancel()

    time.run(tell())


def test_a_lease_whose_first_commit_was_answered_late_is_renewed_in_time() -> None:
    async def tell() -> None:
        reigns, line = Reigns(), Line(MemoryStore(), slow=LEADING.hold * 0.9)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(LEADING.hold * 0.9 * 2)  # read, and taken
            line.slow = timedelta(seconds=0.1)
            await CLOCK.sleep(timedelta(seconds=10))
            assert (reigns.now, reigns.told) == ({"a"}, [])
            task.cancel()

    time.run(tell())


def reign_that_ends(trouble: Callable[[Line], Awaitable[None]], *, slow: timedelta) -> timedelta:
    """Return how long after sending its last renewal a leader stopped that met a trouble."""

    async def tell() -> timedelta:
        reigns, line = Reigns(), Line(MemoryStore(), slow=slow)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            await trouble(line)
            renewed_at = line.renewed_at
            await CLOCK.sleep(2 * LEADING.hold)
            task.cancel()
        [(_, _, ended), *_] = reigns.told
        assert renewed_at is not None
        return ended - renewed_at

    return time.run(tell())


@pytest.mark.parametrize("slow_ms", range(0, 400, 50))
def test_a_leader_that_is_cut_off_does_not_sleep_past_the_end_of_its_lease(slow_ms: int) -> None:
    async def cut(line: Line) -> None:
        line.cut = True

    assert reign_that_ends(cut, slow=timedelta(milliseconds=slow_ms)) <= LEADING.hold


def test_looking_for_a_renewal_whose_reply_was_lost_takes_its_time_from_the_lease() -> None:
    async def lose_a_reply_and_slow_down(line: Line) -> None:
        line.replies_lost = 1
        while line.replies_lost:
            await CLOCK.sleep(LEADING.renew / 8)
        line.slow = timedelta(seconds=0.7)

    assert reign_that_ends(lose_a_reply_and_slow_down, slow=timedelta()) <= LEADING.hold


def test_nobody_leads_by_a_lease_that_was_over_when_the_answer_came() -> None:
    async def tell() -> None:
        reigns, line = Reigns(), Line(MemoryStore(), slow=LEADING.hold)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", line).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=20))
            assert await leader(line.store) is not None
            assert (reigns.told, reigns.now) == ([], set())
            line.slow = timedelta()
            await CLOCK.sleep(LEADING.hold + SOON)
            assert reigns.now == {"a"}
            task.cancel()

    time.run(tell())


def test_another_ones_lease_is_not_renewed() -> None:
    async def tell() -> None:
        store, reigns = MemoryStore(), Reigns()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate("a", Line(store)).stand(reigns.lead))
            await CLOCK.sleep(timedelta(seconds=10))
            record = await store.get("leader")
            assert record is not None
            await store.commit(expect={}, put={"leader": record.value.replace(b'"a"', b'"b"')})
            await CLOCK.sleep(2 * LEADING.renew)
            assert reigns.now == set()
            await CLOCK.sleep(SOON)
            assert reigns.now == {"a"}, "nobody renews it: it is over"
            task.cancel()

    time.run(tell())


def test_a_leaders_own_end_is_followed_by_another_reign_and_its_failure_is_raised() -> None:
    async def tell() -> None:
        store = MemoryStore()
        reigns: list[int] = []

        async def lead(mine: Leader) -> None:
            reigns.append(mine.reign)
            if mine.reign == 1:
                return
            if mine.reign == 2:
                raise StoreUnavailable("gone for a while")
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup) as found:
            await candidate("a", Line(store)).stand(lead)
        assert found.value.subgroup(ZeroDivisionError)
        assert reigns == [1, 2, 3]

    time.run(tell())


def test_of_several_that_want_a_free_lease_one_gets_it() -> None:
    async def tell() -> None:
        store = MemoryStore()
        with pytest.raises(Conflict):
            await store.commit(expect={"leader": 1}, put={"leader": b""})
        reigns = Reigns()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(candidate(str(n), Line(store)).stand(reigns.lead)) for n in range(9)]
            await CLOCK.sleep(timedelta(seconds=30))
            assert len(reigns.now) == 1
            for task in tasks:
                task.cancel()

    time.run(tell())


@pytest.mark.parametrize(("others", "leads"), [(["b"], "b"), ([], "a")])
def test_who_is_not_favoured_lets_others_go_first_and_leads_when_there_are_none(others: list[str], leads: str) -> None:
    async def tell() -> Reigns:
        store, reigns = MemoryStore(), Reigns()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(candidate("a", Line(store), favoured=False).stand(reigns.lead))]
            await CLOCK.sleep(LEADING.renew / 10)
            tasks += [group.create_task(candidate(name, Line(store)).stand(reigns.lead)) for name in others]
            await CLOCK.sleep(SOON)
            assert reigns.now == {leads}
            for task in tasks:
                task.cancel()
        return reigns

    assert [name for name, _, _ in time.run(tell()).told] == [leads]
