"""Keeps beside the journal what the loss of each region would come to, thought through all the time by who leads; and
once a minute, how much it would cost to lose each group's primary region: what trends are seen in.

    what-if/<region>   what would be decided, planned, taken and lost
    outlook            by group, a point a minute for an hour

What this is not: something that is acted on. A look that is missed is one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from evac.core.errors import StoreError
from evac.core.estate import RegionId
from evac.core.objectives import Durations
from evac.core.outlook import Point, remember
from evac.core.what_if import WhatIf, what_if
from evac.engine.codec import decode, encode, packed
from evac.engine.controller import Controller
from evac.engine.durations import Earlier
from evac.engine.parts import in_batches
from evac.engine.planner import plan_of
from evac.ports import Clock, Store

KEY = "outlook"
WHAT_IF = "what-if/"
LOOK_EVERY = timedelta(seconds=30)
RESTED = 4
"""After each region's loss nothing is thought for so many times as long: of a large estate it takes a second or more,
and there is other work.
"""
STRETCH = timedelta(milliseconds=20)
"""For so long it is thought at a time, or for as long as one piece of it takes."""
CHECK_EVERY = timedelta(seconds=1)
"""How soon it is thought through anew where a group was placed or moved, a run began or ended, or evac was paused."""
SETTLES_AFTER = timedelta(seconds=2)
"""Right after a change what is seen has not settled, and what is thought then may be that nothing can be done. It is
thought again after so long, then twice as long, and so on up to `LOOK_EVERY`.
"""
POINT_EVERY = timedelta(minutes=1)
RECORD_MAX = 256 * 1024
"""What would come of one region's loss is kept without the plans where it is larger than so many bytes with them."""


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
    earlier = Earlier(controller.estate)
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
                await _look(controller, store=store, clock=clock, earlier=earlier, point=due)
        await clock.sleep(CHECK_EVERY)


def _state(controller: Controller, *, wall: datetime) -> object:
    """Whatever, beside time and what is seen, decides what a loss would come to."""
    known = controller.known
    quiet = controller.paused(wall), controller.windows(wall)
    return dict(known.placements), dict(known.active), dict(known.stuck), quiet


async def _look(controller: Controller, *, store: Store, clock: Clock, earlier: Earlier, point: bool) -> None:
    """Think all losses through, one after the other, and tell of them as they are done; from the beginning when what
    decides has changed meanwhile, unless a point of time is due.
    """
    durations = await earlier.durations(store)
    put: dict[str, bytes] = {}
    past: dict[str, tuple[Point, ...]] = dict((await read_outlook(store)).past) if point else {}
    known, told_at = _state(controller, wall=clock.wall()), clock.now()
    for region in controller.estate.regions:
        began = clock.now()
        thought = await in_turns(think(region, controller, durations, wall=clock.wall()), clock=clock)
        put[f"{WHAT_IF}{region}"] = packed(encode(thought))
        past |= _points(thought, past)
        del thought
        await clock.sleep(RESTED * (clock.now() - began))
        if clock.now() - told_at >= CHECK_EVERY:
            await _tell(put, store)
            put, told_at = {}, clock.now()
        if not point and _state(controller, wall=clock.wall()) != known:
            break
    if point:
        put[KEY] = packed(encode(Outlook(past=past)))
    await _tell(put, store)


async def _tell(put: Mapping[str, bytes], store: Store) -> None:
    for some in in_batches(put):
        await store.commit(expect={}, put=some, lasting=False)


async def in_turns(thinking: Iterator[Thought | None], *, clock: Clock) -> Thought:
    """Think to the end, and let everybody else have a turn where it has taken `STRETCH` since the last."""
    said: Thought | None = None
    turn = clock.now()
    for each in thinking:
        said = each
        if clock.now() - turn >= STRETCH:
            await clock.sleep(timedelta())
            turn = clock.now()
    assert said is not None, "a thought is given last"
    return said


def think(
    region: RegionId, controller: Controller, durations: Durations, *, wall: datetime
) -> Iterator[Thought | None]:
    """Think through what the loss of a region would come to now, and give that last. Each None before it is a moment in
    which something else can be seen to.
    """
    assessment = controller.assess()
    live, detector, now = controller.view(assessment), controller.known.detector, assessment.at
    found = what_if(region, detector=detector, view=live.still(), now=now, durations=durations, planner=plan_of)
    return thought_of(region, found, wall=wall)


def thought_of(region: RegionId, found: Iterable[WhatIf | None], *, wall: datetime) -> Iterator[Thought | None]:
    """Give a thought as it is kept: without the plans, where they are too large. No more of them is held at once."""
    kept: list[WhatIf] = []
    size = 0
    for each in found:
        yield None
        if each is None:
            continue
        if size <= RECORD_MAX:
            size += len(encode(each))
            kept.append(each)
            if size > RECORD_MAX:
                kept = [replace(one, plan=None) for one in kept]
        else:
            kept.append(replace(each, plan=None))
    yield Thought(region=region, wall=wall, each=tuple(kept), whole=size <= RECORD_MAX)


def _points(thought: Thought, past: Mapping[str, tuple[Point, ...]]) -> dict[str, tuple[Point, ...]]:
    """The past with a point more of every group that serves in the region and that something can be done for."""
    return {
        each.group: remember(
            past.get(each.group, ()), Point(wall=thought.wall, rto=each.forecast.rto, rpo=each.forecast.rpo)
        )
        for each in thought.each
        if each.serves and each.forecast is not None
    }
