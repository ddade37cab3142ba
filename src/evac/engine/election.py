"""Election: of all agents that could lead, one does, by a lease in the store.

Intuition: the record `leader` names who leads. Its holder renews it by compare-and-set; the others watch it, and when
its version has stood still for long enough on their own clocks they read it, and take it, by compare-and-set too, so of
several that try one succeeds. A watch hears of each renewal as soon as the nearest copy has it; whoever only read it
now and then might hear of the last one when the store has chosen a new leader of its own, and begin to wait then.

A renewal that was under way when the store lost its own leader is heard of when it has chosen another one, seconds
later, and the wait would begin then. So each renewal carries when it was sent, by its holder's clock; the clock filter
knows how that clock stands to one's own, and the wait begins when it was sent, at the latest.

A leader that cannot renew stops leading before anybody else may begin. It need not wait for itself: when it reaches the
store again before anybody took the lease, it takes it again at once.

What a former leader may still have on its way to the store is harmless: a journal's entries carry a term, which the
next leader raises before it goes on with a run, and opening one rests on who leads (`engine.opener`).

What this is not: the rule of the times (`core.lease`), or what a leader does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta

from evac.core.errors import Conflict, StoreError, StoreUnavailable
from evac.core.estate import RegionId
from evac.core.lease import Awaited, Held, Leader
from evac.core.observation import Instant
from evac.core.timing import LeaseTiming
from evac.engine.cancelling import apart
from evac.engine.clock_filter import ClockFilter
from evac.engine.codec import decode, encode
from evac.engine.opener import KEY as OPENS
from evac.ports import Clock, Record, Store

KEY = "leader"
SENT = "leader/sent"
"""When the lease was renewed last, by its holder's own clock: written with every renewal."""

LEADING = LeaseTiming(renew=timedelta(seconds=0.4), hold=timedelta(seconds=1.6), wait=timedelta(seconds=1.8))
"""The leader's own lease. It can be short: a change of leader costs nothing but a read of the journal, and two that
take themselves for leaders are kept apart by the terms."""


