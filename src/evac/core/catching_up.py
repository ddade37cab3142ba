"""Whether anything is left to catch up: what the fences' receipts say about who holds most of the log.

Intuition: each standby that refused the old primary said how far its log goes; as it refuses, that is where it ends. If
the target's own receipt is at or above all others, asking it to catch up would cost an order and an answer to hear
what is known. Log of a newer timeline is worth more than any length of an older one.

What this is not: the catching up itself, which is the drivers'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from evac.core.estate import RegionId
from evac.core.observation import Json

UNLESS_HIGHEST = "unless-highest"
"""The argument of a catch-up that is left out where the receipts it needs show that its member holds most already."""


def holds_most(region: RegionId, told: Collection[Mapping[str, Json]]) -> bool:
    """Return whether, by the facts of these receipts, the member in a region holds as much as any that tells.

    Receipts that speak of no position (of a lease that ran out, of a device) have nothing to catch up from. One whose
    position is not known may stand for more than all others.
    """
    ranks = {str(facts.get("region")): _rank(facts) for facts in told if "position" in facts}
    known = [rank for rank in ranks.values() if rank is not None]
    return bool(known) and len(known) == len(ranks) and ranks.get(region) == max(known)


def _rank(facts: Mapping[str, Json]) -> tuple[int, int] | None:
    timeline, position = facts.get("timeline") or 0, facts.get("position")
    if isinstance(timeline, int) and isinstance(position, int):
        return timeline, position
    return None
