"""What the loss of a region would come to, thought through from an estate in which all is well, or nearly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.assessment import assess
from evac.core.decision import View
from evac.core.detector import Detector, fold
from evac.core.estate import Estate, RegionId
from evac.core.observation import Instant
from evac.core.plan import Placement
from evac.core.what_if import Planner, WhatIf, what_if
from evac.engine.planner import plan_of
from evac.sim.estates import EAST, GROUP, placed, shop
from fakes.estates import members, seconds, watched


def seen(estate: Estate) -> tuple[Detector, Instant]:
    """All is well, and every member has said so."""
    detector, now = watched(estate)
    at = seconds(now)
    told = [replace(m, at=at) for m in members(estate).values()]
    return fold(detector, *told), at


def thought(
    region: RegionId = EAST,
    *,
    estate: Estate | None = None,
    without: RegionId | None = None,
    placement: Placement | None = None,
    planner: Planner = plan_of,
    **known: object,
) -> WhatIf:
    """What the loss of a region would come to; `without` is one that is silent already."""
    here = estate or shop()
    detector, now = seen(here)
    if without:
        silent = dict(detector.heartbeats)
        silent[without] = now - timedelta(minutes=1)
        told = {where: replace(m, state=None) if where[1] == without else m for where, m in detector.members.items()}
        detector = replace(detector, heartbeats=silent, members=told)
    live = View(
        estate=here,
        assessment=assess(detector, now=now, estate=here),
        members=detector.members,
        placements={GROUP: placement or placed(here)},
    )
    live = replace(live, **known)  # type: ignore[arg-type]
    said = what_if(region, detector=detector, view=live, now=now, durations={}, planner=planner)
    (found,) = (each for each in said if each is not None)
    return found
