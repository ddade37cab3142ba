"""Which life of a store one looks at: a store that was restored from a backup is another one, whatever it says.

Intuition: etcd's own identity does not change when a backup is restored under the old names (measured: the same
cluster id). But a cluster never goes back: what is asked later is answered at the same revision and term or a later
one. Whoever sees it go back knows that it was restored, and writes a new birth record, so that all others know it too:
every commit compares that record. What this process has seen is also noted in a file, for its next start.

What this cannot see: a restore that nobody looked at until the store was past where it had been. Who restores a store
therefore deletes its birth record (docs/how-to/etcd.md).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from evac.stores.etcd.wire import Found, Seen


class Life:
    """What this process knows of the store's life. `born` is its birth record, None before it was read."""

    def __init__(self, witness: Path | None) -> None:
        """`witness` is the file for notes; None: none are taken."""
        self.seen = Seen()
        """How far the store was seen to come, in this life."""
        self.born: Found | None = None
        self.number = 0
        """Counts the lives this process has seen."""
        self.unborn = False
        """Whether this process was the first to notice another life, and has still to write its birth record."""
        self._witness = witness
        self._noted = _read(witness)

    def went_back(self, now: Seen, *, since: Seen) -> bool:
        """Return whether an answer shows another life than what was known when its question was sent.

        Another cluster than that of an earlier process's note is nothing of note: it says so itself.
        """
        floor = since if since.cluster or self._noted.cluster != now.cluster else self._noted
        if floor.cluster and now.is_behind(floor):
            return True
        self._noted = Seen()
        self.seen = Seen(
            cluster=now.cluster, revision=max(now.revision, self.seen.revision), term=max(now.term, self.seen.term)
        )
        return False

    def begin_anew(self, born: Found | None) -> None:
        """Know nothing but the new birth record; None: it has still to be written."""
        self.seen = self._noted = Seen()
        self.born = born
        self.unborn = born is None
        self.number += 1

    def note(self) -> None:
        """Note how far the store was seen, for the next start. Where that cannot be written, there is no note."""
        if self._witness is None or not self.seen.cluster:
            return
        fresh = self._witness.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text(json.dumps(asdict(self.seen)))
            os.replace(fresh, self._witness)


def _read(witness: Path | None) -> Seen:
    """Return what an earlier process noted; a note that is not there, or cannot be read, is none."""
    if witness is not None:
        with suppress(OSError, ValueError, TypeError):
            return Seen(**{name: int(value) for name, value in json.loads(witness.read_text()).items()})
    return Seen()
