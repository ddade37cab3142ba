"""Orphaned writes: what only the old primary has, saved before its copy is rebuilt.

Intuition: the new timeline left the old one at the divergence point. Whatever committed behind it on the old primary is
in nobody else's data: it is counted in the log itself, and where there is something, the old primary is started once
more, alone (a private socket, no network, nobody waited for), and its logical slot tells the rows. A transaction is
orphaned when the *end* of its commit lies behind the divergence.

Honesty: `exact` only if the slot was there, nothing was committed between the divergence and where it begins, and no
other database could have written. Otherwise the number is that of all commits in the log (an upper bound), and the
whole old data directory, or at least its log, is kept beside. Changes of schema and of sequences are not in a slot's
output; they are counted as `unlisted`.

The facts are written last, durably; who asks again gets the same facts and nothing is decoded twice, because after the
rebuild there is nothing left to decode.

What this is not: merging. That is for people.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from evac.core.errors import Rejected
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.decoding import Transaction, only_evac, transactions
from evac.drivers.postgresql.fence import Control, log_end
from evac.drivers.postgresql.hands import last_words
from evac.drivers.postgresql.member import Member

_WILL_NOT_START, _NOT_READ, _NO_ROOM = 22, 24, 31
_COUNT_MAX = timedelta(minutes=20)
_COUNT = """export LC_ALL=C
"$1/pg_waldump" -p "$2/pg_wal" -t "$3" -s "$4" ${6:+-e "$6"} -r Transaction 2>&1 |
  awk '/desc: COMMIT/ {n++} /error:/ {e = $0} END {print n + 0; print e}'
[ -e "$2/pg_wal/$5" ] && echo there
"""
_DECODE = r"""bin=$1 data=$2 user=$3 db=$4 slot=$5 conf=$6
umask 077; export LC_ALL=C PGCONNECT_TIMEOUT=5; unset PGOPTIONS PGHOST PGPORT PGSERVICE
room=$(mktemp -d /tmp/evac.XXXXXX) || exit 21
trap 'rm -rf "$room"' EXIT
echo 'local all all trust' > "$room/hba"; : > "$room/ident"
rm -f "$data/standby.signal" "$data/recovery.signal"
alone="-c listen_addresses= -c unix_socket_directories=$room -c port=5432 -c hba_file=$room/hba"
alone="$alone -c ident_file=$room/ident -c synchronous_standby_names= -c archive_mode=off -c autovacuum=off"
alone="$alone -c recovery_init_sync_method=syncfs"
alone="$alone -c wal_keep_size=1000000 -c max_slot_wal_keep_size=-1 -c logging_collector=off -c ssl=off"
"$bin/pg_ctl" start -s -w -t 3600 -D "$data" -l "$room/log" -o "$alone ${conf:+-c config_file=$conf}" ||
  { tail -n 5 "$room/log" >&2; exit 22; }
"$bin/psql" -XAtq -v ON_ERROR_STOP=1 -v slot="$slot" -h "$room" -p 5432 -U "$user" -d "$db" <<'SQL'
SELECT json_build_object('confirmed', s.confirmed_flush_lsn - '0/0', 'wal', s.wal_status, 'plugin', s.plugin,
    'there', s.slot_name IS NOT NULL AND s.wal_status <> 'lost' AND s.plugin = 'test_decoding'
      AND s.database = current_database(),
    'databases', (SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE datallowconn AND NOT datistemplate
      AND datname NOT IN (current_database(), 'postgres')))
  FROM (SELECT 1) AS one LEFT JOIN pg_replication_slots AS s ON s.slot_name = :'slot';
SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot' AND wal_status <> 'lost'
    AND plugin = 'test_decoding' AND database = current_database()) AS there \gset
\if :there
\set FETCH_COUNT 1000
SELECT json_build_array(lsn, data) FROM pg_logical_slot_peek_changes(:'slot', NULL, NULL,
    'include-xids', '1', 'include-timestamp', '1', 'skip-empty-xacts', '0');
\endif
SQL
told=$?
"$bin/pg_ctl" stop -s -w -t 600 -D "$data" -m fast || exit 23
: > "$data/standby.signal"; sync "$data/standby.signal"
[ "$told" = 0 ] || exit 24
"""
_QUARANTINE = """data=$1 to=$2
[ -e "$to" ] && { echo "$to"; exit 0; }
umask 077; mkdir -p "$(dirname "$to")" || exit 1
free=$(df -Pk "$(dirname "$to")" | awk 'NR == 2 {print $4}')
for part in "$data" "$data/pg_wal"; do
  need=$(du -skL "$part" | cut -f1)
  if [ $((need + need / 5)) -lt "$free" ]; then
    rm -rf "$to.part"; cp -a --reflink=auto "$part" "$to.part" && sync -f "$to.part" && mv "$to.part" "$to" || exit 1
    echo "$to"; exit 0
  fi
done
echo "not even its log ($need kB) fits into $free kB" >&2; exit 31
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """What was found. `lost_bytes` is the log behind the divergence, None when its end is not known; `file` is where
    the rows are (on evac's machine), or, as `region:path`, where the old data is kept.
    """

    orphans: int
    exact: bool
    lost_bytes: int | None
    file: str | None
    unlisted: int = 0
    reason: str = ""


async def save_orphans(member: Member, control: Control, *, divergence: int) -> Orphans:
    """Save what a stopped old primary alone has behind the divergence; idempotent. Raises `Rejected` if it cannot."""
    stem = f"orphans-{member.component.id}-{member.region}-{control.timeline}-{divergence:X}"
    facts = member.keep / f"{stem}.json"
    if facts.exists():
        return Orphans(**json.loads(facts.read_text()))
    found = await _find(member, control, divergence=divergence, stem=stem)
    await asyncio.to_thread(write_durably, facts, [json.dumps(asdict(found))])
    return found


