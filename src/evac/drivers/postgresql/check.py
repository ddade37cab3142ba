"""What an emergency would need of a PostgreSQL member, tried while there is none. Changes nothing.

Intuition: a failover meets a missing right, a missing tool or a slot that nobody made at the worst moment. Each line
says what was looked at, and, when it would not do, the words that mend it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from evac.core.errors import DriverError
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.fence import Down
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.whose import REMEDY, found_here
from evac.ports import Finding

VERSION_MIN = 170000
FREE_MIN = 0.1
_TOOLS = ("pg_ctl", "pg_controldata", "pg_waldump", "pg_rewind", "pg_basebackup", "pg_isready", "psql")
_PLACE = """data=$1 bin=$2; shift 2
[ -r "$data/PG_VERSION" ] && echo data
[ -w "$data" ] && [ -w "$(dirname "$data")" ] && echo writable
for tool; do [ -x "$bin/$tool" ] || echo "no $tool"; done
df -Pk "$data" 2>/dev/null | awk 'NR == 2 {print "free", $4 / ($3 + $4)}'
"""
_COLUMNS = (
    "version", "superuser", "standby", "term", "wal_level", "hints", "checksums", "full_page_writes", "waits", "slots",
    "slots_max", "senders_max", "keep_max", "retry", "lowered", "data_dir", "orphan_slot", "slot_names", "commit",
    "password_in",
)  # fmt: skip
_ASK = """SELECT current_setting('server_version_num')::integer,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), pg_is_in_recovery(),
  nullif(current_setting('evac.term', true), ''), current_setting('wal_level'),
  current_setting('wal_log_hints') = 'on', current_setting('data_checksums') = 'on',
  current_setting('full_page_writes') = 'on', current_setting('synchronous_standby_names'),
  (SELECT count(*) FROM pg_replication_slots)::integer, current_setting('max_replication_slots')::integer,
  current_setting('max_wal_senders')::integer, current_setting('max_slot_wal_keep_size'),
  (SELECT setting::integer FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'),
  (SELECT coalesce(array_agg(coalesce(r.rolname, d.datname, 'everybody')), '{}') FROM pg_db_role_setting AS s
     LEFT JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
     WHERE EXISTS (SELECT FROM unnest(s.setconfig) AS c WHERE c ~ '^synchronous_commit=(off|local)$')),
  current_setting('data_directory'),
  EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'logical' AND wal_status <> 'lost'),
  (SELECT coalesce(array_agg(slot_name::text), '{}') FROM pg_replication_slots),
  coalesce((SELECT setting FROM pg_file_settings WHERE name = 'synchronous_commit'
    ORDER BY seqno DESC LIMIT 1), 'on'),
  (SELECT coalesce(sourcefile, source) FROM pg_settings
    WHERE name = 'primary_conninfo' AND setting ~* '\\ypassword\\s*=')"""


async def check(member: Member) -> tuple[Finding, ...]:
    """Return every finding, good ones too. A member that does not answer is a finding as well."""
    findings: list[Finding] = []
    down: Down | None = None
    try:
        down = await member.fence.down()
        findings += await _at_the_place(member, down)
    except DriverError as error:
        findings.append(Finding(ok=False, what=str(error), remedy="make the place and its commands reachable"))
    try:
        [[row]] = await member.session.look(_ASK, within=member.settings.answer_timeout)
        findings += _of_the_server(member, dict(zip(_COLUMNS, row, strict=True)))
        if down is not None:
            findings.append(await _whose(member, down))
    except DriverError as error:
        findings.append(Finding(ok=False, what=str(error), remedy="check host, port, user, password and pg_hba.conf"))
    return tuple(findings)


async def _at_the_place(member: Member, down: Down) -> list[Finding]:
    s = member.settings
    done = await member.hands.as_owner(_PLACE, s.data_dir, s.bin_dir, *_TOOLS, within=timedelta(seconds=15))
    lines = done.out.decode(errors="replace").splitlines()
    missing = [line.removeprefix("no ") for line in lines if line.startswith("no ")]
    free = next((float(line.split()[1]) for line in lines if line.startswith("free ")), None)
    return [
        Finding(
            ok="data" in lines,
            what=f"data directory {s.data_dir} is read as the server's owner",
            remedy=f"set data_dir and run_as so that it can be read ({done.err.decode(errors='replace').strip()})",
        ),
        Finding(
            ok="writable" in lines,
            what="the data directory and its folder can be written",
            remedy="set run_as to the server's owner; it keeps a marker and a rebuilt copy's configuration beside it",
        ),
        Finding(
            ok=not missing,
            what=f"PostgreSQL's programs are in {s.bin_dir}",
            remedy=f"install {', '.join(missing)} there, or set bin_dir",
        ),
        Finding(
            ok=free is None or free >= FREE_MIN,
            what=f"free disk: {free:.0%}" if free is not None else "free disk is not known",
            remedy="make room: a full disk stops a primary, and a rebuild needs space",
        ),
        Finding(
            ok=down.running and (not down.kept or member.leased),
            what="its processes are found, and it is not kept down",
            remedy=f"start the server; if {s.marker_path} is there, rejoin the region, or remove it by hand",
        ),
        *await _supervisor(member),
    ]


async def _whose(member: Member, down: Down) -> Finding:
    ok, what = await found_here(member, down)
    return Finding(ok=ok, what=what, remedy=REMEDY)


async def _supervisor(member: Member) -> tuple[Finding, ...]:
    command = member.settings.control.command
    if member.hands.unit:
        return await member.hands.unit.check()
    if command:
        done = await member.hands.plainly(*command.status, within=timedelta(seconds=15))
        return (Finding(ok=done.code == 0, what="the status command says it runs", remedy="it must end with 0"),)
    return (Finding(ok=True, what="started by pg_ctl, supervised by nobody"),)


def _of_the_server(member: Member, said: dict[str, Any]) -> list[Finding]:
    s = member.settings
    slots = {naming.slot_name(region, member.peers[region]) for region in member.others}
    wants = member.armed_names()
    needed = len(member.others) + (1 if s.orphan_slot else 0)
    room = said["slots"] + needed <= said["slots_max"] or slots <= set(said["slot_names"])
    return [
        _say(said["version"] >= VERSION_MIN, "PostgreSQL 17 or newer", "upgrade: older servers cannot keep evac.term"),
        _say(said["superuser"], f"{s.user} is a superuser", f"ALTER ROLE {s.user} SUPERUSER"),
        _say(
            said["data_dir"].rstrip("/") == s.data_dir.rstrip("/"),
            f"the server's data is in {s.data_dir}",
            f"set data_dir to {said['data_dir']}",
        ),
        _say(
            said["hints"] or said["checksums"],
            "wal_log_hints or checksums are on, so that pg_rewind works",
            "set wal_log_hints = on and restart; until then a rejoin copies everything",
        ),
        _say(said["full_page_writes"], "full_page_writes is on, so that pg_rewind works", "set full_page_writes = on"),
        _say(
            said["wal_level"] == "logical" or not s.orphan_slot,
            "wal_level is logical, so that orphaned writes can be listed",
            "set wal_level = logical and restart, or orphan_slot: '' to do without",
        ),
        _say(
            said["senders_max"] >= needed + 1 and room,
            "there are senders and slots enough for every member",
            f"set max_wal_senders and max_replication_slots to {2 * needed + 2} or more",
        ),
        *_of_replication(wants, said),
        _of_the_password(said["password_in"]),
    ]


def _of_the_password(stands_in: str | None) -> Finding:
    """A server writes each setting that changes to its log, so a password in one is read by more than its file is."""
    if stands_in is None:
        return Finding(ok=True, what="no password stands in primary_conninfo")
    return Finding(
        ok=True,
        warning=True,
        what=f"the replication password stands in primary_conninfo ({stands_in}), and so in the server's log",
        remedy="put it into a file that only the server's owner can read, and say passfile= instead of password=",
    )


def _of_replication(wants: str, said: dict[str, Any]) -> list[Finding]:
    return [
        _say(
            said["keep_max"] != "-1",
            f"a lost standby cannot fill the disk (max_slot_wal_keep_size {said['keep_max']})",
            "set max_slot_wal_keep_size to what the disk can spare",
        ),
        _say(
            said["retry"] <= 500,
            f"a standby tries again soon (wal_retrieve_retry_interval {said['retry']} ms)",
            "set wal_retrieve_retry_interval = 100ms: a failover waits up to so long for a standby",
        ),
        _say(
            said["standby"] or naming.waits(said["waits"]).acks >= naming.waits(wants).acks,
            f"synchronous_standby_names: {said['waits'] or 'nobody'}",
            f"the estate wants: ALTER SYSTEM SET synchronous_standby_names = '{wants}'",
        ),
        _say(
            not wants or said["commit"] not in ("off", "local"),
            f"synchronous_commit is {said['commit']}",
            "set synchronous_commit = on: writes are acknowledged that no standby has",
        ),
        _say(
            not wants or not said["lowered"],
            "no role or database lowers synchronous_commit",
            f"ALTER ROLE ... RESET synchronous_commit for {', '.join(said['lowered'])}",
        ),
    ]


def _say(ok: object, what: str, remedy: str) -> Finding:
    return Finding(ok=bool(ok), what=what, remedy="" if ok else remedy)
