"""A hardware watchdog (`/dev/watchdog`): the machine is reset unless somebody writes to it often enough.

Intuition: it is there for the day on which this process is dead or frozen, or a kill does not come to its end. For the
promise of a lease, that nothing runs later than `reset` after the watchdog's time, the device's own time-out has to be
part of `reset`: the last byte may have been written just before all went wrong. So it is set, read back, and a device
that takes longer is refused; and who cannot kill stops writing while the time-out still fits.

The kernel's words are those of Documentation/watchdog/watchdog-api.rst; the numbers of x86 and ARM.

What this is not: asked for by default, or tried out by these lines: only real hardware, or `softdog`, resets.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias

Ioctl: TypeAlias = Callable[[int, int, bytes], bytes]
"""`fcntl.ioctl` as it is used here."""

GET_SUPPORT, SET_TIMEOUT, GET_TIMEOUT = 0x80285700, 0xC0045706, 0x80045707
MAGIC_CLOSE = 0x0100
"""WDIOF_MAGICCLOSE: closed without the letter V, as by a process that is killed, it goes on counting."""
_INFO = struct.Struct("=II32s")
_SECONDS = struct.Struct("=i")


class Unfit(Exception):
    """The device would not do what a lease needs of it."""


class Device:
    """A hardware watchdog that is counting. `timeout` is how long after the last `pet` it resets the machine."""

    def __init__(self, descriptor: int, timeout: timedelta) -> None:
        self._descriptor = descriptor
        self.timeout = timeout

    def pet(self) -> None:
        with suppress(OSError):
            os.write(self._descriptor, b"\0")

    def off(self) -> None:
        """Have it count no more; one that the kernel was told never to turn off (`nowayout`) resets all the same."""
        os.write(self._descriptor, b"V")
        os.close(self._descriptor)


def opened(path: str, *, reset: timedelta, ioctl: Ioctl = fcntl.ioctl) -> Device:
    """Begin its count, with a time-out that fits into `reset`. Raises `Unfit`, with what to do, and `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return Device(descriptor, _fitting(descriptor, path, reset, ioctl))
    except BaseException:
        with suppress(OSError):
            os.write(descriptor, b"V")
        os.close(descriptor)
        raise


def _fitting(descriptor: int, path: str, reset: timedelta, ioctl: Ioctl) -> timedelta:
    try:
        options, _, _ = _INFO.unpack(ioctl(descriptor, GET_SUPPORT, bytes(_INFO.size)))
        with suppress(OSError):  # one whose time-out is fixed says so below
            ioctl(descriptor, SET_TIMEOUT, _SECONDS.pack(max(int(reset.total_seconds()), 1)))
        (seconds,) = _SECONDS.unpack(ioctl(descriptor, GET_TIMEOUT, bytes(_SECONDS.size)))
    except OSError as error:
        raise Unfit(f"{path} is no hardware watchdog that says its time-out: {error.strerror}") from error
    if not options & MAGIC_CLOSE:
        raise Unfit(f"{path} stops counting when this process dies (no WDIOF_MAGICCLOSE): name another device, or none")
    timeout = timedelta(seconds=seconds)
    if not timedelta() < timeout <= reset:
        raise Unfit(
            f"{path} resets {seconds} s after the last sign of life, the lease's reset is {reset.total_seconds():g} s:"
            f" set reset to {max(seconds, 1)}s or more"
        )
    return timeout
