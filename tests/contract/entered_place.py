"""This host as a place where words come before every command: in other namespaces, as another user, without a PATH."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from evac.places.local import LocalPlace
from evac.ports import Completed


class EnteredPlace:
    """Runs commands behind the words; connections are this host's."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._here = LocalPlace()

    async def ping(self) -> int:
        return await self._here.ping()

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        return await self._here.run((*self._words, *argv), stdin=stdin, timeout=timeout)

    def forward(self, host: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        return self._here.forward(host, port)

    async def close(self) -> None:
        await self._here.close()
