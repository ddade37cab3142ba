"""Whether one member's log is a part of another's: their numbers do not say it.

Intuition: a promotion takes the next number that its member knows to be free. Two standbys promoted from one ancestor,
one after the other died, know nothing of each other and take the same one: "timeline 2" names two logs, and whoever
takes one for the other loses what only one of them has. Their histories tell where each began, but both may have left
their ancestor at one position. So the log itself is compared: some bytes that cannot be the same in two, for each
record holds its checksum, and the first one of a timeline the microsecond of its promotion.

Where bytes are taken from: of a stopped member its last checkpoint, or where its last recovery ended; of what went
further than the other's timeline does, right before that. Log that is not there any more tells nothing.

What this is not: the decision what to do about it (`rejoin`, `follow`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from evac.drivers.postgresql.fence import Control
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.naming import forks, history_name, segment_name
from evac.drivers.postgresql.session import Session

_SHORT = timedelta(seconds=30)
_BEFORE, _CHECKPOINT = 48, 96
"""So many bytes: before a position, and of a checkpoint's record, which has 114."""
_TOLD_MIN = 24
"""A record's head, with its checksum; less tells nothing."""
_HISTORY = """cat "$1/pg_wal/$2" 2>/dev/null; true"""
_BYTES = """[ -e "$1/pg_wal/$2" ] || exit 0
tail -c "+$(($3 + 1))" "$1/pg_wal/$2" | head -c "$4" | md5sum | cut -c 1-32
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some bytes of a log, all in one file. `start` is a position."""

    timeline: int
    start: int
    length: int
    segment_bytes: int

    @property
    def file(self) -> str:
        return segment_name(self.timeline, self.start, self.segment_bytes)

    def sql(self) -> str:
        """Return the SQL expression of their checksum; null where the file is not there."""
        offset = self.start % self.segment_bytes
        return f"md5(pg_read_binary_file('pg_wal/{self.file}', {offset}, {self.length}, true))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where a member's log and the primary's parted; None: nowhere, it is a part of the primary's.

    `foreign`: its timeline has a number that the primary's log has too, and is another one. No tool of PostgreSQL's
    sees that.
    """

    at: int | None
    foreign: bool = False


def before(end: int, *, timeline: int, segment_bytes: int) -> Stretch:
    """Return the last bytes before a position."""
    length = min(_BEFORE, (end - 1) % segment_bytes + 1)
    return Stretch(timeline=timeline, start=end - length, length=length, segment_bytes=segment_bytes)


def last_of(control: Control, *, upto: int | None) -> Stretch:
    """Return bytes of a stopped member's log on its newest timeline, of what the other side may have up to `upto`."""
    size = control.segment_bytes
    if control.recovered and control.timeline != control.checkpoint_timeline:
        own = before(control.recovered, timeline=control.timeline, segment_bytes=size)
    else:
        length = min(_CHECKPOINT, size - control.position % size)
        own = Stretch(timeline=control.timeline, start=control.position, length=length, segment_bytes=size)
    if upto is not None and own.start + own.length > upto:
        return before(upto, timeline=control.timeline, segment_bytes=size)
    return own


def parting(
    control: Control, *, own: Mapping[int, int], theirs: Mapping[int, int], newest: int, shared: bool | None
) -> Parting | None:
    """Return where a stopped member's log left that of a primary on timeline `newest`; None: nobody can say.

    Both histories are timeline to where it was left. `shared` says whether what was compared is in both, None that it
    could not be: then equal numbers are believed, except of one that was a primary on the primary's own number.
    """
    same_number = control.timeline == newest or control.timeline in theirs
    differs = [timeline for timeline, left in sorted(own.items()) if theirs.get(timeline) != left]
    if differs and control.timeline <= newest:
        first = differs[0]
        return Parting(at=min(own[first], theirs.get(first, own[first])), foreign=same_number)
    doubtful = shared is None and control.timeline == newest and control.primary
    if same_number and (control.timeline == 1 or not (shared is False or doubtful)):
        return Parting(at=theirs.get(control.timeline))
    known = own or {timeline: left for timeline, left in theirs.items() if timeline < control.timeline}
    if not known or control.timeline > newest:
        return None
    return Parting(at=known[max(known)], foreign=same_number)


