"""The agent of one region: it looks from there, tells what it saw, and does what it is ordered to do there.

Intuition: an agent that cannot act in its region is no agent of it, so each time before it tells anything it asks its
place for a sign of life. No sign, no telling, and that silence is what the leader hears: the heartbeat is not a
message of its own, it is that the agent goes on telling.

What it saw while it was blind is thrown away: connections through a place that is cut off fail for a reason that is
not the target's. So is what it saw before its place's connection was made anew, however quickly that went.

What this is not: a judge. It tells the same whether it saw one region down or all.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog

from evac.core.errors import EvacError, StoreError
from evac.core.estate import ComponentId, Estate, RegionId
from evac.core.observation import Carried, Heartbeat, Instant, MemberSeen, Observation, Probed
from evac.engine.prober import Eyes
from evac.engine.recency import Recency
from evac.engine.views import next_view, view_key
from evac.ports import Clock, Driver, ObserverKind, Place, ProbeKind, Store

KEPT_MAX = 2000
"""Observations kept while the store cannot be reached; the oldest are dropped first."""
ANSWERS_KEPT_MAX = 2
"""And so many answers of each observer, which tell of all its targets at once."""
TELLS_PER_INTERVAL_MAX = 4
"""How often bad news may be told within one interval, instead of waiting for its end."""

_log = structlog.get_logger(__name__)


class Agent:
    """One region's agent. `orders` is its other half, which does what it is told (`engine.orders`)."""

    def __init__(
        self,
        region: RegionId,
        *,
        estate: Estate,
        store: Store,
        place: Place,
        clock: Clock,
        probe_kinds: Mapping[str, ProbeKind],
        members: Mapping[ComponentId, Driver],
        orders: Callable[[], Awaitable[None]] | None = None,
        observer_kinds: Mapping[str, ObserverKind] | None = None,
        recency: Recency | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`recency` is told of what this agent commits, for its other half."""
        self._region = region
        self._detection = estate.detection
        self._store = store
        self._place = place
        self._clock = clock
        self._orders = orders
        self._recency = recency or Recency()
        self._kept_max = KEPT_MAX + ANSWERS_KEPT_MAX * sum(
            len(o.targets) for o in estate.observers if o.vantage == region
        )
        self._seen: deque[Observation] = deque(maxlen=self._kept_max)
        self._bad_news = asyncio.Event()
        self._blind = ""
        """Why the place gives no sign of life; empty when it does."""
        chance = chance or random.Random()
        self._life = f"{chance.getrandbits(32):08x}"
        """Names this agent's clock: after a restart it may be another machine's."""
        self._connection: int | None = None
        """By which of the place's connections the last sign of life came."""
        self._seeing_since: Instant = timedelta()
        """When the sign of life was asked for that ended the last blindness."""
        self._eyes = Eyes(
            region=region,
            estate=estate,
            place=place,
            probe_kinds=probe_kinds,
            members=members,
            clock=clock,
            chance=chance,
            seen=self._note,
            observer_kinds=observer_kinds or {},
        )

    async def run(self) -> None:
        """Look, tell and obey until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._eyes.look(), name=f"eyes {self._region}")
            group.create_task(self._tell_for_ever(), name=f"heartbeat {self._region}")
            if self._orders is not None:
                group.create_task(_as_coroutine(self._orders), name=f"orders {self._region}")

    def _note(self, seen: Observation) -> None:
        if not self._was_seeing(seen):
            return
        self._seen.append(seen)
        if (isinstance(seen, Probed) and not seen.ok) or (isinstance(seen, MemberSeen) and seen.state is None):
            self._bad_news.set()

    def _was_seeing(self, seen: Observation) -> bool:
        """Whether a look began when the place was there: a question that spans a blindness fails for its sake."""
        match seen:
            case Probed():
                began = seen.at - seen.took
            case Carried():
                began = seen.at - seen.window
            case MemberSeen() | Heartbeat():  # pragma: no branch (the union is closed)
                began = seen.at
        return began >= self._seeing_since

    async def _tell_for_ever(self) -> None:
        while True:
            began = self._clock.now()
            self._bad_news.clear()
            if await self._sign_of_life():
                await self._tell()
            await self._clock.sleep(self._detection.interval / TELLS_PER_INTERVAL_MAX)
            rest = began + self._detection.interval - self._clock.now()
            if rest > timedelta():
                await self._rest(rest)

    async def _rest(self, rest: timedelta) -> None:
        """Wait for the end of the interval, or for bad news."""
        try:
            async with asyncio.timeout(rest.total_seconds()):
                await self._bad_news.wait()
        except TimeoutError:
            return

    async def _sign_of_life(self) -> bool:
        """Ask the place; on no answer forget what was seen, since it was not the targets that failed."""
        asked = self._clock.now()
        try:
            async with asyncio.timeout(self._detection.timeout.total_seconds()):
                connection = await self._place.ping()
        except (TimeoutError, EvacError) as error:
            why = str(error) or f"no answer in {self._detection.timeout.total_seconds():g} s"
            if not self._blind:
                _log.warning("place gives no sign of life: heartbeat stops", region=self._region, why=why)
            self._blind = why
            self._seen.clear()
            return False
        if self._blind or connection != self._connection:
            if self._blind:
                _log.info("place answers again", region=self._region)
            self._blind, self._connection = "", connection
            self._seeing_since = asked
            self._seen = deque(filter(self._was_seeing, self._seen), maxlen=self._kept_max)
        return True

    async def _tell(self) -> None:
        """Publish what was seen since the last time; what the store did not take is told with the next."""
        telling, self._seen = self._seen, deque(maxlen=self._kept_max)
        rest = True
        while rest:
            sent = self._clock.now()
            record, told = next_view(self._region, telling, now=sent, life=self._life)
            rest = told < len(telling)
            try:
                async with asyncio.timeout(self._detection.timeout.total_seconds()):
                    revision = await self._store.commit(expect={}, put={view_key(self._region): record}, lasting=False)
                self._recency.committed(sent=sent, revision=revision)
            except (TimeoutError, StoreError) as error:
                _log.warning(
                    "store did not take the view: told again with the next",
                    region=self._region,
                    why=str(error) or "no answer in time",
                )
                self._seen = deque((*telling, *self._seen), maxlen=self._kept_max)
                return
            for _ in range(told):
                telling.popleft()


async def _as_coroutine(orders: Callable[[], Awaitable[None]]) -> None:
    await orders()
