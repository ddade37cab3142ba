"""Time that passes only when nobody has anything to do: an event loop whose clock jumps to the next deadline.

Intuition: an event loop sleeps until its next timer. This one does not sleep, it sets its clock there; so hours pass
in milliseconds, and the same program takes the same steps each time. Waiting with no timer left is a deadlock, and is
raised.

What this is not: for sockets, threads or subprocesses; none of them lives in virtual time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from evac.core.observation import Instant

T = TypeVar("T")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Deadlock(AssertionError):
    """Every task waits for another, and no timer is set."""


class _Jump(selectors.SelectSelector):
    """A selector that moves the loop's time forward instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. The first moment is 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


class VirtualClock:
    """The clock of whatever loop runs now; wall time began at `BEGIN`."""

    def now(self) -> Instant:
        return timedelta(seconds=asyncio.get_running_loop().time())

    def wall(self) -> datetime:
        return BEGIN + self.now()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a virtual time of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
