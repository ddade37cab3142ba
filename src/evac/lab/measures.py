"""How long writers waited: achieved recovery times, read from a history.

Three figures, each from what clients heard, never from what evac says of itself:

- *time to the next acknowledged write* (`recovered_after`): from the fault to the first acknowledgement of a term that
  had not acknowledged before it. Answers the old primary sent just before it died do not count.
- *back again* (`answered_after`): from the fault to the first acknowledgement of a write that was invoked after it,
  whoever gave it: the figure where nothing has to move.
- *write gap* (`longest_gap`): the longest time between two acknowledgements in a row. It needs no fault instant, and is
  the figure for a planned switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evac.lab.checker import reigns
from evac.lab.history import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A silence between two acknowledgements, in boot seconds."""

    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """Return how long it was."""
        return self.ended - self.begun


def recovered_after(writes: Sequence[Write], *, fault_at: float) -> float | None:
    """Return the seconds from the fault to the first acknowledgement of a newer term; None if none was heard."""
    ordered = reigns(writes)
    old = max((i for i, reign in enumerate(ordered) if reign.begun <= fault_at), default=-1)
    begun = [reign.begun for reign in ordered[old + 1 :] if reign.begun > fault_at]
    return min(begun) - fault_at if begun else None


def answered_after(writes: Sequence[Write], *, fault_at: float) -> float | None:
    """Return the seconds from the fault to the first yes to a write invoked after it; None if none was heard."""
    heard = [w.acknowledged_at for w in writes if w.invoked > fault_at and w.acknowledged_at is not None]
    return min(heard) - fault_at if heard else None


def longest_gap(writes: Sequence[Write], *, since: float, until: float) -> Gap | None:
    """Return the longest silence that touches the window; None if fewer than two acknowledgements were heard.

    The silence before the first and after the last acknowledgement does not count: a history begins and ends.
    """
    heard = sorted(w.acknowledged_at for w in writes if w.acknowledged_at is not None)
    gaps = (Gap(begun=a, ended=b) for a, b in pairwise(heard) if b > since and a < until)
    return max(gaps, key=lambda gap: gap.seconds, default=None)


def still_owned_by(writes: Sequence[Write], *, node: str, since: float) -> int:
    """Return how many writes invoked since then a node acknowledged: what still reaches a place that was left."""
    return sum(
        1 for w in writes if w.invoked > since and w.acknowledged_at is not None and w.owner and w.owner.node == node
    )
