"""Who may write: a primary is held, let go, taken over and started again, and never are there two. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.lease import Tenure
from evac.core.observation import MemberRole
from evac.core.plan import Action, Placement, Term, Verb
from evac.core.run import Receipt
from evac.core.timing import LeaseTiming
from evac.core.watchdog import Guard, Stance
from evac.engine.codec import decode, encode
from evac.engine.holding import Keeper
from evac.engine.lease_record import lease_key
from evac.engine.leased import LeasedMember
from evac.engine.taking import CLAIMS_MAX
from evac.ports import Record, Truth
from evac.sim import time
from evac.stores.memory import MemoryStore, restored
from fakes.leashes import Hound, Server
from fakes.lines import CLOCK, Line

EAST, WEST, EUROPE = RegionId("us-east-1"), RegionId("us-west-2"), RegionId("eu-west-1")
DB, GROUP = ComponentId("orders-db"), GroupId("shop")


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


TIMING = LeaseTiming(renew=s(1), hold=s(6), demote=s(1), watchdog=s(6), reset=s(1), freeze=s(1), wait=s(8.5))


@dataclass(slots=True)
class Site:
    """A region: its server, the watchdog beside it, its agent's line to the store, and the agent."""

    region: RegionId
    line: Line
    server: Server
    hound: Hound
    keeper: Keeper
    member: LeasedMember
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def order(self, verb: Verb, term: int, **args: str) -> Action:
        return Action(component=DB, region=self.region, verb=verb, term=Term(term), args=args)

    async def killed_by_its_watchdog(self) -> None:
        """The store is away from this region until its server is dead."""
        self.line.cut = True
        await CLOCK.sleep(TIMING.watchdog + s(1))
        assert self.server.killed_at, "what is not renewed is killed"

    def kill_agent(self) -> None:
        self.tasks.pop().cancel()

    def start_agent(self, tasks: asyncio.TaskGroup) -> None:
        """A new agent: it knows nothing."""
        self.keeper = _keeper(self.region, self.line, self.server, self.hound)
        self.member = LeasedMember(self.server, self.keeper)
        self.tasks.append(tasks.create_task(self.keeper.keep()))


@dataclass(slots=True)
class World:
    store: MemoryStore
    sites: dict[RegionId, Site]
    tasks: asyncio.TaskGroup
    lives: int = 1

    @property
    def east(self) -> Site:
        return self.sites[EAST]

    @property
    def west(self) -> Site:
        return self.sites[WEST]

    async def back_up(self) -> tuple[Record, ...]:
        return await self.store.list("")

    async def restore(self, backup: Collection[Record]) -> None:
        """The store is what it was; its numbers go on from then, and every agent reaches the same one."""
        self.lives += 1
        newest = max(record.version for record in backup)
        self.store = restored(backup, revision=newest, incarnation=f"life {self.lives}")
        for site in self.sites.values():
            site.line.store = self.store

    async def write(self, region: RegionId, term: int) -> None:
        """Let the record say whose it is, in the store's own life."""
        tenure = Tenure(region=region, term=Term(term), life=await self.store.incarnation())
        await self.store.commit(expect={}, put={lease_key(DB): encode(tenure)})

    async def tenure(self) -> Tenure:
        """Whose it is; that it says so in the store's own life is looked at here, and not if it was taken back."""
        record = await self.store.get(lease_key(DB))
        assert record is not None, "somebody holds it"
        tenure = decode(record.value, Tenure)
        assert tenure.life == await self.store.incarnation()
        return replace(tenure, life="", back=False)


def _keeper(region: RegionId, line: Line, server: Server, hound: Hound) -> Keeper:
    return Keeper(
        component=DB, group=GROUP, region=region, timing=TIMING, member=server, leash=hound, store=line, clock=CLOCK,
        chance=random.Random(region),
    )  # fmt: skip


@asynccontextmanager
async def world(*, held: bool = True) -> AsyncIterator[World]:
    """Two regions, the primary in the first; `held` waits until it is."""
    store = MemoryStore()
    await store.commit(
        expect={}, put={f"placement/{GROUP}": encode(Placement(group=GROUP, primary=EAST, term=Term(1)))}
    )
    sites = {}
    async with asyncio.TaskGroup() as tasks:
        dogs = []
        for region in (EAST, WEST):
            server = Server(role=MemberRole.PRIMARY if region == EAST else MemberRole.STANDBY)
            line, hound = Line(store), Hound(server, TIMING.watchdog)
            keeper = _keeper(region, line, server, hound)
            sites[region] = Site(region, line, server, hound, keeper, LeasedMember(server, keeper))
            sites[region].start_agent(tasks)
            dogs.append(tasks.create_task(hound.watch()))
        made = World(store, sites, tasks)
        if held:
            await CLOCK.sleep(s(20))
            assert await made.tenure() == Tenure(region=EAST, term=Term(1))
        yield made
        for task in (*dogs, *(t for site in sites.values() for t in site.tasks)):
            task.cancel()


def told(story: Callable[[World], Awaitable[None]], *, held: bool = True) -> None:
    async def tell() -> None:
        async with world(held=held) as here:
            await story(here)

    time.run(tell())


def test_a_primary_is_held_and_lives() -> None:
    async def story(here: World) -> None:
        await CLOCK.sleep(s(600))
        assert here.east.server.killed_at == []
        assert here.west.server.killed_at == []
        assert not here.west.hound.there, "where no primary may be, none is watched"

    told(story)


def test_how_it_is_held_is_told_while_the_store_is_silent() -> None:
    async def story(here: World) -> None:
        held = here.east.keeper.guarded(CLOCK.now())
        assert held is not None
        assert (held.component, held.kills_at, held.armed) == (DB, s(6), True)
        assert held.age <= s(1.5)
        assert here.west.keeper.guarded(CLOCK.now()) is None
        here.east.line.cut = True
        await CLOCK.sleep(s(30))
        held = here.east.keeper.guarded(CLOCK.now())
        assert held is not None
        assert held.age >= s(30), "it has run out, and is still told"
        assert here.east.server.killed_at

    told(story)


