"""Promoting: this standby becomes the primary, and from its first write waits for whom it is told to wait for.

Intuition: everything is one batch. The set of synchronous standbys and the term are durable before `pg_promote`; the
block that promotes looks at the files once more, so that a setting which could not be written (a full disk) stops it
on the server. A server decides by a flag of its checkpointer whether commits wait at all: where this standby did not
carry a set before (`Member.arming`), the block sees the checkpointer come to rest first.

After a clean stop the block first waits for the end of the stopped primary's log, which that sent before it ended: a
question of its own (`catch_up`) would cost a planned switch one more round trip with nobody to write to.

`pg_promote(wait => true)` looks every 100 ms; this waits in steps of 2 ms instead.

What this is not: the proof that the old primary is fenced. The run's journal holds that (`core.planning`).
"""

from __future__ import annotations

from psycopg import sql

from evac.core.errors import Indeterminate
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.catch_up import end_of_stopped
from evac.drivers.postgresql.guard import RELOAD, Must, file_setting, guard, setting, store_term
from evac.drivers.postgresql.lineage import BORN, LAST_FORK, history_of
from evac.drivers.postgresql.member import GRACE, Member, receipts, told
from evac.drivers.postgresql.naming import Waits
from evac.drivers.postgresql.observe import POSITION, PRIMARY_TIMELINE
from evac.drivers.postgresql.session import INDETERMINATE, REJECTED, UNAVAILABLE
from evac.ports import Holds, Truth

_PROMOTE = (
    """DO $evac$
DECLARE deadline timestamptz := clock_timestamp() + interval '{seconds} s'; rests integer := 0;
BEGIN
  IF """
    + file_setting("evac.term")
    + """ IS DISTINCT FROM {term} OR coalesce("""
    + file_setting("synchronous_standby_names")
    + """, '') <> {waits} THEN
    RAISE EXCEPTION USING errcode = '{rejected}', message =
      'the term or the synchronous standbys could not be set durably, so it was not promoted';
  END IF;
  IF NOT pg_is_in_recovery() THEN RETURN; END IF;
  WHILE """
    + POSITION
    + """ < {upto} LOOP
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION USING errcode = '{unavailable}', message =
        'the stopped primary wrote up to {upto} and this standby did not get it all, so it was not promoted';
    END IF;
    PERFORM pg_sleep(0.002);
  END LOOP;
  WHILE NOT {armed} AND rests < 4 LOOP
    PERFORM pg_stat_clear_snapshot();
    IF EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'checkpointer'
      AND wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay')) THEN rests := rests + 1; ELSE rests := 0; END IF;
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION USING errcode = '{unavailable}', message = 'its checkpointer is busy, so it was not promoted yet';
    END IF;
    PERFORM pg_sleep(0.002);
  END LOOP;
  PERFORM pg_promote(false);
  WHILE pg_is_in_recovery() LOOP
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION USING errcode = '{unsure}', message = 'it was told to promote and is replaying its log still';
    END IF;
    PERFORM pg_sleep(0.002);
  END LOOP;
END $evac$"""
)
_ARMED = "SELECT set_config('evac.armed', (current_setting('synchronous_standby_names') <> '')::text, false)"
"""Notes, before this verb changes it, whether this standby has carried a set."""
_FACTS = f"""SELECT pg_is_in_recovery(), {PRIMARY_TIMELINE},
    {history_of(PRIMARY_TIMELINE)},
    {file_setting("evac.term")}::bigint, {file_setting("synchronous_standby_names")},
    {BORN.format(timeline=PRIMARY_TIMELINE, fork=LAST_FORK.format(history=history_of(PRIMARY_TIMELINE)))}"""
_SLOTS = """DO $evac$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY {slots}::text[] LOOP
    -- one that was made while this was a standby, and that nobody has used, keeps no log: made anew, it does
    PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots
      WHERE slot_name = wanted AND restart_lsn IS NULL AND NOT active;
    IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = wanted) THEN
      PERFORM pg_create_physical_replication_slot(wanted, true);
    END IF;
  END LOOP;
EXCEPTION WHEN configuration_limit_exceeded OR insufficient_resources THEN NULL;
END $evac$"""


async def promote(member: Member, action: Action) -> Receipt:
    """Become the primary with all that the receipts hold. Returns the new timeline and where it left the old one."""
    wants = member.waits(action.args.get("sync") or {"acks": 0, "standbys": []}, "promote")
    within = member.settings.settle_timeout
    answers = await member.session.change(
        guard(action.term, Must.EITHER),
        _ARMED,
        *(() if told(action, member.region) else (store_term(action.term),)),
        setting("synchronous_standby_names", wants.text()),
        RELOAD,
        _promotion(member, action, wants),
        _slots(member),
        _FACTS,
        within=within + GRACE,
    )
    [[standby, timeline, history, term, _, born]] = answers[-1]
    if standby:
        raise Indeterminate(f"{member.region} was told to become a primary and is a standby still")
    return _receipt(timeline, history, term, born)


async def promoted(member: Member, action: Action) -> Holds:
    """Look whether it is a primary at this order's term."""
    wants = member.waits(action.args.get("sync") or {"acks": 0, "standbys": []}, "promote")
    [[[standby]]] = await member.session.look("SELECT pg_is_in_recovery()", within=member.settings.answer_timeout)
    if standby:
        return Holds(truth=Truth.NO, reason="it is a standby")
    [[[standby, timeline, history, term, names, born]]] = await member.session.look(
        _FACTS, within=member.settings.answer_timeout
    )
    if standby or term != action.term or (names or "") != wants.text():
        return Holds(truth=Truth.NO, reason=f"a primary at term {term}, waiting for {names or 'nobody'}")
    return Holds(truth=Truth.YES, receipt=_receipt(timeline, history, term, born))


def _promotion(member: Member, action: Action, wants: Waits) -> sql.Composable:
    upto = 0 if receipts(action, having="armed") else end_of_stopped(action)
    own = [f for f in receipts(action, having="armed") if f.get("region") == member.region]
    if not wants.acks:
        armed: sql.Composable = sql.SQL("true")
    elif own:
        armed = sql.Literal(all(f["armed"] is True for f in own))
    else:
        armed = sql.SQL("current_setting('evac.armed')::boolean")
    return sql.SQL(_PROMOTE).format(
        seconds=sql.Literal(member.settings.settle_timeout.total_seconds()),
        term=sql.Literal(str(int(action.term))),
        waits=sql.Literal(wants.text()),
        armed=armed,
        upto=sql.SQL(str(upto)),
        rejected=sql.SQL(REJECTED),
        unavailable=sql.SQL(UNAVAILABLE),
        unsure=sql.SQL(INDETERMINATE),
    )


def _slots(member: Member) -> sql.Composable:
    names = [naming.slot_name(region, member.peers[region]) for region in member.others]
    return sql.SQL(_SLOTS).format(slots=sql.Literal(names))


def _receipt(timeline: int, history: str | None, term: int, born: str | None) -> Receipt:
    """The divergence point is the last line of the timeline's history; a primary from the start has none.

    `born` tells the timeline from another one of its number (`lineage`).
    """
    left = naming.forks(history or "")
    position = left[max(left)] if left else None
    return Receipt(kind="promote", facts={"timeline": timeline, "position": position, "term": term, "born": born})
