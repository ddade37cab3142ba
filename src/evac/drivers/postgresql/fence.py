"""Stopping a member for certain, keeping it down, and starting it again.

Intuition: a shutdown is a courtesy, a fence is SIGKILL to every process of the cluster (`safety.md` 2: a frozen
postmaster ignores the first, nothing ignores the second). Before that the member is kept from coming back: the marker
file, the masked unit, and `standby.signal` in its data directory, so that whoever starts it behind evac's back, or a
reboot, gets a standby that acknowledges nothing. After that every process is looked for again: the receipt is given
when none is left.

A clean stop's position is the beginning of the shutdown checkpoint, the end of all that a client ever wrote.

What this is not: the decision who is fenced, or how (`core.planning`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.plan import Term
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.fence_scripts import END_OF_LOG, IS_DOWN, PG_CTL, RELEASE, STOP
from evac.drivers.postgresql.hands import Hands, last_words
from evac.drivers.postgresql.settings import PostgresqlSettings

_SLACK = timedelta(seconds=8)
_PRIMARY_STATES = ("in production", "shut down", "shutting down", "in crash recovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What `pg_controldata` says of a stopped cluster. `position` is where its last checkpoint record begins.

    `timeline` is its newest one: after a promotion that of the checkpoint is older for a while. `recovered` is how far
    a recovery has come, 0 after a checkpoint as a primary. `primary`: it was one when it ended.
    """

    clean: bool
    primary: bool
    position: int
    redo: int
    timeline: int
    checkpoint_timeline: int
    recovered: int
    system: str
    segment_bytes: int

    def segment(self, position: int) -> str:
        """Return the name of the log file of this timeline that holds a position."""
        return naming.segment_name(self.timeline, position, self.segment_bytes)


class Answers(StrEnum):
    """Whether something takes connections at a member's address, seen from its place."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is found of a member once none of its processes is left. `control` is None when it cannot be read."""

    control: Control | None
    answers: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """Whether a member runs, is kept down, would start as a standby (`told`: what a stop leaves for a primary), the
    highest term it knows, and whose its lock file is (`lock_lines`).
    """

    running: bool
    kept: bool
    told: bool
    term: int | None
    lock: tuple[str, ...] = ()


