"""The units that ship with evac are units, and start commands that there are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from evac.cli import app

UNITS = sorted((Path(__file__).parents[2] / "systemd").glob("*.service"))
HOME = "/opt/evac/bin/evac"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    (started,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program, command, *more = started.removeprefix("ExecStart=").split()
    assert (program, more) == (HOME, [])
    assert command in getattr(typer.main.get_command(app), "commands")  # noqa: B009 - a group, says typer elsewhere


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_word_of_a_unit(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace(HOME, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True)
    about = [line for line in done.stderr.splitlines() if unit.name in line and "agent.env" not in line]
    assert about == []


def test_the_units_are_there() -> None:
    assert [unit.name for unit in UNITS] == ["evac-agent.service", "evac.service"]
