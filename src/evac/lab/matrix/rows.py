"""The rows of the matrix: what can happen, what evac has to do then, and how a seed makes a script of it. Pure.

Intuition: a row is a fault, a mode and a form; a seed chooses what a row leaves open: when it strikes, how strongly,
which region beside the primary's, which entry of a journal, which second fault. The same row and seed are the same
script for ever; how the machines then interleave is not repeated.

What is not here: a jump of the wall clock. A time namespace moves only the clocks that count from the boot, and only
for processes that are started in it, so that none could be made to jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random

from evac.lab.faults import Fault, FaultKind, Target
from evac.lab.layout import Form, Mode


class Expected(StrEnum):
    """What evac has to do. In every case what it begins comes to a clear end, and no promise is broken."""

    MOVES = "moves"
    """Leave the region; the move completes."""
    STAYS = "stays"
    """Neither move nor turn traffic away (L4)."""
    CALLS = "calls"
    """Move nothing, as no fence can be had, and call a person."""
    CLEAR = "any clear end"


class Place(StrEnum):
    """Where a fault strikes, seen from where the primaries are."""

    PRIMARY = "primary"
    STANDBY = "standby"
    ANYWHERE = "anywhere"
    LINK = "link"
    """Between the primary's region and one standby's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One fault of a row. `value` is the range its strength is drawn from."""

    kind: FaultKind
    at: Place = Place.PRIMARY
    what: Target = Target.DATABASE
    value: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Who leads is killed in the midst of a move, once its journal has so many entries, from 1 to this many; or its
    agent is frozen and thawed, or its region cut off for a while. A row's seeds go through all entries there are.

    The move is evac's answer to the hazard's part; without one, a switch that is asked for.
    """

    entries_max: int
    how: FaultKind = FaultKind.KILL

    def entry(self, row: str, seed: int) -> int:
        """Return at which entry a seed strikes: each row begins somewhere, and as many seeds as entries meet each one
        once. Neighbours are far apart, so that a few seeds see all of a move.
        """
        return 1 + (Random(row).randrange(self.entries_max) + seed * STRIDE) % self.entries_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """What can happen, and what has to follow in each mode. With two parts or more, two of them are drawn."""

    name: str
    sync: Expected
    asynchronous: Expected
    by_agents: Expected | None = None
    """What has to follow in asynchronous mode with an agent in every region, where that is another thing: there the
    primary is held under a lease, whose end is waited for.
    """
    parts: tuple[Part, ...] = ()
    crash: Crash | None = None
    forms: tuple[Form, ...] = ("embedded", "distributed")
    modes: tuple[Mode, ...] = ("sync", "async")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A hazard in one mode and form."""

    hazard: Hazard
    mode: Mode
    form: Form

    @property
    def name(self) -> str:
        return f"{self.hazard.name}/{self.mode}/{self.form}"

    @property
    def pause(self) -> timedelta | None:
        """Return the pause of a whole machine that the lab's lease has to cover; None where none is played."""
        leased = self.mode == "async" and self.form == "distributed"
        paused = any(part.kind is FaultKind.FREEZE and part.what is Target.ALL for part in self.hazard.parts)
        return PAUSE if leased and paused else None

    @property
    def expected(self) -> Expected:
        if self.mode == "sync":
            return self.hazard.sync
        by_agents = self.hazard.by_agents if self.form == "distributed" else None
        return by_agents or self.hazard.asynchronous


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault of a script, `after_s` the one before it (the first: after writes flow)."""

    fault: Fault
    after_s: float

    def __str__(self) -> str:
        return f"{self.fault} after {self.after_s:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a row and a seed come to. `entries` is where who leads is struck; None: nobody is."""

    row: Row
    seed: int
    strikes: tuple[Strike, ...]
    hold_s: float
    """How long the faults stay at least."""
    entries: int | None = None

    def __str__(self) -> str:
        crash = self.row.hazard.crash
        struck = () if crash is None else (f"leader {STRUCK[crash.how]} at entry {self.entries}",)
        return "; ".join((*map(str, self.strikes), *struck))


