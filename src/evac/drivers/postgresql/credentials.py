"""The passwords of a member's siblings, in a file on its own host: whoever it must follow, no server logs one.

What this is not: the passwords evac itself logs in with; those stay where evac runs.
"""

from __future__ import annotations

from datetime import timedelta

from evac.drivers.postgresql import naming
from evac.drivers.postgresql.member import Member

PUT_WITHIN = timedelta(seconds=10)
_PUT = """umask 077; cat > "$1.new" && sync "$1.new" && mv "$1.new" "$1" """


async def put_passwords(member: Member) -> None:
    """Put them there, once in evac's life. Where that may not be, `primary_conninfo` will have to hold one.

    Raises `DriverError` when the host cannot be reached.
    """
    lines = naming.passfile_lines(member.region, member.peers)
    if member.credentials.passfile or not lines:
        return
    path = f"{member.settings.workshop}.pgpass"
    done = await member.hands.as_owner(_PUT, path, stdin=lines.encode(), within=PUT_WITHIN)
    if done.code == 0:
        member.credentials.passfile = path
