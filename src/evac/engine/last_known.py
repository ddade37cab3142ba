"""What one region's agent keeps on its own host, for whoever asks there when the store cannot be reached.

Intuition: the view of all regions is in the store, and a region that is cut off does not reach that. So its agent keeps
a copy of the newest view, and beside it how it stands itself: since when the store is silent, and what becomes of the
primaries that it holds. Both are files; whoever reads them needs neither the store nor the agent.

    known-<region>.json    the record `status`, as the store had it last
    more-<region>.json     the records `known/…`, `what-if/…` and `outlook`, which are copied less often
    agent-<region>.json    how the agent stands

What this is not: something that is decided by. A file may be old, and says how old it is.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from evac.core.errors import StoreError
from evac.core.estate import ComponentId, RegionId
from evac.core.observation import Instant
from evac.engine.codec import decode, encode
from evac.engine.outlook import KEY as OUTLOOK
from evac.engine.outlook import WHAT_IF
from evac.engine.parts import PREFIX as PARTS
from evac.engine.snapshots import KEY as STATUS
from evac.ports import Clock, Record, Store

EVERY = timedelta(seconds=2)
"""How often the agent looks whether the store answers, and notes how it stands."""
ANSWERS_WITHIN = timedelta(seconds=2)
MORE_EVERY = timedelta(seconds=20)
"""How often what is thought through is copied, and the parts of a large snapshot; a copy takes no longer than that."""
_BINARY = "x"
"""In a file, what is packed begins with this and goes on in base64; JSON never begins so."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """How a primary is held here under its lease: since when the newest renewal is on its way, and the age of it at
    which the watchdog kills. `armed` says that a watchdog has answered for that renewal.
    """

    component: ComponentId
    age: timedelta
    kills_at: timedelta
    armed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """How the agent of `region` stands at `wall`: when the store last answered it, and the primaries it holds."""

    region: RegionId
    wall: datetime
    answered: datetime | None
    guarded: tuple[Guarded, ...] = ()

    def reaches_the_store(self, wall: datetime) -> bool:
        """Return whether it was answered when it last looked, and that was just now."""
        looked = self.answered is not None and self.wall - self.answered < EVERY
        return looked and wall - self.wall <= 3 * EVERY

    def silent_for(self, wall: datetime) -> timedelta | None:
        """Return for how long the store has not answered at a moment; None if it never has."""
        return None if self.answered is None else max(wall - self.answered, timedelta())


async def keep_last_known(
    region: RegionId, *, store: Store, folder: Path, clock: Clock, guarded: Callable[[Instant], Sequence[Guarded]]
) -> None:
    """Note what the store has, and how this region's agent stands, without end."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep_view(region, store=store, folder=folder, clock=clock, guarded=guarded))
        tasks.create_task(_keep_more(region, store=store, folder=folder, clock=clock))


async def _keep_view(
    region: RegionId, *, store: Store, folder: Path, clock: Clock, guarded: Callable[[Instant], Sequence[Guarded]]
) -> None:
    answered: datetime | None = None
    while True:
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(ANSWERS_WITHIN.total_seconds()):
                view = await store.get(STATUS)
            answered = clock.wall()
            await _write(folder / f"known-{region}.json", _as_file([view] if view else []))
        here = Here(region=region, wall=clock.wall(), answered=answered, guarded=tuple(guarded(clock.now())))
        await _write(folder / f"agent-{region}.json", encode(here))
        await clock.sleep(EVERY)


async def _keep_more(region: RegionId, *, store: Store, folder: Path, clock: Clock) -> None:
    """Note what is large and changes slowly. How long that takes delays nothing else."""
    while True:
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(MORE_EVERY.total_seconds()):
                more = await _read_more(store)
            await _write(folder / f"more-{region}.json", _as_file(more))
        await clock.sleep(MORE_EVERY)


async def _read_more(store: Store) -> Sequence[Record]:
    """The records to keep beside the view, from the nearest copy of the store."""
    outlook = await store.get(OUTLOOK, near=True)
    large = [r for prefix in (WHAT_IF, PARTS) for r in await store.list(prefix, near=True)]
    return [*([outlook] if outlook else []), *large]


def _as_file(records: Iterable[Record]) -> bytes:
    return encode({r.key: _as_text(r.value) for r in records})


def _as_text(value: bytes) -> str:
    return _BINARY + b64encode(value).decode() if value.startswith(_BINARY.encode()) else value.decode()


def _as_value(text: str) -> bytes:
    return b64decode(text.removeprefix(_BINARY)) if text.startswith(_BINARY) else text.encode()


async def _write(file: Path, data: bytes) -> None:
    """Replace a file, whole or not at all. Where that cannot be done the one before stays, and tells its age."""
    try:
        await asyncio.to_thread(_replace, file, data)
    except OSError as error:
        _log.warning("not kept on this host", file=str(file), why=error.strerror)


def _replace(file: Path, data: bytes) -> None:
    fresh = file.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(data)
    os.replace(fresh, file)


def read_here(folder: Path) -> Here | None:
    """Return how the agent on this host stands, the one that told last if there were several; None if none did."""
    found = [here for file in folder.glob("agent-*.json") if (here := _decoded(file)) is not None]
    return max(found, key=lambda here: here.wall, default=None)


def read_known(folder: Path, region: RegionId) -> Mapping[str, bytes]:
    """Return the records that the agent of a region kept; nothing where it kept none that can be read."""
    records: dict[str, bytes] = {}
    for file in (f"more-{region}.json", f"known-{region}.json"):
        with suppress(OSError, ValueError):
            records |= {k: _as_value(v) for k, v in decode((folder / file).read_bytes(), dict[str, str]).items()}
    return records


def _decoded(file: Path) -> Here | None:
    with suppress(OSError, ValueError):
        return decode(file.read_bytes(), Here)
    return None
