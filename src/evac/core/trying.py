"""Trying again: runs that ended without completing are tried again, later each time, and not for ever."""

from __future__ import annotations

from datetime import timedelta

from evac.core.decision import CallPerson, Hold, Tries
from evac.core.estate import GroupId
from evac.core.observation import Instant

TRIES_MAX = 3
"""After so many runs in a row that did not complete, a person is called."""
TRY_AGAIN_AFTER = timedelta(seconds=10)
"""Twice as long after each further one."""
AFRESH_AFTER = timedelta(minutes=5)
"""A run that ended without completing says nothing of what a try this much later would come to."""
PATIENCE_DOUBLINGS_MAX = 6
"""No wait for a standby to come back, or for another try, is doubled more often."""


def after_failure(group: GroupId, tries: Tries, *, now: Instant) -> Hold | CallPerson | None:
    """Return what keeps a group from another run of the kind that failed: to wait, or a person's help."""
    if tries.count >= TRIES_MAX:
        advice = "see why with evac runs, mend it, then move by hand: evac failover, or evac rejoin"
        return CallPerson(group=group, reasons=(f"{tries.count} runs in a row did not complete", advice))
    wait = TRY_AGAIN_AFTER * 2 ** (tries.count - 1)
    if now - tries.at < wait:
        left = (wait - (now - tries.at)).total_seconds()
        return Hold(
            group=group, reasons=(f"the last run did not complete; tried again in {left:.0f} s",), watching=True
        )
    return None


def after_turning_back(
    group: GroupId, reasons: tuple[str, ...], turned_at: Instant | None, *, now: Instant
) -> Hold | None:
    """Return what keeps a group whose region is there from a move just after another one turned back, whoever asked for
    that: to wait, until what it had stopped has been seen to answer again.
    """
    if turned_at is None or now - turned_at >= TRY_AGAIN_AFTER:
        return None
    left = (turned_at + TRY_AGAIN_AFTER - now).total_seconds()
    reason = f"a move has just turned back, and what it had stopped may answer again: watched for {left:.0f} s"
    return Hold(group=group, reasons=(*reasons, reason), watching=True)