def test_nobody_is_held_before_the_placement_says_so_and_the_primary_is_one() -> None:
    async def story(here: World) -> None:
        here.east.server.role = MemberRole.STANDBY
        await CLOCK.sleep(s(10))
        here.east.server.silent = True
        await CLOCK.sleep(s(10))
        await here.store.commit(expect={}, put={}, delete=(f"placement/{GROUP}",))
        await CLOCK.sleep(s(10))
        assert await here.store.get(lease_key(DB)) is None

    told(story, held=False)


def test_a_primary_where_none_should_be_is_not_held() -> None:
    async def story(here: World) -> None:
        here.east.server.role, here.west.server.role = MemberRole.STANDBY, MemberRole.PRIMARY
        await CLOCK.sleep(s(10))
        assert await here.store.get(lease_key(DB)) is None

    told(story, held=False)


def test_a_placement_that_changes_meanwhile_begins_nothing() -> None:
    async def story(here: World) -> None:
        here.east.line.slow = s(1)  # three reads, then the commit: it is on its way after three seconds
        await CLOCK.sleep(s(3.5))
        elsewhere = Placement(group=GROUP, primary=EUROPE, term=Term(2))
        await here.store.commit(expect={}, put={f"placement/{GROUP}": encode(elsewhere)})
        await CLOCK.sleep(s(10))
        assert await here.store.get(lease_key(DB)) is None

    told(story, held=False)


def test_a_copy_of_the_store_that_is_behind_begins_nothing() -> None:
    async def story(here: World) -> None:
        old = await here.store.get(lease_key(DB))
        await here.write(EUROPE, 5)
        ours = Tenure(region=WEST, term=Term(1), life=await here.store.incarnation())
        here.west.line.behind = replace(old, value=encode(ours)) if old else None
        await CLOCK.sleep(s(3))
        assert await here.tenure() == Tenure(region=EUROPE, term=Term(5))
        assert not here.west.hound.there

    told(story)


def test_a_primary_that_no_watchdog_can_see_is_not_held() -> None:
    async def story(here: World) -> None:
        here.east.hound.to_be_had = False
        await CLOCK.sleep(s(10))
        assert await here.store.get(lease_key(DB)) is None
        here.east.hound.to_be_had = True
        here.east.hound.blind = True
        await CLOCK.sleep(s(3))
        assert await here.store.get(lease_key(DB)) is None

    told(story, held=False)


async def moved(here: World, *, term: int = 2) -> timedelta:
    """Take the lease over in the west and promote there; return when."""
    receipt = await here.west.member.do(here.west.order(Verb.EXPIRE, term, old=EAST))
    at = CLOCK.now()
    assert receipt.kind == "expired"
    assert receipt.facts["held_by"] == EAST
    await here.west.member.do(here.west.order(Verb.PROMOTE, term))
    return at


def test_cut_off_it_dies_before_another_takes_over_and_stays_dead() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        cut_at = CLOCK.now()
        taken_at = await moved(here)
        (killed_at,) = here.east.server.killed_at
        assert killed_at < taken_at <= cut_at + TIMING.wait + 2 * TIMING.renew
        here.east.line.cut = False
        await CLOCK.sleep(s(60))
        assert not here.east.server.writes
        assert here.west.server.writes
        assert await here.tenure() == Tenure(region=WEST, term=Term(2), waited=True)

    told(story)


def test_a_lease_that_was_taken_by_waiting_is_not_taken_again_for_the_promotion() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        here.west.line.slow = s(1)
        asked_at = CLOCK.now()
        await here.west.keeper.claim(term=Term(2))
        assert CLOCK.now() == asked_at, "the store was not asked"
        here.west.line.slow = s(0)
        await here.west.keeper.claim(term=Term(3))
        assert (await here.tenure()).term == Term(3), "at another term it is taken anew"

    told(story)


