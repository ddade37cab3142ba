"""Holding a primary: its region's agent renews the lease and feeds the watchdog; another region's waits, and takes it.

Intuition: the record `leases/<component>` names the region where the primary may be. Its agent writes it anew by
compare-and-set, and tells the watchdog when the write that succeeded was sent. The others read it as often; when its
version has not changed for the wait, on their own clock, whoever is ordered to takes it by compare-and-set. From then
on the old agent's writes fail, and before that the old watchdog has killed.

The rules that make it safe:
- a record never names a region in which no watchdog is armed: first armed, then written, then fed;
- a renewal is written only while the watchdog has answered the one before; where none can be had, the agent kills its
  primary itself, at the age at which the watchdog would have;
- what was killed, or died with its machine, is started again only under a renewal made since, and only if nothing of a
  higher term stopped it;
- a record of another life of the store (it was restored) names nobody: it may be older than a move. Who holds the lease
  by its own count, of whom there is never more than one, writes it anew while that count lasts; whoever wants to take
  it waits in full, in this life, whatever the receipts say.

What this is not: reading and writing the record (`engine.lease_record`), the order of fence and promotion
(`core.planning`), or the kill (`evac.watchdog`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog

from evac.core.errors import Conflict, DriverError, Rejected, StoreError, StoreUnavailable, Unavailable
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.lease import Awaited, Held, Tenure
from evac.core.observation import Instant, Json, MemberRole, MemberState
from evac.core.plan import Action, Placement, Term, Verb
from evac.core.timing import LeaseTiming
from evac.core.watchdog import Stance
from evac.engine.codec import decode
from evac.engine.last_known import Guarded
from evac.engine.lease_record import LeaseRecord, Look
from evac.engine.watchdog import Armed, Leash
from evac.ports import Clock, Driver, Record, Store

CLAIMS_MAX = 8
"""How often a lease is claimed that changes under one's hands."""
RENEWALS_MAX = 1
"""A renewal that was under way when its sender fell silent may still arrive; a second one is a sign of life."""
LOOKS = 4
"""How often in a renewal's time one who waits reads the record."""

_log = structlog.get_logger(__name__)


