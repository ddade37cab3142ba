"""Rebuilding the old primary as a standby of the new one: its orphans saved, rewound, or copied anew.

Intuition: three ways, the cheapest that is right. It ended before the divergence (a planned switch, or a standby that
was away while its primary was left): it just follows.
It went past it: `pg_rewind` takes back what only it has, a few seconds. Its log is gone or damaged: `pg_basebackup`.
Nothing is overwritten before the orphans are saved, and a try that was broken off half-way is begun again from what the
disk says.

Traps: pg_rewind copies the source's configuration, so the member's own files are kept beside and put back; after it the
standby may wait for ever for a consistent state while the source is idle, so the source writes a checkpoint; the
password for the source goes in by standard input; the recovery that pg_rewind runs first refuses `standby.signal`.

What this is not: a fence. The old primary was stopped by its own step; this stops what may have come back since.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.credentials import put_passwords
from evac.drivers.postgresql.fence import Control
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, store_term
from evac.drivers.postgresql.hands import last_words
from evac.drivers.postgresql.lineage import Parting, history_of, parted, running_shares
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.observe import POSITION, PRIMARY_TIMELINE, STANDBY_TIMELINE
from evac.drivers.postgresql.orphans import Orphans, keep_unreadable, last_saved, save_orphans, write_durably
from evac.drivers.postgresql.session import Session
from evac.drivers.postgresql.stop import bring_down
from evac.drivers.postgresql.whose import must_be_here
from evac.ports import Holds, Truth

_CHECKPOINT_MAX = timedelta(minutes=10)
_SHORT = timedelta(seconds=30)
_POLL = timedelta(milliseconds=20)
_NUDGE_EACH = timedelta(milliseconds=300)

_KEEP_CONF = """data=$1 kept=$2/conf; umask 077
[ -e "$kept" ] && exit 0
rm -rf "$kept.part"; mkdir -p "$kept.part" || exit 1
for f in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf; do
  [ -e "$data/$f" ] && { cp -p "$data/$f" "$kept.part/" || exit 1; }
done
sync -f "$kept.part"; mv "$kept.part" "$kept"
"""
_END_EARLIER = """for held in /proc/[0-9]*/fd/9; do
  [ "$held" -ef "$1/writes" ] || continue
  pid=${held#/proc/}; kill -KILL "${pid%%/*}" 2>/dev/null
done
true
"""
"""Ends whatever an earlier try left running: a command whose agent died, or that nobody waits for any more, may go on
for hours, and two that write into one directory leave nothing whole."""
_ALONE = """exec 9> "$5/writes" || exit 1
flock -w 10 9 || { echo "an earlier try still writes there" >&2; exit 42; }
"""
"""Its children hold the file open, too, so that the lock is free when none is left."""
_REWIND = (
    """IFS= read -r PGPASSWORD; export PGPASSWORD LC_ALL=C
"""
    + _ALONE
    + """rm -f "$2/standby.signal"
"$1/pg_rewind" -D "$2" --sync-method=syncfs --source-server="$3" ${4:+--config-file="$4"} 2>&1
done=$?
: > "$2/standby.signal"; sync "$2/standby.signal" "$2"
exit "$done"
"""
)
_CLONE = (
    """IFS= read -r PGPASSWORD; export PGPASSWORD LC_ALL=C
bin=$1 data=$2 source=$3 slot=$4
"""
    + _ALONE
    + """[ -z "$(ls "$data/pg_tblspc" 2>/dev/null)" ] || { echo "it has tablespaces: copy it by hand" >&2; exit 41; }
find "$data" -mindepth 1 -maxdepth 1 -exec rm -rf {} + 2>/dev/null
exec "$bin/pg_basebackup" -D "$data" -d "$source" --checkpoint=fast --wal-method=stream --slot="$slot" \\
  --sync-method=syncfs 2>&1
"""
)
_AS_STANDBY = """data=$1 kept=$2/conf; umask 077
for f in "$kept"/*; do
  [ -e "$f" ] || continue
  [ "${f##*/}" = postgresql.auto.conf ] || cp -p "$f" "$data/" || exit 1
done
auto=$kept/postgresql.auto.conf; [ -e "$auto" ] || auto=/dev/null
{ grep -v -E '^(evac[.]term|primary_conninfo|primary_slot_name|synchronous_standby_names) *=' "$auto"; cat; } \\
  > "$data/postgresql.auto.conf.new"
