"""The supervisor's end of the WAN process: start it, set its links, ask what it has seen."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from evac.lab import namespaces
from evac.lab.servers.process import ServerError
from evac.lab.wan.links import Direction, Link
from evac.lab.wan.process import encode_links

ANSWER_WAIT_S = 10.0


class Wan:
    """A WAN process, once `start` has returned."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    async def start(self, *, sites: Mapping[str, int], links: dict[Direction, Link], seed: int) -> None:
        """Start it in its namespace, and return when it carries frames."""
        self._process = await asyncio.create_subprocess_exec(
            *namespaces.within(namespaces.WAN),
            sys.executable,
            "-m",
            "evac.lab.wan.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        await self._say({"sites": dict(sites), "seed": seed, "links": encode_links(links)})

    async def set(self, links: dict[Direction, Link]) -> float:
        """Change the links; return the instant (boot time, seconds) at which that had taken effect."""
        return float((await self._say({"links": encode_links(links)}))["at_s"])

    async def ask(self) -> dict[str, Any]:
        """Return what it has seen and spent."""
        return await self._say({})

    async def _say(self, order: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None, "the WAN is started before it is asked"
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._asking, asyncio.timeout(ANSWER_WAIT_S):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            line = await process.stdout.readline()
        if not line:
            raise ServerError("the WAN process has ended; the log of the lab says why: take the lab down")
        answer: dict[str, Any] = json.loads(line)
        return answer
