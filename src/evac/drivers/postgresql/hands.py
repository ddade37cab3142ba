"""Commands at the member's place: small scripts, run as the server's owner or as whoever may signal it.

Intuition: everything that PostgreSQL cannot be asked over its connection (kill it, start it, rewind it) is a few lines
of `sh`, sent whole so that a slow link costs one round trip. Values are arguments, never pasted into the text; secrets
come on standard input, never as arguments, which everybody on that host can read.

What this is not: an installation. Nothing of evac stays there but the files each script names.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.errors import Indeterminate, Rejected
from evac.core.estate import RegionId
from evac.drivers.postgresql.settings import PostgresqlSettings
from evac.drivers.systemd import Unit
from evac.ports import Completed, Place

_AS_WHO_MAY = 'words=$1; shift; [ "$(id -u)" = 0 ] && shift "$words"; exec "$@"'
"""As root, the words that change the user are left out: root may signal anybody's processes, and see where they are."""


class Hands:
    """Runs scripts for one member at its place."""

    def __init__(self, *, settings: PostgresqlSettings, region: RegionId, place: Place) -> None:
        self._settings = settings
        self._region = region
        self._place = place
        systemd = settings.control.systemd
        self.unit = Unit(systemd, place) if systemd else None
        """The unit that runs the server, if one does."""

    async def as_owner(self, script: str, *args: str, stdin: bytes = b"", within: timedelta) -> Completed:
        """Run a script as the server's owner."""
        argv = (*self._settings.run_as, *self._limit(within), "sh", "-c", script, "evac", *args)
        return await self._place.run(argv, stdin=stdin, timeout=within)

    async def as_who_may(self, script: str, *args: str, within: timedelta) -> Completed:
        """Run a script as root where the place is root's, else as the server's owner."""
        run_as = self._settings.run_as
        inner = (*run_as, *self._limit(within), "sh", "-c", script, "evac", *args)
        argv = ("sh", "-c", _AS_WHO_MAY, "evac", str(len(run_as)), *inner)
        return await self._place.run(argv, timeout=within)

    async def plainly(self, *argv: str, within: timedelta) -> Completed:
        """Run one command as whoever the place is."""
        return await self._place.run(argv, timeout=within)

    def _limit(self, within: timedelta) -> tuple[str, ...]:
        """Return the words that end a script which is given up: the place may not signal what runs as somebody else."""
        return ("timeout", "-s", "KILL", f"{within.total_seconds() + 1:g}") if self._settings.run_as else ()

    def refused(self, what: str, completed: Completed) -> Rejected:
        """Return the error for a command that said no, with its last words."""
        return Rejected(f"{self._region}: {what} failed ({completed.code}): {last_words(completed)}")

    def unsure(self, what: str, completed: Completed) -> Indeterminate:
        """Return the error for a command that may have done part of its work."""
        return Indeterminate(f"{self._region}: {what} failed ({completed.code}): {last_words(completed)}")


def last_words(completed: Completed) -> str:
    """Return the last line or two that a command said, for a person."""
    lines = (
        completed.err.decode(errors="replace").strip() or completed.out.decode(errors="replace").strip()
    ).splitlines()
    return " / ".join(line.strip() for line in lines[-2:]) or "it said nothing"
