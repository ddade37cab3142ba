"""Spin: one model, some planted bugs, searched to the end.

Intuition: `spin` turns a model into a C program that visits every state. A model that is right is searched depth first
to the end; a planted bug is searched breadth first, so that what is found is the shortest way to it.

What this is not: the models (`models/*.pml`), or what is expected of each (`test_models`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[2] / "models"
DEPTH_MAX = 1_000_000
MEMORY_MAX_MB = 2_000
SEARCH_MAX_S = 300
"""A guard against a search without an end; the longest takes about ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model with macros. `bug`: one of them is planted, and must be found. `liveness`: what must come, comes."""

    model: str
    macros: tuple[str, ...] = ()
    bug: str = ""
    liveness: bool = False

    @property
    def name(self) -> str:
        return " ".join((self.model, *self.macros, *((self.bug,) if self.bug else ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search said. `complete`: every state was visited. `steps`: how long the way to an error is, in steps."""

    errors: int
    states: int
    complete: bool
    steps: int | None
    seconds: float
    said: str


def lacking() -> str:
    """Return why nothing can be checked here, and what to do; empty when all is there."""
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    if not missing and _compiles():
        return ""
    what = " and ".join(missing) or "the C library's headers"
    return f"the models are not checked: {what} not found; apt-get install spin gcc libc6-dev (Debian, Ubuntu)"


def _compiles() -> bool:
    """Whether a program that includes the C library's headers is compiled: gcc comes without them."""
    words = ("gcc", "-fsyntax-only", "-x", "c", "-")
    return (
        subprocess.run(words, input="#include <stdio.h>\n", text=True, capture_output=True, check=False).returncode == 0
    )


def search(case: Case, folder: Path) -> Search:
    """Search a model's states, in a folder of its own. Raises `CalledProcessError` when it is not a model."""
    macros = [f"-D{m}" for m in (*case.macros, *((case.bug,) if case.bug else ()))]
    model = folder / f"{case.model}.pml"
    shutil.copy(MODELS / model.name, model)
    _run(["spin", "-a", *macros, model.name], folder)
    kind = ["-DNFAIR=3"] if case.liveness else ["-DSAFETY", *(["-DBFS"] if case.bug else [])]
    _run(["gcc", "-O0" if case.bug else "-O1", "-w", f"-DMEMLIM={MEMORY_MAX_MB}", *kind, "-o", "pan", "pan.c"], folder)
    began = time.monotonic()
    said = _run(["./pan", f"-m{DEPTH_MAX}", "-w22", *(["-a", "-f"] if case.liveness else [])], folder)
    seconds = time.monotonic() - began
    errors, states = re.search(r"errors: (\d+)", said), re.search(r"(\d+) states, stored", said)
    assert errors is not None, said
    assert states is not None, said
    steps = re.search(r"^pan:1: .*\(at depth (\d+)\)", said, re.M)
    return Search(
        errors=int(errors[1]),
        states=int(states[1]),
        complete=not re.search(r"not completed|search depth too small|memory|bit state", said.split("State-vector")[0]),
        steps=int(steps[1]) if steps else None,
        seconds=seconds,
        said=said,
    )


def _run(argv: list[str], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=SEARCH_MAX_S, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
    return done.stdout + done.stderr
