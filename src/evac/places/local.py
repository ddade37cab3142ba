"""The place that is this host: commands run as children of this process, connections need no detour.

What this is not: a sandbox. A command has evac's own rights.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from evac.core.errors import Indeterminate, Unavailable
from evac.ports import Completed

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class LocalPlace:
    """Acts and looks from the host evac runs on (`ports.Place`)."""

    def __init__(self) -> None:
        self._closed = False

    async def ping(self) -> int:
        """Return at once: this host answers itself for as long as it runs."""
        self._must_be_open()
        return 0

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        """Run a command and wait until it has ended and closed its output.

        It is the leader of a process group of its own, which is killed as a whole when the time runs out
        (`Indeterminate`) or the caller is cancelled; a daemon that made itself a session stays. A program that is not
        there ends with 127, one that may not be run with 126, as in a shell.
        """
        self._must_be_open()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            return Completed(code=NOT_FOUND, out=b"", err=str(error).encode())
        except PermissionError as error:
            return Completed(code=NOT_EXECUTABLE, out=b"", err=str(error).encode())
        except OSError as error:
            raise Unavailable(f"cannot start {argv[0]} on this host: {error.strerror}; nothing was run") from error
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            seconds = timeout.total_seconds()
            raise Indeterminate(f"{argv[0]} on this host had not ended after {seconds:g} s and was killed") from None
        finally:
            await _end(process)
        assert process.returncode is not None
        return Completed(code=process.returncode, out=out, err=err)

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """Give the address itself: from this host there is no detour."""
        self._must_be_open()
        yield host, port

    async def close(self) -> None:
        """Refuse all further use; what runs is its caller's."""
        self._closed = True

    def _must_be_open(self) -> None:
        if self._closed:
            raise Unavailable("this host's place was closed; evac is ending")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a command's process group, and reap its leader."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
