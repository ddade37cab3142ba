"""How a commit is sent as often as it takes and happens once.

Intuition: a commit whose reply was lost may have happened, may not, or may still happen: its words may lie in the
buffer of a member that is frozen. So each commit writes, with everything else, one small key of this process's own, its
slot, and compares the version the slot had before. Of all sendings of one commit at most one can then succeed; whether
one did is read in the slot; and once the slot has been written again, whatever was sent before is void for ever,
because a version never repeats.

A commit takes the slot that was given back last, so one that was given up half-way is made void by the next commit.

What this is not: a lock. Slots are never waited for; there are as many as commits at one time.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field

from evac.stores.etcd.wire import Found

NONCE_BYTES = 8


@dataclass(slots=True, kw_only=True)
class Slot:
    """A key only one commit at a time uses, and the version it was last seen at; 0: not there yet."""

    key: str
    version: int = 0


@dataclass(slots=True, kw_only=True)
class Slots:
    """This process's slots, under `folder`."""

    folder: str
    process: str = field(default_factory=lambda: uuid.uuid4().hex)
    _made: int = 0
    _free: list[Slot] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """All keys of this process's slots begin so."""
        return f"{self.folder}{self.process}/"

    def take(self) -> Slot:
        """Return a slot that nobody uses."""
        return self._free.pop() if self._free else Slot(key=self._new_key())

    def give_back(self, slot: Slot) -> None:
        """Let the next commit use it."""
        self._free.append(slot)

    def follow(self, slot: Slot, found: Found) -> None:
        """Take note that a slot is not as it was left: a commit given up came through, or it was swept away."""
        slot.version = found.version
        if found.version == 0:
            slot.key = self._new_key()  # what was sent before the old one existed could else still happen

    def forget(self) -> None:
        """Begin anew, under other keys: the store is not the one these were in."""
        self._free.clear()
        self.process = uuid.uuid4().hex

    @property
    def used(self) -> bool:
        """Whether any slot was ever taken."""
        return self._made > 0

    def _new_key(self) -> str:
        self._made += 1
        return f"{self.prefix}{self._made}"


def nonce() -> bytes:
    """Return what one commit writes into its slot: no other writes the same."""
    return secrets.token_bytes(NONCE_BYTES)
