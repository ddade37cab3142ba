"""The marker that keeps a stopped PostgreSQL down is written also where not a block is free: on a real file system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evac.drivers.postgresql import fence_scripts
from evac.lab import ballast

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted, which takes root")


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system with a data directory on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        (disk / "data").mkdir()
        (disk / "data" / "postmaster.opts").write_text('/usr/lib/postgresql/bin/postgres "-D" "/data"\n')
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def mark(disk: Path, term: int) -> int:
    """Have the marker written; return the exit code."""
    script = f"data=$1 marker=$2 term=$3\n{fence_scripts.MARK}\nmark_somehow || exit 1\nexec true"
    return subprocess.run(
        ["sh", "-c", script, "evac", str(disk / "data"), str(disk / "evac.stopped"), str(term)], check=False
    ).returncode


def test_it_takes_the_room_of_what_a_stopped_server_can_do_without(disk: Path) -> None:
    ballast.fill(disk / "ballast")
    for term in (5, 5, 6, 10):
        assert mark(disk, term) == 0
        assert (disk / "evac.stopped").read_text() == f"{term}\n"
    assert not (disk / "data" / "postmaster.opts").exists()
    assert not (disk / "evac.stopped.new").exists()


def test_where_there_is_room_nothing_is_taken(disk: Path) -> None:
    (disk / "evac.stopped.new").write_text("half of what a mark that died wrote\n")
    assert mark(disk, 5) == 0
    assert (disk / "evac.stopped").read_text() == "5\n"
    assert (disk / "data" / "postmaster.opts").exists()


def test_without_any_room_it_is_said(disk: Path) -> None:
    (disk / "data" / "postmaster.opts").unlink()
    ballast.fill(disk / "ballast")
    assert mark(disk, 5) == 1
    assert not (disk / "evac.stopped").exists()
