"""Pauses and maintenance in the store: what a person has called outlives whoever leads.

    pause         automation is off
    pause/<id>    work that a person has announced

Both begin with the same word, so that a leader that has just been elected learns of them by one read.

What this is not: when they hold (`core.quiet`).
"""

from __future__ import annotations

from collections.abc import Iterable
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


async def pause(store: Store, request: Request) -> Pause:
    """Write down that automation is off, and return that. Raises `StoreUnavailable`."""
    until = request.wall + request.lasting if request.lasting else None
    reason = request.reason or "no reason was given"
    called = Pause(reason=reason, by=request.by, since=request.wall, until=until)
    await store.commit(expect={}, put={PAUSE: encode(called)})
    return called


async def begin_maintenance(store: Store, known: Iterable[Window], request: Request) -> Window:
    """Announce maintenance, and forget what is over. Raises `UnsafePlan` and `StoreUnavailable`."""
    known = tuple(known)
    if request.lasting is None or not request.lasting <= LASTS_MAX:
        raise UnsafePlan((f"say for how long, at most {LASTS_MAX.days} days: evac maintenance --for 2h",))
    over = [w.id for w in known if w.until <= request.wall]
    if len(known) - len(over) >= WINDOWS_MAX:
        raise UnsafePlan((f"{WINDOWS_MAX} windows are open already: evac maintenance --end ends them",))
    window = Window(
        id=request.id,
        since=request.wall,
        until=request.wall + request.lasting,
        reason=request.reason or "no reason was given",
        by=request.by,
        groups=(request.group,) if request.group else (),
        regions=(request.region,) if request.region else (),
    )
    delete = tuple(f"{MAINTENANCE}{i}" for i in over)
    await store.commit(expect={}, put={f"{MAINTENANCE}{window.id}": encode(window)}, delete=delete)
    return window


async def end_maintenance(store: Store, known: Iterable[Window], request: Request) -> tuple[str, ...]:
    """End the announced maintenance of the group or region that is named, or all; return the ids of what was ended.

    Raises `UnsafePlan` when there is none, and `StoreUnavailable`.
    """
    meant = tuple(
        w.id
        for w in known
        if w.until > request.wall
        and (request.group is None or request.group in w.groups)
        and (request.region is None or request.region in w.regions)
    )
    if not meant:
        raise UnsafePlan(("no such maintenance was announced; what the estate declares ends by itself",))
    await store.commit(expect={}, put={}, delete=tuple(f"{MAINTENANCE}{i}" for i in meant))
    return meant
