"""A lab of a plain user: the same, without root."""

from __future__ import annotations

import os
import shutil
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


def as_nobody(folder: Path) -> tuple[str, ...]:
    """Return the command that is a Python of a plain user, who may read neither our home nor our virtual environment.

    The interpreter is shown to him at a place of his own, in mounts that nobody else sees.
    """
    shown = folder / "python"
    mount = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all")
    paths = ":".join(path for path in sys.path[1:] if path and not path.startswith(sys.base_prefix))
    environment = ("env", f"PYTHONPATH={paths}", f"LD_LIBRARY_PATH={shown}/lib", f"HOME={folder}")
    python = str(shown / "bin" / f"python3.{sys.version_info.minor}")
    return (
        "unshare",
        "--mount",
        "--",
        "sh",
        "-ec",
        mount,
        "sh",
        sys.base_prefix,
        str(shown),
        *drop,
        *environment,
        python,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="as a plain user every lab test is this test")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
async def test_a_plain_user_has_a_lab_too() -> None:
    folder = Path("/tmp") / f"evac-rootless-{os.getpid()}"  # the tests' own folders are closed to others
    folder.mkdir(mode=0o700)
    (folder / "python").mkdir()
    os.chown(folder, NOBODY, NOBODY)
    try:
        said = await process.run((*as_nobody(folder), "-c", SCRIPT, str(folder / "lab")))
    finally:
        shutil.rmtree(folder)
    assert said.decode().strip() == f"{NOBODY} () ['running']"