STRUCK = {FaultKind.KILL: "killed", FaultKind.FREEZE: "frozen", FaultKind.CUT: "cut off"}
STRIDE = 21
"""How many entries the next seed strikes later: it has no divisor in common with any number of entries here, 34 or 55.
"""
CALM_S = (1.0, 5.0)
"""When the first fault strikes, counted from when writes flow."""
BETWEEN_S = (0.0, 6.0)
"""The second of two faults meets all that follows the first one: detection, fence, promotion, and the time after."""
PAUSE = timedelta(seconds=25)
"""Longer than any fault stays and is healed. The lease's own 1 s does not cover that: when a machine wakes, its
database may answer for the milliseconds that its watchdog needs (docs/adr/0020)."""
HOLD_S = (12.0, 20.0)
"""Four times what evac needs to see a loss, and longer than what it gives a service that wavers."""

_M, _S, _P, _C = Expected.MOVES, Expected.STAYS, Expected.CALLS, Expected.CLEAR
_K = FaultKind
_TWO = (
    *(Part(kind=kind, at=Place.ANYWHERE) for kind in (_K.KILL, _K.POWER, _K.CUT, _K.CUT_IN, _K.CUT_OUT, _K.FREEZE)),
    Part(kind=_K.FREEZE, at=Place.ANYWHERE, what=Target.ALL),
    Part(kind=_K.LOSS, at=Place.ANYWHERE, value=(0.05, 0.4)),
    Part(kind=_K.DELAY, at=Place.ANYWHERE, value=(0.05, 0.3)),
    Part(kind=_K.CUT, at=Place.LINK),
    Part(kind=_K.DISK_FULL, at=Place.ANYWHERE),
)


def _watchdog(name: str, kind: FaultKind) -> Hazard:
    """Only a primary under a lease has a watchdog, and its agent begins another for one that does not answer."""
    part = Part(kind=kind, what=Target.WATCHDOG)
    return Hazard(name=name, sync=_S, asynchronous=_S, parts=(part,), forms=("distributed",), modes=("async",))


def _crash(name: str, expected: Expected, entries_max: int, how: FaultKind, *parts: Part) -> Hazard:
    forms: tuple[Form, ...] = ("embedded", "distributed") if how is _K.KILL else ("distributed",)
    crash = Crash(entries_max=entries_max, how=how)
    return Hazard(name=name, sync=expected, asynchronous=expected, parts=parts, crash=crash, forms=forms)


def _one(name: str, sync: Expected, asynchronous: Expected, part: Part, *, by_agents: Expected | None = None) -> Hazard:
    agents = part.what in (Target.AGENT, Target.STORE)
    forms: tuple[Form, ...] = ("distributed",) if agents else ("embedded", "distributed")
    return Hazard(name=name, sync=sync, asynchronous=asynchronous, by_agents=by_agents, parts=(part,), forms=forms)