def test_a_lease_that_was_taken_and_ran_out_since_opens_no_promotion() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        here.west.line.cut = True
        await CLOCK.sleep(TIMING.hold + s(0.1))
        with pytest.raises(Unavailable, match="cannot be read or written"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert not here.west.server.writes

    told(story)


def test_a_lease_that_was_taken_and_has_no_watchdog_any_more_opens_no_promotion() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        here.west.hound.to_be_had = False
        here.west.hound.die()
        await CLOCK.sleep(TIMING.renew)
        with pytest.raises(Rejected, match="no watchdog can be had"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert not here.west.server.writes

    told(story)


def test_what_was_waited_before_it_was_asked_for_counts() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await CLOCK.sleep(TIMING.wait + 2 * TIMING.renew)
        asked_at = CLOCK.now()
        assert await moved(here) - asked_at < TIMING.renew

    told(story)


def test_a_dead_agent_is_a_cut_one() -> None:
    async def story(here: World) -> None:
        here.east.kill_agent()
        await moved(here)
        assert not here.east.server.writes
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(s(60))
        assert not here.east.server.writes

    told(story)


def test_a_new_agent_goes_on_where_the_old_one_was() -> None:
    async def story(here: World) -> None:
        for _ in range(5):
            here.east.kill_agent()
            await CLOCK.sleep(s(3))
            here.east.start_agent(here.tasks)
            await CLOCK.sleep(s(10))
        assert here.east.server.killed_at == []

    told(story)


def test_after_the_machine_came_back_it_is_started_under_a_renewal() -> None:
    async def story(here: World) -> None:
        here.east.kill_agent()
        await CLOCK.sleep(s(0.001))  # it is gone before its watchdog is: else it might begin another one yet
        here.east.hound.die()
        here.east.server.end()
        await CLOCK.sleep(s(5))
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(s(5))
        assert here.east.server.writes
        assert here.east.hound.there
        await CLOCK.sleep(s(60))
        assert here.east.server.killed_at == []

    told(story)


def test_a_store_that_was_away_costs_a_restart_and_no_more() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = here.west.line.cut = True
        await CLOCK.sleep(s(30))
        assert not here.east.server.writes
        here.east.line.cut = here.west.line.cut = False
        await CLOCK.sleep(s(5))
        assert here.east.server.writes
        assert (await here.tenure()).region == EAST

    told(story)


def test_a_server_that_does_not_start_is_left_to_people() -> None:
    async def story(here: World) -> None:
        here.east.server.stubborn = True
        here.east.line.cut = True
        await CLOCK.sleep(s(30))
        here.east.line.cut = False
        await CLOCK.sleep(s(30))
        assert here.east.server.did == [Verb.STOP]

    told(story)


def test_what_an_order_of_a_higher_term_stopped_is_not_started_again() -> None:
    async def story(here: World) -> None:
        here.east.server.term = 9
        here.east.line.cut = True
        await CLOCK.sleep(s(30))
        here.east.line.cut = False
        await CLOCK.sleep(s(30))
        assert here.east.server.did == []

    told(story)


def test_started_again_is_only_what_a_watchdog_can_be_had_for() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await CLOCK.sleep(s(30))
        here.east.hound.to_be_had = False
        here.east.line.cut = False
        await CLOCK.sleep(s(30))
        assert not here.east.server.writes
        assert Verb.STOP not in here.east.server.did[1:]

    told(story)


def test_lost_replies_and_slow_ones_are_gone_through() -> None:
    async def story(here: World) -> None:
        for _ in range(10):
            here.east.line.replies_lost = 1
            await CLOCK.sleep(s(7))
        here.east.line.slow = s(2)
        await CLOCK.sleep(s(60))
        assert here.east.server.killed_at == []
        here.east.line.slow = s(60)
        await CLOCK.sleep(s(60))
        assert len(here.east.server.killed_at) == 1

    told(story)


def test_renewals_whose_replies_are_all_lost_lengthen_nothing() -> None:
    """That the record was found renewed does not say when: it was sent at some time before."""

    async def story(here: World) -> None:
        here.east.line.replies_lost = 1000
        lost_at = CLOCK.now()
        await CLOCK.sleep(s(60))
        assert here.east.server.killed_at
        assert here.east.server.killed_at[0] <= lost_at + TIMING.watchdog + s(0.1)

    told(story)


def test_a_watchdog_that_died_is_followed_by_another() -> None:
    async def story(here: World) -> None:
        here.east.hound.die()
        await CLOCK.sleep(s(3))
        assert here.east.hound.there
        here.east.line.cut = True
        await CLOCK.sleep(s(1))
        here.east.hound.die()
        await moved(here)
        assert len(here.east.server.killed_at) == 1

    told(story)


def test_a_watchdog_that_begins_anew_and_holds_nothing_is_armed() -> None:
    async def story(here: World) -> None:
        here.east.hound.guard = Guard(
            within=TIMING.watchdog
        )  # another one in its place: it answers, and guards nothing
        await CLOCK.sleep(TIMING.renew)
        here.east.line.cut = True
        await moved(here)
        assert len(here.east.server.killed_at) == 1

    told(story)


def test_without_any_watchdog_nothing_is_renewed_and_the_agent_stops_it_in_time() -> None:
    async def story(here: World) -> None:
        here.east.hound.to_be_had = False
        here.east.hound.die()
        await moved(here)
        assert here.east.server.did == [Verb.STOP]
        assert not here.east.server.writes

    told(story)


def test_cut_off_without_any_watchdog_the_agent_stops_it_too() -> None:
    async def story(here: World) -> None:
        here.east.hound.to_be_had = False
        here.east.line.cut = True
        await CLOCK.sleep(s(2))
        here.east.hound.die()
        await CLOCK.sleep(TIMING.watchdog + 2 * TIMING.renew)
        assert here.east.server.did == [Verb.STOP]

    told(story)


DEEDS = ("cut", "heal", "slow", "lose", "agent", "hound", "restore")


@settings(max_examples=60, deadline=None)
@given(deeds=st.lists(st.tuples(st.sampled_from(DEEDS), st.floats(0, 12)), max_size=8))
@example([("restore", 0.0), ("agent", 0.0), ("hound", 0.0)])
def test_never_do_two_write(deeds: list[tuple[str, float]]) -> None:
    """Whatever becomes of the old primary's agent: when the lease is taken, its server is dead, and stays so."""

    async def story(here: World) -> None:
        east, backup = here.east, await here.back_up()

        async def trouble() -> None:
            for deed, rest in deeds:
                match deed:
                    case "cut" | "heal":
                        east.line.cut = deed == "cut"
                    case "slow":
                        east.line.slow = s(rest / 2)
                    case "lose":
                        east.line.replies_lost = 1
                    case "restore":
                        await here.restore(backup)
                    case "agent":
                        east.kill_agent()
                        await CLOCK.sleep(s(rest / 4))
                        east.start_agent(here.tasks)
                    case _:
                        if not east.line.cut and not east.line.slow:
                            east.hound.die()
                            await CLOCK.sleep(s(1))  # with its agent, or in the dark, nobody begins another
                await CLOCK.sleep(s(rest))

        troubled = here.tasks.create_task(trouble())
        while not troubled.done() or CLOCK.now() < s(60):
            try:
                await moved(here)
            except (Rejected, Unavailable):
                await CLOCK.sleep(s(1))
                continue
            for _ in range(600):
                assert not east.server.writes
                await CLOCK.sleep(s(0.05))
            await troubled
            return

    told(story)


def test_a_store_restored_from_a_backup_costs_a_held_primary_nothing() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        await CLOCK.sleep(s(100))
        await here.restore(backup)
        await CLOCK.sleep(s(2))
        assert await here.tenure() == Tenure(region=EAST, term=Term(1)), "held anew, in the new life"
        await here.restore([record for record in backup if record.key != lease_key(DB)])
        await CLOCK.sleep(s(60))
        assert await here.tenure() == Tenure(region=EAST, term=Term(1))
        assert here.east.server.killed_at == []

    told(story)


@pytest.mark.parametrize("silent", [False, True])
def test_a_new_agent_stops_what_no_watchdog_guards_after_a_restore(silent: bool) -> None:
    """Its lease is another life's, so it cannot be renewed, and whoever waits for it counts on a watchdog."""

    async def story(here: World) -> None:
        await here.restore(await here.back_up())
        here.east.kill_agent()
        await CLOCK.sleep(s(0.1))
        here.east.hound.die()
        here.east.server.silent = silent
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(2 * TIMING.renew)
        assert here.east.server.did[:1] == [Verb.STOP]
        assert silent or len(here.east.server.did) == 1, "once, where it is seen to be done"
        assert not here.east.hound.there

    told(story)


def test_a_new_agent_leaves_to_its_watchdog_what_that_guards_and_a_standby_and_what_is_elsewhere() -> None:
    async def story(here: World) -> None:
        await here.restore(await here.back_up())
        here.east.kill_agent()
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(2 * TIMING.renew)
        assert (here.east.server.did, here.west.server.did) == ([], [])
        assert here.east.server.writes, "for as long as its watchdog lets it"
        await CLOCK.sleep(TIMING.watchdog)
        assert len(here.east.server.killed_at) == 1
        assert here.east.server.did == [], "it is down already"

    told(story)


def test_a_lease_that_a_backup_brought_back_is_nobodys() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        here.east.line.cut = True
        await moved(here)
        here.east.line.cut = False
        await CLOCK.sleep(s(60))
        await here.restore(backup)
        await CLOCK.sleep(s(60))
        assert here.west.server.killed_at == []
        assert here.west.server.writes
        assert not here.east.server.writes, "the record that came back named it"
        assert await here.tenure() == Tenure(region=WEST, term=Term(2), waited=True)

    told(story)


def test_held_anew_in_a_new_life_is_tried_until_it_is_written() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        await here.restore(backup)
        here.east.line.conflicts = 3
        await CLOCK.sleep(s(10))
        assert await here.tenure() == Tenure(region=EAST, term=Term(1))
        assert here.east.server.killed_at == []

    told(story)


def test_what_was_not_renewed_when_the_store_was_restored_is_nobodys_and_waited_for_in_full() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        here.east.line.cut = True
        await CLOCK.sleep(s(7))  # its watchdog has killed it; nobody may know yet
        await here.restore(backup)
        restored_at = CLOCK.now()
        here.east.line.cut = False
        await CLOCK.sleep(s(1))
        assert not here.east.server.writes, "its own count has run out"
        assert await moved(here) - restored_at >= TIMING.wait, "what was counted in another life does not count"
        await CLOCK.sleep(s(30))
        assert await here.tenure() == Tenure(region=WEST, term=Term(2), waited=True)
        assert not here.east.server.writes

    told(story)


def test_a_new_agent_takes_nothing_from_a_record_of_another_life() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        here.east.kill_agent()
        await here.restore(backup)
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(s(4))
        record = await here.store.get(lease_key(DB))
        assert record is not None
        assert decode(record.value, Tenure).life != await here.store.incarnation(), "it is not known who holds it"
        await CLOCK.sleep(s(60))
        assert not here.east.server.writes, "its watchdog was not fed, and it is left to a run"

    told(story)


def test_a_wait_begins_anew_when_the_store_is_restored_meanwhile() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await CLOCK.sleep(s(1))
        backup = await here.back_up()
        waiting = here.tasks.create_task(moved(here))
        await CLOCK.sleep(s(5))
        await here.restore(backup)
        restored_at = CLOCK.now()
        assert await waiting >= restored_at + TIMING.wait
        assert (await here.tenure()).region == WEST
        assert here.west.server.killed_at == [], "the watchdog that was begun in vain has let go"

    told(story)


def test_a_promotion_by_other_proof_waits_for_a_lease_of_another_life() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        here.east.line.cut = True
        await CLOCK.sleep(s(1))
        await here.restore(backup)
        asked_at = CLOCK.now()
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert not here.east.server.writes
        assert await here.tenure() == Tenure(region=WEST, term=Term(2), waited=True)

    told(story)


def test_a_claim_that_somebody_was_quicker_than_leaves_its_watchdog_to_who_is_held() -> None:
    async def story(here: World) -> None:
        here.east.line.conflicts = 1
        await here.east.keeper.claim(term=Term(2))
        assert here.east.hound.there
        await CLOCK.sleep(s(30))
        assert here.east.server.killed_at == []
        assert (await here.tenure()).term == Term(2)

    told(story)


def test_a_claim_that_ended_in_silence_is_made_good_by_the_next() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await CLOCK.sleep(TIMING.wait + 2 * TIMING.renew)
        here.west.line.slow = s(7)  # the commit's reply is not waited for
        with pytest.raises(Unavailable):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        here.west.line.slow = s(0)
        await CLOCK.sleep(TIMING.watchdog)
        assert here.west.server.killed_at, "its watchdog was not fed"
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await CLOCK.sleep(s(30))
        assert here.west.server.writes
        assert len(here.west.server.killed_at) == 1

    told(story)


def test_an_agent_that_died_between_its_watchdog_and_the_start_leaves_nothing_down() -> None:
    async def story(here: World) -> None:
        here.east.kill_agent()
        await CLOCK.sleep(s(0.001))
        here.east.server.end()  # it died by itself; its watchdog guards on
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(s(5))
        assert here.east.server.writes
        await CLOCK.sleep(s(60))
        assert here.east.server.killed_at == []

    told(story)


def test_an_order_to_wait_is_refused_where_waiting_proves_nothing() -> None:
    async def story(here: World) -> None:
        expire = here.west.member.do
        with pytest.raises(Rejected, match="us-east-1 renews its lease"):
            await expire(here.west.order(Verb.EXPIRE, 2, old=EAST))
        with pytest.raises(Rejected, match="is us-east-1's, of term 1"):
            await expire(here.west.order(Verb.EXPIRE, 2, old=EUROPE))
        with pytest.raises(Rejected, match="of term 1"):
            await expire(here.west.order(Verb.EXPIRE, 0, old=EAST))
        with pytest.raises(Rejected, match="old must name the region"):
            await expire(here.west.order(Verb.EXPIRE, 2))
        await here.store.commit(expect={}, put={}, delete=(lease_key(DB),))
        with pytest.raises(Rejected, match="nobody holds a lease"):
            await expire(here.west.order(Verb.EXPIRE, 2, old=EAST))
        here.west.line.cut = True
        with pytest.raises(Unavailable, match="the lease cannot be read"):
            await expire(here.west.order(Verb.EXPIRE, 2, old=EAST))
        assert (await here.west.member.holds(here.west.order(Verb.EXPIRE, 2, old=EAST))).truth is Truth.NO

    told(story)


def test_one_late_renewal_begins_the_wait_anew_and_is_no_sign_of_life() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await CLOCK.sleep(s(3))
        waiting = here.tasks.create_task(moved(here))
        await CLOCK.sleep(s(1))
        record = await here.store.get(lease_key(DB))
        assert record is not None
        await here.store.commit(expect={}, put={record.key: record.value})
        late_at = CLOCK.now()
        assert await waiting >= late_at + TIMING.wait

    told(story)


def test_a_second_renewal_is_a_sign_of_life() -> None:
    async def story(here: World) -> None:
        async def renewed_twice() -> None:
            for _ in range(2):
                await CLOCK.sleep(s(1))
                record = await here.store.get(lease_key(DB))
                assert record is not None
                await here.store.commit(expect={}, put={record.key: record.value})

        here.east.line.cut = True
        await CLOCK.sleep(s(3))
        here.tasks.create_task(renewed_twice())
        with pytest.raises(Rejected, match="us-east-1 renews its lease"):
            await here.west.keeper.expire(EAST, term=Term(2))

    told(story)


def test_a_lease_that_was_taken_by_waiting_is_proof_again_and_one_that_was_not_is_waited_for() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        asked_at = CLOCK.now()
        await here.west.member.do(here.west.order(Verb.EXPIRE, 3, old=EAST))
        assert CLOCK.now() == asked_at
        await here.west.member.do(here.west.order(Verb.PROMOTE, 3))
        assert await here.tenure() == Tenure(region=WEST, term=Term(3), waited=True)

    told(story)

    async def forced(here: World) -> None:
        await here.west.keeper.claim(term=Term(2))  # by a person's word: the east may still write
        asked_at = CLOCK.now()
        await here.west.member.do(here.west.order(Verb.EXPIRE, 3, old=EAST))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert not here.east.server.writes

    told(forced)


def test_a_planned_move_hands_the_lease_over_without_a_wait() -> None:
    async def story(here: World) -> None:
        asked_at = CLOCK.now()
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert CLOCK.now() - asked_at < s(1)
        await here.east.member.do(here.east.order(Verb.REJOIN, 2))
        await CLOCK.sleep(s(60))
        assert here.east.server.role is MemberRole.STANDBY
        assert not here.east.hound.there
        assert here.west.server.writes
        assert here.west.hound.there
        with pytest.raises(Rejected, match="of the higher term 2"):
            await here.east.member.do(here.east.order(Verb.PROMOTE, 1))

    told(story)


def test_a_move_that_turns_back_holds_its_primary_again() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await CLOCK.sleep(s(30))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert here.east.server.writes
        assert here.east.hound.there
        await CLOCK.sleep(s(60))
        assert here.east.server.writes

    told(story)


def test_a_move_whose_promotion_failed_takes_the_lease_back_and_waits_for_what_that_may_have_left() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))  # and is said to have failed: the worst there is
        assert here.west.server.writes
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert not here.west.server.writes
        assert here.east.server.writes
        assert await here.tenure() == Tenure(region=EAST, term=Term(2), waited=True)
        await CLOCK.sleep(s(60))
        assert here.east.server.writes
        assert not here.west.server.writes

    told(story)


