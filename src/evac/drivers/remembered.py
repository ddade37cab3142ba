"""What a router was before its last shift, kept on evac's own disk before the router is touched.

Intuition: a shift is undone by going back to what was before. The receipt says so, but a shift whose answer was lost
has no receipt. So the note is written first; a repeated shift finds its own unfinished or finished note and keeps
what it says, instead of taking its own half-done effect for "before".

What this is not: the journal (`engine`), which says what was ordered. One note a member, the newest only.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """The newest shift of a member: where to, from where, and whether it was seen to hold."""

    weights: Mapping[str, int]
    before: Mapping[str, int]
    held: bool


class Remembered:
    """One member's note in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Shifted | None:
        """Return the newest note; None if there never was one."""
        try:
            text = await asyncio.to_thread(self._path.read_text, encoding="utf-8")
        except FileNotFoundError:
            return None
        return Shifted(**json.loads(text))

    async def started(self, *, weights: Mapping[str, int], now: Mapping[str, int]) -> Shifted:
        """Note that a shift to `weights` starts while the router stands at `now`; return what "before" means for it."""
        last = await self.read()
        if last is not None and last.weights == weights and (not last.held or now == weights):
            return last
        noted = Shifted(weights=dict(weights), before=dict(now), held=False)
        await asyncio.to_thread(self._write, noted)
        return noted

    async def held(self, shifted: Shifted) -> None:
        """Note that a shift was seen to hold."""
        await asyncio.to_thread(
            self._write, Shifted(weights=dict(shifted.weights), before=dict(shifted.before), held=True)
        )

    def _write(self, shifted: Shifted) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(shifted), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
