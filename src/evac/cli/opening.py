"""Opening an estate for a command that asks something of its controller, and saying what that takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.cli.terminal import busy, note
from evac.config import load
from evac.opened import OpenEstate, known_names
from evac.opening import open_estate


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The estate that a command line means, and the group in it, if it names one."""

    estate: Path
    environment: str | None
    state: Path | None
    store: str | None = None
    group: str | None = None

    def named(self, *regions: str | None) -> None:
        """Raise `NotThere` when the estate has not the group or one of the regions that the command line names."""
        loaded = load(self.estate, environment=self.environment, store=self.store)
        known_names(loaded.estate, regions=regions, group=self.group)


@asynccontextmanager
async def opened(
    chosen: Chosen, *, regions: Collection[str | None] = (), looks: bool = True
) -> AsyncIterator[OpenEstate]:
    """Open the estate. Names that are not in it are refused before anything is started.

    Where no controller runs one is started here, which `looks` at everything before it is asked anything.
    """
    chosen.named(*regions)

    def alone() -> None:
        if looks:
            note("nobody leads this estate: this command watches it itself, as long as it takes")

    async with AsyncExitStack() as stack:
        with busy("looking at the estate"):
            estate = await stack.enter_async_context(
                open_estate(
                    chosen.estate,
                    environment=chosen.environment,
                    state=chosen.state,
                    store=chosen.store,
                    looks=looks,
                    alone=alone,
                )
            )
        yield estate
