"""Layers: the estate file, then its regions' files, then one environment's file, then environment variables.

Intuition: what is the same everywhere is written once, and what differs is written beside it. Beside `estate.yaml`:

    regions/us-east-1.yaml       one file a region, in the order of their names
    environments/staging.yaml    the one that is asked for
    EVAC__DETECTION__INTERVAL=1s variables, `__` between keys; case does not matter, `_` may stand for `-`

All have the estate's form. A later layer wins: mappings are merged, everything else is replaced as a whole, and null
takes a key away.

What this is not: the meaning of what is merged (`schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evac.config.source import Document, KeyPath, Mark, Problem, read_file, read_scalar
from evac.config.spelling import meant

PREFIX = "EVAC__"
ENVIRONMENTS = "environments"
"""The folder of the environments' files, beside the estate."""


def read_layers(file: Path, *, environment: str | None, environ: Mapping[str, str]) -> Document:
    """Return the merged document; what is wrong with any layer is in its problems."""
    whole = read_file(file, rank=0)
    rank = 1
    for layer in _region_files(file):
        merge(whole, read_file(layer, rank=rank))
        whole.problems += _unknown_region(whole, layer, rank)
        rank += 1
    if environment is not None:
        merge(whole, _environment(file, environment, rank))
        rank += 1
    for name in sorted(n for n in environ if n.startswith(PREFIX)):
        merge(whole, _variable(whole, name, environ[name], rank))
        rank += 1
    return whole


def merge(below: Document, above: Document) -> None:
    """Lay one document over another, in place."""
    below.problems += above.problems
    if above.data is None:
        return
    if not isinstance(above.data, dict):
        mark = above.marks[()]
        below.problems.append(Problem(mark=mark, path=(), reason="is not a mapping; a layer has the estate's form"))
        return
    if not isinstance(below.data, dict):
        below.data = {}
        below.marks.setdefault((), above.marks[()])
    _lay(below.data, above.data, below, above, ())


def _lay(below: dict[str, Any], above: dict[str, Any], to: Document, source: Document, path: KeyPath) -> None:
    for key, value in above.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay(below[key], value, to, source, here)
            continue
        for old in [p for p in to.marks if p[: len(here)] == here]:
            del to.marks[old]
        if value is None:
            below.pop(key, None)
            continue
        below[key] = value
        to.marks |= {p: mark for p, mark in source.marks.items() if p[: len(here)] == here}


def _region_files(file: Path) -> list[Path]:
    return sorted((file.parent / "regions").glob("*.yaml"))


def _unknown_region(whole: Document, layer: Path, rank: int) -> list[Problem]:
    regions = whole.data.get("regions") if isinstance(whole.data, dict) else None
    known = list(regions) if isinstance(regions, dict) else []
    if layer.stem in known:
        return []
    mark = Mark(rank=rank, file=str(layer), line=0)
    reason = f"is named after a region that is not declared{meant(layer.stem, known)}; declare it or rename the file"
    return [Problem(mark=mark, path=(), reason=reason)]


def _environment(file: Path, environment: str, rank: int) -> Document:
    folder = file.parent / ENVIRONMENTS
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    if environment in known:
        return read_file(folder / f"{environment}.yaml", rank=rank)
    mark = Mark(rank=rank, file=str(folder), line=0)
    there = f"there are {', '.join(known)}" if known else "there is none"
    reason = f"has no file for the environment {environment}{meant(environment, known)}; {there}"
    return Document(problems=[Problem(mark=mark, path=(), reason=reason)])


def _variable(whole: Document, name: str, text: str, rank: int) -> Document:
    """Return an environment variable as a layer with one value."""
    mark = Mark(rank=rank, file=f"environment variable {name}", line=0)
    value, path, inside = read_scalar(text), [], whole.data
    for part in name.removeprefix(PREFIX).split("__"):
        key = _key(inside, part)
        path.append(key)
        inside = inside.get(key) if isinstance(inside, dict) else None
    if not all(path):
        reason = "has an empty key; write EVAC__SECTION__KEY"
        return Document(problems=[Problem(mark=mark, path=(), reason=reason)])
    marks: dict[KeyPath, Mark] = {tuple(path[:depth]): mark for depth in range(len(path) + 1)}
    data: Any = value
    for key in reversed(path):
        data = {key: data}
    return Document(data=data, marks=marks)


def _key(inside: Any, part: str) -> str:
    """Return the key that is meant: one that is there, whatever its case and dashes, else the part in lower case."""
    folded = part.lower().replace("-", "_")
    there = inside if isinstance(inside, dict) else {}
    return next((key for key in there if key.lower().replace("-", "_") == folded), part.lower())
