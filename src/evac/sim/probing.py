"""What the agents' probes meet on lossy links: a place kept by ssh, kept-open lines, and clients that connect anew.

Intuition: the agents of the embedded form stand in one process (`ops`) and look from their regions through ssh. A
question therefore crosses two connections: the region's ssh connection, which everything of that region shares, and
the line from the region to the target. When ssh itself stalls, the place's own ping fails too, and what was asked
meanwhile is unknown, not failed.

What this is not: the probes themselves (`evac.drivers.probes`); this mirrors their rules. A reply that is given up
stays owed, and a line that owes for `OWED_MAX` is opened again (`probes.kept`); a place whose connection stays silent
for `SILENCE_MAX` is connected to again (`places.ssh`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, prod
from random import Random

from evac.core.estate import RegionId
from evac.core.sights import Sight
from evac.sim.tcp import Connection, Link, Way, connect

OWED_MAX = 2.0
SILENCE_MAX = 5.0
SSH_ROUND_TRIPS = 7
"""Round trips of an ssh login after TCP has connected."""


@dataclass(slots=True)
class Place:
    """A region's place: an ssh connection from the controller's site, pinged all the time."""

    region: RegionId
    link: Link
    interval: float
    timeout: float
    next_ping: float
    random: Random
    line: Connection = field(init=False)
    heard: float = 0.0
    connections: int = 0
    """Counts up when the connection is made anew: what was forwarded through the old one is gone."""
    ready_at: float = 0.0
    failed: tuple[float, float] = (-inf, -inf)
    """When the last row of failed pings began and ended."""
    _reply_at: float | None = None

    def __post_init__(self) -> None:
        self.line = Connection(self.link)

    def ping(self) -> float | None:
        """Ping once. Return when the answer came, None if it did not come in time."""
        at, deadline = self.next_ping, self.next_ping + self.timeout
        if at >= self.ready_at and at - self.heard > SILENCE_MAX:
            self._reconnect(at)
        sent = max(at, self.ready_at, self._reply_at or 0.0)
        done = inf if sent > deadline else self.round_trip(sent)
        if done <= deadline:
            self._reply_at = None
            self.heard = done
            self.next_ping = max(done, at + self.interval)
            return done
        if done < inf:
            self._reply_at = done
        self.failed = (self.failed[0] if self.failed[1] == at else at, deadline)
        self.next_ping = deadline
        return None

    def round_trip(self, at: float) -> float:
        """Return when something that went to the place and straight back is there again."""
        return self.line.back.send(self.line.out.send(at, self.random), self.random)

    def was_deaf(self, begun: float, ended: float) -> bool:
        """Return whether a ping failed while a question was open: its outcome says nothing of the target."""
        return ended < self.ready_at or (begun < self.failed[1] and ended > self.failed[0])

    def _reconnect(self, at: float) -> None:
        """Give the silent connection up; the new one stands when TCP and the login are through."""
        self.line = Connection(self.link)
        ready = connect(self.link, at, self.random)
        for _ in range(SSH_ROUND_TRIPS):
            if ready < inf:
                ready = self.round_trip(ready)
        self.ready_at = min(ready, at + SILENCE_MAX)
        if ready > self.ready_at:
            self.line.out.blocked_until = inf
        self.connections += 1
        self.heard = self.ready_at
        self._reply_at = None


@dataclass(slots=True)
class Target:
    """One vantage point's probe of one target, and the line it asks on. `fresh` opens one for each question."""

    sight: Sight
    place: Place
    link: Link
    interval: float
    timeout: float
    fresh: bool
    next_ask: float
    random: Random
    refused_until: float = -inf
    """So long nothing listens there, on a machine that goes on and says so."""
    _line: Connection | None = None
    _connections: int = 0
    _reply_at: float | None = None
    _owed_since: float = 0.0

    def clean(self) -> float:
        """Return the probability that one question on an open line meets no loss at all."""
        return ((1 - self.link.loss) * (1 - self.place.link.loss)) ** 2

    def quick(self, at: float) -> bool:
        """Return whether nothing stands in the way of a question: an open line, nothing owed, no stall."""
        return (
            not self.fresh
            and self._line is not None
            and self._reply_at is None
            and self._connections == self.place.connections
            and not self._line.stalled(at)
            and not self.place.line.stalled(at)
        )

    def ask_quickly(self) -> tuple[float, float, bool]:
        """Ask where `quick` holds. One draw tells whether any packet is lost; only then the rest is worked out."""
        assert self._line is not None, "only an open line is quick"
        at = self.next_ask
        if self.random.random() < self.clean():
            done = at + self.link.round_trip + self.place.link.round_trip
            return self._ended(at, done, done, ok=True)
        done = self._exchanged(at, first_lost=self._which_is_lost())
        return self._judged(at, done)

    def be_refused(self) -> tuple[float, float, bool]:
        """Ask where nothing listens: an answer at once, and none of the target's."""
        at = self.next_ask
        done = at + self.link.round_trip + self.place.link.round_trip
        return self._ended(at, done, done, ok=False)

    def ask(self) -> tuple[float, float, bool]:
        """Ask once. Return when the question began, when it ended, and whether the answer came in time."""
        at, deadline = self.next_ask, self.next_ask + self.timeout
        self._give_up_what_is_lost(at)
        done = at
        if self._reply_at is not None:
            done = self._reply_at
            if done > deadline:
                return self._ended(at, deadline, deadline, ok=False)
            self._reply_at = None
        if self._line is None:
            done = self._opened(done)
            if done > deadline:
                return self._ended(at, deadline, deadline, ok=False)
            self._line = Connection(self.link)
            self._connections = self.place.connections
        return self._judged(at, self._exchanged(done))

    def _judged(self, at: float, done: float) -> tuple[float, float, bool]:
        """The end of a question whose answer comes at `done`; later than its time limit, it stays owed."""
        deadline = at + self.timeout
        if done > deadline:
            self._reply_at, self._owed_since = done, deadline
            return self._ended(at, deadline, deadline, ok=False)
        return self._ended(at, done, done, ok=True)

    def _give_up_what_is_lost(self, at: float) -> None:
        owed_too_long = self._reply_at is not None and at - self._owed_since > OWED_MAX
        if self.fresh or owed_too_long or self._connections != self.place.connections:
            self._line, self._reply_at = None, None

    def _opened(self, at: float) -> float:
        """Ask the place to connect, which it reports when it has."""
        there = self.place.line.out.send(at, self.random)
        if there == inf:
            return inf
        there = connect(self.link, there, self.random)
        return inf if there == inf else self.place.line.back.send(there, self.random)

    def _ways(self) -> tuple[Way, Way, Way, Way]:
        assert self._line is not None, "a question needs a line"
        return self.place.line.out, self._line.out, self._line.back, self.place.line.back

    def _which_is_lost(self) -> int:
        """Which packet is the first to be lost, given that one is."""
        losses = [way.link.loss for way in self._ways()]
        weights = [loss * prod(1 - earlier for earlier in losses[:i]) for i, loss in enumerate(losses)]
        return self.random.choices(range(len(losses)), weights)[0]

    def _exchanged(self, at: float, *, first_lost: int | None = None) -> float:
        for count, way in enumerate(self._ways()):
            known = None if first_lost is None or count > first_lost else count == first_lost
            at = way.send(at, self.random, lost=known)
            if at == inf:
                break
        return at

    def _ended(self, begun: float, ended: float, next_from: float, *, ok: bool) -> tuple[float, float, bool]:
        self.next_ask = max(next_from, begun + self.interval)
        return begun, ended, ok
