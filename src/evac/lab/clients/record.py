"""The clients' record: every line of the history as it happens, and a summary for whoever watches.

`history.jsonl` gets one line at a time, unbuffered, so that a killed client loses none. `summary.json` is replaced
whole, so that a reader never sees half of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from evac.lab import history
from evac.lab.history import Ending, Owner

HISTORY = "history.jsonl"
SUMMARY = "summary.json"
PERIOD = 0.4
"""Seconds between summaries."""


def boot_time() -> float:
    """Return the boot clock in seconds: the same one for every process of the machine, and never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Record:
    """Writes down what clients begin and how it ends. Also says when there is enough: `stop`."""

    def __init__(self, folder: Path, *, run: str, writes_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.run = run
        self.stop = asyncio.Event()
        self._folder = folder
        self._file = (folder / HISTORY).open("a", buffering=1)
        self._left = writes_max
        self._stores: dict[str, str] = {}
        self._endings: dict[str, Counter[str]] = {}
        self._heard: dict[str, deque[tuple[float, str]]] = {}

    def begin(self, *, client: str, seq: int, store: str, via: str) -> str:
        """Write down that a write is about to be sent, and return its id."""
        id = f"{self.run}.{client}.{seq}"
        self._file.write(history.invocation(id=id, client=client, store=store, via=via, at=boot_time()) + "\n")
        self._stores[id] = store
        self._left -= 1
        if self._left <= 0:
            self.stop.set()
        return id

    def end(self, id: str, how: Ending, *, owner: Owner | None = None, reason: str = "") -> None:
        """Write down how a write ended."""
        now = boot_time()
        self._file.write(history.ending(id=id, at=now, how=how, owner=owner, reason=reason[:200]) + "\n")
        store = self._stores.pop(id)
        self._endings.setdefault(store, Counter())[how.value] += 1
        if owner:
            self._heard.setdefault(store, deque(maxlen=10_000)).append((now, owner.node))

    def summary(self) -> dict[str, Any]:
        """Return, for each store, the counts so far and the acknowledgements of the last second by node."""
        now = boot_time()
        stores = {}
        for store, endings in self._endings.items():
            heard = self._heard.get(store, ())
            recent = Counter(node for at, node in heard if at > now - 1.0)
            stores[store] = {
                **{how.value: endings[how.value] for how in Ending},
                "per_second": recent.total(),
                "by_node": dict(recent),
                "last_acknowledged": heard[-1][0] if heard else None,
            }
        return {"run": self.run, "at": now, "stores": stores}

    async def keep_summary(self) -> None:
        """Replace the summary file a few times a second, until `stop`."""
        while not self.stop.is_set():
            self._write_summary()
            await asyncio.sleep(PERIOD)

    def _write_summary(self) -> None:
        new = self._folder / f".{SUMMARY}.new"
        new.write_text(json.dumps(self.summary()))
        os.replace(new, self._folder / SUMMARY)

    def close(self) -> None:
        """Write the last summary and close the history."""
        self._write_summary()
        self._file.close()


class Pace:
    """Says when a client's next write is due: every `interval` seconds; what was missed is skipped."""

    def __init__(self, *, interval: float, offset: float) -> None:
        self._interval = interval
        self._due = boot_time() + offset

    async def __call__(self) -> None:
        """Wait until the next write is due."""
        now = boot_time()
        if self._due > now:
            await asyncio.sleep(self._due - now)
            self._due += self._interval
        else:
            self._due = now + self._interval
            await asyncio.sleep(0)
