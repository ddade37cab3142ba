"""What a member says of itself, in one query.

Intuition: the query is the same for a primary and a standby, because which one it is can change between two looks.
Its traps are those of `safety.md` 3: lag is measured against the row that the primary writes each second, since the
age of the last replayed transaction grows while nobody writes; and `stream_silence` counts from the last message of
the stream, which that same row keeps coming.

What this is not: a judgement. A member that says "primary" may be one that lost its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from evac.core.estate import RegionId
from evac.core.observation import Instant, MemberRole, MemberState
from evac.drivers.postgresql.naming import regions_of, upstream_region, waits
from evac.drivers.postgresql.session import Session
from evac.drivers.postgresql.settings import PostgresqlSettings

POSITION = "greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0')) - '0/0'"
"""A standby's durable position: what its receiver flushed, or what it replayed where the receiver has not run since
the start (it then replays all that is in its own log before anything else)."""

STANDBY_TIMELINE = """greatest(
    (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
    (SELECT received_tli FROM pg_stat_wal_receiver),
    (SELECT ('x' || left(max(name), 8))::bit(32)::integer FROM pg_ls_waldir()
      WHERE length(name) = 24 AND name ~ '^[0-9A-F]+$'))"""
"""The newest timeline a standby has log of. The control file alone lags until the next restart point."""

PRIMARY_TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer"

_LOOK = f"""
SELECT pg_is_in_recovery() AS standby,
  current_setting('default_transaction_read_only') = 'on' AS read_only,
  CASE WHEN pg_is_in_recovery() THEN {STANDBY_TIMELINE} ELSE {PRIMARY_TIMELINE} END AS timeline,
  (CASE WHEN pg_is_in_recovery() THEN {POSITION} ELSE pg_current_wal_flush_lsn() - '0/0' END)::bigint AS position,
  {{replayed}} AS replayed,
  nullif(current_setting('evac.term', true), '')::bigint AS term,
  current_setting('primary_conninfo') AS upstream,
  r.status AS receiver, r.latest_end_lsn - '0/0' AS upstream_position,
  extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time)::float8 AS silence,
  current_setting('synchronous_standby_names') AS waits,
  (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')::integer AS streams,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer AS connections,
  (SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')::integer AS waiting,
  to_regclass('evac.heartbeat') IS NOT NULL AS beats,
  {{beat}} AS beat_age
FROM (SELECT 1) AS one LEFT JOIN pg_stat_wal_receiver AS r ON true
"""
_REPLAYED = "(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0' END)::bigint"
_BEAT = "(SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM evac.heartbeat WHERE id = 1)"
_COLUMNS = (
    "standby", "read_only", "timeline", "position", "replayed", "term", "upstream", "receiver", "upstream_position",
    "silence", "waits", "streams", "connections", "waiting", "beats", "beat_age",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The raw answer of one look. `beat_age` is the age of the heartbeat row, in seconds, by this server's clock."""

    standby: bool
    read_only: bool
    timeline: int
    position: int
    replayed: int | None
    term: int | None
    upstream: str
    receiver: str | None
    upstream_position: Any
    silence: float | None
    waits: str
    streams: int
    connections: int
    waiting: int
    beats: bool
    beat_age: float | None


class Observer:
    """Looks at one member again and again; remembers whether the heartbeat table is there, and the last message."""

    def __init__(self, *, session: Session, peers: Mapping[RegionId, PostgresqlSettings], within: timedelta) -> None:
        self._session = session
        self._peers = peers
        self._within = within
        self._beats = False
        self._heard_at: Instant | None = None

    async def look(self) -> Seen:
        """Ask once. Raises the session's errors."""
        query = _LOOK.format(replayed=_REPLAYED, beat=_BEAT if self._beats else "NULL::float8")
        try:
            [[row]] = await self._session.look(query, within=self._within, planned=True)
        except Exception:
            self._beats = False
            raise
        seen = Seen(**dict(zip(_COLUMNS, row, strict=True)))
        self._beats = seen.beats
        return seen

    async def state(self, *, now: Instant, free_disk: float | None) -> MemberState:
        """Return what the member says of itself."""
        seen = await self.look()
        if seen.standby:
            return self._standby(seen, now=now, free_disk=free_disk)
        self._heard_at = None
        wants = waits(seen.waits)
        return MemberState(
            role=MemberRole.PRIMARY,
            writable=not seen.read_only,
            timeline=seen.timeline,
            position=seen.position,
            term=seen.term,
            streaming=seen.streams > 0,
            sync_standbys=regions_of(wants.names, self._peers),
            sync_acks=wants.acks,
            waiting=seen.waiting,
            free_disk=free_disk,
            detail={"connections": seen.connections},
        )

    def _standby(self, seen: Seen, *, now: Instant, free_disk: float | None) -> MemberState:
        silence = None if seen.silence is None else timedelta(seconds=max(seen.silence, 0.0))
        if silence is not None:
            self._heard_at = now - silence
        elif self._heard_at is not None:
            silence = now - self._heard_at
        behind = None
        if seen.upstream_position is not None and seen.replayed is not None:
            behind = max(int(seen.upstream_position) - seen.replayed, 0)
        return MemberState(
            role=MemberRole.STANDBY,
            writable=False,
            timeline=seen.timeline,
            position=seen.position,
            term=seen.term,
            upstream=upstream_region(seen.upstream, self._peers),
            refuses=not seen.upstream,
            streaming=seen.receiver == "streaming",
            stream_silence=silence,
            lag=None if seen.beat_age is None else timedelta(seconds=max(seen.beat_age, 0.0)),
            lag_bytes=behind,
            free_disk=free_disk,
            detail={"connections": seen.connections, "replayed": seen.replayed},
        )