HAZARDS: tuple[Hazard, ...] = (
    _watchdog("freeze-watchdog", _K.FREEZE),
    _watchdog("kill-watchdog", _K.KILL),
    _one("delay", _S, _S, Part(kind=_K.DELAY, value=(0.02, 0.15))),
    _one("loss", _S, _S, Part(kind=_K.LOSS, value=(0.02, 0.1))),
    _one("cut-link", _S, _S, Part(kind=_K.CUT, at=Place.LINK)),
    _one("standby-power", _S, _S, Part(kind=_K.POWER, at=Place.STANDBY)),
    _one("freeze-agent", _S, _C, Part(kind=_K.FREEZE, what=Target.AGENT)),
    _one("kill-agent", _S, _C, Part(kind=_K.KILL, what=Target.AGENT)),
    _one("standby-freeze-agent", _S, _S, Part(kind=_K.FREEZE, what=Target.AGENT, at=Place.STANDBY)),
    _one("standby-kill-agent", _S, _S, Part(kind=_K.KILL, what=Target.AGENT, at=Place.STANDBY)),
    _one("kill-store-member", _S, _S, Part(kind=_K.KILL, what=Target.STORE, at=Place.ANYWHERE)),
    _one("freeze-store-member", _S, _S, Part(kind=_K.FREEZE, what=Target.STORE, at=Place.ANYWHERE)),
    _one("kill", _M, _M, Part(kind=_K.KILL)),
    _one("power", _M, _P, Part(kind=_K.POWER), by_agents=_M),
    _one("cut", _M, _P, Part(kind=_K.CUT), by_agents=_M),
    _one("cut-in", _M, _P, Part(kind=_K.CUT_IN), by_agents=_M),
    _one("cut-out", _M, _P, Part(kind=_K.CUT_OUT), by_agents=_M),
    _one("freeze-database", _M, _M, Part(kind=_K.FREEZE)),
    _one("freeze-all", _M, _P, Part(kind=_K.FREEZE, what=Target.ALL), by_agents=_C),
    _one("loss-40", _M, _C, Part(kind=_K.LOSS, value=(0.4, 0.4))),
    _one("disk-full", _M, _M, Part(kind=_K.DISK_FULL)),
    _crash("leader-switchover", _C, 55, _K.KILL),
    _crash("leader-failover", _M, 34, _K.KILL, Part(kind=_K.KILL)),
    _crash("leader-frozen-switchover", _C, 55, _K.FREEZE),
    _crash("leader-frozen-failover", _M, 34, _K.FREEZE, Part(kind=_K.KILL)),
    _crash("leader-cut-switchover", _C, 55, _K.CUT),
    Hazard(name="two", sync=_C, asynchronous=_C, parts=_TWO),
)
"""What leaves a primary where it is comes first: one lab serves for all of that."""

ROWS: tuple[Row, ...] = tuple(
    Row(hazard=hazard, mode=mode, form=form)
    for form in ("embedded", "distributed")
    for mode in ("sync", "async")
    for hazard in HAZARDS
    if form in hazard.forms and mode in hazard.modes
)


def select(pattern: str, rows: Sequence[Row] = ROWS) -> tuple[Row, ...]:
    """Return the rows a pattern means: shell wildcards over the whole name, or else a part of it; empty is all."""
    whole = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return tuple(row for row in rows if fnmatchcase(row.name, whole))


def draw(row: Row, seed: int, *, primary: str, standbys: Sequence[str]) -> Script:
    """Return what a seed makes of a row, when the primaries are where they are."""
    chance = Random(f"{row.name}#{seed}")
    parts = row.hazard.parts if len(row.hazard.parts) < 2 else chance.sample(row.hazard.parts, 2)
    strikes = []
    for n, part in enumerate(parts):
        region, to = _where(part.at, chance, primary=primary, standbys=standbys)
        after_s = chance.uniform(*(BETWEEN_S if n else CALM_S))
        fault = Fault(kind=part.kind, region=region, to=to, value=chance.uniform(*part.value), what=part.what)
        strikes.append(Strike(fault=fault, after_s=after_s))
    crash = row.hazard.crash
    return Script(
        row=row,
        seed=seed,
        strikes=tuple(strikes),
        hold_s=chance.uniform(*HOLD_S),
        entries=crash.entry(row.name, seed) if crash else None,
    )


def _where(at: Place, chance: Random, *, primary: str, standbys: Sequence[str]) -> tuple[str, str | None]:
    match at:
        case Place.PRIMARY:
            return primary, None
        case Place.STANDBY:
            return chance.choice(standbys), None
        case Place.ANYWHERE:
            return chance.choice((primary, *standbys)), None
        case Place.LINK:
            return primary, chance.choice(standbys)
