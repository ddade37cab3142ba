"""What a person risks who takes the responsibility that an old primary writes no more.

Intuition: a word can only be given for what was told. So the same sentences are shown before a person is asked, and
kept with the word: what proves nothing, and what would be lost.

What this is not: the word itself (`core.run.Forced`), or what it opens (`core.fence`).
"""

from __future__ import annotations

from evac.core.fencing import unfenceable
from evac.core.objectives import Loss, losses_now
from evac.core.steps import Situation


def risks(situation: Situation) -> tuple[str, ...]:
    """Return what may go wrong if a group is moved now without a fence, each as a sentence for a person."""
    estate, placement = situation.estate, situation.placement
    why = unfenceable(estate, situation.assessment, placement, situation.members)
    writes_on = f"{placement.primary} may write on, and what it then acknowledges is on no other copy"
    lost = losses_now(placement, estate=estate, assessment=situation.assessment, members=situation.members)
    return (f"{why}: {writes_on}" if why else f"without a fence, {writes_on}", *(lost_of(loss) for loss in lost))


def lost_of(loss: Loss) -> str:
    """Return in words what of one component would be lost."""
    known = f"the last {loss.time.total_seconds():.3g} s" if loss.time else "nothing"
    lost = "unknown" if loss.time is None else known
    size = f", {loss.size:,} bytes" if loss.size else ""
    return f"lost of {loss.component}: {lost}{size} ({loss.why})"
