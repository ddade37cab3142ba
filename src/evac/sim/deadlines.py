"""What must have happened by when: a loss declared (L1), a primary promoted elsewhere (L2), a run gone on with (L3),
traffic that goes on while the store is out (L5).

Intuition: a bound holds only where nothing else is wrong. So each deadline is set for a fault that stands alone, or for
a leader that is elected in calm, and looks at its moment whether that was so all the while.

What this is not: the promises that must hold at every moment (`invariants`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from evac.core.estate import RegionId, ReplicationMode
from evac.core.observation import MemberRole
from evac.sim import time
from evac.sim.agents import AgentProcess
from evac.sim.databases import Databases
from evac.sim.faults import Fault, Kind
from evac.sim.invariants import Watch
from evac.sim.setting import Rules, Setup

RESUMED_WITHIN = 3.0
"""A leader goes on with a run that it finds within so many seconds (L3)."""
CALM_BEFORE = 12.0
"""A verdict is due within the bound where nothing else has been wrong for so many seconds."""
EVALUATED = timedelta(seconds=0.4)
"""Publishing, the ways through the store, and an evaluation."""
PROMOTED_WITHIN = 2.5
"""From a verdict to a promotion it takes no more than so many seconds, where all is well elsewhere."""
WRITTEN_WITHIN = 3.5
"""Among all clients one is told yes at least once in so many seconds, where all is well."""
CLOCKS = 1.02
"""How much longer the slowest clock of a script may take."""


class Deadlines:
    """The deadlines of one simulation, and what they depend on: what is wrong, and since when that has not changed."""

    def __init__(self, *, what: Setup, rules: Rules, watch: Watch, databases: Databases) -> None:
        self.on: list[Fault] = []
        """The faults that last."""
        self._what = what
        self._rules = rules
        self._watch = watch
        self._databases = databases
        self._changed_at = 0.0
        """When a fault began or ended last."""
        self._declared: dict[RegionId, float] = {}

    def began(self, fault: Fault) -> None:
        """Note that a fault is on."""
        self.on.append(fault)
        self._changed_at = time.seconds()

    def ended(self, fault: Fault) -> None:
        """Note that it is over."""
        self.on.remove(fault)
        self._changed_at = time.seconds()

    def declared(self, region: RegionId) -> None:
        """Note that a region was declared unreachable."""
        self._declared[region] = time.seconds()

    def elected(self, agent: AgentProcess) -> None:
        """Set a deadline for what a new leader found under way."""
        if self._watch.active and not self.on:
            asyncio.get_running_loop().call_later(
                RESUMED_WITHIN, self._has_resumed, agent, agent.name, context=time.outside()
            )

    def after(self, fault: Fault, *, led: RegionId | None, at_rest: bool) -> None:
        """L1: the loss of a region is declared within the bound; where the leader was in it, by the next one. L2: what
        was at rest, and can be fenced, is promoted elsewhere soon after. L5: a store that is out stops no traffic.
        """
        if fault.kind is Kind.STORE_OUT and at_rest and self._what.script.alone(fault, around=CALM_BEFORE):
            self._expect_traffic(fault)
        assert fault.region is not None or fault.kind is not Kind.REGION_DEATH, "a region dies by name"
        if fault.kind is not Kind.REGION_DEATH or led is None or not self._what.script.alone(fault, around=CALM_BEFORE):
            return
        policy, lease = self._rules.detection, self._rules.timing
        bound = policy.interval * (policy.failures + 1) + policy.timeout + policy.dwell + EVALUATED
        if led == fault.region:
            bound += lease.wait + 2 * lease.renew + EVALUATED
        within, loop = bound.total_seconds() * CLOCKS, asyncio.get_running_loop()
        if fault.begins + within < fault.ends:
            loop.call_later(within, self._was_declared, fault, context=time.outside())
        if at_rest and self._what.mode is ReplicationMode.SYNC and fault.begins + within + PROMOTED_WITHIN < fault.ends:
            loop.call_later(within + PROMOTED_WITHIN, self._was_left, fault, context=time.outside())

    def _expect_traffic(self, fault: Fault) -> None:
        """L5: traffic goes on all the while; under a lease, until the watchdog has to stop it."""
        until = fault.ends
        if self._what.held:
            lease = self._rules.holding
            until = min(until, fault.begins + (lease.watchdog - 2 * lease.renew).total_seconds() / CLOCKS)
        if until - fault.begins >= WRITTEN_WITHIN:
            loop = asyncio.get_running_loop()
            loop.call_later(until - fault.begins, self._was_written, until - WRITTEN_WITHIN, context=time.outside())

    def _was_written(self, since: float) -> None:
        if not any(yes.said >= since for yes in self._watch.acknowledged[-20:]):
            after = time.seconds() - since
            self._watch.broken("L5", f"the store is out, and no write was acknowledged for {after:.1f} s")

    def _was_declared(self, fault: Fault) -> None:
        assert fault.region is not None, "a region dies by name"
        if self._declared.get(fault.region, 0.0) < fault.begins:
            after = time.seconds() - fault.begins
            self._watch.broken("L1", f"{fault.region} died {after:.1f} s ago, and nobody has declared it")

    def _was_left(self, fault: Fault) -> None:
        """L2: by now a primary whose region died has been promoted elsewhere."""
        nodes = self._databases.nodes.values()
        if not any(n.role is MemberRole.PRIMARY and n.process is not None for n in nodes):
            after = time.seconds() - fault.begins
            self._watch.broken("L2", f"{fault.region} died with the primary {after:.1f} s ago, and nobody was promoted")

    def _has_resumed(self, agent: AgentProcess, name: str) -> None:
        """L3: a leader that could has gone on with what it found, by now."""
        began = time.seconds() - RESUMED_WITHIN
        if not agent.leads or agent.name != name or self.on or self._changed_at > began:
            return
        for run in self._watch.active:
            if self._watch.taken_at[run.id] < began:
                self._watch.broken("L3", f"{name} leads for {RESUMED_WITHIN:g} s and has not gone on with run {run.id}")
