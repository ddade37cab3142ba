"""A write and a read, as a client would do them: on a new connection, acknowledged by whom the primary waits for."""

from __future__ import annotations

import secrets
import time
from datetime import timedelta

from evac.core.errors import Unavailable
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.drivers.postgresql.guard import Must, guard
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.session import Session
from evac.drivers.postgresql.upkeep import TABLE

_WAIT_FOR_STANDBYS = "SET synchronous_commit = on"
_ROWS = 62
"""Each try has one of so many rows: a try whose commit still waits for a standby keeps its own locked."""


async def verify(member: Member, action: Action) -> Receipt:
    """Write (with `write`) and read one row. Harmless to repeat, so a late answer is `Unavailable`."""
    session = Session(settings=member.settings, region=member.region, place=member.place)
    within = member.settings.settle_timeout
    started = time.monotonic()
    try:
        if action.args.get("write"):
            await _write(session, action, within=within)
        else:
            await session.look(guard(action.term, Must.EITHER), "SELECT 1", within=within)
    finally:
        await session.close()
    return Receipt(kind="verify", facts={"took_s": round(time.monotonic() - started, 4)})


async def _write(session: Session, action: Action, *, within: timedelta) -> None:
    nonce, row = secrets.token_hex(8), 2 + secrets.randbelow(_ROWS)
    _, [[present]] = await session.look(
        guard(action.term, Must.PRIMARY), "SELECT to_regclass('evac.heartbeat') IS NOT NULL", within=within
    )
    answers = await session.look(
        *(() if present else TABLE),
        _WAIT_FOR_STANDBYS,
        f"""INSERT INTO evac.heartbeat (id, at, note) VALUES ({row}, clock_timestamp(), '{nonce}')
            ON CONFLICT (id) DO UPDATE SET at = excluded.at, note = excluded.note""",
        f"SELECT count(*) FROM evac.heartbeat WHERE id = {row} AND note = '{nonce}'",
        within=within,
    )
    if answers[-1][0][0] != 1:
        raise Unavailable(f"{action.region} acknowledged a row and does not show it")
