"""Opening an estate by its file: to ask and tell, with a controller started here where none runs, or only to read.

What this is not: what an open estate can do (`evac.opened`).
"""

from __future__ import annotations

import asyncio
import getpass
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from evac.config import Loaded, load
from evac.core.errors import EvacError, StoreUnavailable
from evac.core.news import Announce, silent
from evac.core.observation import Observation
from evac.core.snapshot import Snapshot
from evac.core.verdict import Diagnosis
from evac.daemon import DATABASE, open_store, running
from evac.engine.clock import BootClock
from evac.engine.last_known import Here, read_here, read_known
from evac.engine.overhearing import Overheard, overhear
from evac.engine.snapshots import KEY
from evac.opened import OpenEstate
from evac.ports import Store
from evac.stores.memory import MemoryStore

T = TypeVar("T")

READY_WITHIN = timedelta(seconds=20)
WELL_WITHIN = timedelta(seconds=8)
"""How much longer a controller that was just started may take to see every region well and every member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """How this host's agent stands, where the store cannot be reached from here, and why that is."""

    here: Here
    why: str


def state_folder(estate: Path, state: Path | None = None) -> Path:
    """Return where an estate's store and kept writes are: `.evac` beside the estate file, unless named."""
    return state or estate.absolute().parent / ".evac"


def _unheard() -> None:
    """Tell nobody."""


@asynccontextmanager
async def open_estate(
    path: str | Path,
    *,
    environment: str | None = None,
    state: Path | None = None,
    store: str | None = None,
    announce: Announce = silent,
    by: str | None = None,
    looks: bool = True,
    alone: Callable[[], None] = _unheard,
) -> AsyncIterator[OpenEstate]:
    """Open an estate by its file. Raises `EstateError` when the file is wrong, with every problem in it.

    Without a running controller `alone` is called, and one is started here. It is given `READY_WITHIN` to find the
    primaries, unless nothing is to be asked that takes a look: then it ends before it has seen anything, and leaves the
    view that there was. What it could not find is said by what is asked of it, not here.
    """
    loaded = load(Path(path), environment=environment, store=store)
    folder = state_folder(Path(path), state)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_store(folder, loaded.store))
        estate = OpenEstate(loaded=loaded, store=opened, by=by or getpass.getuser())
        led = await estate.is_watched(folder)
        if not led:
            alone()
            name = f"opened-{uuid.uuid4().hex[:8]}"
            await stack.enter_async_context(running(loaded, state=folder, announce=announce, name=name, tells=looks))
            if looks:
                await _until_ready(estate)
        yield estate


@asynccontextmanager
async def read_estate(
    path: str | Path, *, environment: str | None = None, state: Path | None = None, store: str | None = None
) -> AsyncIterator[OpenEstate]:
    """Open an estate to look at what is remembered of it. No controller is started, and nothing is made.

    Raises `EstateError`, and `EvacError` when nothing is remembered, or may not be read.
    """
    async with _reading(path, environment=environment, state=state, store=store) as (loaded, opened):
        yield OpenEstate(loaded=loaded, store=opened, by=getpass.getuser())


async def overhear_estate(
    path: str | Path,
    *,
    wanted: Callable[[Observation], bool],
    lasting: timedelta,
    environment: str | None = None,
    state: Path | None = None,
    store: str | None = None,
) -> Overheard:
    """Return what is `wanted` of all that an estate's agents tell within a time. Nothing is started, made or written.

    Raises like `read_estate`, and `StoreUnavailable`.
    """
    async with _reading(path, environment=environment, state=state, store=store) as (_, opened):
        return await overhear(opened, clock=BootClock(), wanted=wanted, lasting=lasting)


@asynccontextmanager
async def _reading(
    path: str | Path, *, environment: str | None, state: Path | None, store: str | None
) -> AsyncIterator[tuple[Loaded, Store]]:
    loaded = load(Path(path), environment=environment, store=store)
    folder = state_folder(Path(path), state)
    if loaded.store is None and not await asyncio.to_thread(_exists, folder / DATABASE):
        raise EvacError(
            f"nothing is known of {loaded.estate.name} yet, there is no store in {folder}: start evac serve"
        )
    async with open_store(folder, loaded.store) as opened:
        yield loaded, opened


async def ask_or_recall(
    path: str | Path,
    ask: Callable[[OpenEstate, CutOff | None], Awaitable[T]],
    *,
    environment: str | None = None,
    state: Path | None = None,
    store: str | None = None,
) -> tuple[T, CutOff | None]:
    """Read something of an estate, as `read_estate`; where the store cannot be reached, of what this host's agent kept
    of it. How that agent stands is then given to `ask`, and returned.

    Raises like `read_estate`, and `StoreUnavailable` when nothing of this estate was kept here either.
    """
    try:
        async with read_estate(path, environment=environment, state=state, store=store) as estate:
            return await ask(estate, None), None
    except StoreUnavailable as trouble:
        folder = state_folder(Path(path), state)
        here = await asyncio.to_thread(read_here, folder)
        if here is None:
            raise
        records = await asyncio.to_thread(read_known, folder, here.region)
        if not records:
            raise StoreUnavailable(
                f"{trouble}; {here.region}'s agent on this host has not heard of it either"
            ) from None
        kept = MemoryStore()
        for key, value in records.items():
            await kept.commit(expect={}, put={key: value})
        estate = OpenEstate(
            loaded=load(Path(path), environment=environment, store=store), store=kept, by=getpass.getuser()
        )
        if (other := (await estate.last_known()).estate) != estate.loaded.estate.name:
            what = f"what {folder} holds is of another estate, {other}: name this one's state folder with --state"
            raise StoreUnavailable(f"{trouble}; {what}") from None
        cut = CutOff(here=here, why=str(trouble))
        return await ask(estate, cut), cut


def _exists(path: Path) -> bool:
    """Whether a file is there. Raises `StoreUnavailable` where whoever asks may not look."""
    try:
        return path.exists()
    except PermissionError as error:
        why = f"{error.strerror}; ask as the user that evac serve runs as"
        raise StoreUnavailable(f"the store {path} cannot be looked at: {why}") from None
    except OSError:
        return False


async def _until_ready(estate: OpenEstate) -> None:
    """Wait until the controller knows where every group is, then a little longer for all to look well."""
    await _until(estate, _placed, within=READY_WITHIN)
    await _until(estate, _well, within=WELL_WITHIN)


async def _until(estate: OpenEstate, holds: Callable[[OpenEstate, Snapshot], bool], *, within: timedelta) -> None:
    """Wait until the newest view holds something, or the time is up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within.total_seconds()):
            async for _ in estate.changes(KEY):
                with suppress(EvacError):
                    if holds(estate, await estate.health()):
                        return


def _placed(_: OpenEstate, snapshot: Snapshot) -> bool:
    judged = all(v.diagnosis is not Diagnosis.UNKNOWN for v in snapshot.verdicts)
    return judged and bool(snapshot.placements) and not snapshot.unplaced


def _well(estate: OpenEstate, snapshot: Snapshot) -> bool:
    members = sum(len(c.members) for c in estate.loaded.estate.components.values())
    well = all(v.diagnosis is Diagnosis.WELL for v in snapshot.verdicts)
    return well and sum(m.state is not None for m in snapshot.members) == members
