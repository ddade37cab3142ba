"""What each fault does to the models, and how it ends.

Intuition: a fault is brought about by one function, which returns the one that ends it. Two faults may take the same
thing, so each mends only what it broke: what is dead is started again, what is frozen thawed, if it still is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from tempfile import NamedTemporaryFile

from evac.core.errors import EstateError
from evac.core.estate import RegionId
from evac.core.observation import MemberRole
from evac.sim.agents import AgentProcess
from evac.sim.cluster import Cluster
from evac.sim.databases import Database, Databases
from evac.sim.faults import OF_ALL, SCRIPTED, Fault, Kind
from evac.sim.invariants import TOUCHED_LATELY
from evac.sim.network import Network
from evac.sim.time import Process
from evac.sim.watchdogs import Watchdog

Mend = Callable[[], None]

SLOWNESS = 0.6
"""Seconds that a slow store takes longer."""
QUEUE = 6.0
"""Up to so many seconds a question waits at a slow database."""
REPLIES_LOST = 0.5
"""Which part of the answers is lost."""
REPLIES_LATE = 1.3
"""Up to so many seconds later answers come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a fault can be brought about in. `touched` says until when a region can have felt one."""

    network: Network
    cluster: Cluster
    databases: Databases
    agents: dict[RegionId, AgentProcess]
    watchdogs: dict[RegionId, Watchdog]
    """Where the primary is held under a lease."""
    touched: dict[RegionId, float]
    ongoing: Counter[RegionId] = field(default_factory=Counter)
    """How many faults there are in each region: it is touched until the last one is over."""


def break_(fault: Fault, scene: Scene) -> Mend:
    """Bring a fault about, and return what ends it."""
    leader = next((a.region for a in scene.agents.values() if a.leads), None)
    region = fault.region if fault.region is not None else leader
    concerned = [region] if region is not None else []
    if fault.kind in OF_ALL | SCRIPTED:
        concerned = list(scene.network.regions)
    elif fault.other is not None:
        concerned.append(fault.other)
    for each in concerned:
        scene.touched[each] = inf
        scene.ongoing[each] += 1
    mend = _break(fault, region, scene)

    def end() -> None:
        mend()
        for each in concerned:
            scene.ongoing[each] -= 1
            if not scene.ongoing[each]:
                scene.touched[each] = asyncio.get_running_loop().time() + TOUCHED_LATELY

    return end


def _break(fault: Fault, region: RegionId | None, scene: Scene) -> Mend:
    """Break what a kind of fault breaks: all, or what is in one region."""
    if fault.kind is Kind.BLANK_ESTATE:
        return _blank(scene)
    if fault.kind is Kind.STORE_RESTORED:
        scene.cluster.restore()
        return _nothing
    if fault.kind is Kind.LEFT_REFUSING:
        return _left_refusing([d for d in scene.databases.nodes.values() if d.region == region])
    if fault.kind in (Kind.STORE_OUT, Kind.STORE_SLOW):
        return _of_the_store(fault, scene)
    return _nothing if region is None else _break_in(region, fault, scene)


def _break_in(region: RegionId, fault: Fault, scene: Scene) -> Mend:
    """One table, so that it can be seen that none is forgotten."""
    agent = scene.agents[region]
    databases = list(scene.databases.in_region(region).values())
    watchdogs = [scene.watchdogs[region]] if region in scene.watchdogs else []
    others = [r for r in scene.network.regions if r != region]
    match fault.kind:
        case Kind.REGION_DEATH:
            return _die(region, scene)
        case Kind.CUT:
            return _cut([(region, r) for r in others] + [(r, region) for r in others], scene.network)
        case Kind.CUT_OUT:
            return _cut([(region, r) for r in others], scene.network)
        case Kind.CUT_IN:
            return _cut([(r, region) for r in others], scene.network)
        case Kind.LINK_CUT:
            assert fault.other is not None, "a link has two ends"
            return _cut([(region, fault.other), (fault.other, region)], scene.network)
        case Kind.FREEZE_AGENT | Kind.FREEZE_LEADER:
            return _freeze([agent.process])
        case Kind.FREEZE_DATABASE:
            return _freeze([d.process for d in databases])
        case Kind.FREEZE_REGION:
            return _freeze([agent.process, *(d.process for d in databases)])
        case Kind.FREEZE_WATCHDOG:
            return _freeze([w.process for w in watchdogs])
        case Kind.FREEZE_MACHINE:
            return _freeze([agent.process, *(d.process for d in databases), *(w.process for w in watchdogs)])
        case Kind.KILL_WATCHDOG:
            for watchdog in watchdogs:
                watchdog.kill()
            return _nothing
        case Kind.KILL_AGENT | Kind.KILL_LEADER:
            return _kill([agent], scene)
        case Kind.KILL_DATABASE:
            return _kill(databases, scene)
        case Kind.SLOW_DATABASE:
            return _slow_down(databases)
        case Kind.REPLIES_LOST:
            return _spoil(scene.cluster.replies_lost, region, REPLIES_LOST)
        case Kind.REPLIES_LATE:
            return _spoil(scene.cluster.replies_late, region, REPLIES_LATE)
        case Kind.STORE_OUT | Kind.STORE_SLOW | Kind.STORE_RESTORED | Kind.BLANK_ESTATE | Kind.LEFT_REFUSING:
            return _nothing  # broken before one asks where
        case Kind.SWITCHOVER | Kind.LATE_ORDERS:
            return _nothing  # nothing breaks by them


def _left_refusing(databases: Sequence[Database]) -> Mend:
    for database in databases:
        if database.role is MemberRole.STANDBY:
            database.turn_to(None)
    return _nothing


def _nothing() -> None:
    """Nothing was broken."""


def _die(region: RegionId, scene: Scene) -> Mend:
    things: list[AgentProcess | Database] = [scene.agents[region], *scene.databases.in_region(region).values()]
    scene.network.lose(region)
    if region in scene.watchdogs:
        scene.watchdogs[region].kill()
    _kill(things, scene)

    def end() -> None:
        scene.network.find(region)
        for thing in things:
            thing.start()

    return end


def _cut(ways: Sequence[tuple[RegionId, RegionId]], network: Network) -> Mend:
    mine = [way for way in ways if way not in network.cuts]
    for way in mine:
        network.cut(*way)

    def end() -> None:
        for way in mine:
            network.mend(*way)

    return end


def _freeze(processes: Sequence[Process | None]) -> Mend:
    mine = [p for p in processes if p is not None and not p.frozen]
    for process in mine:
        process.freeze()

    def end() -> None:
        for process in mine:
            process.thaw()

    return end


def _kill(things: Sequence[AgentProcess | Database], scene: Scene) -> Mend:
    for thing in things:
        thing.kill()

    def end() -> None:
        for thing in things:
            if thing.region not in scene.network.dead:
                thing.start()

    return end


def _blank(scene: Scene) -> Mend:
    """Every agent ends, and none begins on what says nothing, until its file is back."""
    refused_blank_estate()
    return _kill(list(scene.agents.values()), scene)


def refused_blank_estate() -> str:
    """Return why an agent does not begin on an estate file with nothing in it."""
    from evac.config.load import load  # here: nothing else of a simulation needs what reads files

    with NamedTemporaryFile(suffix=".yaml") as blank:
        try:
            load(blank.name, environ={})
        except EstateError as refusal:
            return str(refusal)
    raise AssertionError("an agent would begin on an estate of nothing")


def _slow_down(databases: Sequence[Database]) -> Mend:
    for database in databases:
        database.slow = QUEUE

    def end() -> None:
        for database in databases:
            database.slow = 0.0

    return end


def _spoil(replies: dict[RegionId, float], region: RegionId, how: float) -> Mend:
    replies[region] = how

    def end() -> None:
        replies.pop(region, None)

    return end


def _of_the_store(fault: Fault, scene: Scene) -> Mend:
    cluster = scene.cluster
    if fault.kind is Kind.STORE_OUT:
        cluster.out = True
    else:
        cluster.slow = SLOWNESS

    def end() -> None:
        if fault.kind is Kind.STORE_OUT:
            cluster.out = False
        else:
            cluster.slow = 0.0

    return end
