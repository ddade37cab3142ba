"""HTTP/1.1 with connections kept open: h11 does the protocol, asyncio the bytes, this file only carries them across."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11

from evac.lab.shop.service import Reply, Shop

IDLE_MAX = 60.0
"""Seconds a connection may be silent."""
BODY_MAX = 65536


async def serve_connection(shop: Shop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on one connection until the client has enough, or breaks the rules."""
    protocol = h11.Connection(h11.SERVER)
    address = writer.get_extra_info("sockname")[0]
    try:
        while True:
            request, body = await _request(protocol, reader)
            if request is None:
                return
            reply = await _reply(shop, request, body)
            writer.write(_encode(protocol, reply, address))
            await writer.drain()
            if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                return
            protocol.start_next_cycle()
    except (h11.RemoteProtocolError, OSError, TimeoutError):
        return  # a client that goes away, or talks nonsense, is told by the closed connection
    finally:
        writer.close()


async def _request(protocol: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request | None, bytes]:
    """Return the next request and its body; None when the client has closed."""
    request: h11.Request | None = None
    body = b""
    while True:
        event = protocol.next_event()
        match event:
            case h11.NEED_DATA:
                async with asyncio.timeout(IDLE_MAX):
                    protocol.receive_data(await reader.read(65536))
            case h11.Request():
                request = event
            case h11.Data(data=data):
                body += data
                if len(body) > BODY_MAX:
                    raise h11.RemoteProtocolError("the body is too long")
            case h11.EndOfMessage():
                return request, body
            case _:  # the connection was closed; h11 has no closed union to match
                return None, b""


async def _reply(shop: Shop, request: h11.Request, body: bytes) -> Reply:
    """Read a request's body as JSON and have the shop answer it."""
    try:
        asked: Any = json.loads(body) if body else {}
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        return Reply(status=HTTPStatus.BAD_REQUEST, body={"error": "the body is not a JSON object"})
    path = request.target.decode("ascii").partition("?")[0]
    return await shop.answer(method=request.method.decode("ascii"), path=path, body=asked)


def _encode(protocol: h11.Connection, reply: Reply, address: str) -> bytes:
    """Return a reply's bytes. Every body says which address answered."""
    body = json.dumps({**reply.body, "address": address}).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    parts = (
        protocol.send(h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase)),
        protocol.send(h11.Data(data=body)),
        protocol.send(h11.EndOfMessage()),
    )
    return b"".join(part for part in parts if part)
