"""A ground in memory for logs, with what may be wrong with a real one: lost, late and doubled appends, and restores."""

from __future__ import annotations

import asyncio
import copy
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from evac.core.errors import Conflict, StoreUnavailable
from evac.stores.logged.ground import START, Entry, Gone, Kept, Place, Sealed, parts_of


class Mishap(StrEnum):
    """What becomes of an append."""

    NEVER = "it never comes"
    UNANSWERED = "it comes, and the answer is lost"
    LATE = "it comes when it is released"
    TWICE = "it comes twice"
    AGAIN = "it comes, and comes again when it is released"


@dataclass(slots=True, kw_only=True)
class Shared:
    """What all clients of a ground share."""

    log: list[tuple[int, Place, bytes | None]] = field(default_factory=list)
    """Segment, place after it, content; None for a seal."""
    newest: int = 1
    position: int = 0
    forgotten: int = 1
    shelf: dict[tuple[str, str], Kept] = field(default_factory=dict)
    version: int = 0


class MemoryGround:
    """Implements `evac.stores.logged.Ground`; `beside` gives another client of the same."""

    def __init__(self, kept: Shared | None = None) -> None:
        self.kept = kept or Shared()
        self.mishaps: list[Mishap] = []
        """What becomes of the next appends."""
        self.behind = 0
        """So many of the newest entries a read that is not fresh does not see."""
        self._late: list[bytes] = []
        self._open = True

    def __str__(self) -> str:
        return "a ground in memory"

    def beside(self) -> MemoryGround:
        """Return another client's way to the same ground."""
        return MemoryGround(self.kept)

    def backup(self) -> Shared:
        """Return all there is now, to be restored later."""
        return copy.deepcopy(self.kept)

    def restore(self, backup: Shared, *, with_its_numbers: bool) -> None:
        """Let all clients find what was there once. `with_its_numbers` positions begin again where they were."""
        for name in ("log", "newest", "forgotten", "shelf", *(("position",) if with_its_numbers else ())):
            setattr(self.kept, name, copy.deepcopy(getattr(backup, name)))

    def release(self) -> None:
        """Let what is late come now."""
        late, self._late = self._late, []
        for content in late:
            self._add(self.kept.newest, content)

    async def append(self, segment: int, content: bytes) -> None:
        self._need_open()
        await asyncio.sleep(0)
        if segment != self.kept.newest:
            raise Sealed(self.kept.newest)
        mishap = self.mishaps.pop(0) if self.mishaps else None
        match mishap:
            case None:
                return self._add(segment, content)
            case Mishap.TWICE:
                self._add(segment, content)
                return self._add(segment, content)
            case Mishap.AGAIN:
                self._late.append(content)
                return self._add(segment, content)
            case Mishap.UNANSWERED:
                self._add(segment, content)
            case Mishap.LATE:
                self._late.append(content)
            case Mishap.NEVER:
                pass
        raise StoreUnavailable(f"no answer: {mishap}")

    def _add(self, segment: int, content: bytes) -> None:
        kept = self.kept
        kept.position += 1
        place = Place(segment=segment, position=kept.position, mark=f"entry {kept.position} {zlib.crc32(content)}")
        kept.log.append((segment, place, content))

    async def seal(self, segment: int) -> None:
        self._need_open()
        kept = self.kept
        if segment == kept.newest:
            kept.position += 1
            kept.newest += 1
            place = Place(segment=kept.newest, position=kept.position, mark=f"seal {kept.position}")
            kept.log.append((segment, place, None))

    async def read(self, after: Place, *, fresh: bool) -> Sequence[Entry]:
        self._need_open()
        await asyncio.sleep(0)
        log = self.kept.log
        seen = log if fresh or not self.behind else log[: -self.behind]
        at = 0
        if after != START:
            at = next((n for n, (_, place, _) in enumerate(seen, start=1) if place == after), 0)
        if after.segment < self.kept.forgotten or (after != START and not at):
            raise Gone(str(after))
        return [Entry(place=place, content=content) for _, place, content in seen[at:]]

    async def wait(self, after: Place) -> None:
        await asyncio.sleep(0.005)
        self._need_open()

    async def get(self, folder: str, name: str) -> Kept | None:
        self._need_open()
        return self.kept.shelf.get((folder, name))

    async def put(self, folder: str, name: str, content: bytes, *, version: int | None = None) -> None:
        self._need_open()
        held = self.kept.shelf.get((folder, name))
        if version is not None and (held.version if held else 0) != version:
            raise Conflict(f"{folder}/{name} is not at version {version}")
        self.kept.version += 1
        self.kept.shelf[folder, name] = Kept(content=content, version=self.kept.version)

    async def names(self, folder: str) -> Collection[str]:
        return [name for inside, name in self.kept.shelf if inside == folder]

    async def delete(self, folder: str, names: Collection[str]) -> None:
        for name in names:
            self.kept.shelf.pop((folder, name), None)

    async def forget(self, *, before: int) -> None:
        kept = self.kept
        kept.log = [each for each in kept.log if each[0] >= before or each[1].segment >= before]
        kept.forgotten = max(kept.forgotten, before)
        folders = {parts_of(segment) for segment in range(before)}
        kept.shelf = {key: value for key, value in kept.shelf.items() if key[0] not in folders}

    async def answering(self) -> tuple[int, int]:
        return 1, 1

    async def close(self) -> None:
        self._open = False

    def _need_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")
