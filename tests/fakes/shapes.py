"""The plans evac ships, made by `core.planning` on the shop in three regions, each with the world it is made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from evac.core.decision import Move, Rejoin
from evac.core.estate import ComponentId, Directs, Estate, RegionId
from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.plan import Placement, Plan, RunKind, SyncSet, Term
from evac.core.planning import plan_move
from evac.core.protection import NOBODY, Protect, plan_protect
from evac.core.rejoining import plan_rejoin
from evac.core.shifting import plan_shift
from evac.core.steps import Situation
from evac.core.traffic import Shift
from evac.core.verdict import Assessment, Diagnosis, Status, Verdict
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, GROUP, ORDERS_DB, SHOP, WEST, placed, shop
from evac.sim.systems import Node, Systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A plan, and how to make the world it starts in."""

    name: str
    plan: Plan
    estate: Estate
    primary: RegionId
    astray: RegionId | None = None
    """A region whose members still follow the primary that was left."""
    stale: RegionId | None = None
    """A region whose members still believe that they are primaries, and take no part."""

    def world(self) -> Systems:
        """Return a fresh world, as the plan found it."""
        nodes: dict[tuple[ComponentId, RegionId], Node] = {}
        for component in self.estate.components.values():
            sets = self.plan.before.sync.get(component.id, (None,))
            for region in component.members:
                node = Node(position=100, term=self.plan.before.term)
                if component.replication is None:
                    door = self.plan.before.door if component.directs is Directs.ENTRY else self.primary
                    node.weights = {r: 100 if r == door else 0 for r in component.members}
                elif region == self.primary:
                    node.role, node.writable, node.sync = MemberRole.PRIMARY, True, sets[0]
                elif region == self.stale:
                    others = tuple(r for r in component.members if r != region)
                    node.role, node.writable, node.sync = MemberRole.PRIMARY, True, SyncSet(acks=1, standbys=others)
                else:
                    node.upstream = EAST if region == self.astray else self.primary
                nodes[component.id, region] = node
        return Systems(nodes=nodes)


def shapes() -> tuple[Shape, ...]:
    """Return every shape: unplanned with the region gone, and with its agent alive; planned; rebuilding; traffic alone,
    to another door and back.
    """
    estate = shop()
    before = placed(estate)
    away = replace(before, primary=WEST, term=Term(2), awaiting_rejoin=(EAST,), sync=_only(estate, EUROPE))
    lost = _situation(estate, before, gone=EAST)
    well = _situation(estate, before)
    returned = _situation(estate, away, stale=EAST)
    fail = Move(group=GROUP, kind=RunKind.FAILOVER, source=EAST, target=WEST, reasons=("a test",))
    switch = replace(fail, kind=RunKind.SWITCHOVER)
    out = Shift(group=GROUP, source=EAST, target=WEST, reasons=("a test",))
    round_about = replace(before, term=Term(2), entry=WEST)
    back = replace(out, source=WEST, target=EAST)
    rejoin = Rejoin(group=GROUP, region=EAST, reasons=("a test",))
    narrow = replace(before, sync={ORDERS_DB: (SyncSet(acks=1, standbys=(WEST,)),)})
    shrink = Protect(
        group=GROUP, component=ORDERS_DB, region=EAST, sync=SyncSet(acks=1, standbys=(WEST,)), reasons=("a test",)
    )
    widen = replace(shrink, sync=SyncSet(acks=1, standbys=(WEST, EUROPE)))
    alone = replace(shrink, sync=NOBODY)
    missed = replace(away, awaiting_rejoin=(), sync=_only(estate, EAST))
    turn = Rejoin(group=GROUP, region=EUROPE, reasons=("a test",), missed=(ORDERS_DB, CARTS_CACHE))
    return (
        Shape(name="failover", plan=plan_move(fail, lost, term=Term(2)), estate=estate, primary=EAST),
        Shape(name="failover-alive", plan=plan_move(fail, well, term=Term(2)), estate=estate, primary=EAST),
        Shape(name="switchover", plan=plan_move(switch, well, term=Term(2)), estate=estate, primary=EAST),
        Shape(name="rejoin", plan=plan_rejoin(rejoin, returned, term=Term(3)), estate=estate, primary=WEST, stale=EAST),
        Shape(name="shift", plan=plan_shift(out, well, term=Term(2)), estate=estate, primary=EAST),
        Shape(
            name="shift-back",
            plan=plan_shift(back, _situation(estate, round_about), term=Term(3)),
            estate=estate,
            primary=EAST,
        ),
        Shape(
            name="rejoin-missed",
            plan=plan_rejoin(turn, _situation(estate, missed), term=Term(3)),
            estate=estate,
            primary=WEST,
            astray=EUROPE,
        ),
        *(
            Shape(name=f"protect-{name}", plan=plan_protect(change, at, term=Term(2)), estate=estate, primary=EAST)
            for name, change, at in (
                ("shrinks", shrink, before),
                ("widens", widen, narrow),
                ("gives-up", alone, narrow),
                ("is-restored", shrink, replace(before, sync={})),
            )
        ),
    )


def _only(estate: Estate, standby: RegionId) -> Mapping[ComponentId, tuple[SyncSet, ...]]:
    return {c.id: (SyncSet(acks=1, standbys=(standby,)),) for c in estate.components.values() if c.replication}


def _situation(
    estate: Estate, placement: Placement, *, gone: RegionId | None = None, stale: RegionId | None = None
) -> Situation:
    """All is well, but for a region that is gone, or one that holds a primary it should not have."""
    now = timedelta(seconds=100)
    verdicts = {
        r: Verdict(
            region=r,
            diagnosis=Diagnosis.UNREACHABLE if r == gone else Diagnosis.WELL,
            status=Status.FAILED if r == gone else Status.HEALTHY,
            availability=0.0 if r == gone else 1.0,
            since=timedelta(),
            symptom_at=timedelta(),
            heartbeat_age=timedelta(seconds=9) if r == gone else timedelta(),
            entered={} if r == gone else {SHOP: timedelta()},
        )
        for r in estate.regions
    }
    voiceless = {gone: "silent for 9.0 s"} if gone else {}
    members = {
        (c.id, r): MemberSeen(at=now, component=c.id, region=r, state=_state(placement, r, stale))
        for c in estate.components.values()
        if c.replication is not None
        for r in c.members
        if r != gone
    }
    return Situation(
        estate=estate,
        assessment=Assessment(at=now, verdicts=verdicts, voiceless=voiceless),
        members=members,
        placement=placement,
    )


def _state(placement: Placement, region: RegionId, stale: RegionId | None) -> MemberState:
    if region in (placement.primary, stale):
        return MemberState(role=MemberRole.PRIMARY, writable=True, position=100, streaming=True)
    return MemberState(
        role=MemberRole.STANDBY,
        writable=False,
        position=100,
        streaming=True,
        upstream=placement.primary,
        lag=timedelta(),
        lag_bytes=0,
        free_disk=0.5,
    )
