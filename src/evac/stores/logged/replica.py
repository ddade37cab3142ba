"""What a log means: the state that every process comes to that reads it from the beginning.

Intuition: the order of the entries decides everything, and nothing else does. An entry is a commit with its
expectations; whoever reads it judges it, and since all read the same they judge the same, also that a commit did *not*
happen. So writers need not wait for one another, and nobody needs a lock (Balakrishnan and others, "Tango: distributed
data structures over a shared log", SOSP 2013).

A commit is void, whatever it expects, when
- it was there before (its writer had no answer, and sent it again), or its writer has given it up since;
- its writer knew of another life than the log's;
- what its writer knew of the log is not among the last `WINDOW` entries: it lay somewhere for too long, or it was meant
  for the log that this one was before it was restored from a backup.

Because of the last rule what must be remembered to keep the first is bounded.

What this is not: durable, or a reader of anything. It takes what was read and remembers it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from evac.ports import Change, Record
from evac.stores.logged.ground import START, Place
from evac.stores.logged.words import Json, Words, cut, read, unpack

WINDOW = 1024
"""How many entries may come between what a writer knew and what he wrote."""
_DIGEST_BYTES = 8


class Verdict(StrEnum):
    """What became of a commit."""

    DONE = "done"
    CONFLICT = "conflict"
    """An expectation failed."""
    VOID = "void"
    """It did not happen, and said again in other words it may."""
    OTHER_LIFE = "other life"
    """Its writer does not know the life the log is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the commit `id`: at which revision it happened, or why it did not, and what it changed."""

    id: str
    verdict: Verdict
    revision: int = 0
    why: str = ""
    changes: tuple[Change, ...] = ()
    segment: int = 0
    nth: int = 0
    """Which entry of that segment it is, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """How far a log was read: so many entries, with that digest, in the life that was born so."""

    count: int = 0
    digest: str = ""
    born: str = ""


