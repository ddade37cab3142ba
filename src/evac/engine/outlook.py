"""Keeps beside the journal, once a minute, what the loss of each primary region would cost: what trends are seen in.

What this is not: something that is acted on. A minute that is missed is a point that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from evac.core.errors import StoreError, UnsafePlan
from evac.core.outlook import Point, if_lost_now, remember
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.durations import durations_of
from evac.engine.journal import read_runs
from evac.ports import Clock, Store

KEY = "outlook"
EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """By group, what was forecast within the last hour, oldest first."""

    past: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)


async def read_outlook(store: Store) -> Outlook:
    """Return what is kept; nothing, before the first minute."""
    record = await store.get(KEY)
    return Outlook() if record is None else decode(record.value, Outlook)


async def keep_outlook(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Add a point for every group each `EVERY`, without end. A group that no plan can move gets none."""
    await controller.recalled.wait()
    while True:
        await clock.sleep(EVERY)
        with suppress(StoreError):
            await _add(controller, store=store, wall=clock.wall())


async def _add(controller: Controller, *, store: Store, wall: datetime) -> None:
    durations = durations_of(await read_runs(store), controller.estate)
    assessment = controller.assess()
    past = dict((await read_outlook(store)).past)
    for group in controller.known.placements:
        with suppress(UnsafePlan):
            said = if_lost_now(controller.situation(group, assessment), durations)
            past[group] = remember(past.get(group, ()), Point(wall=wall, rto=said.rto, rpo=said.rpo))
    await store.commit(expect={}, put={KEY: encode(Outlook(past=past))}, lasting=False)
