"""What a log needs to stand on: a system that keeps small values durably and in one order.

Intuition: the log is a row of segments, each a row of entries. Whoever appends names the segment he takes for the
newest, and is told when it is sealed. Whoever reads goes from place to place, from a segment's seal to the next
segment's beginning. A place carries a mark of what stands there, so that a ground that was restored from a backup
cannot pass for the one that was read: what is asked of it freshly is first looked for at the place.

Beside the log there is a shelf of named values, for what is too large for an entry, and for snapshots.

What this is not: a judge of what entries mean (`replica`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

PART_BYTES_MAX = 256 * 1024
"""The largest value a ground is asked to keep: ZooKeeper takes 1 MiB at once, Consul 512 KiB in base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a reader of the log is: just after what stands at `position`.

    Positions grow along the log, over all segments, and never repeat. `mark` tells what stands there from all else.
    """

    segment: int = 1
    position: int = 0
    mark: str = ""


START = Place()
"""Before everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was read: an entry's content, or None for a seal; `place` is where the reader then is."""

    place: Place
    content: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A value on the shelf. `version` grows with each write of it."""

    content: bytes
    version: int


class Sealed(Exception):
    """The segment is not the newest any more: nothing was appended."""

    def __init__(self, newest: int) -> None:
        super().__init__(f"the log goes on in segment {newest}")
        self.newest = newest


class Gone(Exception):
    """What stood at a place is not there: it was forgotten, or the ground is not the one it was."""


class Ground(Protocol):
    """A system that keeps a log. Every method asks one member after another, and raises `StoreUnavailable` when none
    answers in time: an append may then have happened, and may still happen.
    """

    async def append(self, segment: int, content: bytes) -> None:
        """Append an entry, durably. It may be there twice. Raises `Sealed`."""

    async def seal(self, segment: int) -> None:
        """End a segment and begin the next one, unless somebody has."""

    async def read(self, after: Place, *, fresh: bool) -> Sequence[Entry]:
        """Return all that comes after a place; when `fresh`, all that was there when this was asked.

        Raises `Gone` when what the place stands for is not there; unless `fresh`, its member may only be behind.
        """

    async def wait(self, after: Place) -> None:
        """Return when something may have come after a place, or after a while."""

    async def get(self, folder: str, name: str) -> Kept | None:
        """Return a value of the shelf, freshly."""

    async def put(self, folder: str, name: str, content: bytes, *, version: int | None = None) -> None:
        """Put a value on the shelf. With `version` only in the place of that one (0: of none); raises `Conflict`.

        Without, under a name that is used for nothing else ever.
        """

    async def names(self, folder: str) -> Collection[str]:
        """Return what is in a folder of the shelf."""

    async def delete(self, folder: str, names: Collection[str]) -> None:
        """Take values from the shelf; those that are not there are well."""

    async def forget(self, *, before: int) -> None:
        """Forget all segments before one, and the folders of the shelf that are named after them (`parts_of`)."""

    async def answering(self) -> tuple[int, int]:
        """Return how many members answer, and how many there are."""

    async def close(self) -> None: ...


def parts_of(segment: int) -> str:
    """Return the shelf's folder for what is too large for the entries of a segment."""
    return f"parts-{segment}"