class Replica:
    """The state after the entries up to `place`. Made empty, or of a snapshot (`from_snapshot`)."""

    def __init__(self) -> None:
        self.place: Place = START
        self.count = 0
        """Of all entries, from the beginning."""
        self.nth = 0
        """Of the entries in the present segment."""
        self.digest = ""
        """Of all entries, from the beginning: two logs that differ anywhere differ in it ever after."""
        self.revision = 0
        """The position of the newest commit that wrote anything."""
        self.born = ""
        self.born_at = 0
        self.bytes_read = 0
        """Of the entries since this object was made."""
        self.records: dict[str, Record] = {}
        self._bases: dict[str, int] = {"": 0}
        """The digests after each of the last entries, and after which."""
        self._known: dict[str, tuple[int, int]] = {}
        """The commits that have happened (at which revision) or shall not (0), and after how many entries."""

    @property
    def noted(self) -> Noted:
        """How far this is."""
        return Noted(count=self.count, digest=self.digest, born=self.born)

    def contradicts(self, noted: Noted) -> bool:
        """Return whether this cannot be a later state of what was noted, once it is as new as can be.

        Another life says so itself: that is no contradiction. Nor is what is too long ago to be known.
        """
        if noted.born != self.born or not noted.count:
            return False
        if self.count < noted.count:
            return True
        return self.count - noted.count < WINDOW and self._bases.get(noted.digest) != noted.count

    def fate(self, commit: str) -> int | None:
        """Return at which revision a late commit has happened, 0 if it never will; None if that is not known."""
        return self._known[commit][0] if commit in self._known else None

    def get(self, key: str) -> Record | None:
        """Return what a key holds."""
        return self.records.get(key)

    def under(self, prefix: str) -> tuple[Record, ...]:
        """Return all records under a prefix, sorted by key."""
        return tuple([self.records[key] for key in sorted([key for key in self.records if key.startswith(prefix)])])

    def conflict(self, expect: Mapping[str, int]) -> str:
        """Return which expectation does not hold, "" if all do."""
        for key, version in expect.items():
            now = self.records[key].version if key in self.records else 0
            if now != version:
                return f"{key} is at version {now}, {version} was expected"
        return ""

    def pass_seal(self, place: Place) -> None:
        """Go on to the next segment."""
        self.place, self.nth = place, 0

    def apply(self, place: Place, content: bytes) -> Outcome | None:
        """Take the next entry; return what became of it, None when it is no commit. Raises `StoreUnavailable`."""
        words = read(content)
        self.place, self.count, self.nth = place, self.count + 1, self.nth + 1
        self.bytes_read += len(content)
        outcome = None if words is None else self._judge(words, place.position)
        chained = hashlib.blake2b(bytes.fromhex(self.digest) + content, digest_size=_DIGEST_BYTES)
        self.digest = chained.hexdigest()
        self._bases[self.digest] = self.count
        self._forget_what_is_old()
        return outcome

    def _judge(self, words: Words, position: int) -> Outcome:
        for given_up in words.void:
            self._known.setdefault(given_up, (0, self.count))
        if words.id in self._known:
            return Outcome(id=words.id, verdict=Verdict.VOID, why="it is there twice, or was given up")
        why = self.conflict(words.expect)
        if words.on not in self._bases:
            verdict, why = Verdict.VOID, "what it was based on is too long ago"
        elif words.life != self.born_at:
            verdict, why = Verdict.OTHER_LIFE, "it was meant for another life of the store"
        else:
            verdict = Verdict.CONFLICT if why else Verdict.DONE
        done = verdict is Verdict.DONE
        self._known[words.id] = position if done else 0, self.count
        changes = self._change(words, position) if done else ()
        return Outcome(
            id=words.id,
            verdict=verdict,
            revision=position if done else 0,
            why=why,
            changes=changes,
            segment=self.place.segment,
            nth=self.nth,
        )

    def _change(self, words: Words, position: int) -> tuple[Change, ...]:
        if words.birth:
            self.born, self.born_at = words.birth, position
        if words.put or words.delete:
            self.revision = position
        changes = []
        for key, value in words.put.items():
            self.records[key] = Record(key=key, value=value, version=position)
            changes.append(Change(key=key, record=self.records[key], revision=position))
        gone = [key for key in words.delete if self.records.pop(key, None) is not None]
        return (*changes, *[Change(key=key, record=None, revision=position) for key in gone])

    def _forget_what_is_old(self) -> None:
        oldest = self.count - WINDOW
        while self._known and self._known[first := next(iter(self._known))][1] <= oldest:
            del self._known[first]
        if self._bases[first := next(iter(self._bases))] < oldest:  # one more comes with each entry
            del self._bases[first]

    def frozen(self) -> tuple[Json, list[bytes]]:
        """Return all of it as it is now, for `words.pack`."""
        header: Json = {
            "place": [self.place.segment, self.place.position, self.place.mark],
            "count": self.count,
            "nth": self.nth,
            "digest": self.digest,
            "revision": self.revision,
            "born": self.born,
            "born_at": self.born_at,
            "bases": list(self._bases.items()),
            "known": [[commit, *at] for commit, at in self._known.items()],
            "records": [[r.key, r.version, len(r.value)] for r in self.records.values()],
        }
        return header, [record.value for record in self.records.values()]

    @classmethod
    def from_snapshot(cls, content: bytes) -> Replica | None:
        """Return what a snapshot was made of, None when it is none. Raises `StoreUnavailable`."""
        unpacked = unpack(content)
        if unpacked is None:
            return None
        header, values = unpacked
        made = cls()
        segment, position, mark = header["place"]
        made.place = Place(segment=segment, position=position, mark=mark)
        made.count, made.nth, made.digest = header["count"], header["nth"], header["digest"]
        made.revision, made.born, made.born_at = header["revision"], header["born"], header["born_at"]
        made._bases = dict(header["bases"])
        made._known = {commit: (revision, at) for commit, revision, at in header["known"]}
        lengths = [length for _, _, length in header["records"]]
        for (key, version, _), value in zip(header["records"], cut(values, lengths), strict=True):
            made.records[key] = Record(key=key, value=value, version=version)
        return made
