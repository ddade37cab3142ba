"""A person at a terminal that reaches the store if anybody does.

What this is not: one who thinks. They ask for a switchover when the script says so, and else do what evac told them.
"""

from __future__ import annotations

from collections.abc import Iterable

from evac.core.decision import CallPerson, Decision, Hold
from evac.core.estate import GroupId, RegionId
from evac.core.run import RunId
from evac.core.snapshot import Request, Wish
from evac.engine.codec import encode
from evac.sim import time
from evac.sim.cluster import Cluster
from evac.sim.estates import GROUP
from evac.sim.trace import Trace


class Person:
    """Asks as `evac` at a terminal does; nobody waits for the answer."""

    def __init__(self, cluster: Cluster, trace: Trace) -> None:
        self._cluster = cluster
        self._trace = trace
        self._asked = 0
        self._called_for: set[GroupId] = set()
        self.was_called = False

    def wish(self, wish: Wish, *, target: RegionId | None = None, run: RunId | None = None) -> None:
        """Ask, unless the store has no majority."""
        if not self._cluster.core():
            return
        self._asked += 1
        request = Request(
            id=str(self._asked),
            wish=wish,
            by="a person",
            wall=time.VirtualClock().wall(),
            group=GROUP,
            target=target,
            run=run,
        )
        self._trace.tell("wish", f"{wish}{f' to {target}' if target else ''}{f' of run {run}' if run else ''}")
        self._cluster.commit({}, {f"requests/{request.id}": encode(request)}, ())

    def hear(self, decision: Decision) -> None:
        """Hear what evac decided: whether somebody is called, or is no longer wanted."""
        if isinstance(decision, CallPerson):
            self.was_called = True
            self._called_for.add(decision.group)
        elif not isinstance(decision, Hold):
            self._called_for.discard(decision.group)

    def help(self, *, stuck: Iterable[RunId]) -> None:
        """Resolve the runs that are stuck, and let automation go on where somebody is called."""
        for run in stuck:
            self.wish(Wish.RESOLVE, run=run)
        if self._called_for:
            self.wish(Wish.RESUME)
