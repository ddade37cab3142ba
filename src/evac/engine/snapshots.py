"""Writes the controller's view of things beside the journal, for whoever asks: the CLI, the API, a page.

Intuition: a snapshot is worth writing when something in it that a person would notice has changed, and once a second
anyway, so that its age tells whether the controller lives.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from itertools import islice

from evac.core.health import health
from evac.core.restraint import restraints
from evac.core.snapshot import Snapshot
from evac.core.standing import standings
from evac.core.triggers import worst_first
from evac.engine.codec import encode
from evac.engine.controller import Controller
from evac.ports import Clock, Store

KEY = "status"
EVERY = timedelta(seconds=1)
HEARD_WITHIN = 2.5 * EVERY
"""How long whoever wants to know whether a controller lives waits for its next snapshot."""
TRIGGERS_MAX = 200
"""So many of the triggers' standings are written: each is a few hundred bytes, and a value of the store has a bound."""


async def publish(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Write a snapshot each `EVERY`, without end."""
    took: timedelta | None = None
    while True:
        began = clock.now()
        snapshot = replace(take(controller, clock=clock), commit=took)
        await store.commit(expect={}, put={KEY: encode(snapshot)}, lasting=False)
        took = clock.now() - began
        await clock.sleep(EVERY)


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
    return Snapshot(
        estate=controller.estate.name,
        at=assessment.at,
        wall=wall,
        verdicts=tuple(assessment.verdicts.values()),
        voiceless={str(r): why for r, why in assessment.voiceless.items()},
        members=tuple(known.detector.members.values()),
        placements=tuple(known.placements.values()),
        unplaced={str(g): list(why) for g, why in known.unplaced.items()},
        decisions=tuple(known.decisions.values()),
        active={str(g): str(r) for g, r in known.active.items()},
        stuck={str(g): str(r) for g, r in known.stuck.items()},
        paused=known.pause.reason if view.paused and known.pause else "",
        pause=known.pause if view.paused else None,
        windows=controller.windows(wall),
        restraints={str(g): held for g in known.placements if (held := restraints(view, g, now=assessment.at))},
        leader=controller.led_by,
        sets=standings(controller.estate, known.placements.values(), known.set_changes),
        health=health(known.detector, assessment, estate=controller.estate),
        triggers=tuple(islice(worst_first(known.triggers.standings), TRIGGERS_MAX)),
    )
