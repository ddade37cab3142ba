"""Pauses and maintenance in the store: what a person has called outlives whoever leads.

    pause         automation is off
    pause/<id>    work that a person has announced

Both begin with the same word, so that a leader that has just been elected learns of them by one read.

Each begins when the leader takes it, by the leader's clock: whoever asks may have one that is wrong, and what was
confirmed holds from then on.

What this is not: when they hold (`core.quiet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from evac.core.errors import UnsafePlan
from evac.core.quiet import LASTS_MAX, Pause, Window
from evac.core.snapshot import Request
from evac.engine.codec import decode, encode
from evac.ports import Store

PAUSE = "pause"
MAINTENANCE = "pause/"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
WINDOWS_MAX = 100
"""So much maintenance can be announced at a time."""


async def read_quiet(store: Store, *, near: bool = False) -> tuple[Pause | None, dict[str, Window]]:
    """Return the pause and the announced maintenance, by its id; `near` is the store's. Raises `StoreUnavailable`."""
    records = {r.key: r.value for r in await store.list(PAUSE, near=near)}
    pause = _pause(records[PAUSE]) if PAUSE in records else None
    windows = [decode(written, Window) for key, written in records.items() if key.startswith(MAINTENANCE)]
    return pause, {w.id: w for w in windows}


def _pause(written: bytes) -> Pause:
    """The pause as it was written; by an earlier evac that was its reason alone."""
    try:
        return decode(written, Pause)
    except ValueError:
        return Pause(reason=written.decode(errors="replace"), by="", since=LONG_AGO)


async def pause(store: Store, request: Request, *, wall: datetime) -> Pause:
    """Write down that automation is off, and return that. Raises `StoreUnavailable`."""
    until = wall + request.lasting if request.lasting else None
    reason = request.reason or "no reason was given"
    called = Pause(reason=reason, by=request.by, since=wall, until=until)
    await store.commit(expect={}, put={PAUSE: encode(called)})
    return called


async def begin_maintenance(
    store: Store, known: Mapping[str, Window], request: Request, *, wall: datetime
) -> dict[str, Window]:
    """Announce maintenance, forget what is over, and return all that is announced then, by its id.

    Raises `UnsafePlan` and `StoreUnavailable`.
    """
    if request.lasting is None or not request.lasting <= LASTS_MAX:
        raise UnsafePlan((f"say for how long, at most {LASTS_MAX.days} days: evac maintenance --for 2h",))
    going_on = {i: w for i, w in known.items() if w.until > wall}
    if len(going_on) >= WINDOWS_MAX:
        raise UnsafePlan((f"{WINDOWS_MAX} windows are open already: evac maintenance --end ends them",))
    window = Window(
        id=request.id,
        since=wall,
        until=wall + request.lasting,
        reason=request.reason or "no reason was given",
        by=request.by,
        groups=(request.group,) if request.group else (),
        regions=(request.region,) if request.region else (),
    )
    delete = tuple(f"{MAINTENANCE}{i}" for i in known.keys() - going_on.keys())
    await store.commit(expect={}, put={f"{MAINTENANCE}{window.id}": encode(window)}, delete=delete)
    return going_on | {window.id: window}


async def end_maintenance(
    store: Store, known: Mapping[str, Window], request: Request, *, wall: datetime
) -> dict[str, Window]:
    """End the announced maintenance of the group or region that is named, or all; return what goes on, by its id.

    Raises `UnsafePlan` when there is none, and `StoreUnavailable`.
    """
    meant = tuple(
        i
        for i, w in known.items()
        if w.until > wall
        and (request.group is None or request.group in w.groups)
        and (request.region is None or request.region in w.regions)
    )
    if not meant:
        advice = "evac status lists all that is open; what the estate declares ends by itself"
        raise UnsafePlan((f"no such maintenance was announced; {advice}",))
    await store.commit(expect={}, put={}, delete=tuple(f"{MAINTENANCE}{i}" for i in meant))
    return {i: w for i, w in known.items() if i not in meant}
