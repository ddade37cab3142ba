"""A client of the database itself: libpq with several hosts, which looks for the one that takes writes.

In a region that is cut off the same client, with one host, goes on writing to its own primary: that is what makes
orphans.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import psycopg
from psycopg.conninfo import make_conninfo

from evac.lab.clients.record import Pace, Record
from evac.lab.clients.workload import split
from evac.lab.history import Ending, Owner
from evac.lab.ledger import Order, Session

OPEN_LIMIT = 5.0
"""Seconds to find a server that takes writes, over all hosts."""


async def write_orders(
    *,
    client: str,
    servers: Mapping[str, str],
    conninfo: str,
    via: str,
    pace: Pace,
    record: Record,
    limit: float,
) -> None:
    """Write one order after another until the record says stop. `servers` maps a region to its address."""
    order = list(servers)
    session: Session | None = None
    seq = 0
    while not record.stop.is_set():
        await pace()
        if session is None:
            session = await _open_unless_stopped(order, servers, conninfo, record.stop)
        if session is None:
            continue
        seq += 1
        node = next(region for region, address in servers.items() if split(address) == session.server)
        id = record.begin(client=client, seq=seq, store="orders", via=via)
        written = await session.write(Order(id=id, client=client, seq=seq), node=node, limit=limit)
        owner = None
        if written.ending is Ending.OK and written.timeline is not None:
            owner = Owner(node=node, term=written.timeline, address=session.server[0])
        record.end(id, written.ending, owner=owner, reason=written.reason)
        if written.ending is not Ending.OK:
            await session.close()
            session = None
            order.sort(key=lambda region: region == node)  # the one that failed is asked last
    if session:
        await session.close()


async def _open_unless_stopped(
    order: list[str], servers: Mapping[str, str], conninfo: str, stop: asyncio.Event
) -> Session | None:
    """Return what `_open` returns, or None as soon as the clients are to end: nothing is under way yet."""
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(_open(order, servers, conninfo))
        stopping = group.create_task(stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        stopping.cancel()
    return None if opening.cancelled() else opening.result()


async def _open(order: list[str], servers: Mapping[str, str], conninfo: str) -> Session | None:
    """Return a session to the first server, in this order, that takes writes; None if there is none just now."""
    addresses = [split(servers[region]) for region in order]
    several = make_conninfo(
        conninfo,
        host=",".join(host for host, _ in addresses),
        port=",".join(str(port) for _, port in addresses),
        target_session_attrs="read-write",
        connect_timeout=2,  # the least libpq knows
        application_name="evac-lab-client",
    )
    try:
        return await Session.open(several, limit=OPEN_LIMIT)
    except (psycopg.Error, TimeoutError):
        return None