class Keeper:
    """One component's lease as the agent of `region` keeps it, or waits for it."""

    def __init__(
        self,
        *,
        component: ComponentId,
        group: GroupId,
        region: RegionId,
        timing: LeaseTiming,
        member: Driver,
        leash: Leash,
        store: Store,
        clock: Clock,
        chance: random.Random | None = None,
    ) -> None:
        problems = timing.problems()
        assert not problems, problems
        self.region = region
        self.timing = timing
        self._component = component
        self._record = LeaseRecord(component, store=store, clock=clock)
        self._group = group
        self._member = member
        self._leash = leash
        self._store = store
        self._clock = clock
        self._chance = chance or random.Random()
        self._turn = asyncio.Lock()
        """Held by whoever may change what is held."""
        self._leashing = asyncio.Lock()
        """Held by whoever speaks to the watchdog: one order after the other, and none for what is no longer held."""
        self._held: Held | None = None
        self._tenure: Tenure | None = None
        """What was last read or written."""
        self._watched = False
        """Whether a watchdog has answered for the newest renewal: it guards the member, or keeps it down."""
        self._resting = False
        """Whether the member was stopped by an order: then nothing is held here until an order begins it again."""
        self._rested: tuple[str, int] | None = None
        """The store's life and the record's version, ours, when the member was stopped: while it is these, nobody else
        has had the lease since."""
        self.taken_at: Instant | None = None
        """When what is ours was last taken from another, whose last renewal lies before; None where that is unknown."""
        self._turns_back = False
        """Whether it is being taken back: until that was waited for in full, nothing is started under it."""

    async def keep(self) -> None:
        """Renew or wait, without end, and never lose sight of the watchdog meanwhile."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._keep())
            both.create_task(self._stand_by_watchdog())

    async def _keep(self) -> None:
        while True:
            pause = self.timing.renew
            try:
                async with self._turn:
                    if not self._record.life:
                        await self._record.look()  # the count of what is another's begins in a life that is known
                    if await self._go_round():
                        pause /= LOOKS
            except (Conflict, StoreUnavailable) as trouble:
                self._say_not_renewed(trouble)
            await self._clock.sleep(pause * self._chance.uniform(0.8, 1.0))

    async def expire(self, old: RegionId, *, term: Term) -> timedelta:
        """Wait until the lease of `old` has certainly run out, and take it; return how long it has not been renewed.

        Raises `Rejected` when it is not `old` that holds it, or when it is renewed, and `StoreUnavailable`.
        """
        versions: set[int] = set()
        ours_since: Instant | None = None
        look = await self._record.look()
        await self._leash.ready()
        while True:
            now, record, tenure = self._clock.now(), look.record, look.tenure
            if record is None:
                raise Rejected(f"nobody holds a lease of {self._component}: nothing proves that {old} has stopped")
            if tenure is not None and (tenure.term > term or tenure.region not in (old, self.region)):
                raise Rejected(f"the lease of {self._component} is {tenure.region}'s, of term {tenure.term}")
            if tenure is not None and tenure.region == self.region:
                # Ours by an earlier order. If that did not wait, the old holder's last renewal lies before this read.
                since = ours_since = ours_since or self.taken_at or now
                over = tenure.waited or now - since >= self.timing.wait
            else:
                since, over = look.awaited.read_at, look.awaited.over(now, self.timing)
                versions.add(record.version)
            if len(versions) > 1 + RENEWALS_MAX:
                raise Rejected(f"{old} renews its lease of {self._component}: its agent is alive, and can stop it")
            if over:
                try:
                    await self._claim(look, term, waited=True)
                except Conflict:  # renewed in the last moment, or the store was restored
                    look = await self._record.look()
                    continue
                return now - since
            pause, left = self.timing.renew / LOOKS, since + self.timing.wait - self._clock.now()
            await self._clock.sleep(min(pause, left) if left > timedelta() else pause)
            record, awaited = await self._record.read(near=True)
            look = replace(look, record=record, awaited=awaited)

    async def claim(self, *, term: Term) -> None:
        """Have the lease by order of a run whose receipts prove that nobody else can write: no wait is needed.

        One that was taken at this term just now, by `expire`, and is held, is not taken again: three ways to the store
        and back, while nobody can write. One of another life of the store is waited for all the same.

        Raises `Rejected` when a run of a higher term has it, or no watchdog can be had, `Unavailable` and
        `StoreUnavailable`.
        """
        self._turns_back = False
        await self._have(term)

    async def _have(self, term: Term) -> None:
        if self._holds_at(term):
            return None
        for _ in range(CLAIMS_MAX):
            look = await self._record.look()
            tenure = look.tenure
            if tenure is not None and tenure.term > term:
                raise Rejected(f"the lease of {self._component} is {tenure.region}'s, of the higher term {tenure.term}")
            waited = tenure is not None and tenure.region == self.region and tenure.waited
            if look.of_another_life:
                if (left := look.awaited.left(self._clock.now(), self.timing)) > timedelta():
                    await self._clock.sleep(left)
                    continue
                waited = True
            with suppress(Conflict):  # its old holder renewed it meanwhile
                return await self._claim(look, term, waited=waited)
        raise Unavailable(f"the lease of {self._component} changed {CLAIMS_MAX} times while it was claimed")

    def _holds_at(self, term: Term) -> bool:
        """Whether the lease is ours at this term, young enough to act on, and a watchdog has answered for it."""
        held, tenure = self._held, self._tenure
        if held is None or tenure is None or not self._watched or self._resting:
            return False
        return tenure.term == term and held.lasts(self._clock.now(), self.timing)

    async def resume(self, *, term: Term) -> None:
        """Hold the member again that an order had stopped, before it runs again, as a run turns back at a term.

        Where the lease may have been another's since, it is taken back, and waited for in full: a promotion is said to
        have failed there, and by then what it may have left behind is dead. One that was never held is not held now.

        Raises as `claim`.
        """
        look = await self._record.look()
        if look.record is None:
            return
        await self._release()
        if look.tenure is not None and (look.life, look.version) == self._rested:
            await self.claim(term=look.tenure.term)
        else:
            self._turns_back = True
            await self._have(term)
            await self.expire(self.region, term=term)
            self._turns_back = False

    async def rest(self) -> None:
        """Hold nothing here: the member was stopped by an order, or is about to be rebuilt as a standby."""
        async with self._turn:
            if self._held is not None and self._tenure is not None:
                self._rested = self._tenure.life, self._held.version
            self._resting, self._held = True, None
            await self._release()

    def guarded(self, now: Instant) -> Guarded | None:
        """Return how the primary is held here; None where it is not."""
        held = self._held
        if held is None:
            return None
        return Guarded(
            component=self._component, age=now - held.sent_at, kills_at=self.timing.watchdog, armed=self._watched
        )

    async def mark(self) -> None:
        """Write the marker again that a start took away."""
        async with self._turn:
            if self._held is not None:
                await self._arm(self._held.sent_at)

    async def _go_round(self) -> bool:
        """Renew what is ours, or look at what is another's; return whether that is all there is to do."""
        if self._held is not None:
            return await self._renew(self._held)
        record, awaited = await self._record.read(near=True)
        if self._resting or not self._concerns(record, awaited):
            return True
        look = await self._record.look()
        if look.tenure is not None and look.tenure.region == self.region:
            await self._come_back(look.version, look.tenure)
        elif look.record is None or look.awaited.over(self._clock.now(), self.timing):
            await self._begin(look)
        else:  # the near copy was behind, or it is of another life
            if look.of_another_life:
                await self._see_it_guarded(decode(look.record.value, Tenure))
            return True
        return False

    def _concerns(self, record: Record | None, awaited: Awaited) -> bool:
        """Whether a lease may be ours by its record, or nobody's."""
        if record is None or awaited.over(self._clock.now(), self.timing):
            return True
        return decode(record.value, Tenure).region == self.region

    async def _renew(self, held: Held) -> bool:
        """Write the record anew, if a watchdog has answered for the renewal before; and feed it."""
        assert self._tenure is not None, "what is held has a tenure"
        if not self._watched:
            return True
        try:
            self._held = await self._write(self._tenure, held.version)
        except Conflict:
            return await self._find_out(held)
        if await self._feed(self._held) is Stance.DOWN:
            await self._start_again(self._held)
        return False

    async def _find_out(self, held: Held) -> bool:
        """The record was written since: by us, and the reply was lost; by another, and the right is laid down; or the
        store was restored, and it is not ours in this life yet, but nobody else's can have begun while our count lasts.
        """
        assert self._tenure is not None, "what was held had a tenure"
        look = await self._record.look()
        tenure = look.tenure
        if tenure is not None and tenure.region == self.region:
            # When that one was sent is not known any more: its age goes on from before.
            self._tenure, self._held = tenure, Held(version=look.version, sent_at=held.sent_at)
            return True
        if tenure is None and self._tenure.life != look.life and held.lasts(self._clock.now(), self.timing):
            anew = replace(self._tenure, life=look.life)
            self._held = await self._write(anew, look.version)
            self._tenure = anew
            _log.warning("the store was restored: held anew", component=self._component, region=self.region)
            return False
        holder = "another's" if tenure is not None else "nobody's"
        _log.warning(f"the lease is {holder}: stopped", component=self._component, region=self.region)
        await self._lay_down(self._tenure.term)
        return False

    async def _come_back(self, version: int, tenure: Tenure) -> None:
        """The record is ours and we do not know of it: this agent is new, or a reply was lost."""
        self._tenure = tenure
        armed = await self._arm(self._clock.now())
        if armed is None:
            return
        self._held = await self._write(tenure, version)
        stance = await self._feed(self._held)
        if stance is Stance.DOWN or (isinstance(armed, Armed) and not armed.seen):
            await self._start_again(self._held)

    async def _see_it_guarded(self, was: Tenure) -> None:
        """Before the store was restored a primary was held here, and this agent has no count of its own for it. Who
        wants it waits for as long as a watchdog lets it live: where there is none, it is stopped at once.
        """
        if was.region != self.region:
            return
        async with self._leashing:
            stance = await self._leash.feed(timedelta())  # too old to lengthen anything: it is only asked
        if stance in (Stance.GUARDING, Stance.DOWN):
            return
        state = await self._state()
        if state is None or state.role is MemberRole.PRIMARY:
            _log.error("the store was restored, and no watchdog guards it: stopped", component=self._component)
            await self._lay_down(was.term)

    async def _begin(self, look: Look) -> None:
        """Nobody holds a primary that the placement says is here: it is held from now on."""
        placed = await self._store.get(f"placement/{self._group}")
        placement = decode(placed.value, Placement) if placed else None
        if placed is None or placement is None or placement.primary != self.region:
            return
        state = await self._state()
        if state is None or state.role is not MemberRole.PRIMARY:
            return
        self._tenure = Tenure(region=self.region, term=placement.term, waited=look.record is not None, life=look.life)
        armed = await self._arm(self._clock.now())
        if not isinstance(armed, Armed) or not armed.seen:
            why = "its watchdog sees no process of it" if isinstance(armed, Armed) else "no watchdog can be had"
            _log.error("not held under a lease", component=self._component, why=why)
            return
        self._held = await self._write(self._tenure, look.version, also={placed.key: placed.version})
        _log.info("held under a lease", component=self._component, region=self.region)
        await self._feed(self._held)

    async def _start_again(self, held: Held) -> None:
        """What the watchdog killed, or what died with its machine, runs again under a renewal made since."""
        assert self._tenure is not None, "what is held has a tenure"
        if self._turns_back and not self._tenure.waited:
            return
        state = await self._state()
        if state is None or state.role is not MemberRole.STOPPED or (state.term or 0) > self._tenure.term:
            return
        _log.warning("dead, and its lease is renewed: started", component=self._component, region=self.region)
        await self._release()
        if not isinstance(await self._arm(held.sent_at), Armed):
            return
        with suppress(DriverError):  # where that fails it stays down, and a person sees why nothing serves
            await self._member.undo(self._stop(self._tenure.term))
        await self._arm(held.sent_at)

    async def _stand_by_watchdog(self) -> None:
        """Hear from the watchdog of what is held again and again, whatever the store does; begin another where it is
        silent; and where none can be had stop the primary at the age at which it would have. Without end.
        """
        while True:
            await self._clock.sleep(self.timing.renew / LOOKS)
            async with self._leashing:
                held = self._held
                if held is not None and await self._fed(held) is None and await self._armed(held.sent_at) is None:
                    if held.lasts(self._clock.now(), self.timing):
                        continue
                    assert self._tenure is not None, "what is held has a tenure"
                    _log.error("no watchdog, and the lease runs out: stopped", component=self._component)
                    await self._lay_down(self._tenure.term)

    async def _lay_down(self, term: Term) -> None:
        """Stop the primary here. Should that fail, the watchdog does not."""
        self._held = None
        with suppress(DriverError):
            await self._member.do(self._stop(term))

    def _say_not_renewed(self, trouble: StoreError) -> None:
        if self._held is not None:
            left = self._held.sent_at + self.timing.hold - self._clock.now()
            _log.warning("not renewed", component=self._component, left_s=left.total_seconds(), why=str(trouble))

    async def _claim(self, look: Look, term: Term, *, waited: bool) -> None:
        """Arm, write the record as ours at a term, and feed. Raises `Conflict`, `Rejected` and `StoreUnavailable`.

        A watchdog that was begun for it in vain lets go: nobody would feed it. Not where it is unknown what became of
        the write; should such a watchdog have killed by the time of the next try, its server is started again.
        """
        async with self._turn:
            self._tenure = Tenure(region=self.region, term=term, waited=waited, life=look.life)
            armed = await self._arm(self._clock.now())
            if armed is None:
                raise Rejected(f"no watchdog can be had for {self._component} in {self.region}: see its agent's log")
            taken = look.tenure is None or look.tenure.region != self.region
            self.taken_at = None if taken else self.taken_at
            try:
                self._held = await self._write(self._tenure, look.version)
            except Conflict:
                if isinstance(armed, Armed) and armed.anew:
                    await self._release()
                raise
            self.taken_at = self._clock.now() if taken else self.taken_at
            self._resting = False
            if await self._feed(self._held) is Stance.DOWN:
                await self._start_again(self._held)

    async def _write(self, tenure: Tenure, version: int, *, also: Mapping[str, int] | None = None) -> Held:
        return await self._record.write(tenure, version, within=self.timing.hold, also=also)

    async def _arm(self, sent_at: Instant) -> Armed | Stance | None:
        async with self._leashing:
            return await self._armed(sent_at)

    async def _feed(self, held: Held) -> Stance | None:
        async with self._leashing:
            return await self._fed(held)

    async def _release(self) -> None:
        async with self._leashing:
            self._watched = False
            await self._leash.release(self._clock.now())

    async def _armed(self, sent_at: Instant) -> Armed | Stance | None:
        assert self._tenure is not None, "a watchdog is told a term"
        armed = await self._leash.arm(sent_at, self._tenure.term)
        self._watched = armed is not None
        return armed

    async def _fed(self, held: Held) -> Stance | None:
        """Feed; None also where a watchdog answers that holds nothing."""
        stance = await self._leash.feed(held.sent_at)
        self._watched = stance in (Stance.GUARDING, Stance.DOWN)
        return stance if self._watched else None

    async def _state(self) -> MemberState | None:
        try:
            return await self._member.observe()
        except DriverError:
            return None

    def _stop(self, term: Term) -> Action:
        args: dict[str, Json] = {"mode": "kill"}
        return Action(component=self._component, region=self.region, verb=Verb.STOP, term=term, args=args)
