"""One clock for a whole journal.

Intuition: instants are boot time, and a run may be gone on with after its controller's machine was started anew, or by
another machine: from then on they count from another boot. Where a run is taken up its entry has the wall time too, and
that says how the two clocks lie to one another: closely enough for people, who alone read the sum.

What this is not: anything that decides. No controller compares instants of two boots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from evac.core.run import Event, Opened, Resumed

SAME_WITHIN = timedelta(seconds=10)
"""Wall clocks are set a little now and then; what differs by less is still the same boot."""


def on_one_clock(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return a journal with all its instants on the clock that it was opened on."""
    opened = events[0]
    assert isinstance(opened, Opened), "a journal begins with Opened"
    shift = timedelta()
    found: list[Event] = []
    for event in events:
        if isinstance(event, Resumed):
            apart = (event.wall - opened.wall) - (event.at - opened.at)
            shift = apart if abs(apart) > SAME_WITHIN else timedelta()
        found.append(replace(event, at=event.at + shift) if shift else event)
    return tuple(found)
