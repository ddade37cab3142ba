"""An old primary becomes a replica again: guarded first, then its orphaned writes saved, then re-pointed.

Following the new primary may copy everything anew and drop what only this server has; so nothing is re-pointed before
what it has is kept, and what was kept is noted on evac's own disk, so that a rejoin that is taken up again still knows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from evac.core.errors import Rejected, Unavailable
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.valkey import orphans
from evac.drivers.valkey.fence import PING_S, guard
from evac.drivers.valkey.member import Member
from evac.drivers.valkey.notes import Notes
from evac.drivers.valkey.session import Look, Session, begun
from evac.drivers.valkey.succession import follows, must_stream

COPY_MAX = timedelta(minutes=10)
"""How long writing a copy of the data set may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was lost, and where it is kept. `lost_bytes` None: it cannot be said."""

    term: int
    method: str
    lost_bytes: int | None
    orphans: int = 0
    orphans_exact: bool = True
    orphans_file: str | None = None


async def rejoin(member: Member, action: Action) -> Receipt:
    """Save what only this server has, and follow the new primary."""
    primary = member.address(action.args.get("primary"))
    look = await member.started()
    member.refuse_stale(look, action)
    kept = _noted(member, action)
    if kept is None:
        if not look.is_replica and not look.guarded:
            await guard(member, look, action)
            look = await member.session.look()
        kept = await _keep(member, look, action)
        await asyncio.to_thread(_note, member, kept)
    member.turned_away_at = None
    if not follows(look, primary, action):
        # first a replica, then without the guard: at no moment a primary that takes writes
        await member.session.keep(
            Notes(term=action.term),
            ("REPLICAOF", *primary),
            ("CONFIG", "SET", "min-replicas-to-write", member.acks),
            ("CONFIG", "SET", "repl-ping-replica-period", look.notes.was_ping_s or min(look.ping_s, PING_S)),
        )
    else:
        await member.session.written()
    what = f"for the stream of {action.args.get('primary')}"
    with begun():
        await member.until(lambda now: now.link_up, within=member.settings.resync_max, what=what)
    return _receipt(member, kept)


def held_rejoin(member: Member, look: Look, action: Action) -> Receipt | None:
    """Raises `Indeterminate` while it follows and has no stream yet."""
    kept = _noted(member, action)
    if kept is None or not follows(look, member.address(action.args.get("primary")), action):
        return None
    must_stream(member, look, action)
    return _receipt(member, kept)


async def _keep(member: Member, look: Look, action: Action) -> Kept:
    """Find out what only this server has, and keep it."""
    if _given_over(look, action):
        return Kept(term=action.term, method="follow", lost_bytes=0)
    async with Session(place=member.place, settings=member.peer(action.args.get("primary"))) as session:
        new = await session.look()
    if look.replid not in (new.replid, new.replid2):
        where = await _copy(member, action)
        return Kept(term=action.term, method="clone", lost_bytes=None, orphans_exact=where is None, orphans_file=where)
    same = look.replid == new.replid
    lost = max(0, look.offset - (new.offset if same else new.divergence))
    if not lost or (same and look.is_replica):
        return Kept(term=action.term, method="follow", lost_bytes=0)
    stream = await orphans.tail(member.place, member.settings, replid=look.replid, after=new.divergence, length=lost)
    if stream is None:
        where = await _copy(member, action)
        return Kept(term=action.term, method="clone", lost_bytes=lost, orphans_exact=False, orphans_file=where)
    found = orphans.writes(stream)
    path = member.keep_folder / f"{member.component}.{member.region}.term-{action.term}.orphans.jsonl"
    if found:
        await asyncio.to_thread(orphans.save, found, path)
    return Kept(
        term=action.term,
        method="clone",
        lost_bytes=lost,
        orphans=len(found),
        orphans_file=str(path) if found else None,
    )


def _given_over(look: Look, action: Action) -> bool:
    """Whether the promotion's receipt says that the new primary took over all of this server's stream."""
    receipts = action.args.get("receipts")
    for facts in receipts.values() if isinstance(receipts, Mapping) else ():
        upto = facts.get("position") if isinstance(facts, Mapping) and facts.get("stream") == look.replid else None
        if isinstance(upto, int) and look.offset <= upto:
            return True
    return False


async def _copy(member: Member, action: Action) -> str | None:
    """Keep the whole data set beside the server, and return where; None when there is nothing in it."""
    session = member.session
    info = await session.ask("INFO", "keyspace")
    if not info:
        return None
    await session.change(("BGSAVE",))
    deadline = member.clock.now() + COPY_MAX
    while int((saving := await session.ask("INFO", "persistence"))["rdb_bgsave_in_progress"]):
        if member.clock.now() >= deadline:
            raise Unavailable(f"{session.where}: its copy took longer than {COPY_MAX.total_seconds():g} s")
        await member.clock.sleep(timedelta(milliseconds=100))
    if saving["rdb_last_bgsave_status"] != "ok":
        raise Rejected(f"{session.where} cannot write a copy of its data (BGSAVE failed); make room on its disk")
    where = await session.ask("CONFIG GET", "dir", "dbfilename")
    copy = f"{where['dir']}/evac-orphans-term-{action.term}.rdb"
    done = await member.place.run(("cp", "-p", f"{where['dir']}/{where['dbfilename']}", copy), timeout=COPY_MAX)
    if done.code != 0:
        why = done.err.decode(errors="replace").strip()
        raise Rejected(f"{session.where}: its data could not be kept as {copy}: {why}")
    return copy


def _path(member: Member) -> Path:
    return member.keep_folder / f"{member.component}.{member.region}.rejoin.json"


def _note(member: Member, kept: Kept) -> None:
    path = _path(member)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".new").open("w", encoding="utf-8") as file:
        json.dump(asdict(kept), file)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".new").replace(path)


def _noted(member: Member, action: Action) -> Kept | None:
    """What this very rejoin has kept already."""
    if not _path(member).exists():
        return None
    kept = Kept(**json.loads(_path(member).read_text(encoding="utf-8")))
    return kept if kept.term == action.term else None


def _receipt(member: Member, kept: Kept) -> Receipt:
    return Receipt(kind="rejoin", facts={"region": member.region, **asdict(kept)})
