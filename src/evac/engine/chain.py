"""The chain that holds a journal together: each entry is written with the digest of the one before.

Intuition: whoever changes, takes out or puts in an entry changes the digest that the next one holds, and so on to the
last. The digest of an intent goes out with its order, and comes back signed with the receipt: from then on not even
whoever can write to the store can tell the story differently. It costs a hash an entry, and no way to the store.

What this is not: a signature (`engine.signing`), or the rules of what may follow (`core.fold`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from evac.core.run import Event
from evac.engine.codec import encode_plain, from_plain, to_plain

BEFORE = "before"
"""The key under which an entry holds the digest of the one before; empty for the first. Runs that were opened before
evac kept it have entries without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as it was read. `before` is None when it is linked to nothing."""

    event: Event
    before: str | None


def link(event: Event, *, before: str) -> bytes:
    """Return an entry as it is written."""
    return encode_plain({**to_plain(event), BEFORE: before})


def unlink(written: bytes) -> Entry:
    """Return what an entry says. Raises `ValueError`."""
    plain = json.loads(written)
    before = plain.pop(BEFORE, None) if isinstance(plain, dict) else None
    return Entry(event=from_plain(plain, Event), before=before)


def digest(written: bytes) -> str:
    """Return the SHA-256 of an entry as it stands in the store."""
    return hashlib.sha256(written).hexdigest()
