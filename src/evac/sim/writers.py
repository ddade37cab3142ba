"""Clients that write, one in each region, and keep what they were told: a history for the checker.

Intuition: a client prefers the member beside it and looks for another where that is no primary, so whoever is cut off
together with an old primary goes on trying there. What a client is told by when is an acknowledgement, with the node
and the term that gave it; what it is not told in time is neither a yes nor a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from evac.core.errors import EvacError
from evac.core.estate import ComponentId, RegionId
from evac.sim.databases import Databases
from evac.sim.time import sleep

EVERY = 0.7
"""Seconds between two writes of a client, about."""
PATIENCE = 1.5
"""So long a client waits for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A client was told yes: which write, by whom, in which term, and when it asked, was answered and heard."""

    name: str
    node: RegionId
    term: int
    invoked: float
    said: float
    heard: float


@dataclass(slots=True, kw_only=True)
class Writer:
    """One client."""

    region: RegionId
    component: ComponentId
    world: Databases
    random: Random
    told: Callable[[Acknowledged], None]
    at: list[RegionId] = field(default_factory=list)
    """Where it tries, the first one first."""
    count: int = 0

    async def write_for_ever(self) -> None:
        """Write, one after the other, without end."""
        others = [r for r in self.world.network.regions if r != self.region]
        self.at = [self.region, *self.random.sample(others, len(others))]
        while True:
            await sleep(EVERY * self.random.uniform(0.5, 1.5))
            if self.region not in self.world.network.dead:
                await self._write()

    async def _write(self) -> None:
        """Try each place once until one says yes."""
        for _ in self.at:
            self.count += 1
            name = f"{self.region}/{self.count}"
            node = self.world.node(self.component, self.at[0])
            invoked = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(PATIENCE):
                    yes = await node.asked(partial(node.write, name), from_=self.region)
            except (EvacError, TimeoutError):
                self.at = [*self.at[1:], self.at[0]]
            else:
                heard = asyncio.get_running_loop().time()
                self.told(
                    Acknowledged(name=name, node=node.region, term=yes.term, invoked=invoked, said=yes.at, heard=heard)
                )
                return
