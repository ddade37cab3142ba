"""What must hold of every story, whatever happens in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Move, Rejoin
from evac.core.detector import Detector, fold
from evac.core.errors import UnsafePlan
from evac.core.estate import ComponentId, Estate, Purpose, RegionId
from evac.core.observation import Observation, Probed
from evac.core.plan import Placement, Plan, RunKind, StepId, SyncSet, Term, Verb, in_order
from evac.core.planning import plan_move
from evac.core.rejoining import plan_rejoin
from evac.core.shifting import plan_shift, wished_shift
from evac.core.steps import Situation
from evac.core.targets import Members
from evac.core.verdict import Assessment
from evac.sim.estates import CARTS, FIVE, GROUP, NINE, ORDERS, SHOP, THREE, placed, shop
from fakes.estates import beat, changed, members, move, probed, seconds, view
from fakes.listing import check_waits
from fakes.waiting import waits

SIZES = st.sampled_from((THREE, FIVE, NINE))
SERVICES = (ORDERS, CARTS, SHOP)
ROUNDS = 16

properties = settings(deadline=None, max_examples=60)
"""Worlds are slow to draw on a busy machine, and no bound on time belongs in a property."""


@dataclass(frozen=True)
class World:
    """An estate and what is seen in it; its text stays short, since it is printed when a property fails."""

    trouble: str
    estate: Estate = field(repr=False)
    seen: tuple[Observation, ...] = field(repr=False)


@dataclass(frozen=True)
class Wish:
    """A move and the situation it is wished for in."""

    move: Move
    about: str
    here: Situation = field(repr=False)


@st.composite
def watched(draw: st.DrawFn) -> World:
    """An estate, and what is seen in it while anything may fail for anybody."""
    estate = shop(draw(SIZES), acks=draw(st.integers(0, 2)), cache_acks=draw(st.integers(0, 1)))
    regions = st.sampled_from(tuple(estate.regions))
    dead = draw(st.sets(regions, max_size=2))
    silent = draw(st.sets(regions, max_size=2)) | dead
    blind = draw(st.sets(st.tuples(regions, regions), max_size=8))
    down = draw(st.sets(st.tuples(regions, st.sampled_from(SERVICES)), max_size=3))
    seen: list[Observation] = []
    for count in range(ROUNDS):
        at, sick = count / 2, count >= 4
        seen += beat(at, *(r for r in estate.regions if not sick or r not in silent))
        for v in estate.regions:
            for r in estate.regions:
                fails = sick and (r in dead or v in dead or (v, r) in blind)
                seen += (probed(at, v, r, s, ok=not fails and not (sick and (r, s) in down)) for s in SERVICES)
    return World(f"dead {dead}, silent {silent}, blind {blind}, down {down}", estate, tuple(seen))


def said(estate: Estate, seen: Iterable[Observation]) -> Assessment:
    detector = fold(Detector(policy=estate.detection), *seen)
    return assess(detector, now=seconds((ROUNDS - 1) / 2), estate=estate)


@properties
@given(watched())
def test_the_same_view_leads_to_the_same_decision(world: World) -> None:
    estate, seen = world.estate, world.seen
    first, second = said(estate, seen), said(estate, seen)
    assert first == second
    assert decide(view(estate, first), now=first.at) == decide(view(estate, second), now=second.at)


def _cell(seen: Observation) -> str:
    return f"{seen.vantage} {seen.service} {seen.region}" if isinstance(seen, Probed) else f"{type(seen)} {seen.region}"


@properties
@given(watched())
def test_the_order_between_cells_does_not_matter(world: World) -> None:
    estate, seen = world.estate, world.seen
    by_cell = [o for _, group in groupby(sorted(seen, key=_cell), key=_cell) for o in group]
    assert said(estate, by_cell) == said(estate, seen)


@st.composite
def minorities(draw: st.DrawFn) -> tuple[Estate, RegionId, tuple[RegionId, ...]]:
    """An estate, a region in it, and fewer than half of the others."""
    estate = shop(draw(SIZES))
    region = draw(st.sampled_from(tuple(estate.regions)))
    outside = [r for r in estate.regions if r != region]
    return estate, region, tuple(draw(st.lists(st.sampled_from(outside), unique=True, max_size=len(outside) // 2)))


@properties
@given(minorities(), st.booleans(), st.lists(st.booleans(), min_size=1, max_size=5))
def test_a_minority_never_triggers(
    world: tuple[Estate, RegionId, tuple[RegionId, ...]], quiet: bool, pattern: list[bool]
) -> None:
    """Whatever a minority of outside vantage points says of a region, by clients or not, nothing moves."""
    estate, region, liars = world
    liars = liars[: (len(estate.regions) - 1) // 2] if len(estate.regions) > 3 else liars[:1]
    detector = Detector(policy=estate.detection)
    for count in range(30):
        at = count / 2
        seen: list[Observation] = list(beat(at, *(r for r in estate.regions if not quiet or r != region)))
        for v in estate.regions:
            for s, as_client in ((ORDERS, False), (SHOP, False), (SHOP, True)):
                ok = v not in liars or pattern[count % len(pattern)]
                seen.append(probed(at, v, region, s, ok=ok, as_client=as_client))
        detector = fold(detector, *seen)
        now = assess(detector, now=seconds(at), estate=estate)
        where = Placement(group=GROUP, primary=region, term=Term(1))
        assert not any(isinstance(d, Move) for d in decide(view(estate, now, where), now=now.at))


@properties
@given(watched(), st.data())
def test_who_has_no_vote_changes_no_verdict(world: World, data: st.DataObject) -> None:
    """What an isolated or silent observer saw of others may be anything: every diagnosis stays."""
    estate, seen = world.estate, world.seen
    before = said(estate, seen)
    voiceless = sorted(v for v in before.voiceless if v not in _heard(estate, seen))
    if not voiceless:
        return
    liar = data.draw(st.sampled_from(voiceless))
    turned = [
        probed(o.at.total_seconds(), o.vantage, o.region, o.service, ok=data.draw(st.booleans()))
        if isinstance(o, Probed) and o.vantage == liar != o.region
        else o
        for o in seen
    ]
    after = said(estate, turned)
    assert {r: v.diagnosis for r, v in after.verdicts.items()} == {r: v.diagnosis for r, v in before.verdicts.items()}


def _heard(estate: Estate, seen: Iterable[Observation]) -> set[RegionId]:
    """Whose agents are heard at the end: these could get their vote back by seeing something else."""
    last = seconds((ROUNDS - 1) / 2) - estate.detection.heartbeat_stale
    return {o.region for o in seen if not isinstance(o, Probed) and o.at >= last}


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """Any move in any situation; most of them have a plan."""
    world = draw(watched())
    estate, seen = world.estate, world.seen
    now = said(estate, seen)
    where = _placement(draw, estate)
    known: Members = members(estate, where)
    for component in estate.group_components(GROUP, Purpose.STATE):
        for region in draw(st.sets(st.sampled_from(tuple(estate.regions)), max_size=1)):
            known = changed(known, component.id, region, state=None)
    target = draw(st.sampled_from(tuple(estate.regions)))
    kind = draw(st.sampled_from((RunKind.FAILOVER, RunKind.SWITCHOVER, RunKind.FAILBACK)))
    wish = move(where.primary, target, kind=kind, accept_loss=draw(st.booleans()))
    here = Situation(estate=estate, assessment=now, members=known, placement=where)
    return Wish(wish, f"{world.trouble}, {where}", here)


def _placement(draw: st.DrawFn, estate: Estate) -> Placement:
    """The primaries anywhere, some regions not rebuilt, and the sets that are waited for as declared or changing."""
    primary = draw(st.sampled_from(tuple(estate.regions)))
    others = [r for r in estate.regions if r != primary]
    waiting = tuple(draw(st.lists(st.sampled_from(others), unique=True, max_size=1)))
    sync: dict[ComponentId, tuple[SyncSet, ...]] = {}
    for component, sets in placed(estate).sync.items():
        standbys = tuple(draw(st.lists(st.sampled_from(others), unique=True, min_size=1)))
        acks = min(sets[0].acks, len(standbys))
        sync[component] = (SyncSet(acks=acks, standbys=standbys), SyncSet(acks=1, standbys=tuple(others)))
    return Placement(group=GROUP, primary=primary, term=Term(3), sync=sync, awaiting_rejoin=waiting)


def _plan(wish: Move, here: Situation) -> Plan | None:
    try:
        return plan_move(wish, here, term=Term(here.placement.term + 1))
    except UnsafePlan as refusal:
        return None if refusal.reasons else pytest.fail("a refusal carries its reasons")


@properties
@given(wishes())
def test_every_plan_keeps_the_promises(world: Wish) -> None:
    wish, here = world.move, world.here
    plan = _plan(wish, here)
    if plan is None:
        return
    assert in_order(plan.steps) == plan.steps
    check_waits(plan, here.estate)
    assert len({s.id for s in plan.steps}) == len(plan.steps)
    assert plan.term == plan.after.term > plan.before.term
    assert {s.action.term for s in plan.steps} == {plan.term}
    assert plan.target not in here.placement.awaiting_rejoin
    pivots = [s.action.component for s in plan.steps if s.pivot]
    assert len(pivots) == len(set(pivots))
    for step in plan.steps:
        if step.action.verb is Verb.SHIFT:
            weights = step.action.args["weights"]
            assert isinstance(weights, dict)
            assert weights[plan.target] == 100
            assert all(weight == 0 for region, weight in weights.items() if region != plan.target)
        if step.pivot:
            assert wish.accept_loss or _fenced(plan, here, step.action.component, _before(plan, step.id))


def _before(plan: Plan, step: StepId) -> set[StepId]:
    """All steps that are done when this one starts. A required step goes on without an optional one that failed."""
    here = plan.step(step)
    needs = {n for n in waits(plan, step) if here.optional or not plan.step(n).optional}
    return needs.union(*(_before(plan, n) for n in needs))


def _fenced(plan: Plan, here: Situation, component: ComponentId, done: set[StepId]) -> bool:
    """Whether the old primary was stopped, or each set was starved: n - k + 1 refusals, or more."""
    if StepId(f"stop:{component}@{plan.source}") in done:
        return True
    sets = here.placement.sync.get(component, ())
    refused = {r for r in here.estate.regions if StepId(f"refuse:{component}@{r}") in done}
    return bool(sets) and all(len(refused & set(s.standbys)) >= len(s.standbys) - s.acks + 1 for s in sets)


@properties
@given(wishes())
def test_orders_go_only_where_somebody_answers(world: Wish) -> None:
    wish, here = world.move, world.here
    plan = _plan(wish, here)
    for step in plan.steps if plan else ():
        assert here.reachable(step.action.region)


@properties
@given(wishes())
def test_a_rebuilt_region_is_stopped_before_it_is_rebuilt(world: Wish) -> None:
    here = world.here
    for region in here.placement.awaiting_rejoin:
        rejoin = Rejoin(group=GROUP, region=region, reasons=())
        plan = plan_rejoin(rejoin, here, term=Term(here.placement.term + 1))
        assert in_order(plan.steps) == plan.steps
        for step in plan.steps:
            if step.action.verb is Verb.REJOIN:
                stop = StepId(f"stop:{step.action.component}@{region}")
                assert stop in _before(plan, step.id)
                assert not plan.step(stop).optional
        assert region not in plan.after.awaiting_rejoin


@properties
@given(watched(), st.data())
def test_a_shift_leads_to_an_open_door_and_touches_no_state(world: World, data: st.DataObject) -> None:
    """Whatever else is seen: clients are sent to one door, which a quorum sees open, and nothing else is changed."""
    estate = world.estate
    regions = st.sampled_from(tuple(estate.regions))
    shut = data.draw(st.sets(regions, max_size=2))
    tried = [
        probed(count / 2, v, r, SHOP, ok=count < 4 or r not in shut, as_client=True)
        for count in range(ROUNDS)
        for v in estate.regions
        for r in estate.regions
        if v != r
    ]
    now = said(estate, (*world.seen, *tried))
    entry = data.draw(st.none() | regions)
    where = replace(placed(estate), entry=None if entry == estate.home[GROUP] else entry)
    here = Situation(estate=estate, assessment=now, members=members(estate, where), placement=where)
    try:
        shift = wished_shift(here, to=data.draw(st.none() | regions), by="alice", reasons=("asked for",))
        plan = plan_shift(shift, here, term=Term(where.term + 1))
    except UnsafePlan:
        return
    assert in_order(plan.steps) == plan.steps
    check_waits(plan, estate)
    assert {estate.components[s.action.component].purpose for s in plan.steps} == {Purpose.ROUTER}
    assert all(here.reachable(s.action.region) for s in plan.steps)
    assert SHOP in now.verdicts[plan.target].entered
    assert plan.target not in shut
    turns = [s for s in plan.steps if s.action.verb is Verb.SHIFT]
    assert any(not s.optional for s in turns)
    for turn in turns:
        weights = turn.action.args["weights"]
        assert isinstance(weights, dict)
        assert {r for r, weight in weights.items() if weight} == {plan.target}
    assert replace(plan.after, entry=where.entry, term=where.term) == where
    assert plan.after.door == plan.target != where.door
