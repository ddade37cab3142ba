"""Time that passes only when nobody has anything to do: an event loop whose clock jumps to the next deadline.

Intuition: an event loop sleeps until its next timer. This one does not sleep, it sets its clock there; so hours pass
in milliseconds, and the same program takes the same steps each time. Waiting with no timer left is a deadlock, and is
raised.

What happens belongs to a process, whose name travels in the context of every callback. One that is frozen runs none:
what it would have done waits, in its order, and is done when it is thawed, as after SIGSTOP and SIGCONT.

Nothing here depends on where objects lie in memory: tasks are hashed by their number, since a `TaskGroup` cancels its
tasks in the order of a set.

What this is not: for sockets, threads or subprocesses; none of them lives in virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop
from typing import Any, TypeVar

from evac.core.observation import Instant

T = TypeVar("T")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CANCELLED_MAX = 200
"""So many timers that were cancelled wait among the others before they are taken out."""


class Deadlock(AssertionError):
    """Every task waits for another, and no timer is set."""


class Process:
    """What can be frozen, thawed and killed as one: all that was started in it, and all that followed from that."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.thawed_at: float | None = None
        """When it was thawed last, in the loop's seconds."""
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.parked: list[asyncio.Handle] = []
        """What it would have done while it was frozen."""
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, what: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in this process."""
        task = asyncio.get_running_loop().create_task(what, context=self.context.copy())
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def freeze(self) -> None:
        """Stop it, at once and all of it. Twice is once."""
        if not self.frozen:
            self.frozen = True
            _loop().frozen[self] = None

    def thaw(self) -> None:
        """Let it go on where it was, without knowing that time has passed. Twice is once."""
        if self.frozen:
            loop = _loop()
            self.frozen, self.thawed_at = False, loop.time()
            del loop.frozen[self]
            loop.take_up(self.parked)
            self.parked = []

    def kill(self) -> None:
        """End it for good: nothing of it runs after this moment but the cleaning up of its tasks. Twice is once."""
        for task in tuple(self._tasks):
            task.cancel()
        self.thaw()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _loop().failures.append(error)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class _Task(asyncio.Task[T]):
    """A task that is hashed by its number."""

    def __init__(self, number: int, what: Coroutine[Any, Any, T] | Generator[Any, None, T], **more: Any) -> None:
        self._number = number
        super().__init__(what, **more)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. The first moment is 0."""

    _ready: Any
    _scheduled: list[Any]

    def __init__(self) -> None:
        self._now = 0.0
        self.frozen: dict[Process, None] = {}
        self.failures: list[BaseException] = []
        """What processes died of that nobody killed."""
        super().__init__(selectors.SelectSelector())
        numbers = itertools.count()

        def make(
            loop: asyncio.AbstractEventLoop, what: Any, *, context: Context | None = None, **more: Any
        ) -> asyncio.Task[Any]:
            return _Task(next(numbers), what, loop=loop, context=context, **more)

        self.set_task_factory(make)

    def time(self) -> float:
        return self._now

    def take_up(self, handles: list[asyncio.Handle]) -> None:
        """Run these next, after what is due already."""
        self._ready.extend(handles)

    def _run_once(self) -> None:
        """Run all that is due, after jumping to the next deadline if nothing is. Takes the place of asyncio's own,
        which asks the operating system each time round.
        """
        ready, scheduled = self._ready, self._scheduled
        if scheduled and (scheduled[0]._cancelled or self._timer_cancelled_count > CANCELLED_MAX):
            self._sweep()
        if not ready and not self._stopping:  # type: ignore[attr-defined]  # the loop's own, which typeshed leaves out
            if not scheduled:
                raise Deadlock("every task waits, and no timer is set")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if self.frozen and (process := handle._context.get(_PROCESS)) is not None and process.frozen:
                process.parked.append(handle)
                continue
            handle._run()

    def _sweep(self) -> None:
        """Take cancelled timers out: from the front always, from the midst when there are many."""
        scheduled = self._scheduled
        if self._timer_cancelled_count > CANCELLED_MAX:  # type: ignore[has-type]  # likewise
            kept = [h for h in scheduled if not h._cancelled]
            for handle in scheduled:
                handle._scheduled = not handle._cancelled
            heapify(kept)
            scheduled[:] = kept
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(scheduled)._scheduled = False


def seconds() -> float:
    """Return the time of the simulation."""
    return asyncio.get_running_loop().time()


def outside() -> Context:
    """Return the context of no process at all: what happens in the world, whoever is frozen."""
    context = copy_context()
    context.run(_PROCESS.set, None)
    return context


def failures() -> list[BaseException]:
    """Return what processes died of that nobody killed."""
    return _loop().failures


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "processes live in virtual time"
    return loop


class VirtualClock:
    """The clock of whatever loop runs now; wall time began at `BEGIN`. One whose `rate` is 1.01 is fast by 1 %."""

    def __init__(self, *, rate: float = 1.0) -> None:
        self._rate = rate

    def now(self) -> Instant:
        return timedelta(seconds=asyncio.get_running_loop().time() * self._rate)

    def wall(self) -> datetime:
        return BEGIN + self.now()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds() / self._rate)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a virtual time of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_to_the_end(main))


async def _to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """Let nothing stay frozen that must be ended."""
    try:
        return await main
    finally:
        for process in tuple(_loop().frozen):
            process.thaw()
