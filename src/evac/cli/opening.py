"""Opening an estate for a command that asks something of its controller, and saying what that takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.cli.terminal import busy, note
from evac.config import load
from evac.daemon import DATABASE
from evac.opened import OpenEstate, known_names
from evac.opening import open_estate, state_folder


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

    def kept_in(self) -> str:
        """Return where the store is that the command line means."""
        loaded = load(self.estate, environment=self.environment, store=self.store)
        return str(loaded.store or state_folder(self.estate, self.state) / DATABASE)


@asynccontextmanager
async def opened(
    chosen: Chosen, *, regions: Collection[str | None] = (), looks: bool = True, afterwards: str = ""
) -> AsyncIterator[OpenEstate]:
    """Open the estate. Names that are not in it are refused before anything is started.

    Where no controller runs one is started here, which `looks` at everything before it is asked anything. That is said,
    with the store it writes to, and `afterwards`: what then holds when this command has ended.
    """
    chosen.named(*regions)

    def alone() -> None:
        doing = "watches it itself, as long as it takes" if looks else "does it itself"
        note(f"nobody leads this estate: this command {doing}, in the store {chosen.kept_in()}{afterwards}")

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