OF_LATE = timedelta(seconds=2)
"""What is known of a holder's clock is at most twice as old: the two may have drifted apart meanwhile."""
DRIFTED_MAX = 2 * OF_LATE * 2 * 0.02
"""By how much, if both clocks go wrong by one part in fifty, twenty times what the lease's times allow for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """When a renewal was sent, by the clock of the process in `region` that `life` names."""

    region: RegionId
    life: str
    at: Instant


async def leader(store: Store) -> Leader | None:
    """Return who is recorded as leading; None when nobody is. That it still lives, only its renewals tell."""
    record = await store.get(KEY)
    return decode(record.value, Leader) if record else None


class Candidate:
    """One process that leads when no other does."""

    def __init__(
        self,
        *,
        name: str,
        region: RegionId,
        store: Store,
        clock: Clock,
        timing: LeaseTiming = LEADING,
        chance: random.Random | None = None,
        favoured: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`favoured` says whether this one would lead better than others could: who would not lets them go first."""
        problems = timing.problems()
        assert not problems, problems
        self.name = name
        self.region = region
        self._store = store
        self._clock = clock
        self._timing = timing
        self._chance = chance or random.Random()
        self._favoured = favoured or _always
        self._awaited: Awaited | None = None
        """The newest version heard of, whoever wrote it."""
        self._life = f"{self._chance.getrandbits(32):08x}"
        self._clocks = ClockFilter(of_late=OF_LATE)

    async def stand(self, lead: Callable[[Leader], Awaitable[None]]) -> None:
        """Wait for the lead, hold it while `lead` runs, and stand again when it is lost, until cancelled.

        `lead` is cancelled when the lease can no longer be renewed in time. When it ends by itself, or by a failing
        store, the lease is left to run out, so that others may do better.
        """
        lapsed: Leader | None = None
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow(), name=f"lease of {KEY} followed")
            while True:
                mine, held = await self._won(lapsed)
                lapsed = mine if await apart(self._reign(mine, held, lead)) else None

    async def _follow(self) -> None:
        """Note each renewal when it is heard of, without end."""
        while True:
            try:
                after = await self._store.revision()
                async with aclosing(self._store.watch(KEY, after=after)) as changes:
                    async for change in changes:
                        version = change.record.version if change.record else 0
                        if change.key == KEY:
                            self._heard(version)
                        elif change.key == SENT and change.record is not None:
                            self._heard_when(version, decode(change.record.value, Sent))
            except StoreUnavailable:
                await self._clock.sleep(self._timing.renew)

    def _heard(self, version: int) -> Awaited:
        """Note that the lease is at a version, and return since when it is known to be."""
        now = self._clock.now()
        self._awaited = self._awaited.seen(version, now) if self._awaited else Awaited(version=version, read_at=now)
        return self._awaited

    def _heard_when(self, version: int, told: Sent) -> None:
        """Note when the renewal that made a version was sent, which was heard of just now."""
        sent_at = self._clocks.sent_at(told.region, life=told.life, sent=told.at, now=self._clock.now())
        if self._awaited is not None and self._awaited.version == version:
            self._awaited = self._awaited.sent(sent_at + DRIFTED_MAX)

    async def _won(self, lapsed: Leader | None) -> tuple[Leader, Held]:
        """Return once the lease is ours; `lapsed` is our own that we have laid down."""
        let_go_first = -1
        while True:
            try:
                if lapsed or self._awaited is None or self._awaited.over(self._clock.now(), self._timing):
                    record = await self._store.get(KEY)
                    version = record.version if record else 0
                    awaited = self._heard(version)
                    if lapsed and record and decode(record.value, Leader) == lapsed:
                        return await self._take(record)
                    if record is None or awaited.over(self._clock.now(), self._timing):
                        if let_go_first == version or await self._favoured():
                            return await self._take(record)
                        let_go_first = version
            except (Conflict, StoreUnavailable):
                # Another one was quicker, or nobody can tell: it is read again, and its time begins anew if it moved.
                pass
            await self._clock.sleep(self._pause())

    def _pause(self) -> timedelta:
        """Return how long to wait until the lease is looked at again: a while, or until it is over if sooner."""
        pause: timedelta = self._timing.renew * self._chance.uniform(0.5, 1.0)
        over_at = self._awaited.read_at + self._timing.wait if self._awaited else timedelta()
        left = over_at - self._clock.now()
        return min(pause, left) if left > timedelta() else pause

    async def _take(self, record: Record | None) -> tuple[Leader, Held]:
        """Take a lease that is free, or over. Raises `Conflict` and `StoreUnavailable`."""
        before = decode(record.value, Leader) if record else None
        mine = Leader(
            name=self.name,
            region=self.region,
            reign=before.reign + 1 if before else 1,
            since=self._clock.wall(),
        )
        return mine, await self._write(mine, record.version if record else 0, anew=True)

    async def _write(self, mine: Leader, version: int, *, anew: bool = False) -> Held:
        sent_at = self._clock.now()
        sent = Sent(region=self.region, life=self._life, at=sent_at)
        put = {KEY: encode(mine), SENT: encode(sent)} | ({OPENS: encode(mine)} if anew else {})
        written = await self._store.commit(expect={KEY: version}, put=put)
        return Held(version=written, sent_at=sent_at)

    async def _reign(self, mine: Leader, held: Held, lead: Callable[[Leader], Awaitable[None]]) -> bool:
        """Lead, and renew, until one of the two ends; return whether it was because the lease was not renewed.

        Nobody leads by a lease that was over when the store's answer came: by now another one may.
        """
        if not held.lasts(self._clock.now(), self._timing):
            return True
        lapsed = False
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_to_the_end(lead(mine)))
                both.create_task(self._renew(mine, held))
        except* _Lapsed:
            lapsed = True
        except* (_Ended, StoreError):
            # With a store that fails nobody can lead; whoever reaches it again first may.
            pass
        return lapsed

    async def _renew(self, mine: Leader, held: Held) -> None:
        """Renew until that fails for so long that the lease must be laid down, or another one has it: `_Lapsed`.

        A lease whose commit was answered late is renewed the sooner for it.
        """
        due_at = held.sent_at + self._timing.renew
        while held.lasts(self._clock.now(), self._timing):
            await self._clock.sleep(min(max(due_at - self._clock.now(), timedelta()), self._left(held)))
            due_at = self._clock.now() + self._timing.renew
            try:
                async with asyncio.timeout(self._left(held).total_seconds()):
                    held = await self._write(mine, held.version)
            except Conflict:
                renewed = await self._mine(mine, held)
                if renewed is None:
                    break
                held = renewed
            except (TimeoutError, StoreUnavailable):
                continue
        raise _Lapsed

    async def _mine(self, mine: Leader, held: Held) -> Held | None:
        """After a conflict: a renewal whose reply was lost is still ours, counted from when we last knew of it.

        Only the version is taken from it: when it was sent is not known any more, so the age goes on as it was.
        """
        try:
            async with asyncio.timeout(self._left(held).total_seconds()):
                record = await self._store.get(KEY)
        except (TimeoutError, StoreUnavailable):
            return None
        if record is None or decode(record.value, Leader) != mine:
            return None
        return replace(held, version=record.version)

    def _left(self, held: Held) -> timedelta:
        """Return how much longer the lease may be acted on."""
        return max(held.sent_at + self._timing.hold - self._clock.now(), timedelta())


async def _always() -> bool:
    return True


class _Ended(Exception):
    """Nobody leads any more of itself, so the lease need not be renewed."""


class _Lapsed(Exception):
    """The lease was not renewed in time, so nobody may lead any more."""


async def _to_the_end(part: Awaitable[None]) -> None:
    await part
    raise _Ended
