"""A connection that stays open between questions, and survives a question that was given up.

Intuition: on a lossy link a reply is often late, seldom lost. A prober that throws its connection away at each time
limit pays a new handshake (a lost SYN alone costs a second) and calls a slow link dead. So a question that is given
up leaves the connection standing with a reply *owed*; the next question first waits for that reply, within its own
time limit, and only then asks. A reply owed for longer than `OWED_MAX` is given up together with its connection: the
other end may have been switched off and come back, and would never answer on the old one.

A connection that turns out to be closed when a question is sent on it is opened again once in the same question:
servers close idle connections, and that is no failure.

What this is not: a pool, or a retry loop. One question at a time; the caller sets the time limit by cancelling.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol, TypeAlias

from evac.core.errors import Rejected
from evac.ports import BadAnswer, Place

OWED_MAX = 2.0
"""How long, in seconds, a reply may stay owed before the connection is given up."""
_HANGS_UP = (EOFError, ConnectionResetError, BrokenPipeError)
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


class Broken(Exception):
    """The connection is of no more use; the message is a short reason for a person. `answered`: it came from the other
    end, which said so before the connection was given up.
    """

    def __init__(self, reason: str, *, answered: bool = False) -> None:
        super().__init__(reason)
        self.answered = answered


class Line(Protocol):
    """An open connection on which one question is asked at a time. Raises `Broken`, `OSError` or `EOFError`.

    Cancelling `ask` or `settle` keeps the line usable: `settle` then goes on where it was left.
    """

    async def ask(self) -> str:
        """Return "" when the service did its job, else a short reason."""

    async def settle(self) -> None:
        """Read what is still owed to a question that was given up."""

    async def close(self) -> None:
        """Close at once, without waiting for the other end."""


OpenLine: TypeAlias = Callable[[str, int], Awaitable[Line]]
"""Opens a line to an address; raises what a line raises."""


class Asker:
    """A prober over `Line`s to one address, as seen from a place. With `fresh` every question opens its own line."""

    def __init__(self, *, place: Place, host: str, port: int, open_line: OpenLine, fresh: bool) -> None:
        self._place = place
        self._host = host
        self._port = port
        self._open_line = open_line
        self._fresh = fresh
        self._line: Line | None = None
        self._around = AsyncExitStack()
        self._forwarded = False
        self._owed_since: float | None = None

    async def ask(self) -> str:
        """Return "" or a short reason, a `BadAnswer` where the other end gave it.

        Raises `Unavailable` when the place itself cannot be reached.
        """
        if self._owed_too_long():
            await self.close()
        reused = self._line is not None
        try:
            return await self._exchange()
        except Broken as broken:
            return _reason(broken) if not reused else await self._again()
        finally:
            if self._fresh:
                await self.close()

    async def _again(self) -> str:
        try:
            return await self._exchange()
        except Broken as broken:
            return _reason(broken)

    async def close(self) -> None:
        line, self._line = self._line, None
        around, self._around = self._around, AsyncExitStack()
        self._owed_since = None
        if line is not None:
            await line.close()
        await around.aclose()

    def _owed_too_long(self) -> bool:
        return self._owed_since is not None and asyncio.get_running_loop().time() - self._owed_since > OWED_MAX

    async def _exchange(self) -> str:
        try:
            line = self._line or await self._open()
            if self._owed_since is not None:
                await line.settle()
                self._owed_since = None
            reason = await line.ask()
            return BadAnswer(reason) if reason else ""
        except asyncio.CancelledError:
            if self._owed_since is None:
                self._owed_since = asyncio.get_running_loop().time()
            raise
        except (OSError, EOFError, Broken, Rejected) as error:
            await self.close()
            raise Broken(_short(error), answered=self._was_answered(error)) from error
        except Exception:  # a defect: what is left on the line must not be taken for the next answer
            await self.close()
            raise

    async def _open(self) -> Line:
        async with AsyncExitStack() as around:
            host, port = await around.enter_async_context(self._place.forward(self._host, self._port))
            self._forwarded = (host, port) != (self._host, self._port)
            self._line = await self._open_line(host, port)
            self._around = around.pop_all()
        self._owed_since = None
        return self._line

    def _was_answered(self, error: Exception) -> bool:
        """Whether it is the other end that failed a question. A forwarding that comes to nothing hangs up by itself."""
        if isinstance(error, Broken):
            return error.answered
        return (_is_refusal(error) or isinstance(error, _HANGS_UP)) and not self._forwarded


def _is_refusal(error: Exception) -> bool:
    """Whether an address refused. Of a name with several asyncio joins what each of them met into one text."""
    return isinstance(error, ConnectionRefusedError) or (type(error) is OSError and _REFUSED in str(error))


def _reason(broken: Broken) -> str:
    return BadAnswer(broken) if broken.answered else str(broken)


def _short(error: Exception) -> str:
    if _is_refusal(error):
        return "connection refused"
    if isinstance(error, _HANGS_UP):
        return "connection closed by the other end"
    return str(error) or type(error).__name__
