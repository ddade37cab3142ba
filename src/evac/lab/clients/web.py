"""A client of the shop's public address: resolves it, sends an order to the HAProxy there, and waits a second.

A 200 names who took the order. A 503, or a connection that could not be made, means that it was not taken; anything
else is unknown, also every time-out.
"""

from __future__ import annotations

import asyncio

import httpx

from evac.lab.clients.names import Names
from evac.lab.clients.record import Pace, Record
from evac.lab.history import Ending, Owner

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


async def send_orders(*, client: str, names: Names, port: int, pace: Pace, record: Record, limit: float) -> None:
    """Send one order after another until the record says stop."""
    turn = seq = 0
    async with httpx.AsyncClient(timeout=limit, trust_env=False) as http:
        while not record.stop.is_set():
            await pace()
            addresses = await names.addresses()
            if not addresses:
                continue
            seq += 1
            url = f"http://{addresses[turn % len(addresses)]}:{port}/orders"
            id = record.begin(client=client, seq=seq, store="orders", via="web")
            how, owner, reason = await _send(http, url, {"id": id, "client": client, "seq": seq}, limit)
            record.end(id, how, owner=owner, reason=reason)
            if how is not Ending.OK:
                turn += 1


async def _send(
    http: httpx.AsyncClient, url: str, order: dict[str, object], limit: float
) -> tuple[Ending, Owner | None, str]:
    """Send one order once, and say how it ended."""
    try:
        async with asyncio.timeout(2 * limit):
            reply = await http.post(url, json=order)
        said = reply.json() if reply.headers.get("content-type", "").startswith("application/json") else {}
    except NOT_SENT as error:
        return Ending.FAIL, None, f"not sent: {type(error).__name__} {error}"
    except (httpx.HTTPError, TimeoutError, ValueError) as error:
        return Ending.INFO, None, f"{type(error).__name__} {error}".strip()
    if reply.status_code == httpx.codes.OK and "timeline" in said:
        return Ending.OK, Owner(node=said["node"], term=said["timeline"], address=said["address"]), ""
    sure = reply.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.BAD_REQUEST)
    reason = f"{reply.status_code} {said.get('node', 'haproxy')} {said.get('reason', '')}"
    return Ending.FAIL if sure else Ending.INFO, None, reason
