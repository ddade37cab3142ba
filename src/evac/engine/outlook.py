"""Keeps beside the journal what the loss of each region would come to, thought through all the time by who leads; and
once a minute, how much it would cost to lose each group's primary region: what trends are seen in.

    what-if/<region>   what would be decided, planned, taken and lost
    outlook            by group, a point a minute for an hour

What this is not: something that is acted on. A look that is missed is one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from evac.core.errors import StoreError
from evac.core.estate import RegionId
from evac.core.objectives import Durations
from evac.core.outlook import Point, remember
from evac.core.what_if import WhatIf, what_if
from evac.engine.codec import decode, encode
from evac.engine.controller import Controller
from evac.engine.durations import durations_of
from evac.engine.journal import read_runs
from evac.engine.planner import plan_of
from evac.ports import Clock, Store

KEY = "outlook"
WHAT_IF = "what-if/"
LOOK_EVERY = timedelta(seconds=30)
CHECK_EVERY = timedelta(seconds=1)
"""How soon it is thought through anew where a group was placed or moved, a run began or ended, or evac was paused."""
SETTLES_AFTER = timedelta(seconds=2)
"""Right after a change what is seen has not settled, and what is thought then may be that nothing can be done. It is
thought again after so long, then twice as long, and so on up to `LOOK_EVERY`.
"""
POINT_EVERY = timedelta(minutes=1)
RECORD_MAX = 256 * 1024
"""A record with plans that are larger than so many bytes is kept without the plans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """By group, what was forecast within the last hour, oldest first."""

    past: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What the loss of one region would come to, as it was thought through at `wall`. `whole` is False where the plans
    were too large to keep.
    """

    region: RegionId
    wall: datetime
    each: tuple[WhatIf, ...]
    whole: bool = True


async def read_outlook(store: Store) -> Outlook:
    """Return what is kept; nothing, before the first minute."""
    record = await store.get(KEY)
    return Outlook() if record is None else decode(record.value, Outlook)


async def read_thoughts(store: Store) -> tuple[Thought, ...]:
    """Return what is kept of what the loss of each region would come to, in the order of their names."""
    return tuple(decode(record.value, Thought) for record in await store.list(WHAT_IF))


async def keep_outlook(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Think each region's loss through each `LOOK_EVERY`, and soon and more often after what decides it has changed;
    without end.
    """
    await controller.recalled.wait()
    looked_at = point_at = clock.now()
    known: object = None
    pause = SETTLES_AFTER
    while True:
        now, state = clock.now(), _state(controller, wall=clock.wall())
        due = now - point_at >= POINT_EVERY
        if due or state != known or now - looked_at >= pause:
            pause = SETTLES_AFTER if state != known else min(2 * pause, LOOK_EVERY)
            looked_at, known = now, state
            point_at += POINT_EVERY if due else timedelta()
            with suppress(StoreError):
                await _look(controller, store=store, wall=clock.wall(), point=due)
        await clock.sleep(CHECK_EVERY)


def _state(controller: Controller, *, wall: datetime) -> object:
    """Whatever, beside time and what is seen, decides what a loss would come to."""
    known = controller.known
    quiet = controller.paused(wall), controller.windows(wall)
    return dict(known.placements), dict(known.active), dict(known.stuck), quiet


async def _look(controller: Controller, *, store: Store, wall: datetime, point: bool) -> None:
    thoughts = _think(controller, durations_of(await read_runs(store), controller.estate), wall=wall)
    put = {f"{WHAT_IF}{thought.region}": record_of(thought) for thought in thoughts}
    if point:
        put[KEY] = encode(_with_points(await read_outlook(store), thoughts))
    await store.commit(expect={}, put=put, lasting=False)


def _think(controller: Controller, durations: Durations, *, wall: datetime) -> tuple[Thought, ...]:
    assessment = controller.assess()
    view, detector = controller.view(assessment), controller.known.detector
    return tuple(
        Thought(
            region=region,
            wall=wall,
            each=what_if(region, detector=detector, view=view, now=assessment.at, durations=durations, planner=plan_of),
        )
        for region in controller.estate.regions
    )


def record_of(thought: Thought) -> bytes:
    """Return what is kept of a thought: without the plans, where they are too large."""
    record = encode(thought)
    if len(record) <= RECORD_MAX:
        return record
    return encode(replace(thought, each=tuple(replace(each, plan=None) for each in thought.each), whole=False))


def _with_points(before: Outlook, thoughts: Iterable[Thought]) -> Outlook:
    """The past with a point more for every group that something can be done for."""
    past = dict(before.past)
    for thought in thoughts:
        for each in thought.each:
            if each.serves and each.forecast is not None:
                point = Point(wall=thought.wall, rto=each.forecast.rto, rpo=each.forecast.rpo)
                past[each.group] = remember(past.get(each.group, ()), point)
    return Outlook(past=past)
