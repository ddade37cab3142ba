"""Whether the server that clients write to is the one that a fence would end.

Intuition: clients know an address, a fence a folder of a host. An agent begun for the wrong region, or a server that
has moved to another data directory, makes two servers of these: the wrong one would be killed, and the receipt would
stand beside a primary that writes on. So where a server answers at the address, it is asked for its lock file: process,
start and memory, which no other server has, and no copy keeps. What is not the same is not stopped. And once nothing
runs in the folder, the address is tried again: a primary there means no receipt.

A server that does not answer cannot be told from another one, and is stopped all the same: for that one a fence exists.

What this is not: a proof that a silent server is the right one. `evac check` looks while it answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import DriverError, Indeterminate, Rejected
from evac.drivers.postgresql.fence import Answers, Down, Ended, lock_lines
from evac.drivers.postgresql.member import Member

_ASK = "SELECT pg_is_in_recovery(), pg_read_file('postmaster.pid', true), current_setting('data_directory')"
_PATIENCE = 5
"""A silent server is waited for a fifth of the time that an observation may take: it holds up a failover."""
REMEDY = "set data_dir to where that server's data is, or begin the region's agent on the region's own host"
_LOOKS = 2
"""One that is started again between the two questions differs once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server at the address says of itself."""

    standby: bool
    lock: tuple[str, ...]
    folder: str


async def must_be_here(member: Member) -> None:
    """Return if the server at the address is the one in the data directory, or does not say. `Rejected` otherwise."""
    differs = ""
    for _ in range(_LOOKS):
        try:
            told = await _told(member, within=member.settings.answer_timeout / _PATIENCE)
        except DriverError:
            return
        differs = difference(told, await member.fence.down())
        if not differs:
            return
    raise Rejected(f"{member.region}: {_mistaken(member, differs)}; nothing was done: {REMEDY}")


async def found_here(member: Member, down: Down) -> tuple[bool, str]:
    """Return whether the server at the address is the one in the data directory, and that in words."""
    told = await _told(member, within=member.settings.answer_timeout)
    differs = difference(told, down)
    s = member.settings
    return not differs, _mistaken(member, differs) if differs else f"{s.host}:{s.port} is the one in {s.data_dir}"


async def must_be_silent(member: Member, ended: Ended) -> None:
    """Return if no primary answers at the address of a member of which nothing runs any more.

    `Indeterminate` if one does, or something that does not say what it is.
    """
    if ended.answers is Answers.NO:
        return
    s = member.settings
    what = "takes connections and does not say what it is"
    try:
        if (await _told(member, within=s.connect_timeout + s.answer_timeout)).standby:
            return
        what = "is a primary"
    except DriverError:
        if ended.answers is Answers.UNKNOWN:
            return
    raise Indeterminate(
        f"{member.region}: the server at {s.host}:{s.port} {what}, though nothing runs in {s.data_dir} any more: "
        f"{REMEDY}"
    )


def difference(told: Told, down: Down) -> str:
    """Return in which way the server that answers is not the one in the data directory; "" when it is that."""
    if told.lock and not down.running:
        return "nothing runs there"
    if told.lock and told.lock != down.lock:
        return f"process {down.lock[0] if down.lock else 'unknown'} runs there, not {told.lock[0]} of {told.folder}"
    return ""


def _mistaken(member: Member, differs: str) -> str:
    s = member.settings
    return f"the server at {s.host}:{s.port} is not the one in {s.data_dir} ({differs})"


async def _told(member: Member, *, within: timedelta) -> Told:
    """Ask on the connection that observes, which is open where anything answers."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            [[(standby, lock, folder)]] = await member.watching.look(_ASK, within=within)
    except TimeoutError:
        raise Indeterminate(f"{member.region} did not say in time which server it is") from None
    return Told(standby=standby, lock=lock_lines(lock or ""), folder=folder)
