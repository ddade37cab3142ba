"""The file of the matrix: every run that was played, by row, seed and version of the code; whole at every moment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from evac.core.errors import EvacError
from evac.lab.matrix.outcome import HARNESS

Entry = Mapping[str, Any]


class BookError(EvacError):
    """The file is not one of the matrix: what is wrong, and what to do."""


@dataclass(slots=True, kw_only=True)
class Book:
    """The runs in a file, one for each row and seed: the newest."""

    path: Path
    runs: dict[tuple[str, int], Entry]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what is there, or begin anew. Raises `BookError`."""
        if not path.exists():
            return cls(path=path, runs={})
        try:
            runs = json.loads(path.read_text())["runs"]
            return cls(path=path, runs={(str(run["name"]), int(run["seed"])): run for run in runs})
        except (ValueError, KeyError, TypeError) as error:
            raise BookError(f"{path} is not a file of the matrix ({error!r}); move it away to begin anew") from error

    def has(self, name: str, seed: int, *, version: str) -> bool:
        """Return whether a run need not be played again: it was, with this code, and the harness held."""
        run = self.runs.get((name, seed))
        return run is not None and run["version"] == version and run["outcome"] != HARNESS

    def add(self, run: Entry) -> None:
        """Take a run in, in place of an older one, and write the file so that it is never seen half."""
        self.runs[run["name"], run["seed"]] = run
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        new.write_text(json.dumps({"runs": list(self.runs.values())}, indent=1) + "\n")
        os.replace(new, self.path)

    def of(self, names: Sequence[str], *, seeds: int, version: str) -> tuple[Entry, ...]:
        """Return the runs of some rows, with seeds from 1, that were played with this code."""
        keys = ((name, seed) for name in names for seed in range(1, seeds + 1))
        return tuple(run for key in keys if (run := self.runs.get(key)) and run["version"] == version)


def version_of(folder: Path) -> str:
    """Return what tells one state of the code in a folder from another: a hash over its files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