@pytest.mark.parametrize("fails", [Rejected("no"), Unavailable("not there")])
def test_what_was_not_promoted_follows_on_when_its_lease_is_taken_back(fails: Rejected | Unavailable) -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.server.fails = fails
        for _ in range(2):
            with pytest.raises(type(fails)):
                await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert here.west.server.role is MemberRole.STANDBY
        await CLOCK.sleep(s(60))
        assert here.east.server.writes
        assert here.west.server.role is MemberRole.STANDBY
        assert not here.west.hound.there
        here.west.server.fails = None
        await here.east.member.do(here.east.order(Verb.STOP, 3))
        await here.west.member.do(here.west.order(Verb.PROMOTE, 3))
        await CLOCK.sleep(s(60))
        assert here.west.server.writes
        assert here.west.hound.there

    told(story)


def test_what_its_watchdog_killed_before_it_was_promoted_is_started_as_the_standby_it_was() -> None:
    """Opened as a primary it would hold what it happened to have, and nobody would ask what it lacks."""

    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        await here.west.killed_by_its_watchdog()
        here.west.line.cut = False
        await CLOCK.sleep(2 * TIMING.renew)
        assert here.west.server.role is MemberRole.STANDBY
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await CLOCK.sleep(2 * TIMING.renew)
        here.west.server.kill()
        here.west.kill_agent()
        here.west.hound.die()
        here.west.start_agent(here.tasks)
        await CLOCK.sleep(s(3))
        assert here.west.server.writes, "what was promoted is a primary when its machine is back"

    told(story)


