"""Whom the primary waits for before it acknowledges a write: `synchronous_standby_names`.

Intuition: the set is absolute, and it counts from the moment every sender and the checkpointer have read it, not from
the moment it stands in the file; so this waits for both.

What this is not: the order in which sets may change without a gap (`core.planning`).
"""

from __future__ import annotations

from psycopg import sql

from evac.core.errors import Rejected
from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term, wait_until
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.naming import Waits, regions_of, waits
from evac.ports import Holds, Truth

_NOW = f"SELECT pg_is_in_recovery(), {file_setting('synchronous_standby_names')}, {file_setting('evac.term')}::bigint"


async def protect(member: Member, action: Action) -> Receipt:
    """Wait for exactly these standbys from now on; returns whom it waited for before."""
    return await _set(member, action, member.waits(action.args, "protect"))


async def protected(member: Member, action: Action) -> Holds:
    """Look whether the primary waits for exactly these, by order of this term."""
    wants = member.waits(action.args, "protect")
    [[[standby, names, term]]] = await member.session.look(_NOW, within=member.settings.answer_timeout)
    if standby or (names or "") != wants.text() or term != action.term:
        return Holds(truth=Truth.NO, reason=f"it waits for {names or 'nobody'}, at term {term}")
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
        wait_until(
            _taken(wants), within=member.settings.settle_timeout, failing="not all its processes took the set", times=2
        ),
        within=member.settings.settle_timeout + GRACE,
    )
    [[_, names, _]] = answers[1]
    return _receipt(member, wants, waits(names or ""))


def _taken(wants: Waits) -> str:
    names = sql.Literal(list(wants.names)).as_string()
    return f"""NOT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming'
        AND (sync_priority > 0) <> (application_name = ANY ({names}::text[])))
      AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'checkpointer'
        AND wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay'))"""


def _receipt(member: Member, wants: Waits, before: Waits) -> Receipt:
    facts: dict[str, Json] = {
        "acks": wants.acks,
        "standbys": list(regions_of(wants.names, member.peers)),
        "before": {"acks": before.acks, "standbys": list(regions_of(before.names, member.peers))},
    }
    return Receipt(kind="protect", facts=facts)
