"""Routers as a model: one in each region, which sends clients by weights and obeys the highest term it was told.

Intuition: weights are absolute and on the disk, so an order is done once or again with the same end. A router refuses
to send clients nowhere, as the drivers do.

What this is not: clients. Writers look for a primary by themselves; what routers do is judged by where they send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import ComponentId, RegionId
from evac.core.observation import MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.ports import Finding, Holds, Truth
from evac.sim.network import INSIDE, Network
from evac.sim.obedience import Effect, Obedience
from evac.sim.time import sleep


@dataclass(slots=True, kw_only=True)
class Router:
    """One region's router: what is on its disk."""

    component: ComponentId
    region: RegionId
    weights: Mapping[str, int]
    term: int = 1

    @property
    def where(self) -> str:
        """The router, for people."""
        return f"{self.component}@{self.region}"

    @property
    def sends_to(self) -> tuple[str, ...]:
        """The regions that clients are sent to."""
        return tuple(region for region, weight in self.weights.items() if weight)


@dataclass(slots=True, kw_only=True)
class RouterMember:
    """Implements `evac.ports.Driver` for one router."""

    router: Router
    network: Network
    changed: Callable[[Effect, Mapping[str, int]], None]
    """Told of every effect when it happens, with the weights that hold from then on."""
    obedience: Obedience = field(default_factory=Obedience)

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(ok=True, what="a model needs nothing"),)

    async def close(self) -> None: ...

    async def observe(self) -> MemberState:
        await self._way()
        weights = dict(self.router.weights)
        return MemberState(role=MemberRole.PRIMARY, writable=True, term=self.router.term, detail={"weights": weights})

    async def holds(self, action: Action) -> Holds:
        await self._way()
        there = action.verb is Verb.SHIFT and self._is_so(action) and self.router.term == action.term
        return Holds(truth=Truth.YES, receipt=self._receipt(action)) if there else Holds(truth=Truth.NO)

    async def do(self, action: Action) -> Receipt:
        await self._way()
        if action.verb is not Verb.SHIFT:
            return Receipt(kind=action.verb.value, facts={"region": self.router.region})
        return self._set(action, _weights(action.args), undo=False)

    async def undo(self, action: Action) -> Receipt:
        await self._way()
        receipt: Any = action.args.get("receipt") or {}
        if "before" not in receipt:
            raise Rejected(f"{self.router.where}: where it sent clients before is not known")
        return self._set(action, dict(receipt["before"]), undo=True)

    def _set(self, action: Action, weights: Mapping[str, int], *, undo: bool) -> Receipt:
        router = self.router
        if self.obedience.looks_at_the_term and router.term > action.term:
            raise Rejected(f"{router.where} has seen term {router.term}, this order is of term {action.term}")
        if not any(weights.values()):
            raise Rejected(f"{router.where} would send clients nowhere")
        receipt = self._receipt(action)
        anew = not undo and self._is_so(action)
        self.changed(Effect(action=action, undo=undo, seen=router.term, anew=anew), weights)
        router.weights, router.term = weights, max(router.term, action.term)
        return receipt

    def _is_so(self, action: Action) -> bool:
        return dict(self.router.weights) == _weights(action.args)

    def _receipt(self, action: Action) -> Receipt:
        return Receipt(kind=action.verb.value, facts={"before": dict(self.router.weights)})

    async def _way(self) -> None:
        """An order comes from beside it. Raises `Unavailable` where its region is gone."""
        await sleep(INSIDE)
        if self.router.region in self.network.dead:
            raise Unavailable(f"{self.router.where}: connection refused")


def _weights(args: Mapping[str, Any]) -> dict[str, int]:
    return dict(args["weights"])