: > "$data/standby.signal"; rm -f "$data/recovery.signal"
sync "$data/standby.signal" "$data/postgresql.auto.conf.new" || exit 1
mv "$data/postgresql.auto.conf.new" "$data/postgresql.auto.conf" && sync "$data"
"""
_TRY = """[ -e "$1/tried" ] && exit 1; mkdir -p "$1" && : > "$1/tried" && sync "$1/tried" "$1" """
"""Succeeds the first time only: a try leaves its mark until the member streams."""
_FORGET = """rm -rf "$1/conf" "$1/tried" "$1/writes"; rmdir "$1" 2>/dev/null; true"""
_DROP_LOST = """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = {slot} AND wal_status = 'lost' AND NOT active"""
_MAKE_SLOT = """SELECT pg_create_physical_replication_slot({slot}, true)
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot})"""
_SOURCE = f"""SELECT pg_is_in_recovery(), {PRIMARY_TIMELINE}, {file_setting("evac.term")}::bigint,
    {history_of(PRIMARY_TIMELINE)},
    (SELECT system_identifier::text FROM pg_control_system())"""
_STANDS_BY = f"""SELECT pg_is_in_recovery(), {STANDBY_TIMELINE}, ({POSITION})::bigint,
    (SELECT system_identifier::text FROM pg_control_system())"""
_STREAMS = f"""SELECT pg_is_in_recovery(), received_tli, {file_setting("evac.term")}::bigint
    FROM pg_stat_wal_receiver WHERE status = 'streaming'"""
_DROP_SLOTS = """SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots
    WHERE NOT active AND slot_name = ANY ({names}::text[])"""


async def rejoin(member: Member, action: Action) -> Receipt:
    """Make the member a streaming standby of `primary`, orphans first."""
    primary = member.peer(action, "primary")
    source = Session(settings=member.peers[primary], region=primary, place=member.place)
    try:
        if await _follows(member, action, primary, source):
            with suppress(Unavailable):
                await _until_streaming(member, action, primary, source)
                return _told(member, action)
        return await _rebuild(member, action, primary, source)
    finally:
        await source.close()


async def rejoined(member: Member, action: Action) -> Holds:
    """Look whether it streams from that primary, by order of this term."""
    primary = member.peer(action, "primary")
    source = Session(settings=member.peers[primary], region=primary, place=member.place)
    try:
        held = await _streaming(member, action, timeline=0)
        if held.truth is not Truth.YES:
            return held
        return await _streaming(member, action, timeline=await _timeline(source))
    except Unavailable:
        if (await member.fence.down()).running:
            raise
        return Holds(truth=Truth.NO, reason="it does not run")
    finally:
        await source.close()


async def _timeline(source: Session) -> int:
    [[(_, timeline, *_)]] = await source.look(_SOURCE, within=_SHORT)
    return int(timeline)


async def _streaming(member: Member, action: Action, *, timeline: int) -> Holds:
    """Look whether it streams on the primary's timeline: one that went past the fork begins to stream again and again,
    on its own, and is sent away each time.
    """
    primary = member.peer(action, "primary")
    rows, [[upstream]] = await member.session.look(
        _STREAMS, f"SELECT {file_setting('primary_conninfo')}", within=member.settings.answer_timeout
    )
    follows = naming.upstream_region(upstream or "", member.peers)
    if not rows or rows[0][1] < timeline or rows[0][2] != action.term or follows != primary:
        return Holds(truth=Truth.NO, reason=f"it does not stream from {primary} at term {action.term}")
    return Holds(truth=Truth.YES, receipt=_told(member, action))


async def _follows(member: Member, action: Action, primary: RegionId, source: Session) -> bool:
    """Turn to the primary what stands by already, and has not gone past the fork; say whether it was that."""
    try:
        [[[standby, own, replayed, system]]] = await member.session.look(
            _STANDS_BY, within=member.settings.answer_timeout
        )
        if not standby:
            return False
        [[(away, timeline, _, history, theirs)]] = await source.look(_SOURCE, within=_SHORT)
        fork = naming.forks(history or "").get(own)
        if away or system != theirs or (own != timeline and (fork is None or replayed > fork)):
            return False
        if own > 1 and await running_shares(member, source, timeline=own, replayed=replayed) is False:
            return False
        await member.session.change(
            guard(action.term, Must.STANDBY), store_term(action.term), *member.following(primary), *member.arming(),
            RELOAD, within=member.settings.settle_timeout,
        )  # fmt: skip
    except Unavailable:
        return False
    return True


async def _rebuild(member: Member, action: Action, primary: RegionId, source: Session) -> Receipt:
    await must_be_here(member)
    control = await bring_down(member, term=action.term, clean=False)
    [[(standby, timeline, stored, history, system)]] = await source.look(_SOURCE, within=_SHORT)
    if standby or (stored or 0) > action.term:
        raise Rejected(f"{primary} is not the primary of term {action.term}: standby {standby}, term {stored}")
    if control and system != control.system:
        raise Rejected(f"{member.region} and {primary} are not copies of one cluster: their system identifiers differ")
    parting = await _parting(member, action, source, control, timeline, history) if control else Parting(at=None)
    found = await _saved(member, control, parting.at)
    await _run(member, _KEEP_CONF, member.settings.workshop, what="keeping its configuration")
    await _prepare_source(member, source)
    method = await _bring_back(member, primary, source, control, parting)
    await put_passwords(member)
    await _run(
        member, _AS_STANDBY, member.settings.workshop, what="configuring it as a standby",
        stdin=_auto_conf(member, action, primary).encode(),
    )  # fmt: skip
    await member.fence.start("rebuilt", term=action.term)
    await _until_streaming(member, action, primary, source)
    await _drop_slots(member)
    receipt = _receipt(found, method)
    await asyncio.to_thread(write_durably, _told_file(member, action), [json.dumps(dict(receipt.facts))])
    await _run(member, _FORGET, what="tidying up", first=member.settings.workshop)
    return receipt


async def _saved(member: Member, control: Control | None, divergence: int | None) -> Orphans:
    """Save the orphans: none where its timeline was never left, all that is there where it is unreadable."""
    if control is not None and divergence is not None:
        return await save_orphans(member, control, divergence=divergence)
    if control is not None:
        return Orphans(orphans=0, exact=True, lost_bytes=0, file=None)
    begun = await member.hands.as_owner('[ -e "$1/tried" ]', member.settings.workshop, within=_SHORT)
    if begun.code == 0 and (saved := last_saved(member)):
        return saved
    return await keep_unreadable(member)


async def _parting(
    member: Member, action: Action, source: Session, control: Control, timeline: int, history: str | None
) -> Parting:
    """Return where the old primary's log left the new one's, by what both hold, else by the order."""
    found = await parted(member, source, control, newest=timeline, history=history)
    if found is not None:
        return found
    given = action.args.get("divergence")
    if isinstance(given, int):
        return Parting(at=given)
    raise Rejected(f"the primary's history does not know timeline {control.timeline}: nobody can say what was orphaned")


async def _bring_back(
    member: Member, primary: RegionId, source: Session, control: Control | None, parting: Parting
) -> str:
    """Follow, rewind or clone; return which. Only a clone is certain after a try that did not come to its end, and
    where its timeline is another one of the same number: pg_rewind would say that there is nothing to do.
    """
    s, there = member.settings, member.peers[primary]
    first = await member.hands.as_owner(_TRY, s.workshop, within=_SHORT)
    await member.hands.as_who_may(_END_EARLIER, s.workshop, within=_SHORT)
    divergence = parting.at
    known = control if first.code == 0 and not parting.foreign else None
    if known and (divergence is None or await _ends_before(member, known, divergence)):
        return "follow"
    secret = ((there.password.read() if there.password else "") + "\n").encode()
    conninfo = make_conninfo(
        host=there.host, port=there.port, user=there.user, dbname=there.dbname, connect_timeout=5, **there.tls
    )
    why = "its timeline is another one than the primary's of this number" if parting.foreign else "a try was broken off"
    if known:
        rewound = await member.hands.as_owner(
            _REWIND, s.bin_dir, s.data_dir, conninfo, s.config_file, s.workshop, stdin=secret, within=s.rebuild_timeout
        )
        if rewound.code == 0:
            await source.look("CHECKPOINT", within=_CHECKPOINT_MAX)
            return "rewind"
        why = last_words(rewound)
    cloned = await member.hands.as_owner(
        _CLONE, s.bin_dir, s.data_dir, conninfo, naming.slot_name(member.region, s), s.workshop,
        stdin=secret, within=s.rebuild_timeout,
    )  # fmt: skip
    if cloned.code:
        raise Indeterminate(
            f"{member.region}: neither pg_rewind ({why}) nor pg_basebackup ({last_words(cloned)}) brought it back; "
            f"its orphans are saved and it stays down: mend the cause, then rejoin again"
        )
    return "clone"


async def _ends_before(member: Member, control: Control, divergence: int) -> bool:
    if not control.clean or control.position >= divergence:
        return False
    end = await member.fence.end_of_log(control)
    return end is not None and end <= divergence


async def _prepare_source(member: Member, source: Session) -> None:
    """A slot for this member, and a checkpoint: what pg_rewind compares with must be on the source's disk."""
    slot = sql.Literal(naming.slot_name(member.region, member.settings))
    await source.look(
        sql.SQL(_DROP_LOST).format(slot=slot), sql.SQL(_MAKE_SLOT).format(slot=slot), "CHECKPOINT",
        within=_CHECKPOINT_MAX,
    )  # fmt: skip


