"""What a task must not miss while a group of its children fails: that it is to end itself.

Intuition: where a `TaskGroup`'s task is cancelled and a child fails in the same moment, Python up to 3.12 tells of the
failure only. Whoever catches that and goes on would go on for ever: an agent that was told to end, leading again.
Method: python/cpython#116720, which is how Python 3.13 ends such a group.

What this is not: for code that lets the failure pass; it ends by that.
"""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Raise `CancelledError` if the running task was asked to end and has not been told."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
