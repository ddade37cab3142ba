"""The two fences: the old primary is stopped, or its replicas turn away from it until it starves.

Stopped: `min-replicas-to-write` of a million refuses every write from that command on, survives a restart, and lets
replicas go on copying. Its pings are stilled too, so that its stream ends with its last write and it can later follow
the new primary without being copied whole. Only a server that does not answer is killed, if `control` says how.

Starved: a primary counts a replica as good until `min-replicas-max-lag` after its last acknowledgement. Both times are
whole seconds, so it is believed up to a second longer; it counts again once a second, so that is another; then it
refuses. Waited for from the moment this replica turned away, on this process's own clock.

What starving cannot cover: a primary whose process was frozen answers, when it wakes, what stood in its sockets before
it counts again.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.observation import Json
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.valkey.member import Member
from evac.drivers.valkey.notes import Notes
from evac.drivers.valkey.session import GUARD, Look, begun

COUNTING = timedelta(seconds=2.3)
"""Whole seconds on both sides, the count once a second, and the server's own clock, read ten times a second."""
_STILL_S = 86_400
PING_S = 10
"""Valkey's own default, where no other is noted."""


async def stop(member: Member, action: Action) -> Receipt:
    """Refuse every write, durably; kill what does not answer, when the order says so and `control` says how."""
    try:
        look = await member.obeying(action)
    except Unavailable:
        if action.args.get("mode") != "kill" or member.settings.control is None:
            raise
        await member.killed(member.settings.control)
        return _stopped(member, None, action)
    if is_stopped(look) and look.notes.term == action.term:
        await member.session.written()
    else:
        look = await guard(member, look, action)
    return _stopped(member, look, action)


async def guard(member: Member, look: Look, action: Action) -> Look:
    """Make a server refuse every write, and note what its settings were. A replica refuses writes by itself."""
    if look.is_replica:
        return await member.session.keep(Notes(term=action.term, state=look.notes.state))
    known = look.min_replicas >= GUARD
    notes = Notes(
        term=action.term,
        state="stopped",
        was_min_replicas=look.notes.was_min_replicas if known else look.min_replicas,
        was_ping_s=look.notes.was_ping_s if known else look.ping_s,
    )
    return await member.session.keep(
        notes,
        ("CONFIG", "SET", "min-replicas-max-lag", look.lag_max_s or 10),
        ("CONFIG", "SET", "min-replicas-to-write", GUARD),
        ("CONFIG", "SET", "repl-ping-replica-period", _STILL_S),
    )


def is_stopped(look: Look) -> bool:
    """Whether a server was stopped by evac and still is."""
    return look.is_replica or (look.guarded and look.notes.state == "stopped")


def held_stop(member: Member, look: Look, action: Action) -> Receipt | None:
    return _stopped(member, look, action) if is_stopped(look) and look.notes.term == action.term else None


async def undo_stop(member: Member, action: Action) -> Receipt:
    """Take writes again, as before."""
    look = await member.started()
    member.refuse_stale(look, action)
    if look.guarded and look.notes.state == "stopped":
        was = look.notes.was_min_replicas
        await member.session.keep(
            Notes(term=action.term),
            ("CONFIG", "SET", "min-replicas-to-write", member.acks if was is None else was),
            ("CONFIG", "SET", "repl-ping-replica-period", look.notes.was_ping_s or PING_S),
        )
    elif look.notes.term == action.term:
        await member.session.written()
    return Receipt(kind="started", facts={"region": member.region})


async def refuse(member: Member, action: Action) -> Receipt:
    """Turn away from the old primary for good, and wait until it starves."""
    wait = _starving(member, action)
    look = await member.obeying(action)
    if not look.is_replica and look.notes.state != "lending":
        raise Rejected(f"{member.session.where} is a primary; only a replica can refuse one")
    if _turned_away(look, action):
        await member.session.written()
    else:
        await _turn_away(member, look, action)
    since = member.turned_away_at = member.turned_away_at or member.clock.now()
    await member.clock.sleep(max(timedelta(), since + wait - member.clock.now()))
    with begun():
        look = await member.session.look()
    if not _turned_away(look, action):
        raise Indeterminate(f"{member.session.where} turned away, and no longer does: who told it to follow again?")
    return _starved(member, look, action, wait)


async def _turn_away(member: Member, look: Look, action: Action) -> None:
    if look.is_replica and (look.syncing or not look.offset > 1):
        raise Rejected(f"{member.session.where} holds no whole copy yet: its refusal would prove nothing")
    member.turned_away_at = None  # if it cannot be said whether this took effect, an earlier time counts for nothing
    if look.is_replica:
        await member.turn_away(Notes(term=action.term, state="refusing"))
    else:
        await member.session.keep(Notes(term=action.term, state="lending"))


def held_refuse(member: Member, look: Look, action: Action) -> Receipt | None:
    """Raises `Indeterminate` while its primary may live on."""
    wait = _starving(member, action)
    since = member.turned_away_at
    if not _turned_away(look, action):
        return None
    if since is None or member.clock.now() < since + wait:
        raise Indeterminate(
            f"{member.session.where} has turned away, not yet for certain since {wait.total_seconds()} s"
        )
    return _starved(member, look, action, wait)


async def undo_refuse(member: Member, action: Action) -> Receipt:
    """Follow the old primary again."""
    old = member.address(action.args.get("old"))
    look = await member.obeying(action)
    if not look.is_replica and look.notes.state != "lending":
        raise Rejected(f"{member.session.where} is a primary now, so it follows nobody again; who promoted it?")
    member.turned_away_at = None
    if look.primary != old:
        lent = () if look.is_replica else (("CONFIG", "SET", "min-replicas-to-write", member.acks),)
        await member.session.keep(Notes(term=action.term), ("REPLICAOF", *old), *lent)
    elif look.notes.term == action.term:
        await member.session.written()
    return Receipt(kind="follow", facts={"region": member.region})


def _starving(member: Member, action: Action) -> timedelta:
    """How long the old primary may live on after its last replica turned away."""
    if member.acks < 1:
        raise Rejected(
            f"{member.component} asks for no acknowledgement, so its primary cannot be starved:"
            " set min-replicas-to-write 1 in Valkey, and replication.acks 1 here"
        )
    lag_max = member.peer(action.args.get("old")).replicas_lag_max
    if not lag_max:
        raise Rejected(
            f"{member.component}: min-replicas-max-lag 0 turns min-replicas-to-write off; set it to 2 or more"
        )
    return lag_max + COUNTING


def _turned_away(look: Look, action: Action) -> bool:
    away = look.detached or (look.guarded and look.notes.state == "lending")
    return away and look.notes.term == action.term


def _stopped(member: Member, look: Look | None, action: Action) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "position": look.offset if look is not None else None,
        "clean": look is not None and action.args.get("mode") == "clean",
        "term": action.term,
    }
    return Receipt(kind="stopped", facts=facts)


def _starved(member: Member, look: Look, action: Action, wait: timedelta) -> Receipt:
    facts: dict[str, Json] = {
        "region": member.region,
        "position": look.offset,
        "timeline": None,
        "term": action.term,
        "waited_s": wait.total_seconds(),
    }
    return Receipt(kind="starved", facts=facts)
