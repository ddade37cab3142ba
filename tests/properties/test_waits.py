"""Who waits for whom in a plan of many components, and that it takes no more than a few words for each step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from evac.core.assessment import assess
from evac.core.decision import Move
from evac.core.detector import Detector, fold
from evac.core.errors import UnsafePlan
from evac.core.estate import Component, ComponentId, Estate, Purpose, Replication, ReplicationMode, ServiceId
from evac.core.kinds import ServiceKind
from evac.core.plan import Barrier, Plan, RunKind, Term
from evac.core.planning import plan_move
from evac.core.steps import Situation
from evac.core.timing import Holding, LeaseTiming
from evac.lab.bench.large import estate_of, everything, placements_of
from fakes.estates import seconds
from fakes.listing import check_waits

KINDS = st.sampled_from((RunKind.FAILOVER, RunKind.SWITCHOVER, RunKind.FAILBACK))
AT = timedelta(hours=1)
HELD = Holding(timing=LeaseTiming(renew=seconds(1), hold=seconds(6), wait=seconds(9)))


@st.composite
def estates(draw: st.DrawFn) -> Estate:
    """An estate of one group of some states, of which some are held by leases, and some merely wanted."""
    count = draw(st.integers(1, 5))
    estate = estate_of(draw(st.integers(2, 4)), count, group_size=count)
    held = Replication(mode=ReplicationMode.ASYNC, acks=0, lag_max=timedelta(seconds=30), held=HELD)
    components = {
        c.id: replace(c, replication=held) if c.purpose is Purpose.STATE and draw(st.booleans()) else c
        for c in estate.components.values()
    }
    wants = draw(st.sets(st.sampled_from(list(estate.services))))
    return _led(replace(estate, components=components), wants)


def _led(estate: Estate, wants: set[ServiceId]) -> Estate:
    """The same with one service in front, which needs some of the others and merely wants the rest."""
    group, where = next(iter(estate.services.values())).group, tuple(estate.regions)
    first = next(iter(estate.services.values()))
    others = {s: replace(service, needs=()) for s, service in estate.services.items()}
    front = replace(
        first,
        id=ServiceId("front"),
        kind=ServiceKind.API,
        group=group,
        regions=where,
        needs=tuple(s for s in others if s not in wants),
        wants=tuple(s for s in others if s in wants),
    )
    return replace(estate, services={**others, front.id: front})


def situations(estate: Estate, *, lost: bool) -> Situation:
    """What is known of the estate while all is well, or once the region of its primaries is lost."""
    home, *_ = estate.regions
    detector, at = fold(Detector(policy=estate.detection), *everything(estate, AT)), AT
    for _ in range(estate.detection.failures if lost else 0):
        at += estate.detection.interval
        detector = fold(detector, *everything(estate, at, lost=home))
    (placement,) = placements_of(estate).values()
    sync = {c: sets for c, sets in placement.sync.items() if not _held(estate.components[c])}
    return Situation(
        estate=estate,
        assessment=assess(detector, now=at + timedelta(seconds=1), estate=estate),
        members=detector.members,
        placement=replace(placement, sync=sync),
    )


def _held(component: Component) -> bool:
    return component.replication is not None and component.replication.held is not None


def plan_of(here: Situation, kind: RunKind) -> Plan:
    home, target, *_ = here.estate.regions
    move = Move(group=here.placement.group, kind=kind, source=home, target=target, reasons=("a test",))
    return plan_move(move, here, term=Term(2))


@settings(deadline=None, max_examples=200)
@given(estate=estates(), kind=KINDS, lost=st.booleans())
def test_in_every_plan_the_same_steps_wait_for_the_same(estate: Estate, kind: RunKind, lost: bool) -> None:
    try:
        plan = plan_of(situations(estate, lost=lost), kind)
    except UnsafePlan:
        event("refused")
        return
    check_waits(plan, estate)
    for barrier in {b for s in plan.steps for b in s.behind} & {b for s in plan.steps for b in s.before}:
        event(f"{barrier} between some")


@pytest.mark.parametrize("kind", [RunKind.SWITCHOVER, RunKind.FAILBACK, RunKind.FAILOVER])
def test_a_plan_of_twice_as_much_says_twice_as_much(kind: RunKind) -> None:
    """Every service with a router of its own, and a lease: most of all waits for all."""
    small, large = (_words(_plan_of_many(count, kind)) for count in (8, 16))
    assert small < large <= 2 * small


def _plan_of_many(count: int, kind: RunKind) -> Plan:
    estate = estate_of(4, count, group_size=count)
    routers = [c for c in estate.components.values() if c.purpose is Purpose.ROUTER]
    states = [c for c in estate.components.values() if c.purpose is Purpose.STATE]
    held = Replication(mode=ReplicationMode.ASYNC, acks=0, lag_max=timedelta(seconds=30), held=HELD)
    every = [
        *(replace(c, replication=held) for c in states),
        *(replace(routers[0], id=ComponentId(f"{c.id}-lb"), service=c.service) for c in states),
    ]
    estate = replace(estate, components={c.id: c for c in every})
    return plan_of(situations(estate, lost=kind is RunKind.FAILOVER), kind)


def _words(plan: Plan) -> int:
    """How many names of steps and barriers say what waits for what."""
    assert {b for s in plan.steps for b in s.behind} >= {Barrier.PROMOTED, Barrier.TURNED}
    return sum(len(s.needs) + len(s.before) + len(s.behind) for s in plan.steps)
