"""The command that plays many seeds anywhere: what it prints, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from evac.sim.__main__ import main

EDGES = ("asyncssh", "cel_expr_python", "cryptography", "httpx", "psycopg", "pydantic", "ruamel", "typer", "valkey")


def test_it_ends_with_one_line_that_says_what_came_of_all_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--from", "5", "--jobs", "1", "--regions", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["violations"]) == (2, 0)
    assert told["simulated_s"] >= 120


def test_it_needs_no_library_of_evacs_edges() -> None:
    asked = f"import sys, evac.sim.__main__; print([n for n in {EDGES} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
