"""Whatever set follows whatever set, and wherever a change is interrupted: who promotes finds every acknowledged write.

After patroni's tests of `quorum.py`: a change is replayed with an interruption at every entry of its journal. At each
moment the primary may wait for any set that it was told of and that was not certainly replaced; a promotion rests on
the refusals that the record asks for. Two things must hold: no write can be acknowledged once they are had, and among
those who gave them is one that has every write that was ever acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from evac.core.effects import Do, Settle, effects
from evac.core.estate import RegionId
from evac.core.fence import unfenced
from evac.core.fold import apply
from evac.core.placement import advance
from evac.core.plan import Action, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb
from evac.core.protection import Protect, plan_protect
from evac.core.run import Done, Failed, Failure, Opened, Receipt, Resumed, Run, RunId, Settled, Started
from evac.sim.estates import GROUP, ORDERS_DB

PRIMARY = RegionId("a")
STANDBYS = tuple(RegionId(r) for r in "bcde")
WALL = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = timedelta()


@st.composite
def sets(draw: st.DrawFn) -> SyncSet:
    """Any set of up to four standbys, or nobody."""
    standbys = tuple(sorted(draw(st.sets(st.sampled_from(STANDBYS)))))
    return SyncSet(acks=draw(st.integers(1, len(standbys))) if standbys else 0, standbys=standbys)


@dataclass
class World:
    """A primary, what it may wait for at this moment, and what is where: a log is one number, how long it is."""

    placement: Placement
    may_wait_for: list[SyncSet]
    written: int = 0
    acknowledged: int = 0
    held: dict[RegionId, int] = field(default_factory=lambda: dict.fromkeys(STANDBYS, 0))

    def write(self, draw: st.DataObject) -> None:
        """Write; the log reaches some, and is acknowledged as one of the sets that may be in force allows."""
        self.written += 1
        chosen = draw.draw(st.sampled_from(self.may_wait_for))
        have = draw.draw(st.sets(st.sampled_from(STANDBYS)))
        if chosen.acks:
            have |= set(draw.draw(st.permutations(chosen.standbys))[: chosen.acks])
        for region in have:
            self.held[region] = self.written
        self.acknowledged = self.written

    def takes(self, sync: SyncSet, draw: st.DataObject) -> None:
        """The new set is in force everywhere, and so many of it have caught up: what the receipt says."""
        self.may_wait_for = [sync]
        for region in draw.draw(st.permutations(sync.standbys))[: sync.acks]:
            self.held[region] = self.written

    def check(self) -> None:
        """Hold every promotion that the record would allow now against what is there."""
        for refusing in self._promotions():
            for sync in self.may_wait_for:
                left = set(sync.standbys) - refusing
                assert sync.acks > len(left), f"{sync} is acknowledged though {sorted(refusing)} refuse"
            assert max(self.held[r] for r in refusing) >= self.acknowledged, f"lost with {sorted(refusing)}"

    def _promotions(self) -> Iterator[set[RegionId]]:
        for size in range(1, len(STANDBYS) + 1):
            yield from (set(r) for r in combinations(STANDBYS, size) if not _unfenced(self.placement, r))


def _unfenced(placement: Placement, refusing: tuple[RegionId, ...]) -> str:
    """Ask the rule that guards every promotion."""
    refusals = [_step(Verb.REFUSE, r, Phase.FENCE) for r in refusing]
    promote = _step(Verb.PROMOTE, refusing[0], Phase.PROMOTE)
    plan = Plan(
        kind=RunKind.FAILOVER,
        group=GROUP,
        source=PRIMARY,
        target=refusing[0],
        term=Term(9),
        steps=(*refusals, promote),
        before=placement,
        after=placement,
    )
    return unfenced(plan, promote, {s.id: "starved" for s in refusals})


def _step(verb: Verb, region: RegionId, phase: Phase) -> Step:
    action = Action(component=ORDERS_DB, region=region, verb=verb, term=Term(9))
    return Step(id=StepId(f"{verb}@{region}"), action=action, phase=phase)


def _opened(plan: Plan) -> Run:
    event = Opened(
        run=RunId("1"), at=ZERO, wall=WALL, plan=plan, plan_hash="", decided_by="", symptom_at=ZERO, decision={}
    )
    return apply(None, event)


@settings(deadline=None, max_examples=300)
@given(first=sets(), changes=st.lists(sets(), min_size=1, max_size=4), draw=st.data())
def test_no_interrupted_change_loses_a_write_or_lets_two_write(
    first: SyncSet, changes: list[SyncSet], draw: st.DataObject
) -> None:
    before = {ORDERS_DB: (first,)} if first.acks else {}
    world = World(Placement(group=GROUP, primary=PRIMARY, term=Term(1), sync=before), [first])
    for change in changes:
        _change(world, change, draw)
    world.write(draw)
    world.check()


def _change(world: World, sync: SyncSet, draw: st.DataObject) -> None:
    """Play one run: each try is taken or not, and answered or not; the process may die, and clients write all along."""
    protect = Protect(group=GROUP, component=ORDERS_DB, region=PRIMARY, sync=sync, reasons=())
    run = _opened(plan_protect(protect, world.placement, term=Term(world.placement.term + 1)))
    while (todo := effects(run)) or run.under_way:
        effect = todo[0]
        if isinstance(effect, Settle):
            _note(world, run, Settled(at=ZERO, wall=WALL, outcome=effect.outcome))
            return
        assert isinstance(effect, Do), "the one step of a change is never undone"
        run = _note(world, run, Started(at=ZERO, step=effect.step, attempt=effect.attempt, term=run.term))
        world.write(draw)
        world.check()
        if draw.draw(st.booleans(), label="dies"):
            _reaches(world, sync, draw)
            run = _note(world, run, Resumed(at=ZERO, wall=WALL, term=Term(run.term + 1), by="another"))
            continue
        run = _answer(world, run, effect, sync, draw)
        world.check()
        world.write(draw)
        world.check()


def _reaches(world: World, sync: SyncSet, draw: st.DataObject) -> None:
    """The order may have reached the primary: then both sets may be in force from now on."""
    if sync not in world.may_wait_for and draw.draw(st.booleans(), label="reached"):
        world.may_wait_for.append(sync)


def _answer(world: World, run: Run, effect: Do, sync: SyncSet, draw: st.DataObject) -> Run:
    """A receipt, or a failure. That nothing happened can be said only while the order has not reached anybody."""
    unheard = sync not in world.may_wait_for
    failures = [None, Failure.INDETERMINATE, *((Failure.REJECTED, Failure.UNAVAILABLE) if unheard else ())]
    failure = draw.draw(st.sampled_from(failures))
    if failure is None:
        world.takes(sync, draw)
        receipt = Receipt(kind="protect")
        return _note(world, run, Done(at=ZERO, step=effect.step, attempt=effect.attempt, receipt=receipt))
    if failure is Failure.INDETERMINATE:
        _reaches(world, sync, draw)
    failed = Failed(at=ZERO, step=effect.step, attempt=effect.attempt, failure=failure, reason="")
    return _note(world, run, failed)


def _note(world: World, run: Run, event: Started | Done | Failed | Resumed | Settled) -> Run:
    run = apply(run, event)
    world.placement = advance(world.placement, run, event)
    return run
