"""The chain that holds a journal together: each entry is written with the digest of the one before.

Intuition: whoever changes, takes out or puts in an entry changes the digest that the next one holds, and so on to the
last. The digest of an intent goes out with its order, and comes back signed with the receipt: from then on not even
whoever can write to the store can tell the story differently. It costs a hash an entry, and no way to the store.

The first entry has the whole plan in it, 400 bytes a step, and a store's value has a bound: a large one is packed.
Others are not, since some are written once more where a signature is checked, and zlib need not pack alike everywhere.

What this is not: a signature (`engine.signing`), or the rules of what may follow (`core.fold`).
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from evac.core.run import Event, Opened
from evac.engine.codec import TAG, encode_plain, from_plain, packed, to_plain, unpacked

BEFORE = "before"
"""The key under which an entry holds the digest of the one before; empty for the first. Runs that were opened before
evac kept it have entries without."""
PACKED = "packed"
"""The key under which a packed entry holds all else that it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as it was read. `before` is None when it is linked to nothing."""

    event: Event
    before: str | None


def link(event: Event, *, before: str) -> bytes:
    """Return an entry as it is written."""
    plain = to_plain(event)
    return encode_plain({**(_small(plain) if isinstance(event, Opened) else plain), BEFORE: before})


def _small(plain: dict[str, Any]) -> dict[str, Any]:
    """What an entry says, packed where it is large."""
    whole = encode_plain(plain)
    small = packed(whole)
    return plain if small is whole else {TAG: plain[TAG], PACKED: b64encode(small).decode()}


def unlink(written: bytes) -> Entry:
    """Return what an entry says. Raises `ValueError`."""
    plain = json.loads(written)
    before = plain.pop(BEFORE, None) if isinstance(plain, dict) else None
    if isinstance(plain, dict) and PACKED in plain:
        plain = json.loads(unpacked(b64decode(str(plain[PACKED]), validate=True)))
    return Entry(event=from_plain(plain, Event), before=before)


def digest(written: bytes) -> str:
    """Return the SHA-256 of an entry as it stands in the store."""
    return hashlib.sha256(written).hexdigest()
