"""A device behind two programs: one switches off, one prints the state.

Errors: a program that ends with another exit code than 0 has not done it (`Unavailable`: it is tried again); one that
ran out of time may have.
"""

from __future__ import annotations

from collections.abc import Sequence

from evac.core.errors import Unavailable
from evac.devices.settings import CommandDeviceSettings
from evac.ports import Completed, Place

_REASON_MAX = 200


class CommandDevice:
    """Runs the programs at a place (`ports.Device`)."""

    def __init__(self, *, settings: CommandDeviceSettings, says: str, place: Place) -> None:
        self._settings = settings
        self._says = says.casefold()
        self._place = place

    async def switch_off(self) -> None:
        await self._run(self._settings.off)

    async def says_off(self) -> bool:
        done = await self._run(self._settings.state)
        return done.out.decode(errors="replace").strip().casefold() == self._says

    async def _run(self, argv: Sequence[str]) -> Completed:
        secret = self._settings.secret.read() if self._settings.secret else ""
        done = await self._place.run(argv, stdin=secret.encode(), timeout=self._settings.timeout)
        if done.code == 0:
            return done
        said = done.err.decode(errors="replace").strip()
        last = (said.replace(secret, "***") if secret else said).splitlines()[-1:]
        raise Unavailable(": ".join([f"{argv[0]} ended with {done.code}", *(line[:_REASON_MAX] for line in last)]))