class Fence:
    """Stops, keeps down and starts one member."""

    def __init__(self, *, settings: PostgresqlSettings, hands: Hands) -> None:
        self._settings = settings
        self._hands = hands
        self._unit = hands.unit
        self._supervised = settings.control.pg_ctl is None

    async def stop(self, *, term: Term, clean: bool, patience: timedelta | None = None) -> Ended:
        """Bring the member down, for certain. A clean end is waited for `patience`, by default as the estate says.

        Raises `Rejected` for a lower term, `Indeterminate` if a process stays.
        """
        if self._supervised:
            known = (await self.down()).term
            if known is not None and known > term:
                raise self._stale(str(known), term)
        await self._keep_down(clean=clean)
        ended = await self._end_tree(term=term, clean=clean, patience=patience)
        if self._supervised:
            await self._end_supervision()
            if (await self.down()).running:  # it was started again meanwhile, as a standby; now nothing does that
                ended = replace(ended, answers=(await self._end_tree(term=term, clean=False)).answers)
        return ended

    async def _end_tree(self, *, term: Term, clean: bool, patience: timedelta | None = None) -> Ended:
        """End every process of the cluster, and leave it so that whoever starts it gets a standby."""
        s = self._settings
        completed = await self._hands.as_who_may(
            STOP, s.data_dir, s.marker_path, str(int(term)), "clean" if clean else "kill",
            str(int((patience or s.stop_timeout).total_seconds() * 100)), s.bin_dir, s.host, str(s.port),
            within=s.stop_timeout + _SLACK,
        )  # fmt: skip
        match completed.code:
            case 0:
                return ended_as(completed.out.decode(errors="replace"))
            case 11:
                raise self._stale(completed.out.decode().strip(), term)
            case 12:
                pids = completed.out.decode().strip()
                raise Indeterminate(f"processes of {s.data_dir} survive SIGKILL: {pids}; look at that host's disk")
            case 13:
                raise Rejected(f"there is no data directory {s.data_dir} at the place")
            case _:
                raise self._hands.unsure(f"stopping the server of {s.data_dir}", completed)

    def _stale(self, known: str, term: Term) -> Rejected:
        return Rejected(f"{self._settings.data_dir} has seen term {known}, this order is of term {term}")

    async def end_of_log(self, control: Control) -> int | None:
        """Return where a stopped cluster's own log ends; None when it cannot be read."""
        completed = await self._hands.as_owner(
            END_OF_LOG, self._settings.bin_dir, self._settings.data_dir, str(control.timeline),
            naming.lsn(control.redo), within=timedelta(seconds=60),
        )  # fmt: skip
        return log_end(completed.out.decode(errors="replace"))

    async def down(self) -> Down:
        """Look whether the member runs and is kept down. Changes nothing."""
        completed = await self._hands.as_who_may(
            IS_DOWN, self._settings.data_dir, self._settings.marker_path, within=_SLACK
        )
        running, kept, told, term, *lock = [*completed.out.decode(errors="replace").splitlines(), "", "", "", ""]
        if not told:
            raise self._hands.refused(f"looking at {self._settings.data_dir}", completed)
        return Down(
            running=int(running) > 0,
            kept=kept == "kept",
            told=told == "told",
            term=int(term) if term else None,
            lock=lock_lines("\n".join(lock)),
        )

    async def start(self, again: str, *, term: Term) -> None:
        """Let the member run again and start it: as a `primary`, as it was `rebuilt`, `as-it-was`, or as a `standby`.
        Does not wait until it takes connections. Raises `Rejected` for a lower term, also where that came this moment,
        and where it was a primary and may be a standby only.
        """
        s = self._settings
        await self._release(again, term=term)
        within = timedelta(seconds=60)
        if self._unit:
            await self._unit.start()
            return
        if s.control.command:
            started = await self._hands.plainly(*s.control.command.start, within=within)
        else:
            started = await self._hands.as_owner(
                PG_CTL, s.bin_dir, s.data_dir, s.log_path, s.config_file, within=within
            )
        if started.code:
            raise self._hands.unsure(f"starting the server of {s.data_dir}", started)

    async def _release(self, again: str, *, term: Term) -> None:
        s = self._settings
        released = await self._hands.as_who_may(
            RELEASE, s.data_dir, s.marker_path, again, s.bin_dir, str(int(term)), within=_SLACK
        )
        match released.code:
            case 0:
                return
            case 11:
                raise self._stale(released.out.decode().strip(), term)
            case 14:
                raise Rejected(f"{s.data_dir} was a primary's: it is not started as a standby")
            case 15:
                raise Unavailable(f"{s.data_dir}: {last_words(released)}; nothing was started")
            case _:
                raise self._hands.unsure(f"releasing {s.data_dir}", released)

    async def _keep_down(self, *, clean: bool) -> None:
        """Keep whatever supervises the server from starting it again, before it is stopped."""
        command = self._settings.control.command
        if self._unit:
            await self._unit.keep_down(clean=clean, must_mask=False)
        elif command:
            told = await self._hands.plainly(
                *(command.stop if clean else command.kill), within=self._settings.stop_timeout + _SLACK
            )
            if told.code:
                raise self._hands.unsure("the operator's command to stop the server", told)

    async def _end_supervision(self) -> None:
        """See that nothing supervises it any more. Raises `Indeterminate` when something still does.

        A supervisor that only heard a clean stop may be about to start the server again: it is told `kill` too.
        """
        command = self._settings.control.command
        if self._unit:
            await self._unit.end()
        elif command:
            killed = await self._hands.plainly(*command.kill, within=_SLACK)
            if (await self._hands.plainly(*command.status, within=_SLACK)).code == 0:
                raise Indeterminate(
                    f"the operator's status command says that the server of {self._settings.data_dir} runs, "
                    f"after its kill command ended with {killed.code}: {last_words(killed)}"
                )


def ended_as(text: str) -> Ended:
    """Return what the script found that ended every process: by the exit code of `pg_isready`, or that of a shell which
    has no such program.
    """
    said = re.search(r"^evac answers: (\d+)$", text, re.MULTILINE)
    by_code = {"0": Answers.YES, "1": Answers.YES, "126": Answers.UNKNOWN, "127": Answers.UNKNOWN}
    return Ended(control=control_data(text), answers=by_code.get(said[1] if said else "127", Answers.NO))


def lock_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a `postmaster.pid` that tell one server from any other: without its state, which changes."""
    return tuple(line.strip() for line in text.splitlines()[:7] if line.strip())


def control_data(text: str) -> Control | None:
    """Return what `pg_controldata` printed; None for anything else."""
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    try:
        state, timeline = said["Database cluster state"], int(said["Latest checkpoint's TimeLineID"])
        return Control(
            clean=state == "shut down",
            primary=state in _PRIMARY_STATES,
            position=naming.position(said["Latest checkpoint location"]),
            redo=naming.position(said["Latest checkpoint's REDO location"]),
            timeline=max(timeline, int(said["Min recovery ending loc's timeline"])),
            checkpoint_timeline=timeline,
            recovered=naming.position(said["Minimum recovery ending location"]),
            system=said["Database system identifier"],
            segment_bytes=int(said["Bytes per WAL segment"]),
        )
    except (KeyError, ValueError):
        return None


def log_end(said: str) -> int | None:
    """Return where a log ends, by how `pg_waldump` complains about it: the last position it names."""
    complaints = re.findall(r"(?:at|after|record at) ([0-9A-F]+/[0-9A-F]+)", said)
    return naming.position(complaints[-1]) if complaints else None
