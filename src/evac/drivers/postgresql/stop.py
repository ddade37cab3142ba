"""The verb `stop`: the old primary can acknowledge no write from now on, and stays down.

A clean shutdown sends everything to whoever streams then, and waits for nobody else. A target that has lost its stream
a moment ago would miss the end of the log, and clients would wait for a promotion that must fail. So before that the
target must have what is written now, or nothing is stopped. That a sender counts as streaming says less: after a cut
its connection may be dead at the other end for as long as nothing comes back.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from psycopg import sql

from evac.core.errors import DriverError, Rejected, Unavailable
from evac.core.observation import Json
from evac.core.plan import Action, Term
from evac.core.run import Receipt
from evac.drivers.postgresql.fence import Control, Down
from evac.drivers.postgresql.guard import Must, guard, wait_until
from evac.drivers.postgresql.member import GRACE, Member
from evac.drivers.postgresql.naming import application_name
from evac.drivers.postgresql.session import REJECTED
from evac.drivers.postgresql.whose import must_be_here, must_be_silent
from evac.ports import Holds, Truth

_POLL = timedelta(milliseconds=20)
_WRITTEN_NOW = (
    "SELECT set_config('evac.mark', pg_current_wal_insert_lsn()::text, false)",
    "SELECT pg_current_xact_id()",
)
"""Note where the log ends, and write an empty transaction behind that, which no client sees."""
_FINISHED_WITHIN = timedelta(seconds=1)
"""How much longer a clean stop that was given up may take before it is killed: a look is not waited for long."""
_STREAMS_WITHIN = timedelta(seconds=5)
"""How long a target that has just lost its stream may take to have it again before nothing is stopped."""


async def stop(member: Member, action: Action) -> Receipt:
    """Bring it down. The position is known when it was to end cleanly, also if it did not."""
    mode = action.args.get("mode")
    if mode not in ("clean", "kill"):
        raise Rejected(f"stop in {member.region}: mode must be clean or kill, not {mode!r}")
    await must_be_here(member)
    if mode == "clean" and "target" in action.args:
        await _confirmed(member, action)
    return await _bring_down(member, action)


async def bring_down(member: Member, *, term: Term, clean: bool, patience: timedelta | None = None) -> Control | None:
    """End the member for certain; return what its control file says, None when it cannot be read.

    `Indeterminate` where a primary answers at its address all the same.
    """
    await member.session.close()
    ended = await member.fence.stop(term=term, clean=clean, patience=patience)
    await must_be_silent(member, ended)
    return ended.control


async def _bring_down(member: Member, action: Action, *, patience: timedelta | None = None) -> Receipt:
    mode = action.args.get("mode")
    control = await bring_down(member, term=action.term, clean=mode == "clean", patience=patience)
    position = control.position if control and control.clean else None
    if control and not control.clean and mode == "clean":
        position = await member.fence.end_of_log(control)
    return _receipt(member, control, position)


async def _confirmed(member: Member, action: Action) -> None:
    """Return once the target has what is written now; at once where nothing runs, or an earlier try began to stop it.

    `Rejected` where it does not stream in time, `Unavailable` where the server cannot be asked: nothing is stopped.
    """
    down = await member.fence.down()
    if not down.running or _begun(member, down):
        return
    target = member.peer(action, "target")
    name = sql.Literal(application_name(target, member.peers[target])).as_string()
    streams = f"""EXISTS (SELECT FROM pg_stat_replication WHERE application_name = {name}
        AND state = 'streaming' AND flush_lsn > current_setting('evac.mark')::pg_lsn)"""
    failing = (
        f"{target} does not stream from {member.region}, so it would miss what was written last: nothing is stopped"
    )
    wait = wait_until(streams, within=_STREAMS_WITHIN, failing=failing, code=REJECTED)
    try:
        # a look that finds its connection dead asks once more: both together must leave the stop its time
        async with asyncio.timeout((_STREAMS_WITHIN + GRACE).total_seconds()):
            statements = (guard(action.term, Must.PRIMARY), *_WRITTEN_NOW, wait)
            await member.session.look(*statements, within=_STREAMS_WITHIN + GRACE)
    except TimeoutError:
        raise Unavailable(f"{member.region} did not say whether {target} streams from it: nothing is stopped") from None


async def stopped(member: Member, action: Action) -> Holds:
    """Look whether it is kept down by this term; its position is asked by doing the stop again.

    That also finishes a stop whose script was given up half-way. Its server was told to end and will, perhaps long
    after a run that was told "no" has turned back and left it out of what is undone; and nobody can take a signal back.
    To say that it is not known would be true as well, but a stop that died before its signal would stay so for ever.
    Once it has happened, going on and turning back are both right.
    """
    down: Down = await member.fence.down()
    if not down.kept or down.term != action.term or (down.running and not _begun(member, down)):
        return Holds(truth=Truth.NO, reason=f"runs: {down.running}, kept down: {down.kept}, term {down.term}")
    if down.running:
        await must_be_here(member)
    return Holds(truth=Truth.YES, receipt=await _bring_down(member, action, patience=_FINISHED_WITHIN))


def _begun(member: Member, down: Down) -> bool:
    """Say whether somebody began to stop what runs: under a lease the marker alone does not say it."""
    return down.kept and (down.told or not member.leased)


async def start_again(member: Member, action: Action) -> Receipt:
    """Undo: run again as the primary it was; or as whatever it was, or only as a standby, where the action says `again`
    (`core.lease.Again`). `Rejected` when a higher term is known here, or it was not that.
    """
    again = str(action.args.get("again", "primary"))
    down = await member.fence.down()
    if down.term is not None and down.term > action.term:
        raise Rejected(f"{member.region} has seen term {down.term}: it may not be a primary by order of {action.term}")
    if down.kept or not down.running:
        await member.fence.start(again, term=action.term)
    deadline = member.clock.now() + member.settings.stream_timeout
    reason = ""
    while member.clock.now() < deadline:
        try:
            [[[standby]]] = await member.session.look(
                "SELECT pg_is_in_recovery()", within=member.settings.answer_timeout
            )
            if not standby or again != "primary":
                return Receipt(kind="stop", facts={"primary": not standby})
            raise Rejected(f"{member.region} runs as a standby: it was no primary when it was stopped")
        except DriverError as error:
            if not isinstance(error, Unavailable):
                raise
            reason = str(error)
        await member.clock.sleep(_POLL)
    raise Unavailable(f"{member.region} was started again and takes no connections yet: {reason}")


def _receipt(member: Member, control: Control | None, position: int | None) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "position": position,
        "timeline": control.timeline if control else None,
        "clean": control.clean if control else False,
    }
    return Receipt(kind="stopped", facts=facts)
