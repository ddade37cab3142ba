"""Whether the promises were kept: a pure look at a history and at the rows that are there in the end.

Intuition: every acknowledged write must be there, once, and nothing else that a client did not ask for; and at no
moment did two nodes say yes. An `info` write may be there or not. In asynchronous mode what is missing must be exactly
what the orphan report lists.

Two owners are found by real time alone. A reign is one term; reigns are ordered. One reign has one node (S1), and no
write that a reign acknowledges was *invoked* after the first acknowledgement of a later reign was *heard*: the two
intervals do not touch, so no skew or delay can excuse it.

What this is not: an opinion on which of several concurrent writes came first; the data is append-only, so that the
question does not come up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evac.lab.history import Ending, Owner, Term, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoOwners:
    """A write that was acknowledged when, or where, another owner had already been heard."""

    write: str
    owner: Owner
    other: Owner
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """What an orphan report got wrong. Both empty: it is exact."""

    unreported: tuple[str, ...] = ()
    """Acknowledged, missing, and not in the report."""
    false: tuple[str, ...] = ()
    """In the report, but there after all, or never written by anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker found. Ids are in the order of the history."""

    acknowledged: int
    failed: int
    unknown: int
    unknown_present: int
    """Writes whose end nobody heard, and that are there: allowed."""
    lost: tuple[str, ...] = ()
    """Acknowledged and missing."""
    doubled: tuple[str, ...] = ()
    """There more than once."""
    phantom: tuple[str, ...] = ()
    """There, though nobody asked for it, or though the client was told that it failed."""
    two_owners: tuple[TwoOwners, ...] = ()
    orphans: Orphans | None = None
    """None when no report was given."""

    @property
    def kept(self) -> bool:
        """Return whether every promise held: nothing lost in silence, nothing doubled, one owner at a time."""
        silent = self.orphans.unreported + self.orphans.false if self.orphans else self.lost
        return not (silent or self.doubled or self.phantom or self.two_owners)


def check(writes: Sequence[Write], *, rows: Sequence[str], orphans: Collection[str] | None = None) -> Verdict:
    """Judge one store's writes by the ids of the rows that are there in the end.

    `orphans` are the ids the run's report says only the old primary had; None means that none may be missing.
    """
    assert len({w.store for w in writes}) <= 1, "each store is checked by itself"
    counted = Counter(rows)
    lost = tuple(w.id for w in writes if w.ending is Ending.OK and w.id not in counted)
    unknown = [w for w in writes if w.ending is Ending.INFO]
    allowed = {w.id for w in writes if w.ending is not Ending.FAIL}
    return Verdict(
        acknowledged=sum(w.ending is Ending.OK for w in writes),
        failed=sum(w.ending is Ending.FAIL for w in writes),
        unknown=len(unknown),
        unknown_present=sum(w.id in counted for w in unknown),
        lost=lost,
        doubled=tuple(id for id, n in counted.items() if n > 1),
        phantom=tuple(id for id in counted if id not in allowed),
        two_owners=find_two_owners(writes),
        orphans=None if orphans is None else _judge(orphans, lost=lost, present=counted, possible=allowed),
    )


def _judge(
    orphans: Collection[str], *, lost: Collection[str], present: Collection[str], possible: Collection[str]
) -> Orphans:
    """Compare an orphan report with what is really missing."""
    reported = set(orphans)
    return Orphans(
        unreported=tuple(id for id in lost if id not in reported),
        false=tuple(sorted(id for id in reported if id in present or id not in possible)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """A term's acknowledgements, from when they could first be heard."""

    term: Term
    first: Write
    begun: float
    """When the first acknowledgement was heard."""


def reigns(writes: Sequence[Write]) -> tuple[Reign, ...]:
    """Return the terms that acknowledged, the oldest first: numbers by value, words by when they were first heard."""
    first: dict[Term, Write] = {}
    for write in sorted(_acknowledged(writes), key=lambda w: w.ended or 0.0):
        assert write.owner, "an acknowledged write has an owner"
        first.setdefault(write.owner.term, write)
    found = [Reign(term=term, first=write, begun=write.ended or 0.0) for term, write in first.items()]
    if all(isinstance(reign.term, int) for reign in found):
        found.sort(key=lambda r: int(r.term))
    return tuple(found)


def find_two_owners(writes: Sequence[Write]) -> tuple[TwoOwners, ...]:
    """Return every write acknowledged by a second node of its term, or invoked after a later term was heard of."""
    ordered = reigns(writes)
    place = {reign.term: i for i, reign in enumerate(ordered)}
    later: list[Reign | None] = [None] * len(ordered)  # for each reign, the earliest beginning of any later one
    for i in range(len(ordered) - 2, -1, -1):
        following, known = ordered[i + 1], later[i + 1]
        later[i] = following if known is None or following.begun < known.begun else known
    found = []
    for write in _acknowledged(writes):
        assert write.owner, "an acknowledged write has an owner"
        mine = ordered[place[write.owner.term]].first.owner
        next_ = later[place[write.owner.term]]
        assert mine, "a reign begins with an acknowledgement"
        if write.owner.node != mine.node:
            found.append(TwoOwners(write=write.id, owner=write.owner, other=mine, why="two nodes in one term"))
        elif next_ and next_.first.owner and write.invoked > next_.begun:
            found.append(
                TwoOwners(write=write.id, owner=write.owner, other=next_.first.owner, why="after a later term began")
            )
    return tuple(found)


def _acknowledged(writes: Sequence[Write]) -> list[Write]:
    """Return the writes somebody said yes to."""
    return [w for w in writes if w.ending is Ending.OK]
