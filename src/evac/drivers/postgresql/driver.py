"""One PostgreSQL member as a `ports.Driver`: chooses the verb, one order at a time, and translates what goes wrong.

What this is not: the verbs. Each has a file of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias, TypeVar

from evac.core.errors import DriverError, Rejected, Unavailable
from evac.core.observation import Instant, MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.core.watchdog import Watched
from evac.drivers.postgresql import (
    catch_up,
    check,
    follow,
    prepare,
    promote,
    protect,
    rejoin,
    starve,
    stop,
    verify,
)
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.observe import Observer
from evac.drivers.postgresql.upkeep import Upkeep
from evac.ports import Finding, Holds, Truth

DISK_EACH = timedelta(seconds=5)
DOWN_EACH = timedelta(seconds=1)

Do: TypeAlias = Callable[[Member, Action], Awaitable[Receipt]]
Look: TypeAlias = Callable[[Member, Action], Awaitable[Holds]]

_Done = TypeVar("_Done")


async def _never(member: Member, action: Action) -> Holds:
    """A verb that changes nothing is never there already: it is done again."""
    await member.session.look("SELECT 1", within=member.settings.answer_timeout)
    return Holds(truth=Truth.NO, reason=f"{action.verb} leaves nothing to look at")


async def _nothing(member: Member, action: Action) -> Receipt:
    """The undo of a verb that changed nothing."""
    return Receipt(kind=str(action.verb), facts={"region": member.region})


_DO: Mapping[Verb, Do] = {
    Verb.PREPARE: prepare.prepare,
    Verb.STOP: stop.stop,
    Verb.REFUSE: starve.refuse,
    Verb.CATCH_UP: catch_up.catch_up,
    Verb.PROMOTE: promote.promote,
    Verb.FOLLOW: follow.follow,
    Verb.PROTECT: protect.protect,
    Verb.VERIFY: verify.verify,
    Verb.REJOIN: rejoin.rejoin,
}
_LOOK: Mapping[Verb, Look] = {
    Verb.PREPARE: _never,
    Verb.STOP: stop.stopped,
    Verb.REFUSE: starve.refusing,
    Verb.CATCH_UP: catch_up.caught_up,
    Verb.PROMOTE: promote.promoted,
    Verb.FOLLOW: follow.following,
    Verb.PROTECT: protect.protected,
    Verb.VERIFY: _never,
    Verb.REJOIN: rejoin.rejoined,
}
_UNDO: Mapping[Verb, Do] = {
    Verb.PREPARE: _nothing,
    Verb.STOP: stop.start_again,
    Verb.REFUSE: starve.follow_again,
    Verb.CATCH_UP: _nothing,
    Verb.FOLLOW: follow.follow_before,
    Verb.PROTECT: protect.unprotect,
    Verb.VERIFY: _nothing,
}
VERBS, UNDOABLE = frozenset(_DO), frozenset(_UNDO)


@dataclass(slots=True, kw_only=True)
class _Known:
    """A fact that is asked for now and then only."""

    at: Instant | None = None
    free_disk: float | None = None

    def due(self, now: Instant, each: timedelta) -> bool:
        return self.at is None or now - self.at >= each


class PostgresqlDriver:
    """One member. Observations and orders have a connection each, so that a long order hides no state."""

    def __init__(self, *, member: Member, upkeep: Upkeep) -> None:
        self._member = member
        self._observer = Observer(session=member.watching, peers=member.peers, within=member.settings.answer_timeout)
        self._upkeep = upkeep
        self._upkeep_session = upkeep.session
        self._turn = asyncio.Lock()
        self._disk, self._down = _Known(), _Known()

    async def check(self) -> tuple[Finding, ...]:
        """Try all that an emergency would need."""
        return await check.check(self._member)

    async def observe(self) -> MemberState:
        """Return what it says of itself, do the chores of a primary that are due, keep the order connection open."""
        now = self._member.clock.now()
        try:
            state = await self._observer.state(now=now, free_disk=await self._free_disk(now))
        except Unavailable as silence:
            return await self._stopped(now, silence)
        if state.role is not MemberRole.PRIMARY:
            problem = await self._upkeep.stand_by(now=now)
            await self._keep_ready()
        else:
            problem = await self._upkeep.keep(now=now)
        return replace(state, detail={**state.detail, "upkeep": problem}) if problem else state

    async def holds(self, action: Action) -> Holds:
        """Look whether the action's effect is there."""
        try:
            async with self._turn:
                return await self._chosen(_LOOK, action)(self._member, action)
        except DriverError as error:
            return Holds(truth=Truth.UNKNOWN, reason=str(error))

    async def do(self, action: Action) -> Receipt:
        """Bring the effect about."""
        async with self._turn:
            return await self._chosen(_DO, action)(self._member, action)

    async def undo(self, action: Action) -> Receipt:
        """Bring the world back to before."""
        async with self._turn:
            return await self._chosen(_UNDO, action)(self._member, action)

    def watched(self) -> Watched:
        """Return what a watchdog on the member's host is to kill: the same processes, marker and files as a fence."""
        return self._member.settings.watched()

    async def close(self) -> None:
        for session in (self._member.watching, self._member.session, self._upkeep_session):
            await session.close()

    def _chosen(self, table: Mapping[Verb, _Done], action: Action) -> _Done:
        if action.region != self._member.region or action.component != self._member.component.id:
            raise Rejected(f"an order for {action.component} in {action.region} came to {self._member.region}")
        if action.verb not in table:
            raise Rejected(f"PostgreSQL cannot {action.verb} (or take it back)")
        return table[action.verb]

    async def _keep_ready(self) -> None:
        """Open the order connection now rather than in an emergency. That it failed, the next observation shows."""
        if not self._turn.locked():
            try:
                await self._member.session.ready()
            except DriverError:
                return

    async def _free_disk(self, now: Instant) -> float | None:
        if self._disk.due(now, DISK_EACH):
            self._disk.at = now
            self._disk.free_disk = await self._df()
        return self._disk.free_disk

    async def _df(self) -> float | None:
        script = """df -Pk "$1" | awk 'NR == 2 {print $4 / ($3 + $4)}'"""
        try:
            done = await self._member.hands.plainly(
                "sh", "-c", script, "evac", self._member.settings.data_dir, within=self._member.settings.answer_timeout
            )
            return float(done.out)
        except (DriverError, ValueError):
            return None

    async def _stopped(self, now: Instant, silence: Unavailable) -> MemberState:
        """A member that is kept down says so by its marker; any other silence is silence."""
        if not self._down.due(now, DOWN_EACH):
            raise silence
        down = await self._member.fence.down()
        if down.running or not down.kept:
            self._down.at = now
            raise silence
        return MemberState(role=MemberRole.STOPPED, writable=False, term=down.term)
