"""A lease in its region's hands: the record written, the watchdog armed and fed, the member stopped and started.

Intuition: what is done with a lease, by whoever keeps it (`engine.holding`) or takes it (`engine.taking`), is little:
write the record, tell the watchdog, see to the member. Its order is what makes it safe: first armed, then written, then
fed; so a record never names a region in which no watchdog is armed.

What is started again after a death is what it was, by its own data (`core.lease.Again`): a standby that was killed
before its promotion must not be opened with what it happens to hold.

What this is not: when any of it is done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import structlog

from evac.core.errors import DriverError
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.lease import Again, Held, Tenure
from evac.core.observation import Instant, Json, MemberRole, MemberState
from evac.core.plan import Action, Placement, Term, Verb
from evac.core.timing import LeaseTiming
from evac.core.watchdog import Stance
from evac.engine.codec import decode
from evac.engine.last_known import Guarded
from evac.engine.lease_record import LeaseRecord
from evac.engine.watchdog import Armed, Leash
from evac.ports import Clock, Driver, Store

_log = structlog.get_logger(__name__)


class Leaseholder:
    """One component's lease as the agent of `region` has it, or does not."""

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
        self._seen = False
        """Whether the watchdog saw a process of the member when it was armed last."""
        self._to_start = False
        """Whether what is held was found dead and could not be started yet, for no watchdog could be had."""
        self._resting = False
        """Whether the member was stopped by an order: then nothing is held here until an order begins it again."""
        self._rested: tuple[str, int] | None = None
        """The store's life and the record's version, ours, when the member was stopped: while it is these, nobody else
        has had the lease since."""
        self._taken_at: Instant | None = None
        """When what is ours was last taken from another, whose last renewal lies before; None where that is unknown."""

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

    async def _start_again(self, held: Held) -> None:
        """What the watchdog killed, or what died with its machine, runs again under a renewal made since."""
        assert self._tenure is not None, "what is held has a tenure"
        self._to_start = False
        if self._tenure.back and not self._tenure.waited:
            return
        state = await self._state()
        if state is None or state.role is not MemberRole.STOPPED or (state.term or 0) > self._tenure.term:
            return
        _log.warning("dead, and its lease is renewed: started", component=self._component, region=self.region)
        await self._release()
        if not isinstance(await self._arm(held.sent_at), Armed):
            self._to_start = True
            return
        with suppress(DriverError):  # where that fails it stays down, and a person sees why nothing serves
            await self._member.undo(self._stop(self._tenure.term, again=Again.AS_IT_WAS))
        await self._arm(held.sent_at)

    async def _lay_down(self, term: Term) -> bool:
        """Stop the primary here; return whether that was done. Should it fail, the watchdog does not."""
        self._held = None
        try:
            await self._member.do(self._stop(term))
        except DriverError:
            return False
        return True

    async def _follow_on(self, term: Term) -> None:
        """What is down, and was a standby, is let go and started: nothing else would do that. A primary stays down."""
        await self._release()
        with suppress(DriverError):
            await self._member.undo(self._stop(term, again=Again.STANDBY))

    async def _placed(self) -> Placement | None:
        """Where the group's primaries are by their record. Raises `StoreUnavailable`."""
        record = await self._store.get(f"placement/{self._group}")
        return decode(record.value, Placement) if record else None

    async def _write(self, tenure: Tenure, version: int, *, also: Mapping[str, int] | None = None) -> Held:
        return await self._record.write(tenure, version, within=self.timing.hold, also=also)

    async def _arm(self, sent_at: Instant) -> Armed | Stance | None:
        async with self._leashing:
            return await self._armed(sent_at)

    async def _feed(self, held: Held) -> Stance | None:
        async with self._leashing:
            return await self._fed(held)

    async def _stance(self) -> Stance | None:
        """How a watchdog stands to the member; None where none answers. It is told of a renewal too old to count."""
        async with self._leashing:
            return await self._leash.feed(timedelta())

    async def _release(self) -> None:
        async with self._leashing:
            self._watched = False
            await self._leash.release(self._clock.now())

    async def _armed(self, sent_at: Instant) -> Armed | Stance | None:
        assert self._tenure is not None, "a watchdog is told a term"
        armed = await self._leash.arm(sent_at, self._tenure.term)
        self._watched, self._seen = armed is not None, isinstance(armed, Armed) and bool(armed.seen)
        return armed

    async def _fed(self, held: Held) -> Stance | None:
        """Feed; None also where a watchdog answers that holds nothing."""
        stance = await self._leash.feed(held.sent_at)
        self._watched = stance in (Stance.GUARDING, Stance.DOWN)
        return stance if self._watched else None

    async def _is_stopped(self) -> bool:
        """Whether the member is known to be down."""
        state = await self._state()
        return state is not None and state.role is MemberRole.STOPPED

    async def _state(self) -> MemberState | None:
        try:
            return await self._member.observe()
        except DriverError:
            return None

    def _stop(self, term: Term, *, again: Again = Again.AS_IT_WAS) -> Action:
        args: dict[str, Json] = {"mode": "kill", "again": again.value}
        return Action(component=self._component, region=self.region, verb=Verb.STOP, term=term, args=args)
