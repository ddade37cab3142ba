"""Outages that have happened, as simulations: what went wrong then, in this order, and what evac is to make of it.

Intuition: a scenario is a script that no seed wrote. It is played under the same watch as any seed, and beside that has
an outcome of its own, which is looked at when all is at rest.

What this is not: a record of who it happened to. Each stands for a kind of outage that has happened more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evac.core.estate import RegionId, ReplicationMode
from evac.sim.estates import EAST, EUROPE, WEST
from evac.sim.faults import Fault, Kind, Script
from evac.sim.setting import Result, Rules, Setup
from evac.sim.simulation import simulate

CUT_AT, CUT_FOR = 6.5, 43.0
CLOCKS = (0.98, 1.02, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A simulation with an expected outcome."""

    about: str
    """What goes wrong, and what comes of it, in a line for a person."""
    setup: Setup
    unlike: Callable[[Result], Iterator[str]]
    """Says in what a result is not what is expected."""

    def play(self, *, rules: Rules | None = None) -> tuple[Result, tuple[str, ...]]:
        """Play it; return what came of it, and in what that is not what is expected."""
        result = simulate(self.setup, rules=rules)
        return result, tuple(self.unlike(result))


def _setup(mode: str, *faults: Fault, seed: int = 1) -> Setup:
    """Three regions; `mode` is sync, async, or held: asynchronous under a lease."""
    synchronous = mode == "sync"
    return Setup(
        seed=seed,
        regions=3,
        mode=ReplicationMode.SYNC if synchronous else ReplicationMode.ASYNC,
        acks=int(synchronous),
        held=mode == "held",
        script=Script(faults=faults, rates=CLOCKS),
    )


def _fault(
    kind: Kind, begins: float, lasts: float, region: RegionId | None = None, other: RegionId | None = None
) -> Fault:
    return Fault(kind=kind, region=region, begins=begins, ends=begins + lasts, other=other)


def _is_moved(result: Result, *, away_from: RegionId = EAST) -> Iterator[str]:
    if result.runs["failover completed"] != 1:
        yield f"one failover was to be completed: {dict(result.runs)}"
    if result.primary in (None, away_from):
        yield f"the primary was to be elsewhere, it is in {result.primary}"
    if result.primary is not None and not result.acknowledged[result.primary]:
        yield f"{result.primary} was to acknowledge writes"


def _is_left_alone(result: Result) -> Iterator[str]:
    if result.runs:
        yield f"nothing was to be done: {dict(result.runs)}"
    if result.primary != EAST:
        yield f"the primary was to stay, it is in {result.primary}"
    if elsewhere := sorted(set(result.acknowledged) - {EAST}):
        yield f"no other region was to acknowledge anything: {', '.join(elsewhere)}"


def _is_moved_with_orphans(result: Result) -> Iterator[str]:
    yield from _is_moved(result)
    if not result.orphans:
        yield "both sides had written: what only the old one has was to be reported"


def _waits_for_a_person(result: Result) -> Iterator[str]:
    yield from _is_left_alone(result)
    if not result.called:
        yield "a person was to be called: nothing proves that the primary has stopped"


def _refuses_what_is_late(result: Result) -> Iterator[str]:
    if result.runs["switchover completed"] != 2:
        yield f"two switchovers were to be completed: {dict(result.runs)}"
    if result.primary != EUROPE:
        yield f"the primary was to stay where the newer plan had put it, it is in {result.primary}"
    if result.late["obeyed"] or not result.late["refused"]:
        yield f"every late order was to be refused, and there were to be some: {dict(result.late)}"


def _meets_a_later_term(result: Result) -> Iterator[str]:
    if not any("reign 2" in line for line in result.trace):
        yield "another leader was to be elected while the agent was frozen"
    if result.runs != {"switchover rolled-back": 1}:
        yield f"the switchover was to be rolled back: {dict(result.runs)}"
    if result.primary != EAST:
        yield f"the primary was to stay, it is in {result.primary}"


def _never_repeats_a_term(result: Result) -> Iterator[str]:
    if len(set(result.terms)) != len(result.terms) or list(result.terms) != sorted(result.terms):
        yield f"terms were to grow, whatever the backup said: {result.terms}"
    if result.primary is None:
        yield "one primary was to be there at the end"


def _is_led_from_elsewhere(result: Result) -> Iterator[str]:
    yield from _is_moved(result)
    led = [line for line in result.trace if " leads, reign" in line]
    if not led or f" {EAST}#" not in led[0]:
        yield "the first leader was to be in the region that dies"
    if not any(f" {EAST}#" not in line for line in led):
        yield "another leader was to be elected elsewhere"


SCENARIOS = {
    "partition-43s-sync": Scenario(
        about="The primary's region is cut off for 43 s, clients on both sides write. Moved; nothing is lost.",
        setup=_setup("sync", _fault(Kind.CUT, CUT_AT, CUT_FOR, EAST)),
        unlike=_is_moved,
    ),
    "partition-43s-async": Scenario(
        about="The same, asynchronous. Nothing proves that the primary has stopped: not moved, a person is called.",
        setup=_setup("async", _fault(Kind.CUT, CUT_AT, CUT_FOR, EAST)),
        unlike=_waits_for_a_person,
    ),
    "partition-43s-lease": Scenario(
        about="The same, under a lease. Killed, then moved; what only the old primary has is reported.",
        setup=_setup("held", _fault(Kind.CUT, CUT_AT, CUT_FOR, EAST)),
        unlike=_is_moved_with_orphans,
    ),
    "stale-plan": Scenario(
        about="All that an old plan had ordered arrives after a newer plan is done. Each order is refused.",
        setup=_setup(
            "sync",
            _fault(Kind.SWITCHOVER, 9.0, 0.1, other=WEST),
            _fault(Kind.SWITCHOVER, 22.0, 0.1, other=EUROPE),
            _fault(Kind.LATE_ORDERS, 36.0, 1.0),
        ),
        unlike=_refuses_what_is_late,
    ),
    "thawed-agent": Scenario(
        about="An agent freezes with its orders, the leader is killed, another goes on at a later term; then it thaws.",
        setup=_setup(
            "sync",
            _fault(Kind.SWITCHOVER, 12.0, 0.5, other=WEST),
            _fault(Kind.FREEZE_AGENT, 12.2, 17.8, WEST),
            _fault(Kind.KILL_LEADER, 12.4, 27.6),
        ),
        unlike=_meets_a_later_term,
    ),
    "blank-policy": Scenario(
        about="Every agent gets an empty estate file, for 25 s. They refuse it; nothing is stopped or moved.",
        setup=_setup("sync", _fault(Kind.BLANK_ESTATE, 10.0, 25.0)),
        unlike=_is_left_alone,
    ),
    "store-restored": Scenario(
        about="The store goes back to before a move. It is another life: no lease counts, no term comes again.",
        setup=_setup(
            "sync",
            _fault(Kind.SWITCHOVER, 9.0, 0.1, other=WEST),
            _fault(Kind.STORE_RESTORED, 22.0, 1.0),
            _fault(Kind.REGION_DEATH, 28.0, 18.0, WEST),
        ),
        unlike=_never_repeats_a_term,
    ),
    "leader-in-the-failed-region": Scenario(
        about="The region dies that holds the primary and the leader. Another agent leads, and moves the primary.",
        setup=_setup("sync", _fault(Kind.REGION_DEATH, 10.0, 35.0, EAST)),
        unlike=_is_led_from_elsewhere,
    ),
}
"""Every scenario, by its name."""