def test_a_promotion_that_only_a_look_has_seen_is_one() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.server.fails = Indeterminate("the line broke")
        with pytest.raises(Indeterminate):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert (await here.west.member.observe()).role is MemberRole.PRIMARY
        await CLOCK.sleep(2 * TIMING.renew)
        await here.west.killed_by_its_watchdog()
        here.west.line.cut = False
        await CLOCK.sleep(2 * TIMING.renew)
        assert here.west.server.writes
        here.east.server.role = MemberRole.PRIMARY
        assert (await here.east.member.observe()).role is MemberRole.PRIMARY
        here.east.server.kill()
        await CLOCK.sleep(s(10))
        assert not here.east.server.writes, "what holds no lease is started by no look"

    told(story)


@pytest.mark.parametrize("reborn", [False, True], ids=["the same agent", "a new agent"])
def test_a_promotion_that_fails_after_one_in_doubt_keeps_what_may_have_been_promoted_held(*, reborn: bool) -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.server.fails = Indeterminate("the line broke")
        with pytest.raises(Indeterminate):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        if reborn:
            here.west.kill_agent()
            here.west.start_agent(here.tasks)
            await CLOCK.sleep(s(3))
        here.west.server.fails = Unavailable("not there")
        for _ in range(2):
            with pytest.raises(Unavailable):
                await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
            assert here.west.hound.there
        await CLOCK.sleep(s(60))
        assert here.west.server.writes
        assert here.west.keeper.guarded(CLOCK.now()) is not None

    told(story)


