"""Taking a lease, and letting it go, by order of a run: after a wait, by other proof, or back as the run turns back.

Intuition: who is ordered to wait takes the lease by compare-and-set once its version has not changed for the wait, on
its own clock. Who has other proof that nobody else can write need not wait. Who takes it back because a promotion is
said to have failed takes it first and waits then, for whatever may have been promoted after all.

A record of another life of the store (it was restored) names nobody: it may be older than a move. Whoever wants to take
it waits in full, in this life, whatever the receipts say.

What this is not: keeping it (`engine.holding`), or the order of fence and promotion (`core.planning`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from evac.core.errors import Conflict, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.lease import Tenure
from evac.core.observation import Instant
from evac.core.plan import Term
from evac.core.watchdog import Stance
from evac.engine.lease_record import Look
from evac.engine.leaseholder import Leaseholder
from evac.engine.watchdog import Armed

CLAIMS_MAX = 8
"""How often a lease is claimed that changes under one's hands."""
RENEWALS_MAX = 1
"""A renewal that was under way when its sender fell silent may still arrive; a second one is a sign of life."""
LOOKS = 4
"""How often in a renewal's time one who waits reads the record."""


class Taker(Leaseholder):
    """One component's lease as orders to the agent of `region` take it and let it go."""

    async def expire(self, old: RegionId, *, term: Term) -> timedelta:
        """Wait until the lease of `old` has certainly run out, and take it; return how long it has not been renewed.

        Raises `Rejected` when it is not `old` that holds it, or when it is renewed, and `StoreUnavailable`.
        """
        versions: set[int] = set()
        ours_since: Instant | None = None
        look, placed = await self._record.look(), await self._placed()
        await self._leash.ready()
        while True:
            now, record, tenure = self._clock.now(), look.record, look.tenure
            if record is None:
                raise Rejected(f"nobody holds a lease of {self._component}: nothing proves that {old} has stopped")
            if tenure is not None and (tenure.term > term or tenure.region not in (old, self.region)):
                raise Rejected(f"the lease of {self._component} is {tenure.region}'s, of term {tenure.term}")
            if tenure is not None and tenure.region == self.region:
                if placed is not None and tenure.term <= placed.term and placed.primary != self.region:
                    raise Rejected(f"{old} became the primary at term {placed.term}, and never held the lease of it")
                # Ours by an earlier order. If that did not wait, the old holder's last renewal lies before this read.
                since = ours_since = ours_since or self._taken_at or now
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

        Raises `Rejected` when a run of a higher term has it, or no watchdog can be had, `Unavailable`, also when that
        sees no process of the server, which it could not kill, and `StoreUnavailable`.
        """
        await self._have(term, seen=True)

    async def _have(self, term: Term, *, back: bool = False, seen: bool = False) -> None:
        if self._holds_at(term) and (self._seen or not seen):
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
                return await self._claim(look, term, waited=waited, back=back, seen=seen)
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
        A watchdog that has killed is let go, and one of an earlier try that failed, which nobody feeds. One that guards
        what is held here, or what runs, is not: what is held may just be starting.

        Raises as `claim`.
        """
        look = await self._record.look()
        if look.record is None:
            return
        async with self._turn:
            if await self._stance() is Stance.DOWN or (self._held is None and await self._is_stopped()):
                await self._release()
        if look.tenure is not None and (look.life, look.version) == self._rested:
            await self._have(look.tenure.term)
        else:
            await self._have(term, back=True)
            await self.expire(self.region, term=term)

    async def rest(self) -> None:
        """Hold nothing here: the member was stopped by an order, or is about to be rebuilt as a standby."""
        async with self._turn:
            if self._held is not None and self._tenure is not None:
                self._rested = self._tenure.life, self._held.version
            self._resting, self._held = True, None
            await self._release()

    async def _claim(self, look: Look, term: Term, *, waited: bool, back: bool = False, seen: bool = False) -> None:
        """Arm, write the record as ours at a term, and feed. `seen`: only where the watchdog sees what it is to kill.

        Raises `Conflict`, `Rejected`, `Unavailable` and `StoreUnavailable`.

        A watchdog that was begun for it in vain lets go: nobody would feed it. Not where it is unknown what became of
        the write; should such a watchdog have killed by the time of the next try, its server is started again.
        """
        async with self._turn:
            ours = look.tenure if look.tenure is not None and look.tenure.region == self.region else None
            self._tenure = Tenure(region=self.region, term=term, waited=waited, life=look.life, back=back)
            armed = await self._arm(self._clock.now())
            if armed is None:
                raise Rejected(f"no watchdog can be had for {self._component} in {self.region}: see its agent's log")
            if seen and isinstance(armed, Armed) and not armed.seen:
                if armed.anew:
                    await self._release()
                raise Unavailable(f"the watchdog of {self._component} in {self.region} sees no process of it")
            self._taken_at = self._taken_at if ours else None
            try:
                self._held = await self._write(self._tenure, look.version)
            except Conflict:
                if isinstance(armed, Armed) and armed.anew:
                    await self._release()
                raise
            self._taken_at = self._taken_at if ours else self._clock.now()
            self._resting = False
            if await self._feed(self._held) is Stance.DOWN:
                await self._start_again(self._held)
