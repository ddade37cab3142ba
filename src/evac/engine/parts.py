"""What is too large for one record, in several: what a commit may hold, and the parts of a snapshot that are due.

Intuition: a store's request is small (etcd's is at most 1.5 MiB), and most of what is known of a large estate is as it
was a moment ago. So a snapshot is divided by groups (`core.sharing`), and of its parts only those are written in which
something has changed that a person would notice; and each of them now and then, so that its age says little. What is
said of one group is said of one moment; every part carries its own.

    status          the view of all regions, and into how many parts the rest is divided
    known/<number>  what is known of some groups

A writer that ends half way leaves parts of different moments, as there are at any time. Parts that were divided
otherwise (the estate was changed) are told by their `layout`, are not read, and are taken away.

What this is not: the values (`core.snapshot`), or when they are written (`engine.snapshots`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from evac.core.health import health
from evac.core.observation import Instant
from evac.core.restraint import restraints
from evac.core.sharing import Share, gist, group_gist
from evac.core.snapshot import REFRESHED_AFTER, Part, Snapshot
from evac.core.standing import standings
from evac.core.verdict import Assessment
from evac.engine.codec import decode, encode, packed
from evac.engine.controller import Controller
from evac.ports import Store

PREFIX = "known/"
BATCH_BYTES_MAX = 512 * 1024
"""What one commit holds at most, beside a value that is larger by itself: a third of what etcd takes."""
PARTS_AT_ONCE = 50
"""And so many parts: making one takes some milliseconds, in which nothing else is done."""
LOOKED_AT_WITHIN = 10
"""In so many rounds every part is looked through for changes; what is decided of its groups, in each."""


def key_of(number: int) -> str:
    """Return the store's key of a part."""
    return f"{PREFIX}{number:05}"


def in_batches(put: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Give what is to be put in commits of a bounded size, in its order; in one, mostly."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, value in put.items():
        if batch and size + len(value) > BATCH_BYTES_MAX:
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value)
    if batch:
        yield batch


@dataclass(slots=True, kw_only=True)
class Parts:
    """The parts of one controller's snapshots: which are due, and what they say."""

    controller: Controller
    shares: Sequence[Share]
    layout: str
    """Names the division: what was written by another one is not read with it."""
    _written: dict[int, tuple[int, int, Instant]] = field(default_factory=dict)
    """By part, the gists of what was written last (of its groups, of all of it) and when."""
    _due: dict[int, None] = field(default_factory=dict)
    """The parts that are to be written, in the order in which that was found."""
    _next: int = 0
    """Which part is looked through next."""

    @classmethod
    def of(cls, controller: Controller, shares: Sequence[Share]) -> Parts:
        """Return the parts that these shares make, none of them written yet."""
        return cls(controller=controller, shares=shares, layout=hashlib.sha256(encode(shares)).hexdigest()[:16])

    def due(self, assessment: Assessment, *, wall: datetime, room: int) -> dict[str, bytes]:
        """Return the records to write now, of at most `room` bytes together, but for the first of them."""
        self._look(assessment)
        put: dict[str, bytes] = {}
        for number in tuple(islice(self._due, PARTS_AT_ONCE)):
            part = self.part(self.shares[number], assessment, wall=wall)
            record = packed(encode(part))
            room -= len(record)
            if room < 0 and put:
                break
            put[key_of(number)] = record
            del self._due[number]
            self._written[number] = (self._group_gist(self.shares[number]), gist(part), assessment.at)
        return put

    def _look(self, assessment: Assessment) -> None:
        """Find what is due: parts never written, then those whose groups have changed, then what else has or is old."""
        for number, share in enumerate(self.shares):
            written = self._written.get(number)
            if written is None or written[0] != self._group_gist(share):
                self._due.setdefault(number)
        for _ in range(-(-len(self.shares) // LOOKED_AT_WITHIN)):
            number, self._next = self._next, (self._next + 1) % len(self.shares)
            if number in self._due:
                continue
            _, before, at = self._written[number]
            if assessment.at - at >= REFRESHED_AFTER or before != gist(
                self.part(self.shares[number], assessment, wall=datetime.min)
            ):
                self._due[number] = None

    def _group_gist(self, share: Share) -> int:
        known = self.controller.known
        return group_gist(share, placements=known.placements, decisions=known.decisions)

    def part(self, share: Share, assessment: Assessment, *, wall: datetime) -> Part:
        """Return what is known of a share's groups, components and services at the assessment's moment."""
        known, estate = self.controller.known, self.controller.estate
        view = self.controller.view(assessment)
        placements = tuple(known.placements[g] for g in share.groups if g in known.placements)
        members = known.detector.members
        regions = {c: estate.components[c].members for c in share.components}
        return Part(
            layout=self.layout,
            at=assessment.at,
            wall=wall,
            members=tuple(m for c, where in regions.items() for r in where if (m := members.get((c, r))) is not None),
            placements=placements,
            unplaced={str(g): list(known.unplaced[g]) for g in share.groups if g in known.unplaced},
            decisions=tuple(known.decisions[g] for g in share.groups if g in known.decisions),
            restraints={
                str(p.group): held for p in placements if (held := restraints(view, p.group, now=assessment.at))
            },
            sets=standings(estate, placements, known.set_changes(share.groups)),
            health=health(known.detector, assessment, estate=estate, services=share.services),
        )


async def read_parts(head: Snapshot, store: Store) -> Snapshot:
    """Return a snapshot with the parts that its `head` speaks of, as far as they are there."""
    if not head.parts:
        return head
    parts: list[Part] = []
    for record in await store.list(PREFIX):
        with suppress(ValueError):  # of another version of evac: nothing is known of it
            part = decode(record.value, Part)
            if part.layout == head.layout:
                parts.append(part)
    return head.whole(parts)


def left_over(there: Iterable[str], *, parts: int) -> tuple[str, ...]:
    """Return which keys of parts another division has left that a division into so many does not write."""
    written = {key_of(number) for number in range(parts)}
    return tuple(key for key in there if key not in written)
