"""Ease: whether all is as it should be, and whether what was seen just now says anything else.

Intuition: nearly all that is ever seen says that all is as it was. Where nothing ails any region and nothing is owed to
any group, such a word cannot change a verdict or a decision, so nothing need be thought through for its sake. Only a
word that says something else can, and time: a heartbeat that stays away becomes stale at a moment that is known.

What else time brings about while all is well (a window of maintenance opens, a standby has streamed for long enough) is
in no hurry, and is found at the next look.

What this is not: a verdict. It only says that the last one needs no second look yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from evac.core.decision import Decision, Hold
from evac.core.detector import Detector
from evac.core.observation import Carried, Heartbeat, Instant, MemberSeen, MemberState, Observation, Probed
from evac.core.scene import is_fresh
from evac.core.sights import Line
from evac.core.verdict import Assessment, Diagnosis

FLOWING = frozenset({"position", "stream_silence", "lag", "lag_bytes", "waiting", "free_disk", "detail"})
"""What of a member's state changes all the time while all is well."""

_standing = attrgetter(*(field.name for field in fields(MemberState) if field.name not in FLOWING))


def at_ease(assessment: Assessment, decisions: Iterable[Decision]) -> bool:
    """Return whether nothing ails any region, every observer has a vote, and nothing is to be done or watched."""
    well = all(verdict.diagnosis is Diagnosis.WELL for verdict in assessment.verdicts.values())
    return well and not assessment.voiceless and all(isinstance(d, Hold) and not d.watching for d in decisions)


def stirs(detector: Detector, *observations: Observation) -> bool:
    """Return whether any of this is more than that what the detector holds to be well is still so."""
    return any(_is_new(detector, seen) for seen in observations)


def stale_at(detector: Detector, *, now: Instant) -> Instant | None:
    """Return the moment after which the next of the heartbeats that are fresh `now` is stale unless another one comes;
    None if none is.
    """
    moments = [last + detector.policy.heartbeat_stale for last in detector.heartbeats.values()]
    return min([moment for moment in moments if moment >= now], default=None)


def _is_new(detector: Detector, seen: Observation) -> bool:
    match seen:
        case Probed():
            cell = detector.cells.along(Line(seen.vantage, seen.region, seen.as_client)).get(seen.service)
            return not seen.ok or cell is None or not cell.up
        case Carried():
            return seen.failed > 0
        case Heartbeat():
            return not is_fresh(detector, seen.region, seen.at)
        case MemberSeen():  # pragma: no branch (the union is closed)
            known = detector.members.get((seen.component, seen.region))
            if known is None or known.state is None or seen.state is None:
                return True
            return bool(_standing(known.state) != _standing(seen.state))
