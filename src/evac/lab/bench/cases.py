"""What is measured: the cases, their names, and what each has to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from evac.config.build import holding
from evac.config.schema import LeaseSection
from evac.lab.faults import Fault, FaultKind, Target
from evac.lab.layout import Form, Mode

HOME = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is done to a fresh lab under load. Without a fault it is a planned switch.

    With `inside` there is a client in the home region too, which writes to its own primary whatever happens around.
    """

    mode: Mode
    fault: Fault | None
    form: Form = "embedded"
    """Embedded: evac runs outside the failing region. Distributed: it leads from inside it."""
    inside: bool = False
    forced: bool = False
    """A person fails over and takes the responsibility for the fence, which asynchronous mode cannot give: a cut-off
    primary goes on acknowledging, and all of that has to be reported as orphaned."""


class Figure(StrEnum):
    """Which of the clients' waits a case is about."""

    RTO = "rto_s"
    """From the fault to the first acknowledgement of the new primary."""
    WRITE_GAP = "write_gap_s"
    """The longest time between two acknowledgements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table. `median_max_s` is the limit of its figure's median, None if it has none, and `because`
    says what it is made of, where that is not a bare aim.

    In asynchronous mode acknowledged writes may be missing, if they are exactly those that the run reports.
    """

    name: str
    scenario: Scenario
    store: str
    figure: Figure
    median_max_s: float | None
    because: str = ""


LEASE_WAIT_S = holding(LeaseSection()).timing.wait.total_seconds()
"""How long the lab's asynchronous primary's last renewal must have stood still before another region takes over."""
BESIDE_THE_WAIT_S = 2.0
"""All else that a failover of such a primary may take."""


def _fault(kind: FaultKind, *, value: float = 0.0, what: Target = Target.DATABASE) -> Fault:
    return Fault(kind=kind, region=HOME, value=value, what=what)


def _lost(kind: FaultKind, *, form: Form, median_max_s: float) -> Case:
    return Case(
        name=f"rto/sync/{kind}/{form}",
        scenario=Scenario(mode="sync", fault=_fault(kind), form=form),
        store="orders",
        figure=Figure.RTO,
        median_max_s=median_max_s,
    )


def _leased(kind: FaultKind) -> Case:
    """A region whose asynchronous primary is held under a lease. Clients inside write to it whatever happens around."""
    return Case(
        name=f"rto/async/{kind}/distributed",
        scenario=Scenario(mode="async", fault=_fault(kind), form="distributed", inside=True),
        store="orders",
        figure=Figure.RTO,
        median_max_s=LEASE_WAIT_S + BESIDE_THE_WAIT_S,
        because=f"the lease's wait {LEASE_WAIT_S:g} s + {BESIDE_THE_WAIT_S:g} s",
    )


def _switches(form: Form, *, median_max_s: float) -> tuple[Case, Case]:
    """A planned switch, as the clients of each of the two stores see it."""
    scenario = Scenario(mode="sync", fault=None, form=form)
    orders, carts = (
        Case(
            name=f"switchover/{what}/{form}",
            scenario=scenario,
            store=store,
            figure=Figure.WRITE_GAP,
            median_max_s=median_max_s,
        )
        for what, store in (("sync", "orders"), ("valkey", "carts"))
    )
    return orders, carts


def _gray(form: Form, *, median_max_s: float) -> Case:
    return Case(
        name=f"gray/loss40/{form}",
        scenario=Scenario(mode="sync", fault=_fault(FaultKind.LOSS, value=0.4), form=form),
        store="orders",
        figure=Figure.RTO,
        median_max_s=median_max_s,
    )


_LOST = (FaultKind.KILL, FaultKind.POWER, FaultKind.CUT, FaultKind.FREEZE)

CASES: tuple[Case, ...] = (
    *(_lost(kind, form="embedded", median_max_s=6.0) for kind in _LOST),
    *_switches("embedded", median_max_s=1.0),
    _gray("embedded", median_max_s=20.0),
    Case(
        name="orphans/async/cut/embedded",
        scenario=Scenario(mode="async", fault=_fault(FaultKind.CUT), inside=True, forced=True),
        store="orders",
        figure=Figure.RTO,
        median_max_s=None,
    ),
    *(_lost(kind, form="distributed", median_max_s=5.0) for kind in _LOST),
    *(_leased(kind) for kind in _LOST),
    *_switches("distributed", median_max_s=0.5),
    _gray("distributed", median_max_s=15.0),
)


def select(pattern: str, cases: Sequence[Case] = CASES) -> tuple[Case, ...]:
    """Return the cases a pattern means: shell wildcards over the whole name, or else a part of it; empty is all."""
    whole = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return tuple(case for case in cases if fnmatchcase(case.name, whole))


def by_scenario(cases: Sequence[Case]) -> dict[Scenario, tuple[Case, ...]]:
    """Return the cases under the scenario that answers them, in their order."""
    scenarios = dict.fromkeys(case.scenario for case in cases)
    return {scenario: tuple(case for case in cases if case.scenario == scenario) for scenario in scenarios}
