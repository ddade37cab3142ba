"""Following the new primary: this standby's receiver is turned to it and streams again.

Intuition: a standby can go over to the new timeline only from before the fork. One that replayed past it has applied
changes that the new primary never saw; it refuses here, at once and by name, instead of trying for ever in its log. So
does one whose timeline has the new one's number and is another one (`lineage`).

Trap: `pg_stat_wal_receiver` says "streaming" before the receiver has asked for a stream. It has one when a message came
(until then its last message was sent and received at one and the same moment, the receiver's own start) or when it
waits for one in its main loop. And a stream begins with the whole segment it stands in, which takes its time over a
long link: only when that has arrived does the standby acknowledge what is written now.

What this is not: the rebuilding of a member that went past the fork (`rejoin`).
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from evac.core.errors import Rejected
from evac.core.estate import RegionId
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term, wait_until
from evac.drivers.postgresql.lineage import another
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
    new = _new_timeline(action)
    past = f"{STANDBY_TIMELINE} < {new.number} AND pg_last_wal_replay_lsn() - '0/0' > {new.fork} OR {new.not_here()}"
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
            f"{_streams(member, primary, new.number)} AND {_NEAR}",
            within=member.settings.stream_timeout,
            failing=f"it does not stream from {primary} yet",
            times=_NEAR_TIMES,
        ),
        _FACTS,
        within=member.settings.stream_timeout + GRACE,
    )
    [[received, _]] = answers[-1]
    before = upstream_region(answers[1][0][0] or "", member.peers)
    return _receipt(action, timeline=received, before=before)


async def following(member: Member, action: Action) -> Holds:
    """Look whether it streams from that primary."""
    primary = member.peer(action, "primary")
    new = _new_timeline(action)
    there = f"{_streams(member, primary, new.number)} AND NOT ({new.not_here()})"
    rows = (await member.session.look(f"{_FACTS} WHERE {there}", within=member.settings.answer_timeout))[0]
    if not rows or rows[0][1] != action.term:
        return Holds(truth=Truth.NO, reason=f"it does not stream from {primary} at term {action.term}")
    return Holds(truth=Truth.YES, receipt=_receipt(action, timeline=rows[0][0], before=primary))


async def follow_before(member: Member, action: Action) -> Receipt:
    """Undo: follow whom it followed before, by the receipt, else whom the plan leaves; else nobody can know.

    In a failover there is no `old`: a refusal may have turned it to the new primary before, and is undone by itself.
    """
    receipt = action.args.get("receipt")
    before = receipt.get("before", "") if isinstance(receipt, dict) else ""
    if before in ("", action.args.get("primary")):
        before = action.args.get("old", before)
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


def _receipt(action: Action, *, timeline: int, before: RegionId | None) -> Receipt:
    """What is seen to have turned already tells no more whom it followed before: it was whom the plan leaves, `old`."""
    if before == action.args.get("primary"):
        before = RegionId(str(action.args.get("old", before)))
    return Receipt(kind="follow", facts={"timeline": timeline, "before": before})


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """The timeline that a promotion began: its number, where it left its ancestor, what tells it from another one."""

    number: int = 0
    fork: int = 0
    born: str = ""

    def not_here(self) -> str:
        """Return the SQL condition that what this member has under that number is another one's log."""
        if not self.number:
            return "false"
        return f"{STANDBY_TIMELINE} = {self.number} AND ({another(self.number, fork=self.fork, born=self.born)})"


def _new_timeline(action: Action) -> _New:
    """Return it by the promotion's receipt; number 0 where there is none."""
    for facts in receipts(action, having="timeline"):
        if isinstance(facts.get("position"), int) and "region" not in facts:
            born = str(facts.get("born") or "")
            return _New(number=number(facts["timeline"]), fork=number(facts["position"]), born=born)
    return _New()


def _streams(member: Member, primary: RegionId, timeline: int) -> str:
    there = member.peers[primary]
    host = sql.Literal(there.host).as_string()
    return (
        f"EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND sender_host = {host} "
        f"AND sender_port = {there.port} AND received_tli >= {timeline} "
        f"AND ({_HEARD} OR {_WAITS}))"
    )
