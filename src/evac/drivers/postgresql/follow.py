"""Following the new primary: this standby's receiver is turned to it and streams again.

Intuition: a standby can go over to the new timeline only from before the fork. One that replayed past it has applied
changes that the new primary never saw; it refuses here, at once and by name, instead of trying for ever in its log.

Trap: `pg_stat_wal_receiver` says "streaming" before the receiver has asked for a stream. It has one when a message came
(until then its last message was sent and received at one and the same moment, the receiver's own start) or when it
waits for one in its main loop. And a stream begins with the whole segment it stands in, which takes its time over a
long link: only when that has arrived does the standby acknowledge what is written now.

What this is not: the rebuilding of a member that went past the fork (`rejoin`).
"""

from __future__ import annotations

from psycopg import sql

from evac.core.errors import Rejected
from evac.core.estate import RegionId
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term, wait_until
from evac.drivers.postgresql.member import GRACE, Member, number, receipts
from evac.drivers.postgresql.naming import upstream_region
from evac.drivers.postgresql.observe import STANDBY_TIMELINE
from evac.ports import Holds, Truth

_BEFORE = f"SELECT {file_setting('primary_conninfo')}"
_HEARD = "last_msg_send_time <> last_msg_receipt_time"
_WAITS = """EXISTS (SELECT FROM pg_stat_activity
    WHERE backend_type = 'walreceiver' AND wait_event = 'WalReceiverMain')"""
_NEAR = f"""EXISTS (SELECT FROM pg_stat_wal_receiver
    WHERE CASE WHEN {_HEARD} THEN written_lsn >= latest_end_lsn ELSE {_WAITS} END)"""
"""It has written all that the other side had when it sent last."""
_NEAR_TIMES = 4
"""So often in a row, 2 ms apart: the first part of a stream comes a moment after the stream."""
_FACTS = f"SELECT received_tli, {file_setting('evac.term')}::bigint FROM pg_stat_wal_receiver"


async def follow(member: Member, action: Action) -> Receipt:
    """Stream from the primary that `primary` names, at its timeline."""
    primary = member.peer(action, "primary")
    fork, timeline = _fork(action)
    past = f"{STANDBY_TIMELINE} < {timeline} AND pg_last_wal_replay_lsn() - '0/0' > {fork}"
    answers = await member.session.change(
        guard(
            action.term, Must.STANDBY, unless=past, because="it has applied what the new primary never saw: rejoin it"
        ),
        _BEFORE,
        store_term(action.term),
        *member.following(primary),
        *member.arming(),
        RELOAD,
        wait_until(
            f"{_streams(member, primary, timeline)} AND {_NEAR}",
            within=member.settings.stream_timeout,
            failing=f"it does not stream from {primary} yet",
            times=_NEAR_TIMES,
        ),
        _FACTS,
        within=member.settings.stream_timeout + GRACE,
    )
    [[received, _]] = answers[-1]
    before = upstream_region(answers[1][0][0] or "", member.peers)
    return Receipt(kind="follow", facts={"timeline": received, "before": before})


async def following(member: Member, action: Action) -> Holds:
    """Look whether it streams from that primary."""
    primary = member.peer(action, "primary")
    _, timeline = _fork(action)
    there = _streams(member, primary, timeline)
    rows = (await member.session.look(f"{_FACTS} WHERE {there}", within=member.settings.answer_timeout))[0]
    if not rows or rows[0][1] != action.term:
        return Holds(truth=Truth.NO, reason=f"it does not stream from {primary} at term {action.term}")
    return Holds(truth=Truth.YES, receipt=Receipt(kind="follow", facts={"timeline": rows[0][0], "before": primary}))


async def follow_before(member: Member, action: Action) -> Receipt:
    """Undo: follow whom it followed before, by the receipt; without one nobody can know."""
    receipt = action.args.get("receipt")
    before = receipt.get("before", "") if isinstance(receipt, dict) else ""
    if before is not None and before not in member.others:
        raise Rejected(f"{member.region}: whom it followed before is not known; order it to follow the right primary")
    await member.session.change(
        guard(action.term, Must.STANDBY),
        store_term(action.term),
        *(member.following(RegionId(str(before))) if before else (setting("primary_conninfo", ""),)),
        RELOAD,
        within=member.settings.settle_timeout,
    )
    return Receipt(kind="follow", facts={"follows": before})


def _fork(action: Action) -> tuple[int, int]:
    """Return where the new timeline began, and its number, by the promotion's receipt; 0 where there is none."""
    for facts in receipts(action, having="timeline"):
        if isinstance(facts.get("position"), int) and "region" not in facts:
            return number(facts["position"]), number(facts["timeline"])
    return 0, 0


def _streams(member: Member, primary: RegionId, timeline: int) -> str:
    there = member.peers[primary]
    host = sql.Literal(there.host).as_string()
    return (
        f"EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND sender_host = {host} "
        f"AND sender_port = {there.port} AND received_tli >= {timeline} "
        f"AND ({_HEARD} OR {_WAITS}))"
    )
