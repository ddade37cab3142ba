"""In what state a simulation is: by what could make a difference, without numbers that only grow.

Intuition: how many distinct states a campaign reached says how much of what can happen it has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from evac.core.run import Run
from evac.sim.agents import AgentProcess
from evac.sim.databases import Database


def state_of(
    databases: Iterable[Database], agents: Iterable[AgentProcess], run: Run | None, faults: Collection[object]
) -> int:
    """Return a state's digest. `run` is the one under way, `faults` are those that last."""
    nodes = sorted(databases, key=lambda n: n.region)
    terms = sorted({n.term for n in nodes})
    steps = () if run is None else tuple((i, p.running, p.failure, p.receipt is None) for i, p in run.does.items())
    state = (
        tuple((n.role, n.upstream, n.sync, terms.index(n.term), n.process is None, n.astray) for n in nodes),
        tuple((a.leads, a.process is None, a.process is not None and a.process.frozen) for a in agents),
        None if run is None else (run.plan.kind, run.plan.source, run.plan.target, len(run.resumed)),
        steps,
        tuple(sorted(str(f) for f in faults)),
    )
    return int.from_bytes(hashlib.blake2b(repr(state).encode(), digest_size=8).digest(), "big")
