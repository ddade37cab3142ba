"""A log's newest snapshot: where it is, how it is read, and how one takes the place of another.

Intuition: a snapshot lies in parts on the shelf; one small record names the newest, and how far it reaches. That record
is replaced by compare-and-set, so of two that are written at once one counts.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass

from evac.core.errors import StoreUnavailable
from evac.stores.logged import parts
from evac.stores.logged.ground import Ground
from evac.stores.logged.replica import Replica
from evac.stores.logged.words import pack

FOLDER, NEWEST = "saved", "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The record of the newest snapshot: how many entries it stands for, the segment it goes on in, and its parts.

    `version` is the record's own; 0: there is no snapshot.
    """

    count: int = 0
    segment: int = 1
    written: str = ""
    version: int = 0

    @property
    def name(self) -> str:
        """What the names of its parts begin with."""
        return parts.named_in(self.written.encode())


async def newest(ground: Ground) -> Saved:
    """Return the record of the newest snapshot. Raises `StoreUnavailable`, also when it cannot be read."""
    kept = await ground.get(FOLDER, NEWEST)
    if kept is None:
        return Saved()
    try:
        said = json.loads(kept.content)
        return Saved(
            count=int(said["count"]),
            segment=int(said["segment"]),
            written=str(said["written"]),
            version=kept.version,
        )
    except (ValueError, KeyError, TypeError):
        raise StoreUnavailable(f"{ground}: {FOLDER}/{NEWEST} is not evac's: restore the store, or empty it") from None


async def load(ground: Ground) -> Replica:
    """Return the state of the newest snapshot, an empty one if there is none.

    Raises `Gone` when another has just taken its place, and `StoreUnavailable`.
    """
    saved = await newest(ground)
    if not saved.version:
        return Replica()
    replica = Replica.from_snapshot(await parts.pick_up(ground, saved.written.encode()))
    if replica is None:
        raise StoreUnavailable(f"{ground}: its newest snapshot cannot be read: restore the store, or empty it")
    return replica


async def save(ground: Ground, replica: Replica, *, instead_of: Saved) -> None:
    """Write a snapshot of a state as it is now. Raises `Conflict` when another was faster, and `StoreUnavailable`."""
    header, values = replica.frozen()
    place, count = replica.place, replica.count
    content = await asyncio.to_thread(pack, header, values)
    written = await parts.lay_down(ground, FOLDER, content, always=True)
    saved = asdict(Saved(count=count, segment=place.segment, written=written.decode()))
    del saved["version"]
    await ground.put(FOLDER, NEWEST, json.dumps(saved).encode(), version=instead_of.version)
