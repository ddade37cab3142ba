"""Which kind of place a region has, and opening it.

What this is not: the places themselves (`local`, `ssh`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evac.drivers.settings import Settings
from evac.places.local import LocalPlace
from evac.places.ssh import SshSettings, ssh_place
from evac.ports import Place


class PlaceSettings(Settings):
    """Where a region's agent acts and looks from: this host (written `local`), or a host behind ssh."""

    ssh: SshSettings | None = None
    """The host in the region that is reached over ssh. Default: none, the host evac runs on."""


@asynccontextmanager
async def open_place(settings: PlaceSettings) -> AsyncIterator[Place]:
    """Give the place for as long as the context lives. Nothing needs to answer yet."""
    if settings.ssh is not None:
        async with ssh_place(settings.ssh) as remote:
            yield remote
        return
    place = LocalPlace()
    try:
        yield place
    finally:
        await place.close()
