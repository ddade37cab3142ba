"""The drivers of modelled databases: what each verb asks of a member, refuses, waits for and answers.

Intuition: an order is carried out by the member's own process, which looks first at the highest term it was told; only
stopping and rebuilding are done from outside, by the agent, since they must also work on a process that is frozen. They
read the term from the disk.

The rules that a planted bug takes away are arguments: whether a member looks at the term, and at what was done already.

What this is not: the logs (`databases`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json, MemberRole, MemberState
from evac.core.plan import Action, SyncSet, Verb
from evac.core.run import Receipt
from evac.ports import Finding, Holds, Truth
from evac.sim import words
from evac.sim.databases import Database, Databases, Saved
from evac.sim.obedience import Effect, Obedience
from evac.sim.time import sleep

SETTLE = 5.0
"""For so many seconds a member waits for what must follow, before it says that it does not know."""
STEP = 0.02
"""How often it looks meanwhile."""
COPYING = 2.0
"""So many seconds a rebuild takes."""
GRACE = 3.0
"""So many seconds more a server has to say that its target does not have all in time."""


@dataclass(slots=True, kw_only=True)
class Member:
    """Implements `evac.ports.Driver` for one database."""

    node: Database
    world: Databases
    changed: Callable[[Effect], None]
    """Told of every effect when it happens."""
    obedience: Obedience = field(default_factory=Obedience)
    given: Callable[[Action, bool], None] = lambda action, undo: None
    """Told of every order as it comes, and whether it is to undo something."""
    before: dict[Verb, Any] = field(default_factory=dict)

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(ok=True, what="a model needs nothing"),)

    async def close(self) -> None: ...

    async def observe(self) -> MemberState:
        if self.node.role is MemberRole.STOPPED:
            return MemberState(role=MemberRole.STOPPED, writable=False, term=self.node.term)
        return await self.node.looked_at(self._state, from_=self.node.region)

    def _state(self) -> MemberState:
        node = self.node
        standby = node.role is MemberRole.STANDBY
        streams = node.streams_now()
        now = asyncio.get_running_loop().time()
        silence = None if node.heard_at is None else timedelta(seconds=now - node.heard_at)
        return MemberState(
            role=node.role,
            writable=not standby,
            position=node.position,
            timeline=node.timeline,
            term=node.term,
            upstream=node.upstream,
            refuses=standby and node.upstream is None,
            streaming=streams,
            stream_silence=silence if standby else None,
            lag=timedelta() if standby and streams else None,
            waiting=node.waiting,
            sync_acks=node.sync.acks if node.sync and not standby else 0,
            sync_standbys=node.sync.standbys if node.sync and not standby else (),
        )

    async def holds(self, action: Action) -> Holds:
        if action.verb is Verb.STOP:
            kept = self.node.role is MemberRole.STOPPED and self.node.term == action.term
            return Holds(truth=Truth.YES if kept else Truth.NO, receipt=self._stopped(action) if kept else None)
        if not self.obedience.knows_what_is_done:
            return Holds(truth=Truth.NO)
        found = await self._ask(lambda: self._holds(action))
        return Holds(truth=Truth.YES if found else Truth.NO, receipt=found)

    def _holds(self, action: Action) -> Receipt | None:
        """Return the receipt of what holds already by order of this term."""
        node, args = self.node, words.args(action)
        if node.term != action.term:
            return None
        match action.verb:
            case Verb.REFUSE:
                there = node.role is MemberRole.STANDBY and node.upstream is None
            case Verb.CATCH_UP:
                there = node.role is MemberRole.STANDBY and words.rank_of(node) >= words.highest(args)[0]
            case Verb.PROMOTE:
                there = node.role is MemberRole.PRIMARY and node.sync == words.sync(args["sync"])
            case Verb.FOLLOW | Verb.REJOIN:
                there = node.upstream == args["primary"] and node.streams_now()
            case Verb.PROTECT:
                there = node.role is MemberRole.PRIMARY and node.sync == words.sync(args) and node.enough(node.position)
            case Verb.PREPARE | Verb.VERIFY | Verb.SHIFT | Verb.STOP | Verb.EXPIRE | Verb.SWITCH_OFF:
                there = False
        return self._receipt(action) if there else None

    async def do(self, action: Action) -> Receipt:
        self.given(action, False)
        match action.verb:
            case Verb.STOP:
                return await self._stop(action)
            case Verb.REJOIN:
                return await self._rejoin(action)
            case _:
                receipt = await self._ask(lambda: self._do(action))
                assert isinstance(receipt, Receipt)
                return receipt

    async def _do(self, action: Action) -> Receipt:
        node, args = self.node, words.args(action)
        must = MemberRole.PRIMARY if action.verb in (Verb.PROTECT, Verb.PREPARE, Verb.VERIFY) else MemberRole.STANDBY
        if action.verb is Verb.PROMOTE:
            must = node.role
        match action.verb:
            case Verb.REFUSE:
                self._obey(action, must=must)
                onward = RegionId(args["next"]) if "next" in args else None
                self.before[Verb.REFUSE] = node.upstream if node.upstream not in (None, onward) else args["old"]
                node.turn_to(None)
                receipt = self._receipt(action)
                node.turn_to(onward)
                return receipt
            case Verb.CATCH_UP:
                return await self._catch_up(action, must=must)
            case Verb.PROMOTE:
                return await self._promote(action)
            case Verb.FOLLOW:
                return await self._follow(action, must=must)
            case Verb.PROTECT:
                return await self._protect(action, words.sync(args), must=must)
            case Verb.VERIFY:
                self._obey(action, must=must, changes=False)
                await self._until(lambda: node.enough(node.position), failing=Unavailable("its writes wait"))
                return self._receipt(action)
            case _:
                self._obey(action, must=must, changes=False)
                return self._receipt(action)

    async def undo(self, action: Action) -> Receipt:
        self.given(action, True)
        if action.verb is Verb.STOP:
            if self.node.term > action.term and self.obedience.looks_at_the_term:
                raise Rejected(f"{self.node.where} has seen term {self.node.term}")
            role = words.again(action, self.node.was)
            self._effect(action, undo=True)
            if self.node.role is MemberRole.STOPPED:
                self.node.role, self.node.marked = role, False
            self.node.start()
            return Receipt(kind="stop", facts={"primary": self.node.role is MemberRole.PRIMARY})
        receipt = await self._ask(lambda: self._undo(action))
        assert isinstance(receipt, Receipt)
        return receipt

    async def _undo(self, action: Action) -> Receipt:
        node = self.node
        must = MemberRole.PRIMARY if action.verb is Verb.PROTECT else MemberRole.STANDBY
        args = words.args(action)
        receipt = args.get("receipt") or {}
        match action.verb:
            case Verb.REFUSE:
                self._obey(action, must=must, undo=True)
                if self.obedience.undoes:
                    node.turn_to(RegionId(args["old"]))
            case Verb.FOLLOW:
                known = {"before": args["old"], **receipt} if "old" in args else receipt
                if "before" not in known:
                    raise Rejected(f"{node.where}: whom it followed before is not known")
                self._obey(action, must=must, undo=True)
                node.turn_to(known["before"])
            case Verb.PROTECT:
                if "before" not in receipt:
                    raise Rejected(f"{node.where}: whom it waited for before is not known")
                return await self._protect(action, words.sync(receipt["before"]), must=must, undo=True)
            case _:
                raise Rejected(f"there is no undo of {action.verb}")
        return Receipt(kind=action.verb.value)

    async def _stop(self, action: Action) -> Receipt:
        """From outside: a clean stop sends its standbys everything first, if they stream; its target must."""
        node = self.node
        if action.args["mode"] not in ("clean", "kill"):
            raise Rejected("mode must be clean or kill")
        if action.args["mode"] == "clean" and "target" in action.args and node.process is not None:
            await self._confirmed(action)
        if self.obedience.looks_at_the_term and node.term > action.term:
            raise Rejected(f"{node.where} has seen term {node.term}")
        clean = action.args["mode"] == "clean" and node.runs and node.process is not None and not node.process.frozen
        if clean:
            node.send_to_all()
            await sleep(0.2)
            if self.obedience.looks_at_the_term and node.term > action.term:
                raise Rejected(f"{node.where} has seen term {node.term}")
        self._effect(action)
        node.kill()
        node.stay_down()
        return self._stopped(action)

    async def _confirmed(self, action: Action) -> None:
        """Return once the target says that it has what is written now."""
        node, target = self.node, RegionId(str(action.args["target"]))
        try:
            await asyncio.wait_for(self._ask(lambda: self._has_all(action, target)), SETTLE + GRACE)
        except TimeoutError:
            raise Unavailable(f"{node.where} did not say whether {target} streams from it") from None

    async def _has_all(self, action: Action, target: RegionId) -> None:
        node, begun, written = self.node, asyncio.get_running_loop().time(), self.node.position
        self._look(action, must=MemberRole.PRIMARY)
        node.send_to_all()
        lacking = Rejected(f"{target} does not stream from {node.region}: nothing is stopped")
        await self._until(lambda: node.confirmed(target, written, since=begun), failing=lacking)

    def _stopped(self, action: Action) -> Receipt:
        node, clean = self.node, action.args["mode"] == "clean"
        known: dict[str, Json] = {"position": node.position if clean else None, "clean": clean}
        return Receipt(kind="stopped", facts={"region": node.region, "timeline": node.timeline, **known})

    async def _catch_up(self, action: Action, *, must: MemberRole) -> Receipt:
        node = self.node
        self._obey(action, must=must)
        rank, facts = words.highest(words.args(action))
        if words.rank_of(node) >= rank:
            return self._receipt(action)
        source = facts.get("region")
        if "clean" in facts or source is None or source == node.region:
            await self._until(lambda: words.rank_of(node) >= rank, failing=Unavailable("not all of it came"))
            return self._receipt(action)
        node.turn_to(RegionId(source))
        try:
            await self._until(lambda: words.rank_of(node) >= rank, failing=Unavailable(f"{source} did not send it"))
        finally:
            if node.upstream == source and node.role is MemberRole.STANDBY and node.term == action.term:
                node.turn_to(None)
        return self._receipt(action)

    async def _promote(self, action: Action) -> Receipt:
        node, args = self.node, words.args(action)
        self._look(action, must=node.role)
        rank, facts = words.highest(args)
        if "clean" in facts and node.role is MemberRole.STANDBY:
            await self._until(lambda: words.rank_of(node) >= rank, failing=Unavailable("not all of it came"))
            self._look(action, must=node.role)
        already = self._is_so(action)
        self._effect(action)
        node.sync = words.sync(args["sync"])
        if already:
            node.release()
        else:
            node.promote()
        return self._receipt(action)

    async def _follow(self, action: Action, *, must: MemberRole) -> Receipt:
        node, args = self.node, words.args(action)
        timeline, fork = words.fork(args)
        if node.role is MemberRole.STANDBY and node.timeline < timeline and node.position > fork:
            self._look(action, must=must)
            raise Rejected(f"{node.where} has applied what the new primary never saw: rejoin it")
        before = node.upstream if node.upstream != args["primary"] else args.get("old")
        self._obey(action, must=must)
        node.turn_to(RegionId(args["primary"]))
        await self._until(node.streams_now, failing=Indeterminate("it does not stream yet"), within=2 * SETTLE)
        return Receipt(kind="follow", facts={"timeline": node.timeline, "before": before})

    async def _protect(self, action: Action, sync: SyncSet | None, *, must: MemberRole, undo: bool = False) -> Receipt:
        node = self.node
        self._look(action, must=must)
        if sync is not None and not undo:
            lacking = Unavailable("too few of them stream: nothing was changed")
            await self._until(lambda: self._streaming(sync) >= sync.acks, failing=lacking)
        before = node.sync
        self._obey(action, must=must, undo=undo)
        node.sync = sync
        node.release()
        mark = node.position
        lacking_ = Indeterminate("not enough of them hold yet what was written before")
        await self._until(lambda: node.enough(mark), failing=lacking_)
        return Receipt(kind="protect", facts={**words.plain(sync), "before": words.plain(before)})

    def _streaming(self, sync: SyncSet) -> int:
        """How many of a set stream from here now."""
        nodes = [self.world.node(self.node.component, r) for r in sync.standbys]
        return sum(n.upstream == self.node.region and n.runs and n.streams_now() for n in nodes)

    async def _rejoin(self, action: Action) -> Receipt:
        """From outside: stop it, save what only it has, copy the primary, and let it follow."""
        node = self.node
        if self.obedience.looks_at_the_term and node.term > action.term:
            raise Rejected(f"{node.where} has seen term {node.term}")
        source = self.world.node(node.component, RegionId(words.args(action)["primary"]))
        role, term = await self._source_says(source)
        if role is not MemberRole.PRIMARY or term > action.term:
            raise Rejected(f"{source.where} is {role} at term {term}: nothing to follow")
        node.kill()
        node.stay_down()
        await sleep(COPYING)
        role, _ = await self._source_says(source)
        if role is not MemberRole.PRIMARY:
            raise Indeterminate(f"{source.where} is {role} now")
        if self.obedience.looks_at_the_term and node.term > action.term:
            raise Rejected(f"{node.where} has seen term {node.term}")
        self._effect(action)
        self.world.saved.append(Saved(region=node.region, names=node.rebuild_from(source)))
        node.role, node.sync, node.marked = MemberRole.STANDBY, None, False
        node.turn_to(source.region)
        node.start()
        await self._until(node.streams_now, failing=Indeterminate("it does not stream yet"))
        return self._receipt(action)

    async def _source_says(self, source: Database) -> tuple[MemberRole, int]:
        """What a primary is, and at which term, over a connection that is given up in time. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(SETTLE):
                return await source.looked_at(lambda: (source.role, source.term), from_=self.node.region)
        except TimeoutError as error:
            raise Unavailable(f"{source.where} does not answer") from error

    async def _ask(self, deed: Callable[[], Any]) -> Any:
        return await self.node.asked(deed, from_=self.node.region)

    def _look(self, action: Action, *, must: MemberRole) -> None:
        """Refuse what comes from a term that is over, or makes no sense for what it is."""
        node = self.node
        if self.obedience.looks_at_the_term and node.term > action.term:
            raise Rejected(f"{node.where} has seen term {node.term}, this order is of term {action.term}")
        if node.role is not must:
            raise Rejected(f"{node.where} is {node.role}, no {must}")

    def _obey(self, action: Action, *, must: MemberRole, undo: bool = False, changes: bool = True) -> None:
        self._look(action, must=must)
        if changes:
            self._effect(action, undo=undo)

    def _effect(self, action: Action, *, undo: bool = False) -> None:
        """From here on the effect holds: the term is on the disk."""
        self.changed(Effect(action=action, undo=undo, seen=self.node.term, anew=not undo and self._is_so(action)))
        self.node.term = max(self.node.term, action.term) if self.obedience.looks_at_the_term else action.term

    def _is_so(self, action: Action) -> bool:
        """Whether a member is as an action wants it, whoever ordered that."""
        node, args = self.node, words.args(action)
        match action.verb:
            case Verb.REFUSE:
                return node.upstream is None
            case Verb.FOLLOW:
                return bool(node.upstream == args["primary"])
            case Verb.PROTECT:
                return node.sync == words.sync(args)
            case Verb.STOP:
                return node.role is MemberRole.STOPPED
            case Verb.CATCH_UP | Verb.REJOIN:
                return True  # an outcome that is reached again and again, with nothing to be done twice
            case Verb.PROMOTE:
                return node.role is MemberRole.PRIMARY and self.obedience.knows_what_is_done
            case Verb.PREPARE | Verb.SHIFT | Verb.VERIFY | Verb.EXPIRE | Verb.SWITCH_OFF:
                return False

    async def _until(self, holds: Callable[[], bool], *, failing: Exception, within: float = SETTLE) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not holds():
            if loop.time() > deadline:
                raise failing
            await sleep(STEP)

    def _receipt(self, action: Action) -> Receipt:
        node = self.node
        facts: dict[str, Json] = {"position": node.position, "timeline": node.timeline, "term": node.term}
        match action.verb:
            case Verb.REFUSE:
                return Receipt(kind="starved", facts={"region": node.region, **facts})
            case Verb.CATCH_UP:
                return Receipt(kind="catch-up", facts={"region": node.region, **facts})
            case Verb.PROMOTE:
                fork = max((i for i, e in enumerate(node.log) if not e.name), default=0)
                return Receipt(kind="promote", facts={**facts, "position": fork})
            case Verb.PROTECT:
                return Receipt(kind="protect", facts={**words.plain(node.sync), "before": words.plain(node.sync)})
            case Verb.FOLLOW:
                return Receipt(kind="follow", facts={"timeline": node.timeline, "before": action.args.get("old")})
            case _:
                return Receipt(kind=action.verb.value, facts={"region": node.region})