async def stopped_shares(member: Member, source: Session, stretch: Stretch) -> bool | None:
    """Return whether a stopped member and the primary hold the same bytes; None where one has them no more."""
    done = await member.hands.as_owner(
        _BYTES, member.settings.data_dir, stretch.file, str(stretch.start % stretch.segment_bytes),
        str(stretch.length), within=_SHORT,
    )  # fmt: skip
    return await _same(done.out.decode(errors="replace").strip() or None, source, stretch)


async def running_shares(member: Member, source: Session, *, timeline: int, replayed: int) -> bool | None:
    """Return whether a standby and the primary hold the same bytes before what it has applied; None where not there."""
    [[[size]]] = await member.session.look(
        "SELECT pg_size_bytes(current_setting('wal_segment_size'))", within=member.settings.answer_timeout
    )
    stretch = before(replayed, timeline=timeline, segment_bytes=int(size))
    [[[own]]] = await member.session.look(f"SELECT {stretch.sql()}", within=member.settings.answer_timeout)
    return await _same(own, source, stretch)


async def _same(own: str | None, source: Session, stretch: Stretch) -> bool | None:
    if own is None or stretch.length < _TOLD_MIN:
        return None
    [[[theirs]]] = await source.look(f"SELECT {stretch.sql()}", within=_SHORT)
    return None if theirs is None else bool(own == theirs)


async def parted(
    member: Member, source: Session, control: Control, *, newest: int, history: str | None
) -> Parting | None:
    """Return where a stopped member's log left the primary's, which is on timeline `newest` with this history."""
    done = await member.hands.as_owner(
        _HISTORY, member.settings.data_dir, history_name(control.timeline), within=_SHORT
    )
    own = {t: left for t, left in forks(done.out.decode(errors="replace")).items() if t < control.timeline}
    theirs = forks(history or "")
    shared = None
    if control.timeline > 1 and (control.timeline == newest or control.timeline in theirs):
        shared = await stopped_shares(member, source, last_of(control, upto=theirs.get(control.timeline)))
    return parting(control, own=own, theirs=theirs, newest=newest, shared=shared)


LAST_FORK = r"""(SELECT (m[1]::pg_lsn - '0/0')::bigint
    FROM regexp_matches({history}, '([0-9A-F]+/[0-9A-F]+)', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n DESC LIMIT 1)"""
"""SQL: where a timeline began, by its history."""
BORN = """(SELECT md5(pg_read_binary_file(
      'pg_wal/' || upper(lpad(to_hex({timeline}), 8, '0') || lpad(to_hex(fork / size / (4294967296 / size)), 8, '0')
        || lpad(to_hex(fork / size % (4294967296 / size)), 8, '0')),
      fork % size,
      least(48 + CASE WHEN fork % 8192 > 0 THEN 0 WHEN fork % size > 0 THEN 24 ELSE 40 END, size - fork % size), true))
    FROM (SELECT pg_size_bytes(current_setting('wal_segment_size')) AS size, ({fork})::bigint AS fork) AS begun)"""
"""SQL: the checksum of the head of a timeline's first record (behind that of a page that begins there), which holds the
time of its promotion; null where that file is gone."""


def history_of(timeline: str) -> str:
    """Return the SQL expression of a timeline's history; null where there is none."""
    return f"pg_read_file('pg_wal/' || upper(lpad(to_hex({timeline}), 8, '0')) || '.history', true)"


def another(timeline: int, *, fork: int, born: str) -> str:
    """Return the SQL condition that this member's timeline of a number is not the one that a promotion began."""
    here = LAST_FORK.format(history=history_of(str(timeline)))
    bytes_differ = f"{BORN.format(timeline=timeline, fork=fork)} <> '{born}'" if born.isalnum() else "false"
    return f"coalesce({here} <> {fork}, false) OR coalesce({bytes_differ}, false)"
