"""Models of a replicated database and of routers: drivers whose world fits in a few variables.

Intuition: a member is its role, its position and whom it follows; an effect is a change of these, counted when it
really changes something. Each verb can be told to fail in one of the ways the real world knows, and the process can be
told to die right before or right after an effect. After every effect the model looks whether two members could
acknowledge a write.

What this is not: a model of replication under load; positions move only where a step moves them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.estate import ComponentId, RegionId
from evac.core.observation import Json, MemberRole, MemberState
from evac.core.plan import Action, SyncSet, Verb
from evac.core.run import Receipt
from evac.ports import Finding, Holds, Truth


class Fault(StrEnum):
    """A way for one verb of one member to fail, as long as it lasts."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    LOST_BEFORE = "lost-before"
    """The answer is lost, and nothing happened."""
    LOST_AFTER = "lost-after"
    """The answer is lost, and it happened."""
    BLIND = "blind"
    """The answer is lost, nothing happened, and no look can tell."""
    HANGING = "hanging"
    """It neither happens nor ends."""


Effect = tuple[ComponentId, RegionId, Verb, bool]
"""What was changed: component, region, verb, and whether it was undone."""


@dataclass(slots=True, kw_only=True)
class Node:
    """One member. A router uses only `weights` and `term`."""

    role: MemberRole = MemberRole.STANDBY
    writable: bool = False
    position: int = 0
    timeline: int = 1
    term: int = 0
    upstream: RegionId | None = None
    sync: SyncSet | None = None
    weights: dict[str, Json] = field(default_factory=dict)
    done: dict[Verb, Receipt] = field(default_factory=dict)
    """Receipts of what was brought about and not undone; what came later may have ended that."""
    before: dict[Verb, Any] = field(default_factory=dict)
    """What an undo goes back to."""


def _never(effect: Effect, after: bool) -> None:
    """Nothing happens around an effect."""


