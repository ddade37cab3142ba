"""The three standard streams, made so that no command fails for their sake.

Intuition: a reader who has read enough (`evac serve | head -3`), a stream that was closed or a character that an old
locale lacks say nothing of the estate. The command goes on and ends with the exit code it would have had. Only what
cannot be written for another reason, a full disk, is an error.

What this is not: how things look (`terminal`).
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = 2
"""The highest descriptor of the three."""


class _Outlet(io.RawIOBase):
    """A stream's descriptor; once nobody reads it any more, what is written to it goes nowhere."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return os.write(self._descriptor, data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)
            os.close(nowhere)
            return os.write(self._descriptor, data)


def secure_streams() -> None:
    """Open what is closed of the three, and let output and error survive their readers.

    A closed one must not stay free: the next file that is opened, the store perhaps, would get its number, and with it
    whatever is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = _secured(1, sys.stdout, errors="replace")
    sys.stderr = _secured(2, sys.stderr, errors="backslashreplace")


def _secured(number: int, stream: TextIO | None, *, errors: str) -> TextIO:
    raw = _Outlet(number)
    encoding = stream.encoding if stream is not None else "utf-8"
    by_line = number == STANDARD or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=by_line)