def test_nothing_is_started_for_its_watchdog_while_the_lease_is_taken_back() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(2))
        asked_at = CLOCK.now()

        async def cut() -> None:
            await CLOCK.sleep(s(0.5))
            here.east.line.cut = True

        here.tasks.create_task(cut())
        with pytest.raises(Unavailable):
            await here.east.member.undo(here.east.order(Verb.STOP, 2))
        await CLOCK.sleep(TIMING.watchdog)
        assert here.east.hound.guard is not None
        assert here.east.hound.guard.stance is Stance.DOWN
        here.east.line.cut = False
        await CLOCK.sleep(s(1.2))
        assert await here.tenure() == Tenure(region=EAST, term=Term(2))
        assert not here.east.server.writes
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert here.east.server.writes

    told(story)


@pytest.mark.parametrize("after", [0.3, 4.0])
def test_a_new_agent_starts_nothing_before_a_lease_that_was_taken_back_has_been_waited_for(after: float) -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))  # and is said to have failed: the worst there is
        here.west.line.cut = True
        turning = asyncio.ensure_future(here.east.member.undo(here.east.order(Verb.STOP, 2)))
        await CLOCK.sleep(s(after))
        turning.cancel()
        here.east.kill_agent()
        await CLOCK.sleep(s(0.001))
        here.east.start_agent(here.tasks)
        while here.west.server.writes:
            assert not here.east.server.writes, "two of them write"
            await CLOCK.sleep(s(0.05))

    told(story)


@pytest.mark.parametrize("slow", [3.5, 4.0])
def test_what_its_watchdog_killed_while_its_promotion_failed_does_not_run_on_without_one(slow: float) -> None:
    """The renewal that is under way when the promotion fails returns after the kill: its keeper starts it again."""

    async def story(here: World) -> None:
        here.west.line.slow = s(slow)
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.server.fails = Unavailable("it has not all of the stopped primary's log")
        for _ in range(2):
            with pytest.raises(Unavailable):
                await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        await CLOCK.sleep(s(30))
        assert here.east.server.writes
        assert not here.west.server.writes, "two of them write"

    told(story)


def test_what_was_started_again_under_a_lease_is_not_let_go_when_its_promotion_fails() -> None:
    """The store was away from the target between the end of the old lease and the promotion."""

    async def story(here: World) -> None:
        here.east.line.cut = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        await here.west.killed_by_its_watchdog()
        here.west.line.cut = False
        await CLOCK.sleep(2 * TIMING.renew)
        here.west.server.fails = Unavailable("it starts yet")
        with pytest.raises(Unavailable):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await CLOCK.sleep(s(30))
        assert here.west.hound.there or not here.west.server.writes, "it writes, and nothing guards it"

    told(story)


def test_nothing_is_started_under_a_lease_taken_back_that_no_watchdog_is_there_for() -> None:
    async def story(here: World) -> None:
        async def none_to_be_had() -> None:
            await CLOCK.sleep(s(1))
            here.east.hound.to_be_had = False
            here.east.hound.die()

        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(2))
        here.tasks.create_task(none_to_be_had())
        with pytest.raises(Rejected, match="no watchdog can be had for orders-db in us-east-1"):
            await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert not here.east.server.writes
        here.east.hound.to_be_had = True
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at < s(1)
        assert here.east.server.writes
        assert here.east.hound.there

    told(story)


def test_what_a_try_to_turn_back_has_waited_counts_for_the_next() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(2))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(TIMING.wait.total_seconds() - 2):
                await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert not here.east.server.writes
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 3))
        assert s(1) < CLOCK.now() - asked_at < s(3)
        assert here.east.server.writes

    told(story)


def test_a_new_agent_that_turns_back_does_not_know_whose_the_lease_has_been() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.east.kill_agent()
        here.east.start_agent(here.tasks)
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert here.east.server.writes

    told(story)


def test_a_version_that_stands_in_another_life_of_the_store_says_nothing() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.restore(await here.back_up())
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert here.east.server.writes

    told(story)


