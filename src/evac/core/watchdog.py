"""The watchdog's rule: a primary held under a lease dies when its newest renewal is too old, and stays down.

Intuition: one number decides, the instant at which the newest renewal that succeeded was *sent*, on boot time. It only
grows, so a message that comes late, or twice, can lengthen nothing. Whoever sends it (the agent) may die or freeze: no
message is the message. Once it was too old there is no way back but a release, which is an order of its own.

Orders are void when they are older than one already obeyed: what a frozen agent had in its hand when it froze does
nothing when it thaws.

What this is not: killing (`evac.watchdog`), renewing (`engine.holding`), or the times' proof (`core.lease`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from evac.core.observation import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is to be killed, and how it is kept down: of one server, on the host it runs on.

    Its processes are those named one of `names` that work in `folder`. `marker` is the file that says that only evac
    may start it; it is there from the moment the server is held, so that no reboot brings it back. `leave` are empty
    files made once it is dead (PostgreSQL's `standby.signal`), `lock` a command that keeps a supervisor from starting
    it (`systemctl mask`); () for none.
    """

    folder: str
    names: tuple[str, ...]
    marker: str
    leave: tuple[str, ...] = ()
    lock: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Hold the server from now on, by the renewal sent at `sent_at`; `term` is the lease's, for the marker.

    Of a server that is held already it lengthens nothing: only a renewal that has succeeded does, by `Feed`.
    """

    sent_at: Instant
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A later renewal, sent at `sent_at`, has succeeded."""

    sent_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The server may run, or be dead, as others see fit: said at `sent_at`."""

    sent_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Say how it stands."""


Order: TypeAlias = Arm | Feed | Release | Look


class Stance(StrEnum):
    """How a watchdog stands to its server: its answer to every order."""

    IDLE = "idle"
    """Nothing is held."""
    GUARDING = "guarding"
    """It lives as long as it is renewed."""
    DOWN = "down"
    """It was killed, and whatever starts it is killed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One server's guard. `within` is W: the age of the newest renewal at which the server is killed."""

    within: timedelta
    newest: Instant | None = None
    """When the newest renewal was sent; None while nothing is held."""
    obeyed_at: Instant = timedelta()
    """The newest order's instant; older ones are void."""
    down: bool = False

    @property
    def stance(self) -> Stance:
        if self.down:
            return Stance.DOWN
        return Stance.IDLE if self.newest is None else Stance.GUARDING

    def due(self, now: Instant) -> bool:
        """Return whether the server is to be killed now: the decision, and all of it."""
        return not self.down and self.newest is not None and now - self.newest >= self.within

    def killed(self) -> Guard:
        """Return the guard of a server that was killed for its age: it stays down until it is released."""
        return replace(self, newest=None, down=True)

    def told(self, order: Order, now: Instant) -> Guard:
        """Return the guard after an order that came in `now`. Nothing sent later than now counts as later than now."""
        match order:
            case Look():
                return self
            case Arm(sent_at=sent_at):
                held = self.down or self.newest is not None
                return self if held or sent_at < self.obeyed_at else self._by(sent_at, now)
            case Feed(sent_at=sent_at):
                void = self.newest is None or sent_at < self.obeyed_at
                return self if void else self._by(sent_at, now)
            case Release(sent_at=sent_at):  # pragma: no branch (the union is closed)
                if sent_at < self.obeyed_at:
                    return self
                return replace(self, newest=None, down=False, obeyed_at=min(sent_at, now))

    def _by(self, sent_at: Instant, now: Instant) -> Guard:
        at = min(sent_at, now)
        return replace(self, newest=at, obeyed_at=at)


def write_order(order: Order) -> bytes:
    """Return an order as one line; instants in microseconds of boot time."""
    match order:
        case Arm(sent_at=at, term=term):
            return f"arm {_number(at)} {term}\n".encode()
        case Feed(sent_at=at):
            return f"feed {_number(at)}\n".encode()
        case Release(sent_at=at):
            return f"release {_number(at)}\n".encode()
        case Look():  # pragma: no branch (the union is closed)
            return b"look\n"


def read_order(line: bytes) -> Order | None:
    """Return the order that a line says; None for anything else."""
    word, *numbers = line.split() or [b""]
    if not all(n.isdigit() for n in numbers):
        return None
    match word, [int(n) for n in numbers]:
        case b"arm", [at, term]:
            return Arm(sent_at=timedelta(microseconds=at), term=term)
        case b"feed", [at]:
            return Feed(sent_at=timedelta(microseconds=at))
        case b"release", [at]:
            return Release(sent_at=timedelta(microseconds=at))
        case b"look", []:
            return Look()
        case _:  # no closed union: anything may come in
            return None


def _number(at: Instant) -> int:
    return at // timedelta(microseconds=1)
