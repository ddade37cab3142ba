"""What a task must not miss while a group of its children fails: that it is to end itself.

Intuition: where a `TaskGroup`'s task is cancelled and a child fails in the same moment, Python up to 3.12 tells of the
failure only (python/cpython#116720). Whoever catches that and goes on would go on for ever: an agent that was told to
end, leading again. How often a task was asked to end does not tell either, as the group itself asks, and may leave it
so. In a task of its own the group can keep to itself what it will.

What this is not: for code that lets the failure pass; it ends by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(part: Coroutine[Any, Any, T]) -> T:
    """Run a part in a task of its own, and return or raise what comes of it.

    Whoever is cancelled meanwhile ends the part, and is told `CancelledError` once it has ended, however it did.
    """
    task = asyncio.create_task(part)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it has been asked for, so that nobody is told of it later
    raise cancelled
