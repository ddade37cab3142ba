"""What a controller leaves for whoever asks: a snapshot of which a test says only what it is about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from evac.core.snapshot import Snapshot
from evac.core.verdict import Assessment


def snapshot_of(seen: Assessment, *, wall: datetime, estate: str = "shop", **told: Any) -> Snapshot:
    """Return the view of what was seen; all that is not `told` is empty."""
    empty: dict[str, Any] = {
        "members": (), "placements": (), "unplaced": {}, "decisions": (), "active": {}, "stuck": {}, "voiceless": {},
    }  # fmt: skip
    given = {"at": seen.at, **empty, **told}
    return Snapshot(estate=estate, wall=wall, verdicts=tuple(seen.verdicts.values()), **given)