@dataclass(slots=True, kw_only=True)
class Systems:
    """All modelled members, what they were made to do, and what is wrong with them."""

    nodes: dict[tuple[ComponentId, RegionId], Node]
    faults: dict[Effect, Fault] = field(default_factory=dict)
    hanging: set[tuple[ComponentId, RegionId]] = field(default_factory=set)
    """Members that say nothing of themselves, for ever."""
    effects: Counter[Effect] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    around: Callable[[Effect, bool], None] = _never
    """Called before (False) and after (True) each effect; may raise, which is the death of the process."""

    def members(self, region: RegionId) -> Mapping[ComponentId, Member]:
        """Return a region's drivers."""
        return {c: Member(systems=self, component=c, region=r) for c, r in self.nodes if r == region}

    def writers(self, component: ComponentId) -> list[RegionId]:
        """Return the members that could acknowledge a write now."""
        return [r for (c, r) in self.nodes if c == component and self._acknowledges(c, r)]

    def picture(self) -> Mapping[str, object]:
        """Return all that a client could notice, for comparing two worlds."""
        return {
            f"{c}@{r}": (n.role, n.writable, n.upstream, n.sync, dict(n.weights), n.timeline)
            for (c, r), n in self.nodes.items()
        }

    def stream(self, component: ComponentId) -> None:
        """Let every standby go over to the timeline of the primary it follows."""
        nodes = {region: node for (c, region), node in self.nodes.items() if c == component}
        for node in nodes.values():
            source = nodes.get(node.upstream) if node.upstream else None
            if source is not None and source.role is MemberRole.PRIMARY:
                node.timeline = source.timeline

    def check(self, component: ComponentId) -> None:
        """Record it when two members could acknowledge a write."""
        writers = self.writers(component)
        if len(writers) > 1:
            self.violations.append(f"{component} can be written in {', '.join(writers)}")

    def _acknowledges(self, component: ComponentId, region: RegionId) -> bool:
        node = self.nodes[component, region]
        if node.role is not MemberRole.PRIMARY or not node.writable:
            return False
        if node.sync is None or not node.sync.acks:
            return True
        streaming = [r for r in node.sync.standbys if (n := self.nodes.get((component, r))) and n.upstream == region]
        return len(streaming) >= node.sync.acks


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Implements `evac.ports.Driver` for one node."""

    systems: Systems
    component: ComponentId
    region: RegionId

    @property
    def node(self) -> Node:
        return self.systems.nodes[self.component, self.region]

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(ok=True, what="a model needs nothing"),)

    async def observe(self) -> MemberState:
        if (self.component, self.region) in self.systems.hanging:
            await asyncio.Event().wait()
        node = self.node
        standby = node.role is MemberRole.STANDBY and not node.weights
        return MemberState(
            role=node.role,
            writable=node.writable,
            position=node.position,
            timeline=node.timeline,
            upstream=node.upstream,
            streaming=node.upstream is not None,
            lag=timedelta() if standby else None,
            sync_acks=node.sync.acks if node.sync else 0,
            sync_standbys=node.sync.standbys if node.sync else (),
        )

    async def holds(self, action: Action) -> Holds:
        await asyncio.sleep(0)
        if self._fault(action, undo=False) in (Fault.BLIND, Fault.HANGING):
            return Holds(truth=Truth.UNKNOWN, reason="nothing can be seen")
        if not _holds(self.node, action):
            return Holds(truth=Truth.NO)
        return Holds(truth=Truth.YES, receipt=self.node.done[action.verb])

    async def do(self, action: Action) -> Receipt:
        self._obey(action)
        await self._fail(action, undo=False)
        if not _holds(self.node, action):
            self._around(action, undo=False, after=False)
            self.node.done[action.verb] = _change(self.node, self.region, action)
            self.systems.stream(self.component)
            self._around(action, undo=False, after=True)
        self._lose(action, undo=False)
        return self.node.done[action.verb]

    async def undo(self, action: Action) -> Receipt:
        self._obey(action)
        await self._fail(action, undo=True)
        if action.verb in self.node.done:
            self._around(action, undo=True, after=False)
            del self.node.done[action.verb]
            _change_back(self.node, action.verb)
            self._around(action, undo=True, after=True)
        self._lose(action, undo=True)
        return Receipt(kind="undone")

    async def close(self) -> None: ...

    def _obey(self, action: Action) -> None:
        """A member never goes back to a lower term (S6)."""
        if action.term < self.node.term:
            raise Rejected(f"term {action.term} is over here, {self.node.term} has been seen")
        self.node.term = action.term

    def _fault(self, action: Action, *, undo: bool) -> Fault | None:
        return self.systems.faults.get((self.component, self.region, action.verb, undo))

    async def _fail(self, action: Action, *, undo: bool) -> None:
        """Fail before the effect."""
        await asyncio.sleep(0.01)
        match self._fault(action, undo=undo):
            case Fault.REFUSED:
                raise Rejected("told to refuse")
            case Fault.UNREACHABLE:
                raise Unavailable("told to be away")
            case Fault.LOST_BEFORE | Fault.BLIND:
                raise Indeterminate("told to lose the answer")
            case Fault.HANGING:
                await asyncio.sleep(10**6)
            case Fault.LOST_AFTER | None:
                return

    def _lose(self, action: Action, *, undo: bool) -> None:
        """Lose the answer after the effect."""
        if self._fault(action, undo=undo) is Fault.LOST_AFTER:
            raise Indeterminate("told to lose the answer")

    def _around(self, action: Action, *, undo: bool, after: bool) -> None:
        effect = (self.component, self.region, action.verb, undo)
        if after:
            self.systems.effects[effect] += 1
            self.systems.check(self.component)
        self.systems.around(effect, after)


def _holds(node: Node, action: Action) -> bool:
    """Whether a node was made what an action makes it, and is that still."""
    args: Mapping[str, Any] = action.args
    if action.verb not in node.done:
        return False
    match action.verb:
        case Verb.STOP:
            return node.role is MemberRole.STOPPED
        case Verb.REFUSE:
            return node.upstream is None
        case Verb.PROMOTE:
            return node.role is MemberRole.PRIMARY
        case Verb.FOLLOW | Verb.REJOIN:
            return node.role is MemberRole.STANDBY and node.upstream == args["primary"]
        case Verb.PROTECT:
            return node.sync == _sync(args)
        case Verb.SHIFT:
            return bool(node.weights == args["weights"])
        case Verb.PREPARE | Verb.SWITCH_OFF | Verb.EXPIRE | Verb.CATCH_UP | Verb.VERIFY:
            return True


def _change(node: Node, region: RegionId, action: Action) -> Receipt:
    """Change a node as a verb says, remember what an undo needs, and return the receipt."""
    args: Mapping[str, Any] = action.args
    match action.verb:
        case Verb.STOP:
            node.before[Verb.STOP] = (node.role, node.writable)
            node.role, node.writable = MemberRole.STOPPED, False
            return Receipt(kind="stopped", facts={"position": node.position, "clean": args["mode"] == "clean"})
        case Verb.REFUSE:
            node.before[Verb.REFUSE] = node.upstream
            node.upstream = None
            return Receipt(kind="starved", facts={"position": node.position, "term": action.term})
        case Verb.SWITCH_OFF:
            return Receipt(kind="device", facts={"switched_off": str(args["old"])})
        case Verb.EXPIRE:
            return Receipt(kind="expired", facts={"held_by": str(args["old"])})
        case Verb.CATCH_UP:
            node.position = _held(node, args)
        case Verb.PROMOTE:
            node.position = _held(node, args)
            node.role, node.writable, node.upstream = MemberRole.PRIMARY, True, None
            node.timeline += 1
            node.sync = _sync(args["sync"])
        case Verb.FOLLOW:
            node.before[Verb.FOLLOW] = node.upstream
            node.upstream = RegionId(args["primary"])
        case Verb.REJOIN:
            node.role, node.writable, node.upstream = MemberRole.STANDBY, False, RegionId(args["primary"])
        case Verb.PROTECT:
            node.before[Verb.PROTECT] = node.sync
            node.sync = _sync(args)
        case Verb.SHIFT:
            node.before[Verb.SHIFT] = node.weights
            node.weights = dict(args["weights"])
        case Verb.PREPARE | Verb.VERIFY:
            pass
    return Receipt(kind=action.verb.value, facts={"position": node.position, "region": region})


def _held(node: Node, args: Mapping[str, Any]) -> int:
    """The position a node has once it holds all that its receipts hold."""
    positions: list[int] = [f["position"] for f in args["receipts"].values() if f.get("position") is not None]
    return max([node.position, *positions])


def _change_back(node: Node, verb: Verb) -> None:
    match verb:
        case Verb.STOP:
            node.role, node.writable = node.before[verb]
        case Verb.REFUSE | Verb.FOLLOW:
            node.upstream = node.before[verb]
        case Verb.PROTECT:
            node.sync = node.before[verb]
        case Verb.SHIFT:
            node.weights = node.before[verb]
        case Verb.PREPARE | Verb.SWITCH_OFF | Verb.EXPIRE | Verb.CATCH_UP | Verb.PROMOTE | Verb.REJOIN | Verb.VERIFY:
            pass


def _sync(args: Mapping[str, Any]) -> SyncSet | None:
    if not args["acks"]:
        return None
    return SyncSet(acks=args["acks"], standbys=tuple(RegionId(r) for r in args["standbys"]))
