"""Recording where groups are: at first, once their members agree, and anew where the record is a restored backup's.

What this is not: what the members say of it (`engine.bootstrap`), or what a run records when it has moved a group.
"""

from __future__ import annotations

import structlog

from evac.core.estate import Estate
from evac.core.plan import Placement
from evac.engine.bootstrap import first_placement, overtaken
from evac.engine.codec import decode, encode
from evac.engine.knowledge import Knowledge
from evac.ports import Store

_log = structlog.get_logger(__name__)


async def place(known: Knowledge, estate: Estate, store: Store) -> None:
    """Record where each group is, and know it. Raises `Conflict` and `StoreUnavailable`."""
    for group in estate.home:
        if (placement := known.placements.get(group)) is not None:
            await _place_anew(placement, known, estate, store)
            continue
        found = first_placement(estate, group, known.detector.members)
        if isinstance(found, Placement):
            await store.commit(expect={f"placement/{group}": 0}, put={f"placement/{group}": encode(found)})
            known.placements[group] = found
            known.unplaced.pop(group, None)
        else:
            known.unplaced[group] = found


async def _place_anew(placement: Placement, known: Knowledge, estate: Estate, store: Store) -> None:
    """Record where a group is that was moved after its record was written. Never while a run is not settled."""
    group = placement.group
    if group in known.active or known.memory(group).stuck:
        return
    found = overtaken(placement, estate, known.detector.members)
    key = f"placement/{group}"
    record = await store.get(key) if found is not None else None
    if found is None or record is None or decode(record.value, Placement) != placement:
        return
    await store.commit(expect={key: record.version, f"active/{group}": 0}, put={key: encode(found)})
    known.placements[group] = found
    _log.warning(
        "the record was older than its members: taken from them",
        group=group,
        primary=found.primary,
        term=found.term,
        recorded=placement.primary,
    )
