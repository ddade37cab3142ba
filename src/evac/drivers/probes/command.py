"""Command probes: a program run at the place says whether the service is well.

Intuition: what no other probe can ask, a script can. Exit code 0 is well; anything else is not, and the last line it
printed is the reason.

The command runs in the region that probes, on the machine evac acts from there, without a shell.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.errors import Indeterminate
from evac.core.estate import Probe
from evac.drivers.settings import Duration, Settings
from evac.ports import Completed, Place, Prober

_REASON_MAX = 200


class CommandSettings(Settings):
    """What is run, and for how long at most."""

    argv: tuple[str, ...]
    """Program and arguments, as text each; no shell looks at them."""
    timeout: Duration = timedelta(seconds=10)
    """How long it may run; default 10 s. A question's own time limit is usually shorter."""


class CommandProber:
    """Runs the command anew for each question."""

    def __init__(self, *, place: Place, settings: CommandSettings) -> None:
        self._place = place
        self._settings = settings

    async def ask(self) -> str:
        """Return "" or a short reason. Raises `Unavailable` when the place itself cannot be reached."""
        try:
            return _judged(await self._place.run(self._settings.argv, timeout=self._settings.timeout))
        except Indeterminate as error:
            return str(error)

    async def close(self) -> None:
        """Nothing is kept open."""


def _judged(done: Completed) -> str:
    if done.code == 0:
        return ""
    said = (done.err or done.out).decode(errors="replace").strip().splitlines()
    return f"exit code {done.code}" + (f": {said[-1][:_REASON_MAX]}" if said else "")


class CommandKind:
    """The kind `command`."""

    name = "command"
    settings = CommandSettings

    async def open(self, probe: Probe, place: Place) -> Prober:
        settings = probe.settings
        assert isinstance(settings, CommandSettings)
        return CommandProber(place=place, settings=settings)
