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
  higher term stopped it, as what it was by its own data; and nothing while the lease is being taken back;
- a record of another life of the store (it was restored) names nobody: it may be older than a move. Who holds the lease
  by its own count, of whom there is never more than one, writes it anew while that count lasts.

What this is not: taking it by order (`engine.taking`), reading and writing the record (`engine.lease_record`), the
order of fence and promotion (`core.planning`), or the kill (`evac.watchdog`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from evac.core.errors import Conflict, StoreError, StoreUnavailable
from evac.core.lease import Awaited, Held, Tenure
from evac.core.observation import MemberRole
from evac.core.plan import Placement
from evac.core.watchdog import Stance
from evac.engine.codec import decode
from evac.engine.lease_record import Look
from evac.engine.taking import LOOKS, Taker
from evac.engine.watchdog import Armed
from evac.ports import Record

_log = structlog.get_logger(__name__)


class Keeper(Taker):
    """One component's lease as the agent of `region` keeps it, or waits for it."""

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
                        # The count of what is another's begins in a life that is known.
                        await self._see_it_follow(await self._record.look())
                    if await self._go_round():
                        pause /= LOOKS
            except (Conflict, StoreUnavailable) as trouble:
                self._say_not_renewed(trouble)
            await self._clock.sleep(pause * self._chance.uniform(0.8, 1.0))

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
        if await self._feed(self._held) is Stance.DOWN or self._to_start:
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
            self._held = await self._write(replace(self._tenure, life=look.life), look.version)
            self._tenure = replace(self._tenure, life=look.life)
            _log.warning("the store was restored: held anew", component=self._component, region=self.region)
            return False
        holder = "another's" if tenure is not None else "nobody's"
        _log.warning(f"the lease is {holder}: stopped", component=self._component, region=self.region)
        if await self._lay_down(self._tenure.term):
            await self._follow_on(self._tenure.term)
        return False

    async def _come_back(self, version: int, tenure: Tenure) -> None:
        """The record is ours and we do not know of it: this agent is new, or a reply was lost. One that was not
        renewed while the group was moved without leases is left to run out: the primary is elsewhere.
        """
        placed = await self._placed()
        if placed is not None and placed.primary != self.region and placed.term >= tenure.term:
            return
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
        if await self._stance() in (Stance.GUARDING, Stance.DOWN):
            return
        state = await self._state()
        if state is None or state.role is MemberRole.PRIMARY:
            _log.error("the store was restored, and no watchdog guards it: stopped", component=self._component)
            await self._lay_down(was.term)

    async def _see_it_follow(self, look: Look) -> None:
        """An agent before this one may have left a standby dead, under a watchdog, when the lease became another's."""
        if look.tenure is None or look.tenure.region == self.region:
            return
        if await self._stance() is Stance.DOWN:
            await self._follow_on(look.tenure.term)

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

    def _say_not_renewed(self, trouble: StoreError) -> None:
        if self._held is not None:
            left = self._held.sent_at + self.timing.hold - self._clock.now()
            _log.warning("not renewed", component=self._component, left_s=left.total_seconds(), why=str(trouble))
