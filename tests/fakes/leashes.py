"""A server and its watchdog in virtual time: the watchdog's own rule, and a server that dies of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.lease import Again
from evac.core.observation import Instant, MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.core.watchdog import Arm, Feed, Guard, Order, Release, Stance
from evac.engine.watchdog import Armed
from evac.ports import Finding, Holds, Truth
from fakes.lines import CLOCK


@dataclass(slots=True)
class Server:
    """A member that runs or not, and notes when it was killed. `term` is what its marker or its settings say."""

    role: MemberRole = MemberRole.STANDBY
    term: int = 1
    silent: bool = False
    stubborn: bool = False
    """It does not start."""
    fails: DriverError | None = None
    """How a promotion fails. One that is said to be indeterminate has happened."""
    was: MemberRole = MemberRole.STANDBY
    """What it was when it went down."""
    did: list[Verb] = field(default_factory=list)
    killed_at: list[Instant] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        return self.role is MemberRole.PRIMARY

    def end(self) -> None:
        """It goes down by itself."""
        self.was, self.role = self.role, MemberRole.STOPPED

    def kill(self) -> None:
        if self.role is not MemberRole.STOPPED:
            self.was, self.role = self.role, MemberRole.STOPPED
            self.killed_at.append(CLOCK.now())

    async def observe(self) -> MemberState:
        if self.silent:
            raise Unavailable("it does not answer")
        return MemberState(role=self.role, writable=self.writes, term=self.term)

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def holds(self, action: Action) -> Holds:
        return Holds(truth=Truth.NO)

    async def do(self, action: Action) -> Receipt:
        self.did.append(action.verb)
        match action.verb:
            case Verb.STOP:
                self.was = self.was if self.role is MemberRole.STOPPED else self.role
                self.role, self.term = MemberRole.STOPPED, int(action.term)
            case Verb.PROMOTE:
                if self.fails is not None and not isinstance(self.fails, Indeterminate):
                    raise self.fails
                self.role, self.term = MemberRole.PRIMARY, int(action.term)
            case Verb.REJOIN:
                self.role = MemberRole.STANDBY
            case _:
                pass
        if action.verb is Verb.PROMOTE and self.fails is not None:
            raise self.fails
        return Receipt(kind=action.verb.value)

    async def undo(self, action: Action) -> Receipt:
        self.did.append(action.verb)
        if self.stubborn:
            raise Rejected("it does not start")
        if action.verb is Verb.STOP:
            again = action.args.get("again")
            if again == Again.STANDBY and self.was is MemberRole.PRIMARY:
                raise Rejected("it was a primary")
            if self.role is MemberRole.STOPPED:
                self.role = self.was if again else MemberRole.PRIMARY
        return Receipt(kind="undone")

    async def close(self) -> None:
        self.silent = True


@dataclass(slots=True)
class Hound:
    """A watchdog of a server (`Leash`): `there` is whether one answers, `to_be_had` whether one can be started."""

    server: Server
    within: timedelta
    there: bool = False
    to_be_had: bool = True
    guard: Guard | None = None
    readied: int = 0
    blind: bool = False
    """It sees no process of the server."""

    async def watch(self) -> None:
        """What the process does for itself, without end."""
        while True:
            await CLOCK.sleep(timedelta(milliseconds=50))
            if self.guard is None or not self.there:
                continue
            if self.guard.due(CLOCK.now()):
                self.guard = self.guard.killed()
            if self.guard.stance is Stance.DOWN:
                self.server.kill()

    def die(self) -> None:
        self.there, self.guard = False, None

    async def arm(self, sent_at: Instant, term: int) -> Armed | Stance | None:
        if not self.there:
            if not self.to_be_had:
                return None
            self.there, self.guard = True, Guard(within=self.within)
        assert self.guard is not None
        before = self.guard.stance
        if before is Stance.DOWN:
            return before
        self._tell(Arm(sent_at=sent_at, term=term))
        seen = 0 if self.server.role is MemberRole.STOPPED or self.blind else 8
        return Armed(seen=seen, anew=before is Stance.IDLE)

    async def ready(self) -> None:
        self.readied += 1

    async def feed(self, sent_at: Instant) -> Stance | None:
        return self._tell(Feed(sent_at=sent_at)) if self.there else None

    async def release(self, now: Instant) -> None:
        if self.there:
            self._tell(Release(sent_at=now))
        self.die()

    def _tell(self, order: Order) -> Stance:
        assert self.guard is not None
        self.guard = self.guard.told(order, CLOCK.now())
        return self.guard.stance
