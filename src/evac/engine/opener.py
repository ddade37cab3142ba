"""Who may open runs: whoever leads now, and nobody who led before.

Intuition: a journal's entries carry a term, which a new leader raises before it goes on with a run; but a leader that
was cut off as it opened one may have that very commit still on its way, in a socket or in a store's member that was
frozen. Nobody would drive a run that comes to be so late. So a leader begins by writing its own record anew, and each
opening expects that record as it was then: what was sent before can open nothing any more.

What this is not: who leads (`engine.election`, `engine.leadership`).
"""

from __future__ import annotations

from evac.core.errors import Conflict
from evac.ports import Record, Store

KEY = "leader/opens"


async def claim(store: Store, who: bytes) -> None:
    """Be the one who may open runs, whoever was. Raises `StoreUnavailable`."""
    await store.commit(expect={}, put={KEY: who})


async def bar(store: Store, who: bytes) -> bool:
    """See to it that nothing sent before now opens a run; return whether it is so: not where another may by now.

    Raises `StoreUnavailable`.
    """
    record = await store.get(KEY)
    if record is None or record.value != who:
        return False
    try:
        await store.commit(expect={KEY: record.version}, put={KEY: who})
    except Conflict:
        return False
    return True


def look(record: Record | None, who: bytes) -> None:
    """Raises `Conflict` unless a record says that it is `who` who may open runs."""
    if record is None or record.value != who:
        raise Conflict("another process leads by now, or this one has not begun to")
