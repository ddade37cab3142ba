"""The units that ship with evac are units, start commands that there are, and leave a watchdog alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from evac.cli import app

SHIPPED = Path(__file__).parents[2] / "systemd"
UNITS = sorted(SHIPPED.glob("*.service"))
HOME = "/opt/evac/bin/evac"
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def settings(*files: Path) -> dict[str, str]:
    """Return what the files set, a later one over an earlier one."""
    return dict(_settings(files))


def _settings(files: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    for file in files:
        for line in file.read_text().splitlines():
            key, is_setting, value = line.partition("=")
            if is_setting and not line.startswith("#"):
                yield key, value


@each_unit
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    (started,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program, command, *more = started.removeprefix("ExecStart=").split()
    assert (program, more) == (HOME, [])
    assert command in getattr(typer.main.get_command(app), "commands")  # noqa: B009 - a group, says typer elsewhere


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("hardened", [False, True], ids=["shipped", "hardened"])
@each_unit
def test_systemd_understands_every_word_of_a_unit(unit: Path, tmp_path: Path, hardened: bool) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace(HOME, sys.executable))
    if hardened:
        beside = tmp_path / f"{unit.name}.d"
        beside.mkdir()
        shutil.copy(SHIPPED / "hardened.conf", beside)
    done = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True)
    ours = (unit.name, "hardened.conf")
    about = [line for line in done.stderr.splitlines() if any(n in line for n in ours) and "agent.env" not in line]
    assert about == []


@each_unit
def test_it_never_gives_up_and_ends_no_process_but_its_own(unit: Path) -> None:
    said = settings(unit, SHIPPED / "hardened.conf")
    wanted = {"Restart": "always", "StartLimitIntervalSec": "0", "KillMode": "process", "OOMPolicy": "continue"}
    assert {key: said.get(key) for key in wanted} == wanted
    assert not said.keys() & {"WatchdogSec", "RestrictRealtime", "PrivateTmp", "PrivateUsers", "ProtectProc"}


def test_an_agent_that_is_to_end_is_back_before_a_lease_is_over() -> None:
    said = settings(SHIPPED / "evac-agent.service")
    assert int(said["TimeoutStopSec"]) + int(said["RestartSec"]) < 6


def test_the_units_are_there() -> None:
    assert [unit.name for unit in UNITS] == ["evac-agent.service", "evac.service"]