def test_a_lease_taken_back_whose_reply_was_lost_is_waited_for_from_when_it_is_known() -> None:
    """What an earlier run took back long ago says nothing of when this one did."""

    async def story(here: World) -> None:
        for term in (2, 3):
            await here.east.member.do(here.east.order(Verb.STOP, term))
            await here.west.member.do(here.west.order(Verb.PROMOTE, term))  # and is said to have failed
            if term == 2:
                await here.east.member.undo(here.east.order(Verb.STOP, term))
                here.west.server.role = MemberRole.STANDBY  # rebuilt
                await CLOCK.sleep(s(30))
        here.west.line.cut = True
        here.east.line.replies_lost = 1
        with pytest.raises(Unavailable):
            await here.east.member.undo(here.east.order(Verb.STOP, 3))
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 3))
        assert CLOCK.now() - asked_at >= TIMING.wait
        assert not here.west.server.writes

    told(story)


def test_the_same_version_in_another_life_of_the_store_is_another_record() -> None:
    async def story(here: World) -> None:
        backup = await here.back_up()
        await CLOCK.sleep(s(20))
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        record = await here.store.get(lease_key(DB))
        assert record is not None
        await here.restore(backup)
        while await here.store.revision() < record.version - 1:
            await here.store.commit(expect={}, put={"other": b""})
        await here.write(WEST, 2)  # as somebody's who writes there
        found = await here.store.get(lease_key(DB))
        assert found is not None
        assert found.version == record.version
        asked_at = CLOCK.now()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert CLOCK.now() - asked_at >= TIMING.wait

    told(story)


def test_a_move_that_turns_back_too_late_starts_nothing() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(3))
        with pytest.raises(Rejected, match="is us-west-2's, of the higher term 3"):
            await here.east.member.undo(here.east.order(Verb.STOP, 2))
        here.east.line.cut = True
        with pytest.raises(Unavailable, match="the lease cannot be read"):
            await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert not here.east.server.writes

    told(story)


def test_one_that_was_never_held_is_stopped_and_started_as_before() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert here.east.server.writes
        await CLOCK.sleep(s(10))
        assert here.east.server.killed_at == []

    told(story, held=False)


def test_nothing_is_claimed_without_a_watchdog_or_from_under_ones_hands() -> None:
    async def story(here: World) -> None:
        here.west.hound.to_be_had = False
        with pytest.raises(Rejected, match="no watchdog can be had"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        here.west.hound.to_be_had = True
        assert here.west.server.role is MemberRole.STANDBY
        here.west.line.conflicts = 100
        with pytest.raises(Unavailable, match="changed 8 times"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))

    told(story)


def test_a_lease_whose_holder_is_gone_is_begun_anew_where_the_placement_says() -> None:
    async def story(here: World) -> None:
        await here.write(EUROPE, 1)
        await CLOCK.sleep(TIMING.wait + 3 * TIMING.renew)
        assert await here.tenure() == Tenure(region=EAST, term=Term(1), waited=True)

    told(story, held=False)


async def moved_without_leases(here: World) -> None:
    """What a controller does that holds none: the record goes on naming the east, the primary is in the west."""
    await here.east.server.do(here.east.order(Verb.STOP, 2))
    here.east.server.role = MemberRole.STANDBY
    await here.west.server.do(here.west.order(Verb.PROMOTE, 2))
    placement = Placement(group=GROUP, primary=WEST, term=Term(2))
    await here.store.commit(expect={}, put={f"placement/{GROUP}": encode(placement)})


def test_a_lease_that_the_primary_never_held_proves_nothing_of_it() -> None:
    async def story(here: World) -> None:
        await moved_without_leases(here)
        here.west.line.cut = True
        with pytest.raises(Rejected, match="us-west-2 became the primary at term 2, and never held the lease of it"):
            await here.east.member.do(here.east.order(Verb.EXPIRE, 3, old=WEST))

    told(story)


def test_a_new_agent_lets_a_lease_run_out_of_what_was_moved_without_it() -> None:
    async def story(here: World) -> None:
        here.east.kill_agent()
        await moved_without_leases(here)
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(TIMING.wait + 3 * TIMING.renew)
        assert await here.tenure() == Tenure(region=WEST, term=Term(2), waited=True)
        assert here.west.hound.there

    told(story)


