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
from asyncio import get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, TypeVar, TypeVarTuple

from evac.core.observation import Instant

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


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
        self.parked: list[_Due] = []
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


class _Due(list[Any]):
    """What is to be called, and when: when, what (None once it is cancelled), its arguments, its context.

    Takes the place of `asyncio.Handle`, of which a simulation makes millions: a list is made without a line of Python.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Let it not be called."""
        self[1] = None
        self[2] = ()

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self[1] is None

    def when(self) -> float:
        """Return when it is due, in the loop's seconds."""
        when: float = self[0]
        return when


class _Sleep:
    """What a task that sleeps waits for: its own timer, which wakes it. Nothing is between the two.

    Takes the place of `asyncio.sleep`, which makes a future, a timer and a callback that sets the one when the other
    is due, and wakes the task a turn of the loop later.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_due", "_ended", "_loop", "_seconds", "_wake")

    _wake: Callable[[_Sleep], Any]
    """Makes its task go on."""
    _due: _Due

    def __init__(self, loop: VirtualLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._ended = self._cancelled = False

    def __call__(self) -> None:
        """Its time has come."""
        self._ended = True
        self._wake(self)

    def __await__(self) -> Generator[_Sleep, None, None]:
        self._asyncio_future_blocking = True  # how a task knows that it is to wait
        yield self

    # What a task asks of whatever it waits for.

    def get_loop(self) -> VirtualLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[_Sleep], Any], *, context: Context) -> None:
        self._wake = wake
        self._due = self._loop.call_later(self._seconds, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        if self._ended:
            return False
        self._ended = self._cancelled = True
        self._loop.call_soon(self._wake, self, context=self._due[3])
        self._due.cancel()
        return True

    def result(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. The first moment is 0."""

    _stopping: bool
    """Asyncio's own, which its types leave out."""

    def __init__(self) -> None:
        self._now = 0.0
        self.frozen: dict[Process, None] = {}
        self.failures: list[BaseException] = []
        """What processes died of that nobody killed, and what callbacks raised."""
        self._due: deque[_Due] = deque()
        """What is called next, in this order."""
        self._moments: list[float] = []
        """A heap of the moments for which a timer is set, each once."""
        self._timers: dict[float, list[_Due]] = {}
        """The timers of each moment, in the order in which they were set."""
        super().__init__(selectors.SelectSelector())
        numbers = itertools.count()

        def make(
            loop: asyncio.AbstractEventLoop, what: Any, *, context: Context | None = None, **more: Any
        ) -> asyncio.Task[Any]:
            return _Task(next(numbers), what, loop=loop, context=context, **more)

        self.set_task_factory(make)

    def time(self) -> float:
        return self._now

    def take_up(self, due: list[_Due]) -> None:
        """Run these next, after what is due already."""
        self._due.extend(due)

    # These return a `_Due` where asyncio returns a `Handle`: it can be cancelled, all that anybody does with one.

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Any:
        due = _Due((0.0, callback, args, copy_context() if context is None else context))
        self._due.append(due)
        return due

    call_soon_threadsafe = call_soon
    """Nothing comes from another thread: none lives in virtual time."""

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        due = _Due((when, callback, args, copy_context() if context is None else context))
        if (timers := self._timers.get(when)) is not None:
            timers.append(due)
        else:
            self._timers[when] = [due]
            heappush(self._moments, when)
        return due

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Run all that is due, jumping to the next deadline whenever nothing is, until the loop is to stop. Takes the
        place of asyncio's own, which asks the operating system each time round.
        """
        due, moments, timers, frozen = self._due, self._moments, self._timers, self.frozen
        while not self._stopping:
            if not due:
                if not moments:
                    raise Deadlock("every task waits, and no timer is set")
                self._now = max(self._now, moments[0])
            now = self._now
            while moments and moments[0] <= now:
                due.extend(timers.pop(heappop(moments)))
            for _ in range(len(due)):
                _, callback, args, context = one = due.popleft()
                if callback is None:
                    continue
                if frozen and (process := context.get(_PROCESS)) is not None and process.frozen:
                    process.parked.append(one)
                    continue
                try:
                    context.run(callback, *args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.failures.append(error)
                    what = {"message": f"{callback!r} failed", "exception": error}
                    self.call_exception_handler(what)


def sleep(seconds: float) -> Awaitable[None]:
    """Sleep for so many seconds of the simulation; on another loop, of its own time."""
    loop = get_running_loop()
    if seconds <= 0 or not isinstance(loop, VirtualLoop):
        return asyncio.sleep(max(seconds, 0.0))
    return _Sleep(loop, seconds)


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
    loop = get_running_loop()
    assert isinstance(loop, VirtualLoop), "processes live in virtual time"
    return loop


class VirtualClock:
    """The clock of whatever loop runs now; wall time began at `BEGIN`. One whose `rate` is 1.01 is fast by 1 %."""

    def __init__(self, *, rate: float = 1.0) -> None:
        self._rate = rate
        self._asked_at = -1.0
        self._now: Instant = timedelta()

    def now(self) -> Instant:
        at = get_running_loop().time()
        if at != self._asked_at:
            self._asked_at, self._now = at, timedelta(seconds=at * self._rate)
        return self._now

    def wall(self) -> datetime:
        return BEGIN + self.now()

    async def sleep(self, duration: timedelta) -> None:
        await sleep(duration.total_seconds() / self._rate)


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
