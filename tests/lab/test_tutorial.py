"""The tutorial does what it says: its commands are run as they stand, and the lines it shows are looked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evac.lab import world
from evac.lab.control import LabError
from evac.lab.servers.process import Process

pytestmark = pytest.mark.lab

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-failover.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANYTHING = "..."
WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of the page, and the lines that it is said to print; `...` in them stands for anything."""

    command: str
    lines: tuple[str, ...]

    def printed(self, said: str) -> bool:
        """Whether all lines are there."""
        return all(re.search(_pattern(line), said, re.MULTILINE) for line in self.lines)


def _pattern(line: str) -> str:
    return "^" + ".*".join(map(re.escape, line.split(ANYTHING))) + "$"


def shown() -> Iterator[Shown]:
    """Return the page's commands in their order."""
    for block in BLOCK.findall(PAGE.read_text()):
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            yield Shown(command, tuple(line for line in lines if line != ANYTHING))


async def test_the_page_is_true(tmp_path: Path) -> None:
    """`evac serve` is the one in a second terminal. What shows how things are may be asked again until it is so."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    second = Process(name="second terminal", argv=(), log=tmp_path / "serve.log", environment=environment)
    try:
        for each in shown():
            if "evac serve" in each.command:
                second.argv = ("sh", "-c", f"cd {tmp_path} && exec {each.command}")
                await second.start(ready=lambda _: True)
                continue
            async with asyncio.timeout(WAIT_S):
                while not await _as_shown(each, tmp_path, environment):
                    await asyncio.sleep(0.5)
    finally:
        await second.kill()
        with contextlib.suppress(LabError):  # the page's last command has taken it down
            await world.at(tmp_path / "lab").down()


async def _as_shown(each: Shown, folder: Path, environment: dict[str, str]) -> bool:
    """Run a command; say whether it printed what is shown. What does more than show must succeed at once."""
    running = await asyncio.create_subprocess_shell(
        each.command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await running.communicate()
    said = out.decode()
    print(f"$ {each.command}\n{said}")
    assert "Traceback" not in said
    looks = any(f"evac {word}" in each.command for word in ("check", "status", "runs"))
    assert looks or running.returncode == 0
    return each.printed(said)