def _auto_conf(member: Member, action: Action, primary: RegionId) -> str:
    conninfo = member.conninfo(primary)
    lines = {
        "evac.term": str(int(action.term)),
        "primary_conninfo": conninfo,
        "primary_slot_name": naming.slot_name(member.region, member.settings),
        "synchronous_standby_names": member.armed_names(),
    }
    return "".join("{} = '{}'\n".format(key, value.replace("'", "''")) for key, value in lines.items())


async def _until_streaming(member: Member, action: Action, primary: RegionId, source: Session) -> None:
    """Wait for the stream; let the source write something now and then, lest an idle one keeps it waiting."""
    deadline = member.clock.now() + member.settings.stream_timeout + GRACE
    nudge_at = member.clock.now()
    reason = "it does not answer yet"
    timeline = await _timeline(source)
    while member.clock.now() < deadline:
        try:
            held = await _streaming(member, action, timeline=timeline)
        except Unavailable as starting:
            reason = str(starting)
        else:
            if held.truth is Truth.YES:
                return
            reason = held.reason
        if member.clock.now() >= nudge_at:
            await source.look("SELECT pg_log_standby_snapshot()", within=member.settings.settle_timeout)
            nudge_at = member.clock.now() + _NUDGE_EACH
        await member.clock.sleep(_POLL)
    raise Unavailable(f"{member.region} was rebuilt and started, but does not stream from {primary} yet: {reason}")


