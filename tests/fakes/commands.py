"""The command line, run as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

EVAC = str(Path(sys.executable).parent / "evac")


def evac(*words: str | Path, **streams: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line, which never ends with a trace."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    done = subprocess.run([EVAC, *map(str, words)], text=True, **given)
    assert "Traceback" not in f"{done.stdout}{done.stderr}"
    return done
