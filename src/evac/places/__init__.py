"""Where a region's agent stands: this host (`local`), or a host reached over ssh (`ssh`).

Intuition: an agent needs two things of its region, hands and eyes. Hands run commands there; eyes look at the world
from there, through connections that come out there. A place gives both, and nothing of evac is installed in it.

What this is not: the drivers, which know what to run; or the agent, which knows when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evac.places.local import LocalPlace
from evac.places.ssh import SshSettings, ssh_place
from evac.ports import Place


@asynccontextmanager
async def open_place(settings: SshSettings | None) -> AsyncIterator[Place]:
    """Give the place that settings name, this host for None, for as long as the context lives.

    Does not wait for a connection and does not raise when there is none: the place's methods do.
    """
    if settings is not None:
        async with ssh_place(settings) as over_ssh:
            yield over_ssh
        return
    local = LocalPlace()
    try:
        yield local
    finally:
        await local.close()
