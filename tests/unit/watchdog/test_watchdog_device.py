"""The hardware watchdog's rules, on what the kernel would say: there is no such device where these tests run."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from evac.core.watchdog import Arm, Watched
from evac.watchdog.device import GET_SUPPORT, GET_TIMEOUT, MAGIC_CLOSE, SET_TIMEOUT, Device, Unfit, opened
from evac.watchdog.serving import Watchdog, boot_time

SECOND = timedelta(seconds=1)


@dataclass(slots=True, kw_only=True)
class Kernel:
    """What a device's driver answers. `fixed`: its time-out cannot be set. `shortest`: it takes nothing shorter."""

    timeout: int = 60
    fixed: bool = False
    shortest: int = 1
    options: int = MAGIC_CLOSE

    def __call__(self, descriptor: int, request: int, given: bytes) -> bytes:
        os.fstat(descriptor)
        if request == GET_SUPPORT:
            return self.options.to_bytes(4, "little") + bytes(36)
        if request == SET_TIMEOUT:
            if self.fixed:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            self.timeout = max(int.from_bytes(given, "little"), self.shortest)
        assert request in (SET_TIMEOUT, GET_TIMEOUT)
        return self.timeout.to_bytes(4, "little")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    device = tmp_path / "watchdog"
    device.touch()
    return device


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        yield made


def test_its_time_out_is_set_to_what_the_lease_allows(path: Path) -> None:
    kernel = Kernel()
    device = opened(str(path), reset=3.5 * SECOND, ioctl=kernel)
    assert (device.timeout, kernel.timeout) == (3 * SECOND, 3)
    device.pet()
    device.off()
    assert path.read_bytes() == b"\0V"


def test_one_that_cannot_be_set_is_taken_as_it_is(path: Path) -> None:
    assert opened(str(path), reset=5 * SECOND, ioctl=Kernel(timeout=4, fixed=True)).timeout == 4 * SECOND


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel(fixed=True), "set reset to 60s or more"),
        (Kernel(shortest=10), "resets 10 s after the last sign of life, the lease's reset is 2 s"),
        (Kernel(options=0), "stops counting when this process dies"),
    ],
    ids=["fixed", "too long", "no magic close"],
)
def test_one_that_would_break_the_promise_is_refused_and_turned_off(path: Path, kernel: Kernel, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        opened(str(path), reset=2 * SECOND, ioctl=kernel)
    assert path.read_bytes() == b"V"


def test_what_is_no_hardware_watchdog_is_refused(path: Path) -> None:
    with pytest.raises(Unfit, match="no hardware watchdog"):
        opened(str(path), reset=2 * SECOND)


@pytest.mark.parametrize(("overdue", "petted"), [(0.5 * SECOND, True), (1.5 * SECOND, False)], ids=["in time", "late"])
def test_who_cannot_kill_stops_writing_while_the_time_out_still_fits(
    path: Path, listening: socket.socket, overdue: timedelta, petted: bool
) -> None:
    """Of a reset of 3 s the device takes 2."""
    listening.bind(str(path.parent / "socket"))
    listening.listen()
    watched = Watched(folder=str(path.parent), names=("nobody",), marker=str(path.parent / "marker"))
    device = opened(str(path), reset=2 * SECOND, ioctl=Kernel())
    watchdog = Watchdog(watched, within=SECOND, reset=3 * SECOND, listening=listening, device=device)
    watchdog._guard = watchdog._guard.told(Arm(sent_at=boot_time(), term=1), boot_time())
    watchdog._due_at = boot_time() - overdue
    watchdog.turn(0)
    assert path.read_bytes() == (b"\0" if petted else b"")
    assert isinstance(device, Device)
