"""Places, probes, members and a store that do as a test says: for whatever looks at the world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from evac.core.errors import StoreUnavailable, Unavailable
from evac.core.estate import Probe
from evac.core.observation import MemberState
from evac.core.plan import Action
from evac.core.run import Receipt
from evac.ports import Change, Completed, Finding, Holds, Place, Prober, Record, Truth


@dataclass(slots=True)
class ScriptedPlace:
    """A place that answers while `trouble` is empty, and says nothing at all while it is None."""

    trouble: str | None = ""
    unanswered: int = 0
    """How many pings began in trouble."""
    connection: int = 1

    async def ping(self) -> int:
        self.unanswered += self.trouble != ""
        if self.trouble is None:
            await asyncio.Event().wait()
        if self.trouble:
            raise Unavailable(self.trouble)
        return self.connection

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        raise Unavailable(f"a scripted place runs nothing, not even {argv[0]}")

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        yield host, port

    async def close(self) -> None:
        self.trouble = "closed"


@dataclass(slots=True)
class ScriptedProber:
    """A prober whose every answer a function gives; it notes how often it was asked and whether two asks overlapped."""

    answer: Callable[[int], str | Exception | None]
    """What the n-th question gets: a reason, "", an error, or None for silence that only cancelling ends."""
    asked: int = 0
    at_once: int = 0
    at_once_max: int = 0
    closed: bool = False

    async def ask(self) -> str:
        self.asked += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            answer = self.answer(self.asked)
            await asyncio.sleep(0)
            if answer is None:
                await asyncio.Event().wait()
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, str)
            return answer
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class ScriptedProbes:
    """A kind of probe whose settings are its prober."""

    name: str = "scripted"
    settings: type = ScriptedProber

    async def open(self, probe: Probe, place: Place) -> Prober:
        assert isinstance(probe.settings, ScriptedProber)
        return probe.settings


@dataclass(slots=True)
class ScriptedMember:
    """A driver that says of its member what it is given; an error is raised."""

    says: MemberState | Exception

    async def observe(self) -> MemberState:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def holds(self, action: Action) -> Holds:
        return Holds(truth=Truth.UNKNOWN)

    async def do(self, action: Action) -> Receipt:
        raise Unavailable("a scripted member does nothing")

    async def undo(self, action: Action) -> Receipt:
        raise Unavailable("a scripted member does nothing")

    async def close(self) -> None: ...


@dataclass(slots=True)
class NotingStore:
    """A store that only takes writes, and notes each; while `down` it takes none."""

    down: bool = False
    written: list[Mapping[str, bytes]] = field(default_factory=list)

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        if self.down:
            raise StoreUnavailable("the store is down")
        self.written.append(dict(put))
        return len(self.written)

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        raise StoreUnavailable("this store only takes writes")

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        raise StoreUnavailable("this store only takes writes")

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        raise StoreUnavailable("this store only takes writes")
        yield

    async def revision(self) -> int:
        return len(self.written)

    async def incarnation(self) -> str:
        return "noting"

    async def close(self) -> None: ...
