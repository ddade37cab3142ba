"""From standby to primary: prepare, catch up, promote; and what the others do then: follow, protect, verify."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from valkey.exceptions import ResponseError

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Json
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.drivers.valkey.member import Member
from evac.drivers.valkey.notes import Notes
from evac.drivers.valkey.session import GUARD, NOWHERE, Look, Session, begun

CATCH_UP_MAX = timedelta(seconds=20)
FOLLOW_MAX = timedelta(seconds=50)


async def prepare(member: Member, action: Action) -> Receipt:
    """See that the target is there and near. Changes nothing."""
    look = await member.obeying(action)
    target = member.address(action.args.get("target"))
    replica = next((r for r in look.replicas if r.address == target), None)
    if look.is_replica:
        raise Rejected(f"{member.session.where} is a replica, not the primary that is to be left")
    if replica is None or not replica.online:
        raise Rejected(f"{action.args.get('target')} is no connected replica of {member.session.where}")
    if timedelta(seconds=replica.lag_s) > member.lag_max:
        limit = member.lag_max.total_seconds()
        raise Rejected(f"{action.args.get('target')} was last heard {replica.lag_s} s ago, limit {limit:g} s")
    facts: dict[str, Json] = {
        "region": member.region,
        "lag_bytes": look.offset - replica.offset,
        "lag_s": replica.lag_s,
    }
    return Receipt(kind="prepare", facts=facts)


async def catch_up(member: Member, action: Action) -> Receipt:
    """Hold everything that any receipt's member holds: from the stopped primary's stream, or lent by a replica."""
    goal, holder = _goal(action)
    look = await member.obeying(action)
    source = member.region
    if look.offset < goal and look.detached:
        assert holder is not None, "a goal has a holder"
        await _borrow(member, action, holder, goal)
        source, look = holder, await member.session.look()
    elif look.offset < goal:
        what = f"for byte {goal} of the stopped primary's stream"
        look = await member.until(lambda now: now.offset >= goal, within=CATCH_UP_MAX, what=what)
        source = member.region_of(look.primary) or source
    facts: dict[str, Json] = {"region": member.region, "position": look.offset, "from": source}
    return Receipt(kind="catch-up", facts=facts)


def held_catch_up(member: Member, look: Look, action: Action) -> Receipt | None:
    if look.offset < _goal(action)[0]:
        return None
    return Receipt(kind="catch-up", facts={"region": member.region, "position": look.offset, "from": member.region})


async def _borrow(member: Member, action: Action, holder: RegionId, goal: int) -> None:
    """Copy the rest from a replica that refuses too. A replica without a primary lends nothing ("-NOMASTERLINK"), so it
    is made a guarded primary for the time being, and turned away again afterwards."""
    async with Session(place=member.place, settings=member.peer(holder)) as lender:
        there = await lender.look()
        member.refuse_stale(there, action)
        if not (there.detached or there.notes.state == "lending"):
            raise Rejected(f"{lender.where} does not refuse the old primary, so nothing is borrowed from it")
        refusing = Notes(term=action.term, state="refusing")
        try:
            await lender.keep(
                Notes(term=action.term, state="lending"),
                ("CONFIG", "SET", "min-replicas-max-lag", there.lag_max_s or 10),
                ("CONFIG", "SET", "min-replicas-to-write", GUARD),
                ("REPLICAOF", "NO", "ONE"),
            )
            await member.session.keep(refusing, ("REPLICAOF", *member.address(holder)))
            what = f"for byte {goal} of the stream, lent by {holder}"
            await member.until(lambda now: now.link_up and now.offset >= goal, within=CATCH_UP_MAX, what=what)
        finally:
            try:
                with begun():
                    await member.turn_away(refusing)
            finally:
                with suppress(DriverError):  # it stays a guarded primary: it refuses writes, and may lend again
                    restored = ("CONFIG", "SET", "min-replicas-to-write", member.acks)
                    await lender.keep(refusing, ("REPLICAOF", *NOWHERE), restored)


def _goal(action: Action) -> tuple[int, RegionId | None]:
    """The highest position among the receipts, and who holds it."""
    receipts = action.args.get("receipts")
    best: tuple[int, RegionId | None] = (0, None)
    for facts in receipts.values() if isinstance(receipts, Mapping) else ():
        position = facts.get("position") if isinstance(facts, Mapping) else None
        if isinstance(facts, Mapping) and isinstance(position, int) and position > best[0]:
            best = (position, RegionId(str(facts.get("region"))))
    return best


async def promote(member: Member, action: Action) -> Receipt:
    """Become the primary with all that the receipts hold, asking for as many replicas as the order says at once."""
    look = await member.obeying(action)
    if _leads(look, action) and look.min_replicas == _acks(action):
        await member.session.written()
        return _promoted(member, look, action)
    goal, _ = _goal(action)
    if look.is_replica and look.offset < goal:
        what = f"for byte {goal} of the stopped primary's stream, so it was not promoted"
        look = await member.until(lambda now: now.offset >= goal, within=CATCH_UP_MAX, what=what)
    if look.is_replica and (look.syncing or not look.offset > 1):
        raise Rejected(f"{member.session.where} holds no whole copy: promoting it would lose what it lacks")
    becoming = (*_asking(member, _acks(action)), ("REPLICAOF", "NO", "ONE"))
    now = await member.session.keep(Notes(term=action.term), *becoming)
    if not _leads(now, action):
        raise Indeterminate(f"{member.session.where} did not become a primary; its log says why")
    return _promoted(member, now, action)


def held_promote(member: Member, look: Look, action: Action) -> Receipt | None:
    """Raises `Indeterminate` of a primary of this term that asks for another number of replicas: it may take writes."""
    acks = _acks(action)
    if not _leads(look, action):
        return None
    if look.min_replicas != acks:
        raise Indeterminate(
            f"{member.session.where} is the primary, and asks for {look.min_replicas} replicas, not {acks}"
        )
    return _promoted(member, look, action)


def _leads(look: Look, action: Action) -> bool:
    return not look.is_replica and look.notes.term == action.term and not look.notes.state


def _promoted(member: Member, look: Look, action: Action) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "timeline": None,
        "position": max(0, look.divergence),
        "stream": look.replid2,
        "term": action.term,
    }
    return Receipt(kind="promote", facts=facts)


def _acks(action: Action) -> int:
    sync = action.args.get("sync")
    acks = sync.get("acks") if isinstance(sync, Mapping) else action.args.get("acks")
    if not isinstance(acks, int):
        raise Rejected("the order does not say how many replicas must acknowledge")
    return acks


def _asking(member: Member, acks: int) -> tuple[tuple[str | int, ...], ...]:
    lag_max_s = int(member.settings.replicas_lag_max.total_seconds())
    return (
        ("CONFIG", "SET", "min-replicas-max-lag", lag_max_s),
        ("CONFIG", "SET", "min-replicas-to-write", acks),
    )


async def follow(member: Member, action: Action) -> Receipt:
    """Follow the new primary, and wait for its stream."""
    primary = member.address(action.args.get("primary"))
    look = await member.obeying(action)
    if not look.is_replica and look.notes.state != "lending":
        raise Rejected(f"{member.session.where} is a primary: it is rejoined, which saves what only it has")
    before = action.args.get("old") if look.primary == primary else member.region_of(look.primary)
    member.turned_away_at = None
    if follows(look, primary, action):
        await member.session.written()
    else:
        restored = ("CONFIG", "SET", "min-replicas-to-write", member.acks)
        await member.session.keep(Notes(term=action.term), ("REPLICAOF", *primary), restored)
    what = f"for the stream of {action.args.get('primary')}"
    with begun():
        await member.until(lambda now: now.link_up, within=FOLLOW_MAX, what=what)
    return _followed(member, before)


def held_follow(member: Member, look: Look, action: Action) -> Receipt | None:
    """Raises `Indeterminate` while it follows and has no stream yet. Whom it followed before is not to be seen."""
    if not follows(look, member.address(action.args.get("primary")), action):
        return None
    must_stream(member, look, action)
    return _followed(member, action.args.get("old"))


def follows(look: Look, primary: tuple[str, int], action: Action) -> bool:
    """Whether a server was told by this term to follow a primary, whether or not it has reached it."""
    return look.primary == primary and look.notes.term == action.term and not look.notes.state


def must_stream(member: Member, look: Look, action: Action) -> None:
    if not look.link_up:
        raise Indeterminate(f"{member.session.where} follows {action.args.get('primary')}, and has no stream of it yet")


def _followed(member: Member, before: Json) -> Receipt:
    return Receipt(kind="follow", facts={"region": member.region, "timeline": None, "before": before})


async def undo_follow(member: Member, action: Action) -> Receipt:
    """Follow whom it followed before, or whom the plan leaves; nobody, when neither is known."""
    look = await member.obeying(action)
    receipt, primary = action.args.get("receipt"), action.args.get("primary")
    before = receipt.get("before") if isinstance(receipt, Mapping) else None
    if before is None or before == primary:
        before = action.args.get("old")
    address = member.address(before) if before is not None else NOWHERE
    if look.primary == member.address(primary):
        notes = Notes(term=action.term, state="refusing" if before is None else "")
        await member.session.keep(notes, ("REPLICAOF", *address))
    elif look.notes.term == action.term:
        await member.session.written()
    return Receipt(kind="follow", facts={"region": member.region, "before": before})


async def protect(member: Member, action: Action) -> Receipt:
    """Ask for exactly so many replicas. Valkey counts replicas; it cannot name them."""
    look = await member.obeying(action)
    _must_be_primary(member, look)
    held = held_protect(member, look, action)
    if held is not None:
        await member.session.written()
        return held
    noted = Notes(term=action.term, was_min_replicas=look.min_replicas)
    held = held_protect(member, await member.session.keep(noted, *_asking(member, _acks(action))), action)
    if held is None:
        raise Indeterminate(f"{member.session.where} does not hold what it was told")
    return held


def held_protect(member: Member, look: Look, action: Action) -> Receipt | None:
    if look.is_replica or look.min_replicas != _acks(action) or look.notes.term != action.term:
        return None
    before = look.notes.was_min_replicas
    facts: dict[str, Json] = {
        "region": member.region,
        "acks": look.min_replicas,
        "standbys": action.args.get("standbys", []),
        "before": look.min_replicas if before is None else before,
    }
    return Receipt(kind="protect", facts=facts)


async def undo_protect(member: Member, action: Action) -> Receipt:
    """Ask for as many as before."""
    look = await member.obeying(action)
    receipt = action.args.get("receipt")
    before = receipt.get("before") if isinstance(receipt, Mapping) else look.notes.was_min_replicas
    if isinstance(before, int) and before != look.min_replicas and not look.is_replica:
        await member.session.keep(Notes(term=action.term), *_asking(member, before))
    elif look.notes.term == action.term:
        await member.session.written()
    return Receipt(kind="protect", facts={"region": member.region, "acks": before})


async def verify(member: Member, action: Action) -> Receipt:
    """Write and read one key as a client would."""
    look = await member.obeying(action)
    _must_be_primary(member, look)
    started = time.monotonic()
    value = secrets.token_hex(4)
    try:
        await member.session.change(("SET", "evac.canary.verify", value, "EX", 60))
    except Rejected as refusal:
        if isinstance(refusal.__cause__, ResponseError) and "NOREPLICAS" in str(refusal):
            raise Unavailable(f"{member.session.where}: too few replicas follow yet: {refusal}") from refusal
        raise
    if await member.session.ask("GET", "evac.canary.verify") != value:
        raise Unavailable(f"{member.session.where} does not hold what was just written to it")
    return Receipt(kind=str(Verb.VERIFY), facts={"region": member.region, "took_s": time.monotonic() - started})


def _must_be_primary(member: Member, look: Look) -> None:
    if look.is_replica or look.guarded:
        raise Rejected(f"{member.session.where} is no primary that takes writes")
