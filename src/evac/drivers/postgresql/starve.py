"""Refusing the old primary: this standby acknowledges nothing to it any more, also after a restart.

Intuition: a synchronous primary needs acknowledgements; when enough standbys have durably turned away, it cannot give
one to a client, whether it is dead, cut off or frozen, and nobody has to reach it. The receipt holds the position
this standby had made durable when its receiver was gone: what any client was ever told is in the highest of them.

Traps: a receiver that is still connecting is not in `pg_stat_wal_receiver`, so the process list is asked as well, some
times in a row; `pg_last_wal_receive_lsn()` is null after a restart, and then replay has to reach the end of the local
log before its position says how much is durable here.

With `next` it turns to another standby right after that, the one to be promoted: a stream over a long link takes five
round trips to open and three more to begin, longer than the promotion takes that it can open beside.

What this is not: a fence by itself. How many refusals starve a primary is the plan's arithmetic.
"""

from __future__ import annotations

from psycopg import sql

from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term, wait_until
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.observe import POSITION, STANDBY_TIMELINE
from evac.ports import Holds, Truth

RECEIVER_GONE = """NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver')
    AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver)"""
_GONE_TIMES = 4
_LOG_KNOWN = """pg_last_wal_receive_lsn() IS NOT NULL OR EXISTS (SELECT FROM pg_stat_activity
    WHERE backend_type = 'startup' AND wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream'))"""
ARMED = "SELECT current_setting('synchronous_standby_names') <> ''"
"""Whether this standby carried a set before this verb (see `Member.arming`)."""
WHERE = f"SELECT ({POSITION})::bigint, {STANDBY_TIMELINE}, {file_setting('evac.term')}::bigint"
_REFUSING = f"""SELECT pg_is_in_recovery(), coalesce({file_setting("primary_conninfo")}, '') = '',
    {file_setting("evac.term")}::bigint, {RECEIVER_GONE} AND ({_LOG_KNOWN})"""


async def refuse(member: Member, action: Action) -> Receipt:
    """Turn the receiver off for good and return what is durable here; then turn to `next`, if there is one."""
    member.peer(action, "old")
    onward: tuple[sql.Composable | str, ...] = ()
    if "next" in action.args:
        onward = (*member.following(member.peer(action, "next")), RELOAD)
    within = member.settings.settle_timeout
    answers = await member.session.change(
        guard(action.term, Must.STANDBY),
        ARMED,
        store_term(action.term),
        setting("primary_conninfo", ""),
        *member.arming(),
        RELOAD,
        receiver_gone(member),
        wait_until(_LOG_KNOWN, within=within, failing="it has not read its own log to the end yet"),
        WHERE,
        *onward,
        within=2 * within + GRACE,
    )
    [[position, timeline, term]] = answers[-1 - len(onward)]
    return _receipt(member, position, timeline, term, armed=answers[1][0][0])


async def refusing(member: Member, action: Action) -> Holds:
    """Look whether it refuses at this order's term. One that has turned to `next` already is not told from one that
    has not refused: doing it again is quicker than being sure.
    """
    refused, where = await member.session.look(_REFUSING, _IF_STANDBY, within=member.settings.answer_timeout)
    [[standby, empty, term, gone]] = refused
    if not (standby and empty and gone and term is not None and term == action.term):
        return Holds(truth=Truth.NO, reason=f"standby: {standby}, turned away: {empty and gone}, term {term}")
    [[position, timeline, _]] = where
    return Holds(truth=Truth.YES, receipt=_receipt(member, position, timeline, term, armed=False))


_IF_STANDBY = f"SELECT ({POSITION})::bigint, {STANDBY_TIMELINE}, 0"


async def follow_again(member: Member, action: Action) -> Receipt:
    """Undo: follow the old primary again. It may be gone, so nothing waits for its stream."""
    old = member.peer(action, "old")
    await member.session.change(
        guard(action.term, Must.STANDBY),
        store_term(action.term),
        *member.following(old),
        RELOAD,
        within=member.settings.settle_timeout,
    )
    return Receipt(kind="refuse", facts={"follows": old})


def receiver_gone(member: Member) -> sql.Composable:
    """Return the wait for the receiver's end."""
    return wait_until(
        RECEIVER_GONE,
        within=member.settings.settle_timeout,
        failing="its receiver is still there: is the server frozen?",
        times=_GONE_TIMES,
    )


def _receipt(member: Member, position: int, timeline: int, term: int, *, armed: bool) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "position": position,
        "timeline": timeline,
        "term": term,
        "armed": armed,
    }
    return Receipt(kind="starved", facts=facts)
