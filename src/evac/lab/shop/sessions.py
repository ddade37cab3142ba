"""A few sessions to one PostgreSQL, lent out one at a time, made anew when they break.

Intuition: the number of sessions is the bound on everything. A write that waits for a lost standby keeps its session
until PostgreSQL ends it, and nobody hurries it; when all are busy the shop says so at once, and nothing was sent. So a
server never sees more connections than these, however long it is cut off.

There is no health check: a session that broke is known by the statement that failed, and the next one connects again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from evac.lab.ledger import Session


class NotNow(Exception):
    """No session could be had: nothing was sent."""


class Sessions:
    """At most `most` sessions to `conninfo`."""

    def __init__(self, conninfo: str, *, most: int = 12, limit: float = 1.0) -> None:
        self._conninfo = conninfo
        self._free = asyncio.Semaphore(most)
        self._idle: list[Session] = []
        self._limit = limit

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Session]:
        """Give a session for one piece of work; raises `NotNow` when all are busy or the server cannot be reached."""
        if self._free.locked():
            raise NotNow("all sessions to the database are busy")
        async with self._free:
            session = await self._one()
            try:
                yield session
            finally:
                if session.usable:
                    self._idle.append(session)
                else:
                    await session.close()

    async def _one(self) -> Session:
        """Return an idle session that still looks usable, or a new one."""
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                return session
            await session.close()
        try:
            return await Session.open(self._conninfo, limit=self._limit)
        except (psycopg.Error, TimeoutError) as error:
            text = str(error).strip().splitlines()
            raise NotNow(f"no connection to the database: {text[0] if text else 'it did not answer'}") from error

    async def close(self) -> None:
        """End the idle sessions; lent ones end when they come back."""
        while self._idle:
            await self._idle.pop().close()
