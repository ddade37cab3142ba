"""Writes the controller's view of things beside the journal, for whoever asks: the CLI, the API, a page.

Intuition: a snapshot is worth writing when something in it that a person would notice has changed, and once a second
anyway, so that its age tells whether the controller lives.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.snapshot import Snapshot
from evac.engine.codec import encode
from evac.engine.controller import Controller
from evac.ports import Clock, Store

KEY = "status"
EVERY = timedelta(seconds=1)


async def publish(controller: Controller, *, store: Store, clock: Clock) -> None:
    """Write a snapshot each `EVERY`, without end."""
    while True:
        await store.commit(expect={}, put={KEY: encode(take(controller, clock=clock))}, lasting=False)
        await clock.sleep(EVERY)


def take(controller: Controller, *, clock: Clock) -> Snapshot:
    """Return the controller's view of this moment."""
    known = controller.known
    assessment = controller.assess()
    return Snapshot(
        estate=controller.estate.name,
        at=assessment.at,
        wall=clock.wall(),
        verdicts=tuple(assessment.verdicts.values()),
        voiceless={str(r): why for r, why in assessment.voiceless.items()},
        members=tuple(known.detector.members.values()),
        placements=tuple(known.placements.values()),
        unplaced={str(g): list(why) for g, why in known.unplaced.items()},
        decisions=tuple(known.decisions.values()),
        active={str(g): str(r) for g, r in known.active.items()},
        stuck={str(g): str(r) for g, r in known.stuck.items()},
        paused=known.paused,
    )
