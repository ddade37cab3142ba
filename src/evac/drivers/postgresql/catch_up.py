"""Catching up: before its promotion this standby holds all that any refusing standby, or the stopped primary, holds.

Intuition: with `ANY 1 (b, c)` an acknowledged write may be on b alone. If c is the target, c streams the rest from b,
which serves it although it refuses the old primary itself. Log is compared by timeline first, position second: log of
a newer timeline is worth more than any length of an older one.

What this is not: waiting for replay. A promotion replays everything there is before it opens.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import RELOAD, Must, guard, setting, store_term, wait_until
from evac.drivers.postgresql.member import GRACE, Member, number, receipts, told
from evac.drivers.postgresql.observe import POSITION
from evac.drivers.postgresql.session import UNAVAILABLE
from evac.drivers.postgresql.starve import ARMED, WHERE, receiver_gone
from evac.ports import Holds, Truth


async def catch_up(member: Member, action: Action) -> Receipt:
    """Stream what is missing from whoever has it; return the position that is durable here then."""
    highest = _highest(action)
    within = member.settings.settle_timeout
    carry: tuple[sql.Composable | str, ...] = (
        () if told(action, member.region) else (store_term(action.term), *member.arming(), RELOAD)
    )
    answers = await member.session.change(guard(action.term, Must.STANDBY), ARMED, *carry, WHERE, within=within)
    [[position, timeline, _]] = answers[-1]
    armed = bool(answers[1][0][0])
    if highest is None or (timeline, position) >= _rank(highest):
        return _receipt(member, action.term, position, None, armed=armed)
    source = RegionId(str(highest.get("region")))
    if "clean" in highest or source not in member.others:
        return _receipt(member, action.term, await _await_stream(member, highest), None, armed=armed)
    return _receipt(member, action.term, await _stream_from(member, action, source, highest), source, armed=armed)


def end_of_stopped(action: Action) -> int:
    """Return where the log of the primary that was stopped ends; 0 where no receipt is of one that was to end cleanly.

    Raises `Rejected` when it was stopped and nobody can say where its log ended.
    """
    highest = _highest(action)
    return number(highest["position"]) if highest is not None and "clean" in highest else 0


async def caught_up(member: Member, action: Action) -> Holds:
    """Look whether nothing is missing here."""
    highest = _highest(action)
    [[[standby]], where] = await member.session.look(
        "SELECT pg_is_in_recovery()", WHERE, within=member.settings.answer_timeout
    )
    [[position, timeline, term]] = where
    if not standby or term != action.term or (highest is not None and (timeline, position) < _rank(highest)):
        return Holds(truth=Truth.NO, reason=f"standby: {standby}, position {position}, term {term}")
    return Holds(truth=Truth.YES, receipt=_receipt(member, action.term, position, None, armed=False))


async def _await_stream(member: Member, highest: Mapping[str, Json]) -> int:
    """The stopped primary sent everything before it ended: wait for what is still on its way."""
    wanted, within = number(highest["position"]), member.settings.settle_timeout
    failing = f"the stopped primary wrote up to {wanted} and this standby did not get it all"
    answers = await member.session.look(
        wait_until(f"{POSITION} >= {wanted}", within=within, failing=failing, code=UNAVAILABLE),
        WHERE,
        within=within + GRACE,
    )
    return int(answers[-1][0][0])


async def _stream_from(member: Member, action: Action, source: RegionId, highest: Mapping[str, Json]) -> int:
    wanted, within = number(highest["position"]), member.settings.settle_timeout
    reached = f"{POSITION} >= {wanted} AND (SELECT received_tli FROM pg_stat_wal_receiver) >= {highest.get('timeline')}"
    away: tuple[sql.Composable | str, ...] = (setting("primary_conninfo", ""), RELOAD, receiver_gone(member))
    answers = await member.session.change(
        guard(action.term, Must.STANDBY),
        setting("primary_conninfo", member.conninfo(source)),
        setting("primary_slot_name", ""),
        RELOAD,
        wait_until(reached, within=within, failing=f"{source} did not send what is missing here", code=UNAVAILABLE),
        *away,
        WHERE,
        within=2 * within + GRACE,
    )
    [[position, timeline, _]] = answers[-1]
    if (timeline, position) < _rank(highest):
        raise Unavailable(f"{member.region} is at {position} of {wanted}, and {source} sends no more")
    return int(position)


def _highest(action: Action) -> Mapping[str, Json] | None:
    """Return the facts of the step whose member holds most; `Rejected` when a fence could not say its position."""
    facts = receipts(action, having="position")
    unknown = [f for f in receipts(action, having="clean") if f.get("position") is None]
    if unknown and not facts:
        raise Rejected("the old primary was stopped, but where its log ended is not known, and no standby refused it")
    return max(facts, key=_rank, default=None)


def _rank(facts: Mapping[str, Json]) -> tuple[int, int]:
    return number(facts.get("timeline") or 0), number(facts["position"])


def _receipt(member: Member, term: int, position: int, source: RegionId | None, *, armed: bool) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "position": position,
        "from": source,
        "armed": armed,
        "term": term,
    }
    return Receipt(kind="catch-up", facts=facts)
