"""Holding a document against the schema, and finding everything that is wrong at once.

Intuition: one wrong key must not hide a cycle elsewhere. So what is refused is reported and cut out of the document,
and the rest is tried again, until what is left is in order. The rules then look at what is left, and keep silent
about anything that touches a cut.

What this is not: the schema (`schema`), or the words (`wording`).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evac.config.schema import EstateFile
from evac.config.source import Document, KeyPath, Mark, Problem
from evac.config.wording import reason

ROUNDS_MAX = 50
_SECRETIVE = re.compile(r"pass|secret|token|credential|private|_key$", re.IGNORECASE)
_STAND_IN: Mapping[tuple[str, ...], Any] = {
    ("evac",): 1,
    ("name",): "estate",
    ("regions", "*", "provider"): "unknown",
    ("regions", "*", "location"): [0.0, 0.0],
    ("regions", "*", "jurisdiction"): "unknown",
    ("regions", "*", "role"): "backup",
    ("services", "*", "kind"): "api",
    ("services", "*", "tier"): 4,
}
"""What stands in for a required value that is refused, so that everything around it can still be looked at."""


@dataclass(slots=True, kw_only=True)
class Formed:
    """What is in order, and which paths were cut out of it because they are not. `file` None: nothing is left."""

    file: EstateFile | None
    cut: set[KeyPath] = field(default_factory=set)

    def touches_cut(self, path: KeyPath) -> bool:
        """Return whether a path is inside something that was cut, or holds it."""
        return any(path[: len(c)] == c or c[: len(path)] == path for c in self.cut)


def formed(document: Document, *, folder: Path) -> Formed:
    """Return what of a document is in order; adds to its problems what is not."""
    if not isinstance(document.data, dict):
        if not document.problems:
            why = (
                "is empty; `evac init` writes an estate to begin with" if document.data is None else "is not a mapping"
            )
            document.problems.append(Problem(mark=mark_of(document, ()), path=(), reason=why))
        return Formed(file=None)
    data = {key: value for key, value in copy.deepcopy(document.data).items() if value is not None}
    result = Formed(file=None)
    known = {problem.path for problem in document.problems}
    for _ in range(ROUNDS_MAX):
        try:
            result.file = EstateFile.model_validate_json(json.dumps(data), context={"folder": folder})
            return result
        except ValidationError as refused:
            found = problems(refused, document, data=data, model=EstateFile)
            document.problems += [p for p in found if p.path not in known and not result.touches_cut(p.path)]
            done = [_cut(data, located(e["loc"], data), result.cut) for e in details(refused)]
            if not all(done):
                return result
    return result


def details(refused: ValidationError) -> list[ErrorDetails]:
    """Return a validation's errors without the values that were refused."""
    return refused.errors(include_url=False, include_input=False)


def problems(
    refused: ValidationError, document: Document, *, data: Any, model: type[BaseModel], under: KeyPath = ()
) -> Iterator[Problem]:
    """Yield what a validation of `data`, found `under` a path of the document, refused."""
    for error in details(refused):
        inside = located(error["loc"], data)
        text = reason(error, model=model, path=inside)
        if error["type"] in ("value_error", "assertion_error"):
            text = without_secrets(text, document.data)
        path = (*under, *inside)
        yield Problem(mark=mark_of(document, path), path=path, reason=text)


def located(loc: tuple[int | str, ...], data: Any) -> KeyPath:
    """Return where in the data an error's location is: without the names of union members and the like."""
    path: list[str | int] = []
    for depth, part in enumerate(loc):
        if isinstance(data, dict) and str(part) in data:
            path.append(str(part))
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
        elif depth == len(loc) - 1 and isinstance(data, (dict, list)) and part != "[key]":
            path.append(part)
    return tuple(path)


def mark_of(document: Document, path: KeyPath) -> Mark:
    """Return where a path was written, or what is around it if it was not."""
    for depth in range(len(path), -1, -1):
        if path[:depth] in document.marks:
            return document.marks[path[:depth]]
    return Mark(rank=0, file="estate", line=0)


def without_secrets(text: str, data: Any) -> str:
    """Return a message without any value that the document keeps under a key that sounds like a secret."""
    for secret in sorted(set(_secrets(data, secretive=False)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(data: Any, *, secretive: bool) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _secrets(value, secretive=secretive or key == "value" or bool(_SECRETIVE.search(key)))
    elif isinstance(data, list):
        for value in data:
            yield from _secrets(value, secretive=secretive)
    elif secretive and data is not None and str(data):
        yield str(data)


def _cut(data: dict[str, Any], path: KeyPath, cut: set[KeyPath]) -> bool:
    """Cut a path out, or the nearest thing around it that is still there; False when nothing could be cut."""
    stand_in = _STAND_IN.get((*map(str, path[:1]), *(["*"] if len(path) > 2 else []), *map(str, path[2:])))
    if stand_in is not None:
        holder: Any = data
        for part in path[:-1]:
            holder = holder[part]
        holder[path[-1]] = stand_in
        cut.add(path)
        return True
    for depth in range(len(path), 0, -1):
        whole = path[:depth]
        if any(isinstance(part, int) for part in whole):
            continue
        holder = data
        for part in whole[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and whole[-1] in holder:
            del holder[str(whole[-1])]
            cut.add(whole)
            return True
    return any(path[: len(c)] == c for c in cut)


def masked(data: Any) -> Any:
    """Return plain data with every value under a key that sounds like a secret replaced by `***`."""
    return _masked(data, secretive=False)


def _masked(data: Any, *, secretive: bool) -> Any:
    if isinstance(data, Mapping):
        wanted = {"env", "file"} if secretive else set()
        return {
            key: value
            if key in wanted
            else _masked(
                value, secretive=secretive or bool(_SECRETIVE.search(key)) or (key == "value" and len(data) == 1)
            )
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_masked(value, secretive=secretive) for value in data]
    return "***" if secretive and data is not None else data