def test_nothing_is_promoted_that_its_watchdog_does_not_see() -> None:
    async def story(here: World) -> None:
        here.east.line.cut = True
        here.west.hound.blind = True
        await here.west.member.do(here.west.order(Verb.EXPIRE, 2, old=EAST))
        with pytest.raises(Unavailable, match="the watchdog of orders-db in us-west-2 sees no process of it"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert here.west.server.role is MemberRole.STANDBY
        here.west.hound.blind = False
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert here.west.server.writes

    told(story)


def test_a_watchdog_that_sees_nothing_is_let_go_again() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.hound.blind = True
        with pytest.raises(Unavailable, match="sees no process"):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        assert here.west.hound.guard is None
        assert await here.tenure() == Tenure(region=EAST, term=Term(1))

    told(story)


def test_what_its_watchdog_cannot_be_told_of_once_is_started_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full as the marker is to be written, or the watchdog is still busy with letting go."""
    refused: list[int] = []
    really = Hound.arm

    async def arm(self: Hound, sent_at: timedelta, term: int) -> object:
        idle = self.guard is None or self.guard.stance is Stance.IDLE
        if self.server.killed_at and idle and not refused:
            refused.append(term)
            return None
        return await really(self, sent_at, term)

    async def story(here: World) -> None:
        await here.east.killed_by_its_watchdog()
        monkeypatch.setattr(Hound, "arm", arm)
        here.east.line.cut = False
        await CLOCK.sleep(s(20))
        assert refused == [1]
        assert here.east.server.writes

    told(story)


def test_all_else_is_the_members_own() -> None:
    async def story(here: World) -> None:
        member = here.west.member
        assert await member.check() == ()
        assert (await member.observe()).role is MemberRole.STANDBY
        assert (await member.holds(here.west.order(Verb.FOLLOW, 2))).truth is Truth.NO
        await member.do(here.west.order(Verb.FOLLOW, 2))
        await member.undo(here.west.order(Verb.FOLLOW, 2))
        assert here.west.server.did == [Verb.FOLLOW, Verb.FOLLOW]
        await member.close()
        assert here.west.server.silent

    told(story)


def test_what_was_promoted_just_before_its_agent_died_is_a_primary_again() -> None:
    """The promotion has its receipt, clients have written; the next renewal had not said yet that a primary leads."""

    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        here.west.kill_agent()
        await CLOCK.sleep(TIMING.watchdog + s(1))
        assert here.west.server.killed_at
        here.west.start_agent(here.tasks)
        await CLOCK.sleep(s(5))
        assert here.west.server.writes, "nobody serves"

    told(story)


@dataclass(slots=True)
class Unstoppable(Server):
    """Its disk is full: no order stops it. What runs is not changed by being started."""

    async def do(self, action: Action) -> Receipt:
        if action.verb is Verb.STOP:
            raise Indeterminate("its marker cannot be written")
        return await Server.do(self, action)

    async def undo(self, action: Action) -> Receipt:
        assert self.writes, "it runs"
        return Receipt(kind="stop", facts={"primary": True})


def test_what_cannot_be_stopped_is_left_to_its_watchdog() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.kill_agent()
        here.west.server = here.west.hound.server = Unstoppable(fails=Indeterminate("it happened, and nobody knows"))
        here.west.start_agent(here.tasks)
        with pytest.raises(Indeterminate):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        assert here.east.server.writes
        assert not here.west.server.writes, "two of them write"

    told(story)


def test_what_runs_again_is_started_again_though_its_agent_died_meanwhile() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(2))
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        here.east.kill_agent()
        here.east.start_agent(here.tasks)
        await CLOCK.sleep(s(60))
        assert (await here.east.member.observe()).role is MemberRole.PRIMARY
        await CLOCK.sleep(2 * TIMING.renew)
        await here.east.killed_by_its_watchdog()
        here.east.line.cut = False
        await CLOCK.sleep(s(10))
        assert here.east.server.writes, "nobody serves"

    told(story)


@pytest.mark.parametrize("starting", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_what_runs_again_is_guarded_all_along_though_the_order_comes_once_more(taken: bool, starting: bool) -> None:
    """Also where it is seen just before it runs."""

    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        if taken:
            await here.west.keeper.claim(term=Term(2))
        again = here.east.order(Verb.STOP, 2)
        await here.east.member.undo(again)
        assert here.east.server.writes
        if starting:
            here.east.server.role = MemberRole.STOPPED
        here.east.line.conflicts = CLAIMS_MAX
        await asyncio.gather(here.east.member.undo(again), return_exceptions=True)
        here.east.server.role = MemberRole.PRIMARY
        here.east.kill_agent()
        await here.west.member.do(here.west.order(Verb.EXPIRE, 3, old=EAST))
        assert not here.east.server.writes, "its lease has run out, and nothing has killed it"

    told(story)


def test_the_watchdog_of_an_earlier_try_does_not_kill_what_the_next_one_starts() -> None:
    async def story(here: World) -> None:
        again = here.east.order(Verb.STOP, 2)
        await here.east.member.do(again)
        here.east.line.unheard = 1
        with pytest.raises(Unavailable):
            await here.east.member.undo(again)
        await CLOCK.sleep(TIMING.watchdog - s(0.3))
        here.east.line.slow = s(0.2)
        await here.east.member.undo(again)
        await CLOCK.sleep(s(10))
        assert here.east.server.writes
        assert not here.east.server.killed_at

    told(story)


def test_what_was_killed_as_it_started_is_started_by_the_next_order() -> None:
    """It has no marker then that says it is down, and does not answer."""

    async def story(here: World) -> None:
        again = here.east.order(Verb.STOP, 2)
        await here.east.member.do(again)
        await here.east.member.undo(again)
        await here.east.killed_by_its_watchdog()
        here.east.server.silent = True
        here.east.line.cut = False
        await CLOCK.sleep(s(3))
        assert not here.east.server.writes
        await here.east.member.undo(again)
        here.east.server.silent = False
        await CLOCK.sleep(s(10))
        assert here.east.server.writes
        assert len(here.east.server.killed_at) == 1

    told(story)


def test_what_was_promoted_where_nothing_was_to_be_started_is_a_primary() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        await here.west.keeper.claim(term=Term(2))
        await here.east.keeper.resume(term=Term(2))  # and its start failed: a person rebuilt it
        here.east.server.role = MemberRole.STANDBY
        await here.east.member.do(here.east.order(Verb.PROMOTE, 3))
        await CLOCK.sleep(2 * TIMING.renew)
        assert (await here.east.member.observe()).role is MemberRole.PRIMARY
        await here.east.killed_by_its_watchdog()
        here.east.line.cut = False
        await CLOCK.sleep(s(10))
        assert here.east.server.writes, "nobody serves"

    told(story)


def test_a_standby_whose_agent_died_as_its_promotion_had_failed_runs_on() -> None:
    async def story(here: World) -> None:
        await here.east.member.do(here.east.order(Verb.STOP, 2))
        here.west.server.fails = Unavailable("it has not all of the log")
        with pytest.raises(Unavailable):
            await here.west.member.do(here.west.order(Verb.PROMOTE, 2))
        here.west.kill_agent()
        await here.east.member.undo(here.east.order(Verb.STOP, 2))
        here.west.start_agent(here.tasks)
        await CLOCK.sleep(s(60))
        assert here.east.server.writes
        assert here.west.server.role is MemberRole.STANDBY

    told(story)
