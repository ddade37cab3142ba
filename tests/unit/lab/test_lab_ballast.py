"""The disk is full in the end, also when somebody else writes while it is being filled."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from evac.lab import ballast

BLOCK = 4096


class Disk:
    """A file system of some blocks, of which one is taken by somebody else between a look and what follows it."""

    def __init__(self, *, blocks: int, taken_after_look: int) -> None:
        self.free = blocks
        self._taken_after_look = taken_after_look

    def look(self, _: int) -> SimpleNamespace:
        seen = SimpleNamespace(f_bfree=self.free, f_bsize=BLOCK)
        if self._taken_after_look and self.free:
            self._taken_after_look -= 1
            self.free -= 1
        return seen

    def allocate(self, _: int, __: int, length: int) -> None:
        if length > self.free * BLOCK:
            raise OSError(errno.ENOSPC, "no room")
        self.free -= length // BLOCK


@pytest.mark.parametrize("writes", [0, 1, 3])
def test_no_block_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writes: int) -> None:
    disk = Disk(blocks=100, taken_after_look=writes)
    monkeypatch.setattr(os, "fstatvfs", disk.look)
    monkeypatch.setattr(os, "posix_fallocate", disk.allocate)
    ballast.fill(tmp_path / "ballast")
    assert disk.free == 0


def test_another_error_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "posix_fallocate", broken)
    with pytest.raises(OSError, match="broken"):
        ballast.fill(tmp_path / "ballast")
