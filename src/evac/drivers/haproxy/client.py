"""A client's request at a load balancer's own door: what comes back is what clients would get.

What this is not: a probe (`evac.drivers.probes`), which is asked again and again; this is asked when a plan needs it.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import httpx

from evac.core.errors import Unavailable
from evac.core.observation import Json
from evac.ports import Place

ANSWER_MAX_S = 5.0
"""How long a client would wait."""


async def asked_as_client(url: str, *, place: Place) -> dict[str, Json]:
    """Ask once over a new connection from a place, and return what came of it. Raises `Unavailable` for no good answer.

    A redirect is an answer: the door is open.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None, "settings refuse an address without a host"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    begun = time.monotonic()
    try:
        async with (
            asyncio.timeout(ANSWER_MAX_S),
            place.forward(parts.hostname, port) as (near, near_port),
            httpx.AsyncClient(trust_env=False, timeout=ANSWER_MAX_S) as http,
        ):
            reply = await http.get(
                f"{parts.scheme}://{near}:{near_port}{target}",
                headers={"Host": parts.netloc.rpartition("@")[2], "User-Agent": "evac"},
                extensions={"sni_hostname": parts.hostname},
            )
    except TimeoutError:
        raise Unavailable(f"{url}: no answer to a client within {ANSWER_MAX_S:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"{url}: {str(error) or type(error).__name__}") from error
    if reply.status_code >= httpx.codes.BAD_REQUEST:
        raise Unavailable(f"{url}: a client is answered HTTP {reply.status_code}")
    return {"status": reply.status_code, "took_s": round(time.monotonic() - begun, 3)}