async def _drop_slots(member: Member) -> None:
    """Drop the slots it kept as a primary: nobody moves them along now, and they would hold its log for ever."""
    names = [naming.slot_name(region, member.peers[region]) for region in member.others]
    drop = sql.SQL(_DROP_SLOTS).format(names=sql.Literal([*names, member.settings.orphan_slot]))
    await member.session.look(drop, within=member.settings.settle_timeout)


async def _run(member: Member, script: str, *args: str, what: str, first: str = "", stdin: bytes = b"") -> None:
    done = await member.hands.as_owner(script, first or member.settings.data_dir, *args, stdin=stdin, within=_SHORT)
    if done.code:
        raise member.hands.unsure(what, done)


def _told_file(member: Member, action: Action) -> Path:
    return member.keep / f"rejoined-{member.component.id}-{member.region}-{int(action.term)}.json"


def _told(member: Member, action: Action) -> Receipt:
    """Return the receipt that was given at this term; that of a standby which never diverged if there was none."""
    file = _told_file(member, action)
    if file.exists():
        return Receipt(kind="rejoin", facts=json.loads(file.read_text()))
    return _receipt(Orphans(orphans=0, exact=True, lost_bytes=0, file=None), "follow")


def _receipt(found: Orphans, method: str) -> Receipt:
    facts: dict[str, Json] = {
        "orphans": found.orphans,
        "orphans_exact": found.exact,
        "lost_bytes": found.lost_bytes,
        "orphans_file": found.file,
        "orphans_unlisted": found.unlisted,
        "orphans_reason": found.reason,
        "method": method,
    }
    return Receipt(kind="rejoin", facts=facts)
