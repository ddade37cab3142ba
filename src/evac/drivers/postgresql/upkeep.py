"""What evac does on a healthy primary between failovers, so that later ones can be measured and reported.

Intuition: two small chores. A row written each second lets every standby know the age of its newest change, and keeps
the stream talking while nobody else writes. A logical slot remembers from where orphaned writes could be listed; it
is moved along only as far as *every* standby has the log on disk, since any of them may be promoted, and then what lies
beyond is the orphan. A standby that is away holds it back, up to `orphan_wal_max_mb`; beyond that the list may have
to be called bounded, which `orphans` sees by the slot's position.

Neither waits for standbys (`synchronous_commit = local`), so a primary that hangs on its standbys is still kept up.

What this is not: needed for a failover. When a chore fails, the reason is shown and the failover is as good.
"""

from __future__ import annotations

from datetime import timedelta

from psycopg import sql

from evac.core.errors import DriverError
from evac.core.observation import Instant
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.credentials import put_passwords
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.session import Session

BEAT_EACH = timedelta(seconds=1)
ADVANCE_EACH = timedelta(seconds=5)
SLOTS_EACH = timedelta(seconds=20)
STALE_MAX_MS = 1500

TABLE = (
    "CREATE SCHEMA IF NOT EXISTS evac",
    "CREATE TABLE IF NOT EXISTS evac.heartbeat (id integer PRIMARY KEY, at timestamptz NOT NULL, note text)",
)
_BEAT = """INSERT INTO evac.heartbeat (id, at) VALUES (1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
_LIMIT = f"SET statement_timeout = {STALE_MAX_MS}"
_SLOT = """SELECT pg_create_logical_replication_slot({slot}, 'test_decoding')
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot})
    AND current_setting('wal_level') = 'logical'"""
_ADVANCE = """DO $evac$
DECLARE upto pg_lsn; whole boolean; held pg_lsn; here pg_lsn := pg_current_wal_flush_lsn();
  most numeric := {most}::numeric * 1048576;
BEGIN
  SELECT confirmed_flush_lsn INTO held FROM pg_replication_slots WHERE slot_name = {slot} AND NOT active;
  IF held IS NULL THEN RETURN; END IF;
  SELECT min(coalesce(r.flushed, s.restart_lsn)), bool_and(coalesce(r.flushed, s.restart_lsn) IS NOT NULL)
    INTO upto, whole
    FROM unnest({names}::text[], {slots}::text[]) AS m (name, slot)
    LEFT JOIN (SELECT application_name, max(flush_lsn) AS flushed FROM pg_stat_replication
      WHERE state = 'streaming' GROUP BY 1) AS r ON r.application_name = m.name
    LEFT JOIN pg_replication_slots AS s ON s.slot_name = m.slot;
  IF NOT coalesce(whole, false) THEN upto := held; END IF;
  IF here - upto > most THEN upto := here - most; END IF;
  upto := least(upto, held + 67108864);
  IF upto > held THEN PERFORM pg_replication_slot_advance({slot}, upto); END IF;
END $evac$"""


_STANDBY_SLOTS = """DO $evac$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY {slots}::text[] LOOP
    IF pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = wanted) THEN
      PERFORM pg_create_physical_replication_slot(wanted, false);
    END IF;
  END LOOP;
END $evac$"""
"""The others' slots on a standby: before a planned switch they turn to it while it is one still. These hold no log."""


class Upkeep:
    """Does the chores of one member when they are due; a session of its own, so that nothing else waits for them."""

    def __init__(self, *, member: Member, session: Session) -> None:
        self._member = member
        self.session = session
        self._beat_at: Instant | None = None
        self._advanced_at: Instant | None = None
        self._slots_at: Instant | None = None

    async def keep(self, *, now: Instant) -> str:
        """Do what is due on a primary; return "" or why a chore failed."""
        within = self._member.settings.answer_timeout + timedelta(milliseconds=STALE_MAX_MS)
        try:
            # the slot first: what is committed before there is one could not be listed
            if self._member.settings.orphan_slot and _due(self._advanced_at, now, ADVANCE_EACH):
                self._advanced_at = now
                await self.session.change(_LIMIT, *self._chores(), within=within)
            if _due(self._beat_at, now, BEAT_EACH):
                if self._beat_at is None:
                    await self.session.change(*TABLE, within=within)
                self._beat_at = now
                await self.session.change(_BEAT, within=within, planned=True)
        except DriverError as error:
            return str(error)
        return ""

    async def stand_by(self, *, now: Instant) -> str:
        """Do what is due on a standby; return "" or why it failed."""
        self._beat_at = self._advanced_at = None
        if not _due(self._slots_at, now, SLOTS_EACH):
            return ""
        member = self._member
        names = [naming.slot_name(region, member.peers[region]) for region in member.others]
        try:
            slots = sql.SQL(_STANDBY_SLOTS).format(slots=sql.Literal(names))
            await self.session.change(slots, within=member.settings.answer_timeout)
            await put_passwords(member)
        except DriverError as error:
            self._slots_at = now
            return str(error)
        self._slots_at = now  # not before: an observation that is given up in the middle is begun again by the next
        return ""

    def _chores(self) -> tuple[sql.Composable, ...]:
        member = self._member
        slot = sql.Literal(member.settings.orphan_slot)
        advance = sql.SQL(_ADVANCE).format(
            slot=slot,
            most=sql.Literal(member.settings.orphan_wal_max_mb),
            names=sql.Literal(list(member.names(member.others))),
            slots=sql.Literal([naming.slot_name(region, member.peers[region]) for region in member.others]),
        )
        return sql.SQL(_SLOT).format(slot=slot), advance


def _due(last: Instant | None, now: Instant, each: timedelta) -> bool:
    return last is None or now - last >= each
