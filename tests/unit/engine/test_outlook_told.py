"""What the loss of each region would come to is told as it is thought, and begun anew when what decides has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from evac.core.news import silent
from evac.core.run import RunId
from evac.engine.controller import Controller
from evac.engine.outlook import WHAT_IF, keep_outlook
from evac.sim.estates import GROUP, placed, shop
from evac.stores.memory import MemoryStore
from fakes.thoughts import seen

ESTATE = shop()
REGIONS = [f"{WHAT_IF}{region}" for region in ESTATE.regions]
LOOKS_MAX = 60


class Busy:
    """A clock on which each look at it takes 0.3 s, as where there is much to think about; it ends after so many."""

    def __init__(self, at: timedelta) -> None:
        self.at = at
        self.sleeps = 0

    def now(self) -> timedelta:
        self.at += timedelta(seconds=0.3)
        return self.at

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + self.at

    async def sleep(self, duration: timedelta) -> None:
        self.at += duration
        self.sleeps += 1
        if self.sleeps > LOOKS_MAX:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


class Noting(MemoryStore):
    """A store that notes what each commit wrote, and has something happen at the first."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self.written: list[list[str]] = []
        self.happens = happens

    async def commit(self, **what: object) -> int:
        put = what["put"]
        assert isinstance(put, dict)
        self.written.append(list(put))
        if len(self.written) == 1:
            self.happens()
        return await super().commit(**what)  # type: ignore[arg-type]


async def written(happens: Callable[[Controller], None]) -> list[list[str]]:
    detector, at = seen(ESTATE)
    clock = Busy(at)
    store = Noting(lambda: happens(controller))
    controller = Controller(estate=ESTATE, store=store, clock=clock, announce=silent, name="a")
    controller.known.detector, controller.known.placements = detector, {GROUP: placed(ESTATE)}
    controller.recalled.set()
    await asyncio.wait({asyncio.create_task(keep_outlook(controller, store=store, clock=clock))})
    return store.written


async def test_each_is_told_as_soon_as_it_is_thought() -> None:
    told = await written(lambda controller: None)
    assert told[:3] == [[region] for region in REGIONS]


async def test_what_has_changed_meanwhile_begins_it_anew() -> None:
    def begin(controller: Controller) -> None:
        controller.known.active[GROUP] = RunId("1")

    told = await written(begin)
    assert told[:4] == [[region] for region in (REGIONS[0], *REGIONS)]
