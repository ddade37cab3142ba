"""Writes the controller's view of things beside the journal, for whoever asks: the CLI, the API, a page.

Intuition: a snapshot is written once a second, so that its age tells whether the controller lives. Of a small estate
it is one record, with all there is to say. Of a large one that is what holds for all of it, and beside it go, in the
same commit, those parts in which something has changed that a person would notice (`parts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from evac.core.errors import EvacError
from evac.core.health import health
from evac.core.restraint import restraints
from evac.core.sharing import divide
from evac.core.snapshot import Snapshot
from evac.core.standing import standings
from evac.core.triggers import worst_first
from evac.core.verdict import Assessment
from evac.engine.codec import decode, encode, packed
from evac.engine.controller import Controller
from evac.engine.parts import BATCH_BYTES_MAX, PREFIX, Parts, left_over, read_parts
from evac.ports import COMMIT_WRITES_MAX, Clock, Store

KEY = "status"
EVERY = timedelta(seconds=1)
HEARD_WITHIN = 2.5 * EVERY
"""How long whoever wants to know whether a controller lives waits for its next snapshot."""
TRIGGERS_MAX = 200
"""So many of the triggers' standings are written: each is a few hundred bytes, and a value of the store has a bound."""


async def publish(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Write a snapshot each `EVERY`, without end."""
    took: timedelta | None = None
    shares = divide(controller.estate)
    parts = Parts.of(controller, shares) if len(shares) > 1 else None
    stale = await _left_over(store, parts=len(shares) if parts else 0)
    while True:
        began = clock.now()
        if parts is None:
            put = {KEY: packed(encode(replace(take(controller, clock=clock), commit=took)))}
        else:
            assessment, wall = controller.assess(), clock.wall()
            head = replace(
                _head(controller, assessment, wall=wall), commit=took, layout=parts.layout, parts=len(shares)
            )
            put = {KEY: packed(encode(head))}
            put |= parts.due(assessment, wall=wall, room=BATCH_BYTES_MAX - len(put[KEY]))
        room = COMMIT_WRITES_MAX - len(put)
        await store.commit(expect={}, put=put, delete=stale[:room], lasting=False)
        stale = stale[room:]
        took = clock.now() - began
        await clock.sleep(EVERY)


async def _left_over(store: Store, *, parts: int) -> Sequence[str]:
    """The keys of an earlier division that this one does not write."""
    there = await store.list(PREFIX, near=True)
    return left_over((record.key for record in there), parts=parts)


async def read_snapshot(store: Store) -> Snapshot | None:
    """Return the newest snapshot, with what there is of its parts; None if there never was one.

    Raises `EvacError` for one of another version of evac.
    """
    record = await store.get(KEY)
    if record is None:
        return None
    try:
        head = decode(record.value, Snapshot)
    except ValueError as error:
        raise EvacError(f"the view was written by another version of evac; run one everywhere: {error}") from error
    return await read_parts(head, store)


async def are_published(store: Store) -> bool:
    """Return whether a controller writes snapshots to a store at this moment: one comes, so no clocks are compared.

    Raises `StoreUnavailable`.
    """
    after = await store.revision()
    try:
        async with asyncio.timeout(HEARD_WITHIN.total_seconds()), aclosing(store.watch(KEY, after=after)) as changes:
            await anext(changes)
    except TimeoutError:
        return False
    return True


def take(controller: Controller, *, clock: Clock) -> Snapshot:
    """Return the controller's view of this moment."""
    known, wall = controller.known, clock.wall()
    assessment = controller.assess()
    view = controller.view(assessment)
    return replace(
        _head(controller, assessment, wall=wall),
        members=tuple(known.detector.members.values()),
        placements=tuple(known.placements.values()),
        unplaced={str(g): list(why) for g, why in known.unplaced.items()},
        decisions=tuple(known.decisions.values()),
        restraints={str(g): held for g in known.placements if (held := restraints(view, g, now=assessment.at))},
        sets=standings(controller.estate, known.placements.values(), known.set_changes(known.placements)),
        health=health(known.detector, assessment, estate=controller.estate),
    )


def _head(controller: Controller, assessment: Assessment, *, wall: datetime) -> Snapshot:
    """What holds for the estate as a whole."""
    known = controller.known
    paused = known.pause if controller.paused(wall) else None
    return Snapshot(
        estate=controller.estate.name,
        at=assessment.at,
        wall=wall,
        verdicts=tuple(assessment.verdicts.values()),
        voiceless={str(r): why for r, why in assessment.voiceless.items()},
        members=(),
        placements=(),
        unplaced={},
        decisions=(),
        active={str(g): str(r) for g, r in known.active.items()},
        stuck={str(g): str(r) for g, r in known.stuck.items()},
        paused=paused.reason if paused else "",
        pause=paused,
        windows=controller.windows(wall),
        leader=controller.led_by,
        triggers=tuple(islice(worst_first(known.triggers.standings), TRIGGERS_MAX)),
    )
