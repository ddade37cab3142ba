"""Faults, as a script that a seed writes: what goes wrong, where, from when until when.

Intuition: most seeds have one to four faults, some at the same time, some with hardly a pause between. Whatever has not
ended by then ends at `HEAL`; what a simulation shows after that moment is how evac comes to rest.

What this is not: the doing (`simulation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from evac.core.estate import RegionId

FIRST = 8.0
"""Before this second nothing goes wrong: agents find each other and elect."""
HEAL = 50.0
"""At this second everything is whole again."""


class Kind(StrEnum):
    """What can go wrong."""

    REGION_DEATH = "region-death"
    CUT = "cut"
    """A region and all others, both ways."""
    CUT_OUT = "cut-out"
    """Nothing gets out of a region."""
    CUT_IN = "cut-in"
    """Nothing gets into a region."""
    LINK_CUT = "link-cut"
    """Two regions."""
    FREEZE_AGENT = "freeze-agent"
    FREEZE_DATABASE = "freeze-database"
    FREEZE_LEADER = "freeze-leader"
    FREEZE_REGION = "freeze-region"
    """Agent and database."""
    KILL_AGENT = "kill-agent"
    KILL_LEADER = "kill-leader"
    KILL_DATABASE = "kill-database"
    SLOW_DATABASE = "slow-database"
    """What it is asked waits, each question for another time, so that they overtake each other."""
    STORE_OUT = "store-out"
    STORE_SLOW = "store-slow"
    REPLIES_LOST = "replies-lost"
    """Of the store, to one region."""
    REPLIES_LATE = "replies-late"
    """Likewise."""
    FREEZE_WATCHDOG = "freeze-watchdog"
    KILL_WATCHDOG = "kill-watchdog"
    FREEZE_MACHINE = "freeze-machine"
    """Agent, database and watchdog, for as long as the lease of a primary allows."""
    SWITCHOVER = "switchover"
    """No fault: a person asks for a move, so that faults meet that too."""


OF_THE_LEADER = frozenset({Kind.FREEZE_LEADER, Kind.KILL_LEADER})
OF_ALL = frozenset({Kind.STORE_OUT, Kind.STORE_SLOW})
OF_THE_WATCHDOG = frozenset({Kind.FREEZE_WATCHDOG, Kind.KILL_WATCHDOG})
HELD_ONLY = OF_THE_WATCHDOG | {Kind.FREEZE_MACHINE}
"""What needs a primary that is held under a lease."""
MACHINE_FROZEN_MAX = 0.95
"""Seconds for which a whole machine stands still at most: longer is not covered by the lease's times."""
WATCHDOG_ALONE = 4.0
"""So many seconds around a watchdog's fault its agent is well: both at once are not covered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. `region` is empty where it is the leader's, or everybody's; `other` is the second end
    of a link, or where a switch goes.
    """

    kind: Kind
    region: RegionId | None
    begins: float
    ends: float
    other: RegionId | None = None

    def __str__(self) -> str:
        where = "" if self.region is None else f" {self.region}"
        to = "" if self.other is None else f" and {self.other}" if self.kind is Kind.LINK_CUT else f" to {self.other}"
        return f"{self.kind}{where}{to}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What goes wrong in one simulation, in its order, and how fast the agents' clocks go."""

    faults: tuple[Fault, ...]
    rates: tuple[float, ...]

    def alone(self, fault: Fault, *, around: float) -> bool:
        """Return whether nothing else is wrong from so many seconds before a fault begins until it ends."""
        others = [f for f in self.faults if f is not fault]
        return all(f.ends + around < fault.begins or f.begins > fault.ends for f in others)


def covered(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return the faults without those of a watchdog that come together with any other: what a lease does not cover."""

    def met(one: Fault) -> bool:
        near = (f for f in faults if f is not one and f.begins < one.ends + WATCHDOG_ALONE)
        return any(f.ends + WATCHDOG_ALONE > one.begins for f in near)

    return tuple(f for f in faults if f.kind not in OF_THE_WATCHDOG or not met(f))


def write(random: Random, regions: Sequence[RegionId], *, held: bool = False) -> Script:
    """Return a script for these regions, of which the first one holds the primary, `held` under a lease or not."""
    kinds = [kind for kind in Kind if held or kind not in HELD_ONLY]
    faults: list[Fault] = []
    at = FIRST + random.uniform(0.0, 4.0)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 2, 3, 4))):
        fault = _fault(random, regions, kinds, begins=at)
        faults.append(fault)
        at = random.choice((at + random.uniform(0.0, 3.0), fault.ends + random.uniform(0.0, 12.0)))
        if at > HEAL - 5.0:
            break
    spread = random.choice((0.0, 0.001, 0.02))
    rates = tuple(1.0 + random.uniform(-spread, spread) for _ in regions)
    return Script(faults=covered(faults), rates=rates)


def _fault(random: Random, regions: Sequence[RegionId], kinds: Sequence[Kind], *, begins: float) -> Fault:
    kind = random.choice(kinds)
    lasts = random.choice((random.uniform(0.2, 3.0), random.uniform(3.0, 25.0)))
    if kind is Kind.FREEZE_MACHINE:
        lasts = min(lasts, MACHINE_FROZEN_MAX)
    region = None if kind in OF_THE_LEADER | OF_ALL else _where(random, regions)
    other = None
    if region is not None and kind in (Kind.LINK_CUT, Kind.SWITCHOVER):
        other = random.choice([r for r in regions if r != region])
    return Fault(
        kind=kind,
        region=None if kind is Kind.SWITCHOVER else region,
        begins=begins,
        ends=min(begins + lasts, HEAL),
        other=other,
    )


def _where(random: Random, regions: Sequence[RegionId]) -> RegionId:
    """The home of the primary more often than others."""
    return regions[0] if random.random() < 0.4 else random.choice(regions)
