"""Making a planned switch quick: what would be slow in the gap is done before it.

Intuition: a shutdown writes a checkpoint; one that was just written leaves little to do. And a target that is far
behind would make clients wait: it is asked to apply what stands now, within the lag the estate allows.

A standby that goes over to a new timeline is sent the segment it stands in once more, from its beginning, and
acknowledges nothing meanwhile. So a new segment is begun, unless what is left of this one is more than what is in it:
that rest is sent too, as zeros, and commits wait behind it.

What this is not: a change that a client sees.
"""

from __future__ import annotations

from datetime import timedelta

from psycopg import sql

from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import Must, guard, wait_until
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.naming import application_name
from evac.drivers.postgresql.session import REJECTED

_CHECKPOINT_MAX = timedelta(seconds=25)
CHEAP = 1024 * 1024
"""So much of a segment is sent in next to no time: it is always worth a new one."""
_NEW_SEGMENT = f"""DO $evac$
DECLARE whole bigint := pg_size_bytes(current_setting('wal_segment_size'));
  used bigint := mod(pg_current_wal_insert_lsn() - '0/0', whole);
BEGIN
  IF whole - used <= greatest(used, {CHEAP}) THEN PERFORM pg_switch_wal(); END IF;
END $evac$"""
_MARK = "SELECT set_config('evac.mark', pg_current_wal_flush_lsn()::text, false)"


async def prepare(member: Member, action: Action) -> Receipt:
    """Write a checkpoint, begin a new segment where that is cheap, and see the target keep up.

    `Rejected` when its lag is over `lag_max_s`.
    """
    target = member.peer(action, "target")
    lag_max = _lag_max(member, action)
    name = sql.Literal(application_name(target, member.peers[target])).as_string()
    keeps_up = f"""EXISTS (SELECT FROM pg_stat_replication WHERE application_name = {name}
        AND state = 'streaming' AND replay_lsn >= current_setting('evac.mark')::pg_lsn)"""
    answers = await member.session.look(
        guard(action.term, Must.PRIMARY),
        "CHECKPOINT",
        _NEW_SEGMENT,
        _MARK,
        wait_until(
            keeps_up,
            within=lag_max,
            failing=f"{target} did not apply within {lag_max.total_seconds():g} s what was written here",
            code=REJECTED,
        ),
        within=_CHECKPOINT_MAX + lag_max + GRACE,
    )
    return Receipt(kind="prepare", facts={"target": target, "mark": str(answers[3][0][0])})


def _lag_max(member: Member, action: Action) -> timedelta:
    given = action.args.get("lag_max_s")
    if isinstance(given, (int, float)):
        return timedelta(seconds=given)
    replication = member.component.replication
    return replication.lag_max if replication else timedelta(seconds=10)
