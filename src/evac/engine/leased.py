"""A member whose primary is held under a lease, as a driver: the verbs that may begin or end a tenure do so on the way.

Intuition: the driver knows nothing of leases. What is added is little: `expire` is done here, by the keeper of the
lease; before a promotion the lease is ours and a watchdog armed; after a stop nothing is held.

What this is not: renewing and waiting (`engine.holding`).
"""

from __future__ import annotations

from evac.core.errors import Rejected, StoreUnavailable, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.engine.holding import Keeper
from evac.ports import Driver, Finding, Holds, Truth


class LeasedMember:
    """A member and the keeper of its lease (`ports.Driver`)."""

    def __init__(self, member: Driver, keeper: Keeper) -> None:
        self._member = member
        self._keeper = keeper

    async def check(self) -> tuple[Finding, ...]:
        return await self._member.check()

    async def observe(self) -> MemberState:
        return await self._member.observe()

    async def holds(self, action: Action) -> Holds:
        """Look; whether a lease is ours is found out by asking for it again."""
        if action.verb is Verb.EXPIRE:
            return Holds(truth=Truth.NO, reason="a lease is asked for again")
        return await self._member.holds(action)

    async def do(self, action: Action) -> Receipt:
        """Do it, with the lease taken before it or laid down after it. Raises a driver's errors only."""
        try:
            match action.verb:
                case Verb.EXPIRE:
                    return await self._expire(action)
                case Verb.PROMOTE:
                    await self._keeper.claim(term=action.term)
                    return await self._member.do(action)
                case Verb.STOP:
                    receipt = await self._member.do(action)
                    await self._keeper.rest()
                    return receipt
                case Verb.REJOIN:
                    await self._keeper.rest()
                    return await self._member.do(action)
                case (
                    Verb.PREPARE
                    | Verb.REFUSE
                    | Verb.SWITCH_OFF
                    | Verb.CATCH_UP
                    | Verb.FOLLOW
                    | Verb.PROTECT
                    | Verb.SHIFT
                    | Verb.VERIFY
                ):  # pragma: no branch (the union is closed)
                    return await self._member.do(action)
        except StoreUnavailable as trouble:
            raise Unavailable(f"the lease cannot be read or written: {trouble}") from trouble

    async def undo(self, action: Action) -> Receipt:
        """Undo it; a primary that runs again is held again first."""
        if action.verb is not Verb.STOP:
            return await self._member.undo(action)
        try:
            await self._keeper.resume(term=action.term)
        except StoreUnavailable as trouble:
            raise Unavailable(f"the lease cannot be read or written: {trouble}") from trouble
        receipt = await self._member.undo(action)
        await self._keeper.mark()
        return receipt

    async def close(self) -> None:
        await self._member.close()

    async def _expire(self, action: Action) -> Receipt:
        old = action.args.get("old")
        if not isinstance(old, str):
            raise Rejected(f"expire in {action.region}: argument old must name the region whose lease is awaited")
        age = await self._keeper.expire(RegionId(old), term=action.term)
        bound = self._keeper.timing.wait
        facts: dict[str, Json] = {
            "held_by": old,
            "waited_s": round(age.total_seconds(), 3),
            "bound_s": bound.total_seconds(),
        }
        return Receipt(kind="expired", facts=facts)
