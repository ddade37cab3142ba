"""The rule about secrets that are written out: in a file that others can read, they are none.

What this is not: reading secrets (`drivers.settings.Secret`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evac.config.scene import Found, Rule, Scene
from evac.config.source import KeyPath

_OTHERS = stat.S_IRGRP | stat.S_IROTH


def secrets_are_kept(scene: Scene) -> Iterator[Found]:
    """A secret given as plain value stands in a file that only its owner can read."""
    for path in _plain(scene.document.data, ()):
        mark = scene.document.marks[path]
        if mark.line and _readable_by_others(Path(mark.file)):
            reason = (
                "is a secret in a file that others on this machine can read; "
                "write {env: NAME} or {file: path}, or take the file's rights away (chmod 600)"
            )
            yield Found(path=path, reason=reason, warning=True)


def _plain(data: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Yield where the data holds `{value: …}`, the plain form of a secret."""
    if isinstance(data, dict):
        if set(data) == {"value"}:
            yield (*path, "value")
        for key, value in data.items():
            yield from _plain(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _plain(value, (*path, position))


def _readable_by_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & _OTHERS)
    except OSError:
        return False


EXPOSURE: tuple[Rule, ...] = (secrets_are_kept,)
