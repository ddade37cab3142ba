"""The server's process: ended for certain when it does not answer, and started again, as `control` says.

What this is not: a fence by itself. Whoever ends a process asks afterwards whether it still answers.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.errors import Rejected
from evac.drivers.systemd import Unit
from evac.drivers.valkey.settings import Control
from evac.ports import Finding, Place

COMMAND_MAX = timedelta(seconds=10)
"""How long a command that stops or starts the process may take."""


async def end(control: Control, place: Place) -> None:
    """End it and keep it down. Raises `Rejected` when that cannot be done.

    Nothing in the data makes a killed primary harmless when it is started again, so its unit has to take the mask.
    """
    if control.systemd:
        unit = Unit(control.systemd, place)
        await unit.keep_down(clean=False, must_mask=True)
        await unit.end()
    elif control.commands:
        await _run(control.commands.stop, place)


async def start(control: Control, place: Place) -> None:
    """Start it, without waiting until it answers."""
    if control.systemd:
        await Unit(control.systemd, place).start()
    elif control.commands:
        await _run(control.commands.start, place)


async def check(control: Control | None, place: Place) -> tuple[Finding, ...]:
    """Say whether systemd, where it controls the process, would do what is asked of it."""
    return await Unit(control.systemd, place).check() if control and control.systemd else ()


async def _run(argv: tuple[str, ...], place: Place) -> None:
    done = await place.run(argv, timeout=COMMAND_MAX)
    if done.code != 0:
        why = (done.err or done.out).decode(errors="replace").strip()
        raise Rejected(f"{' '.join(argv)} ended with {done.code}: {why}; correct `control` in the estate")
