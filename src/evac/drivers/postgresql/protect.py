"""Whom the primary waits for before it acknowledges a write: `synchronous_standby_names`.

Intuition: the set is absolute, and it counts from the moment every sender and the checkpointer have read it, not from
the moment it stands in the file; so this waits for both. Then it waits until so many of the set hold all that was
written until that moment: what an earlier set acknowledged may be on standbys that are not in this one, and whoever
starves this one must find it there (`docs/design/safety.md` 3). A look counts only when both are so. Nothing is
changed while the new set is not there: every write would wait for it.

What this is not: the order in which sets may change without a gap (`core.planning`).
"""

from __future__ import annotations

from datetime import timedelta

from psycopg import sql

from evac.core.errors import Rejected
from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term, wait_until
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.naming import Waits, regions_of, waits
from evac.drivers.postgresql.session import UNAVAILABLE
from evac.ports import Holds, Truth

NEAR_BYTES = 16 * 1024 * 1024
"""A standby further behind than a segment of log is not waited for yet."""
_MARK = "SELECT set_config('evac.mark', pg_current_wal_flush_lsn()::text, false)"
"""Notes in the session what is written now: whatever a client was ever told is before it."""
_NOW = f"SELECT pg_is_in_recovery(), {file_setting('synchronous_standby_names')}, {file_setting('evac.term')}::bigint"


async def protect(member: Member, action: Action) -> Receipt:
    """Wait for exactly these standbys from now on; returns whom it waited for before."""
    wants = member.waits(action.args, "protect")
    within = member.settings.settle_timeout
    lacking = f"fewer than {wants.acks} of these stream: {', '.join(wants.names)}; nothing was changed"
    near = wait_until(_near(wants), within=within, failing=lacking, code=UNAVAILABLE)
    await member.session.look(near, within=within + GRACE)
    return await _set(member, action, wants)


async def protected(member: Member, action: Action) -> Holds:
    """Look whether the primary waits for exactly these, by order of this term."""
    wants = member.waits(action.args, "protect")
    [[[standby, names, term]]] = await member.session.look(_NOW, within=member.settings.answer_timeout)
    if standby or (names or "") != wants.text() or term != action.term:
        return Holds(truth=Truth.NO, reason=f"it waits for {names or 'nobody'}, at term {term}")
    within = member.settings.answer_timeout
    await member.session.look(*_in_force(wants, within=within), within=2 * within + GRACE)
    return Holds(truth=Truth.YES, receipt=_receipt(member, wants, wants))


async def unprotect(member: Member, action: Action) -> Receipt:
    """Undo: wait for whom it waited before, by the receipt; without one nobody can know."""
    receipt = action.args.get("receipt")
    before = receipt.get("before") if isinstance(receipt, dict) else None
    if before is None:
        raise Rejected(f"{member.region}: whom it waited for before is not known; order protect with the right set")
    return await _set(member, action, member.waits(before, "protect"))


async def _set(member: Member, action: Action, wants: Waits) -> Receipt:
    answers = await member.session.change(
        guard(action.term, Must.PRIMARY),
        _NOW,
        store_term(action.term),
        setting("synchronous_standby_names", wants.text()),
        RELOAD,
        *_in_force(wants, within=member.settings.settle_timeout),
        within=2 * member.settings.settle_timeout + GRACE,
    )
    [[_, names, _]] = answers[1]
    return _receipt(member, wants, waits(names or ""))


def _in_force(wants: Waits, *, within: timedelta) -> tuple[sql.Composable | str, ...]:
    """Return the waits until the set is taken everywhere, and then until it holds what was written before."""
    taken = wait_until(_taken(wants), within=within, failing="not all its processes took the set", times=2)
    lacking = "it waits for them, and not enough of them hold yet what was written before"
    return taken, _MARK, wait_until(_held(wants), within=within, failing=lacking)


def _taken(wants: Waits) -> str:
    names = sql.Literal(list(wants.names)).as_string()
    return f"""NOT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming'
        AND (sync_priority > 0) <> (application_name = ANY ({names}::text[])))
      AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'checkpointer'
        AND wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay'))"""


def _near(wants: Waits) -> str:
    """So many of these have caught up that waiting for them holds no write for long."""
    names = sql.Literal(list(wants.names)).as_string()
    return f"""(SELECT count(DISTINCT application_name) FROM pg_stat_replication WHERE state = 'streaming'
        AND application_name = ANY ({names}::text[]) AND pg_current_wal_flush_lsn() - flush_lsn < {NEAR_BYTES}
      ) >= {wants.acks}"""


def _held(wants: Waits) -> str:
    names = sql.Literal(list(wants.names)).as_string()
    return f"""(SELECT count(DISTINCT application_name) FROM pg_stat_replication WHERE state = 'streaming'
        AND application_name = ANY ({names}::text[]) AND flush_lsn >= current_setting('evac.mark')::pg_lsn
      ) >= {wants.acks}"""


def _receipt(member: Member, wants: Waits, before: Waits) -> Receipt:
    facts: dict[str, Json] = {
        "acks": wants.acks,
        "standbys": list(regions_of(wants.names, member.peers)),
        "before": {"acks": before.acks, "standbys": list(regions_of(before.names, member.peers))},
    }
    return Receipt(kind="protect", facts=facts)
