"""A lab of a plain user: the same, without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evac.lab.servers import process

pytestmark = pytest.mark.lab

NOBODY = 65534
SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from evac.lab import world
async def main():
    async with world.lab(Path(sys.argv[1])) as lab:
        await lab.fault("power", "us-east-1")
        healed = await lab.heal()
        servers = (await lab.status())["regions"]["us-east-1"]["servers"]
        print(os.geteuid(), healed.problems, sorted(set(servers.values()) - {"absent"}))
asyncio.run(main())
"""


def interpreter() -> tuple[str, ...]:
    """Return a Python that nobody may run and that finds this project, or skip."""
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "env")
    paths = [path for path in sys.path if path]
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = (*drop, f"PYTHONPATH={':'.join(paths[1:])}", "PYTHONDONTWRITEBYTECODE=1", python)
        tried = subprocess.run([*command, "-c", "import evac.lab.shop.service"], check=False, capture_output=True)
        if tried.returncode == 0:
            return command
    pytest.skip("no interpreter that a plain user may run finds this project")


@pytest.mark.skipif(os.geteuid() != 0, reason="as a plain user every lab test is this test")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
async def test_a_plain_user_has_a_lab_too() -> None:
    python = interpreter()
    folder = Path("/tmp") / f"evac-rootless-{os.getpid()}"  # the tests' own folders are closed to others
    folder.mkdir(mode=0o700)
    try:
        os.chown(folder, NOBODY, NOBODY)
        said = await process.run((*python, "-c", SCRIPT, str(folder)), environment={"HOME": str(folder)})
    finally:
        shutil.rmtree(folder)
    assert said.decode().strip() == f"{NOBODY} () ['running']"
