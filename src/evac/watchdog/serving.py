"""The watch itself: take orders from a socket, look at the clock, kill when it is due, and keep down.

Intuition: a loop of three lines. What must be quick (the clock, the kill) never waits for what may be slow (a client
that does not read, a disk): clients are answered without waiting, files are an errand.

Time is CLOCK_BOOTTIME: it goes on while the machine is suspended, and no one sets it. A wait that slept through a
suspension ends late by at most one tick after the machine is back, and then sees how late it is.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from datetime import timedelta

from evac.core.observation import Instant
from evac.core.watchdog import Arm, Guard, Look, Order, Release, Stance, Watched, read_order
from evac.watchdog.device import Device
from evac.watchdog.killing import find, kill
from evac.watchdog.marking import Errand, leave, mark

TICK_S = 0.05
PATROL_SHARE = 5
"""Between two looks whether somebody started what is to stay down it rests so many times as long as a look takes: a
server that starts is killed before it serves, and a machine with many processes is not kept busy."""
IDLE_MAX = timedelta(seconds=60)
"""One that nobody has armed for so long has nothing to watch, and ends."""
LINE_MAX = 256
CLIENTS_MAX = 32


def boot_time() -> Instant:
    return timedelta(microseconds=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)


class Watchdog:
    """One server's watchdog. `reset` is how long a kill may take before a hardware watchdog (`device`) has reset the
    machine."""

    def __init__(
        self, watched: Watched, *, within: timedelta, reset: timedelta, listening: socket.socket, device: Device | None
    ) -> None:
        self._watched = watched
        self._guard = Guard(within=within)
        self._reset = reset
        self._device = device
        self._born_at = boot_time()
        self._released = False
        self._errand = Errand()
        self._arming: tuple[Arm, socket.socket] | None = None
        self._to_leave = False
        self._due_at: Instant | None = None
        """Since when a kill is due that has not found everybody dead."""
        self._patrol_at: Instant = timedelta()
        self._selector = selectors.DefaultSelector()
        self._clients: dict[socket.socket, bytes] = {}
        listening.setblocking(False)
        self._listening = listening
        self._selector.register(listening, selectors.EVENT_READ)

    def watch(self) -> None:
        """Watch until it is released, or was never armed. What goes wrong on the way (no memory, no descriptor) must
        not end it: it goes round again.
        """
        while not self._over:
            try:
                self.turn(TICK_S)
            except (OSError, MemoryError):
                time.sleep(TICK_S)
        if self._device is not None:
            self._device.off()

    @property
    def _over(self) -> bool:
        if self._guard.stance is not Stance.IDLE or self._errand.under_way:
            return False
        return self._released or boot_time() - self._born_at > IDLE_MAX

    def turn(self, wait_s: float) -> None:
        """Go round once."""
        for key, _ in self._selector.select(wait_s):
            if key.fileobj is self._listening:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket), "sockets only are watched"
                self._hear(key.fileobj)
        now = boot_time()
        self._enforce(now)
        self._run_errands()
        self._pet(now)

    def _enforce(self, now: Instant) -> None:
        if self._guard.due(now):
            self._guard = self._guard.killed()
            self._due_at, self._to_leave = now, True
            self._patrol_at = now
        if self._guard.stance is Stance.DOWN and now >= self._patrol_at:
            dead = kill(self._watched.folder, self._watched.names)
            self._patrol_at = boot_time() + PATROL_SHARE * (boot_time() - now)
            self._due_at = None if dead else self._due_at or now

    def _run_errands(self) -> None:
        """Write what was to be written, one after the other; an order to arm is answered when its marker is durable."""
        if self._errand.under_way:
            well = self._errand.done()
            if well is None:
                return
            if self._arming is not None:
                (order, client), self._arming = self._arming, None
                if well:
                    self._obey(order)
                self._answer(client, well=well, count=True)
        elif self._to_leave:
            self._errand.send(lambda: leave(self._watched))
            self._to_leave = False

    def _pet(self, now: Instant) -> None:
        """Keep the hardware watchdog quiet, but not when a kill does not come to its end: what is written last then
        still counts for its time-out."""
        if self._device is None:
            return
        if self._due_at is None or now - self._due_at <= self._reset - self._device.timeout:
            self._device.pet()

    def _accept(self) -> None:
        with suppress(OSError):
            client, _ = self._listening.accept()
            client.setblocking(False)
            if len(self._clients) >= CLIENTS_MAX:
                self._forget(next(iter(self._clients)))
            self._clients[client] = b""
            self._selector.register(client, selectors.EVENT_READ)

    def _hear(self, client: socket.socket) -> None:
        try:
            came = client.recv(LINE_MAX)
        except OSError:
            came = b""
        if not came:
            return self._forget(client)
        *lines, rest = (self._clients[client] + came).split(b"\n")
        self._clients[client] = rest[-LINE_MAX:]
        for line in lines:
            self._take(read_order(line), client)
        return None

    def _take(self, order: Order | None, client: socket.socket) -> None:
        if order is None or (isinstance(order, Arm) and self._errand.under_way):
            return self._answer(client, well=False)
        if isinstance(order, Arm) and self._guard.stance is not Stance.DOWN:
            term = order.term
            self._errand.send(lambda: mark(self._watched, term))
            self._arming = order, client
            return None
        self._obey(order)
        return self._answer(client, well=True, count=isinstance(order, Look))

    def _obey(self, order: Order) -> None:
        self._guard = self._guard.told(order, boot_time())
        if isinstance(order, Release) and self._guard.stance is Stance.IDLE:
            self._due_at, self._to_leave, self._released = None, False, True

    def _answer(self, client: socket.socket, *, well: bool, count: bool = False) -> None:
        """Say how it stands, and how many processes it sees if that counts; one who does not read is not waited for."""
        said = str(self._guard.stance if well else "refused")
        if count:
            said += f" {sum(1 for _ in find(self._watched.folder, self._watched.names))}"
        with suppress(OSError):
            client.send(f"{said}\n".encode())

    def _forget(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._clients[client]
        client.close()