def last_saved(member: Member) -> Orphans | None:
    """Return the facts that were saved last for this member."""
    files = member.keep.glob(f"orphans-{member.component.id}-{member.region}-*.json")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    return Orphans(**json.loads(newest.read_text())) if newest else None


async def keep_unreadable(member: Member) -> Orphans:
    """Keep a data directory that has no readable control file: what it held cannot be said."""
    kept = await _quarantine(member, "unreadable")
    reason = "its control file cannot be read, so nobody can say what only it had"
    return Orphans(orphans=0, exact=False, lost_bytes=None, file=f"{member.region}:{kept}", reason=reason)


async def _find(member: Member, control: Control, *, divergence: int, stem: str) -> Orphans:
    commits, end = await _count(member, control, divergence=divergence)
    lost = max(end - divergence, 0) if end is not None else None
    if commits == 0:
        return Orphans(orphans=0, exact=True, lost_bytes=lost, file=None)
    reason = ""
    if member.settings.orphan_slot:
        slot, decoded = await _decode(member)
        missed = await _missed(member, control, slot, divergence=divergence)
        reason = _doubt(slot, missed=missed)
        if slot["there"] and not missed:
            file = member.keep / f"{stem}.jsonl"
            listed, unlisted = await asyncio.to_thread(_list, file, decoded, divergence)
            return Orphans(
                orphans=listed, exact=not reason, lost_bytes=lost, file=str(file), unlisted=unlisted, reason=reason
            )
    kept = await _quarantine(member, stem)
    reason = reason or "there is no slot to list them from"
    return Orphans(orphans=commits or 0, exact=False, lost_bytes=lost, file=f"{member.region}:{kept}", reason=reason)


async def _missed(member: Member, control: Control, slot: dict[str, object], *, divergence: int) -> bool:
    """Return whether something may have been committed behind the divergence and before the slot begins.

    That of a primary which was itself promoted is made a moment after its promotion.
    """
    if not slot["there"] or int(str(slot["confirmed"])) <= divergence:
        return False
    commits, _ = await _count(member, control, divergence=divergence, upto=int(str(slot["confirmed"])))
    return commits != 0


async def _count(
    member: Member, control: Control, *, divergence: int, upto: int | None = None
) -> tuple[int | None, int | None]:
    """Return how many commits the old log holds behind the divergence, and where it ends; None where unreadable."""
    segment = control.segment(divergence)
    completed = await member.hands.as_owner(
        _COUNT, member.settings.bin_dir, member.settings.data_dir, str(control.timeline), naming.lsn(divergence),
        segment, naming.lsn(upto) if upto else "", within=_COUNT_MAX,
    )  # fmt: skip
    lines = completed.out.decode(errors="replace").splitlines()
    if len(lines) < 2:
        raise member.hands.refused("reading the old primary's log", completed)
    if "there" not in lines[2:]:
        return (0, divergence) if control.clean and control.position < divergence else (None, None)
    return int(lines[0]), log_end(lines[1])


async def _decode(member: Member) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Start the old primary alone and return its slot's state and all that it tells."""
    s = member.settings
    completed = await member.hands.as_owner(
        _DECODE, s.bin_dir, s.data_dir, s.user, s.dbname, s.orphan_slot, s.config_file, within=s.rebuild_timeout
    )
    if completed.code == _WILL_NOT_START:
        return {"there": False, "databases": [], "problem": f"it does not start: {last_words(completed)}"}, []
    if completed.code not in (0, _NOT_READ):
        raise member.hands.unsure("starting the old primary alone to save its orphaned writes", completed)
    lines = completed.out.decode().splitlines()
    slot: dict[str, object] = json.loads(lines[0]) if lines else {"there": False, "databases": []}
    if completed.code:
        slot |= {"there": False, "problem": last_words(completed)}
    decoded = [json.loads(line) for line in lines[1:]] if slot["there"] else []
    return slot, [(str(where), str(text)) for where, text in decoded]


def _doubt(slot: dict[str, object], *, missed: bool) -> str:
    """Return why a list from this slot would not be all, "" when it is."""
    if "problem" in slot:
        return f"the slot could not be read: {slot['problem']}"
    if not slot["there"]:
        return f"the slot is {slot.get('wal') or 'not there'}"
    if missed:
        return "the slot begins past the divergence"
    if slot["databases"]:
        return f"the slot does not cover the other databases: {slot['databases']}"
    return ""


def _list(file: Path, decoded: Iterable[tuple[str, str]], divergence: int) -> tuple[int, int]:
    """Write the orphaned transactions, one a line; return how many were written, and how many had nothing to show."""
    behind = [t for t in transactions(decoded) if t.end > divergence and not only_evac(t)]
    rows: list[Transaction] = [t for t in behind if t.changes]
    write_durably(file, [json.dumps(t.line()) for t in rows])
    return len(rows), len(behind) - len(rows)


async def _quarantine(member: Member, stem: str) -> str:
    """Keep the old data, or at least its log, beside the data directory."""
    completed = await member.hands.as_owner(
        _QUARANTINE, member.settings.data_dir, f"{member.settings.workshop}/{stem}",
        within=member.settings.rebuild_timeout,
    )  # fmt: skip
    if completed.code == _NO_ROOM:
        raise Rejected(
            f"{member.region}: its own writes cannot be listed, and there is no room to keep them: "
            f"{last_words(completed)}; free some disk there, then rejoin again"
        )
    if completed.code:
        raise member.hands.refused("keeping the old primary's data", completed)
    return completed.out.decode().strip()


def write_durably(file: Path, lines: Iterable[str]) -> None:
    """Write a file whole and durably, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(file.suffix + ".part")
    with part.open("w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in lines)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
