"""What goes to a log holds no secret, also not where something failed that had one at hand."""

from __future__ import annotations

import subprocess
import sys

FAIL = """
import structlog
from evac.cli.logs import speak_plainly

def fail():
    password = "open sesame"
    raise RuntimeError("it failed")

speak_plainly()
try:
    fail()
except RuntimeError:
    structlog.get_logger("evac").exception("something failed")
"""


def test_a_trace_shows_no_local_variables() -> None:
    done = subprocess.run([sys.executable, "-c", FAIL], capture_output=True, text=True, check=True)
    assert "something failed" in done.stderr
    assert "RuntimeError: it failed" in done.stderr
    assert "open sesame" not in done.stderr.replace('password = "open sesame"', "")
    assert done.stdout == ""
