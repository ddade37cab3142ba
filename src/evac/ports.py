"""The protocols between evac's core and the world. Whoever implements one passes its suite in `tests/contract`.

A port has few methods (about six) and raises only the errors of `evac.core.errors`. Values that cross a port are the
core's own frozen dataclasses, or plain bytes and numbers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from evac.core.estate import Component, Directs, Observer, Probe, RegionId, ServiceId
from evac.core.observation import Instant, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.core.watchdog import Watched


class Clock(Protocol):
    """Time. `now` is boot time and decides; `wall` is for people."""

    def now(self) -> Instant: ...

    def wall(self) -> datetime: ...

    async def sleep(self, duration: timedelta) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A key's value in the store. `version` is that of this key, grows by each write, and never repeats."""

    key: str
    value: bytes
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A key was written (`record`) or deleted (None). `revision` counts the store's commits, across all keys."""

    key: str
    record: Record | None
    revision: int


VALUE_BYTES_MAX = 1024 * 1024
"""The largest value a store takes."""
COMMIT_WRITES_MAX = 120
"""So many keys a commit writes and deletes at most, and so many versions it expects: etcd as it ships takes 128 of
each, and a store adds a few of its own.
"""


class Store(Protocol):
    """What evac remembers: a small, durable, linearizable map with transactions and a watch that loses nothing.

    Keys are paths (`runs/<id>/000007`); values are at most 1 MiB. Every method may raise `StoreUnavailable`.
    """

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        """Return the newest value of a key, read linearizably; None if it has none.

        With `near` from the nearest copy: no older than anything this object has told before, by a reply or a watch,
        but others may have written since. For what a commit will compare anyway, or a watch has just announced.
        """

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        """Return all keys under a prefix, sorted by key; `near` as for `get`."""

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        """Write and delete all or nothing, durably, if each key in `expect` has that version (0: does not exist).

        What is not `lasting` may be undone by a power cut of the store's machine, until a lasting commit follows: for
        views and snapshots, which are written anew all the time. With `life` only in the life of the store that has
        this incarnation: what was read in another one counts for nothing in this. Returns the store's new revision.
        Raises `Conflict` when an expectation fails: nothing was written.
        """

    def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        """Yield every change under a prefix with a revision greater than `after`, in order, without end.

        A reader that falls too far behind gets `StoreUnavailable`: list, then watch again.
        """

    async def revision(self) -> int:
        """Return the revision of the newest commit."""

    async def incarnation(self) -> str:
        """Return the identity of this store's life: a store restored from a backup or made anew has another one."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMember:
    """One member of what a store is kept on: a server of a cluster, a file. `leads` where one orders the writes."""

    name: str
    up: bool
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How a store is, seen from here. What its kind cannot say is None, or empty.

    `read` is how long a read that a majority answers took just now; None: nobody answered it. `size` and `limit` are
    bytes: what it takes, and what it may take at most before it refuses writes.
    """

    kind: str
    members: tuple[StoreMember, ...]
    read: timedelta | None
    size: int | None = None
    limit: int | None = None
    trouble: str = ""
    """What the store itself says is wrong."""


@runtime_checkable
class Inspectable(Protocol):
    """A store that can say how it is. Not part of `Store`: nothing is decided by it."""

    async def health(self) -> StoreHealth:
        """Return how it is now; a store that does not answer is one whose `read` is None. Raises nothing of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command's end: its exit code and what it printed."""

    code: int
    out: bytes
    err: bytes


class Place(Protocol):
    """Where a region's agent acts and looks from: this host, or a host reached over ssh.

    Every method raises `Unavailable` when the place cannot be reached, and `run` raises `Indeterminate` when it was
    lost, or the time ran out, after the command had started.
    """

    async def ping(self) -> int:
        """Return once the place has answered just now, over the connection that is kept open.

        The number tells connections apart: another one than at the last ping says that it was lost in between.
        """

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        """Run a command there, without a shell, and wait for its end."""

    def forward(self, host: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """Give a local TCP address whose connections come out at the place and go on to `host:port`.

        For this host it is the address itself. The forwarding lives as long as the context.
        """

    async def close(self) -> None: ...


class Truth(StrEnum):
    """Whether an effect holds: the third answer is an answer too."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """What a look found. With YES it carries the receipt the step would have given."""

    truth: Truth
    receipt: Receipt | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `evac check`: what was tried, whether it would work in an emergency, and what to do if not.

    A `warning` would work, and should be mended all the same. What could not even be `asked` is not ok either.
    """

    ok: bool
    what: str
    remedy: str = ""
    warning: bool = False
    asked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What a driver can do, as data: for planning, for the reference, for the contract suite."""

    verbs: frozenset[Verb]
    undoable: frozenset[Verb]
    verified_on: str
    """What it was verified on, for the support table: "PostgreSQL 18.6, a real server"."""
    directs: Directs | None = None
    """What a router of this kind chooses for clients; None for what holds state, or where it depends."""
    relays: bool = False
    """Whether a standby that nobody feeds any more can be followed, and lets a follower keep what it has more."""
    watched: bool = False
    """Whether its members are `Watchable`: a watchdog can be told what to kill."""


class Driver(Protocol):
    """One member of a component: its region's view of a database, a router, a zone.

    A member is told what to do by an `Action`. `do` and `undo` are idempotent: twice is once. They raise `Rejected`,
    `Unavailable` or `Indeterminate`, and nothing else, for what the world does. Secrets never appear in a message.
    """

    async def check(self) -> tuple[Finding, ...]:
        """Try, without changing anything, all that an emergency would need: connections, rights, tools, settings."""

    async def observe(self) -> MemberState:
        """Return what the member says of itself. Raises `Unavailable` when it does not answer."""

    async def holds(self, action: Action) -> Holds:
        """Look whether the action's effect is already there. Changes nothing; answers UNKNOWN rather than raise."""

    async def do(self, action: Action) -> Receipt:
        """Bring the effect about, see that it holds, and return the receipt."""

    async def undo(self, action: Action) -> Receipt:
        """Bring the world back to before `do`, as far as `Support.undoable` says."""

    async def close(self) -> None: ...


class Device(Protocol):
    """What can switch one host off from outside. Both raise a driver's errors, and may be asked again."""

    async def switch_off(self) -> None:
        """Give the order. That it was taken proves nothing."""

    async def says_off(self) -> bool:
        """Return whether the host is off by the device's own word."""


@runtime_checkable
class Watchable(Protocol):
    """A driver whose member is a server on a host, so that a watchdog there can kill it and keep it down."""

    def watched(self) -> Watched:
        """Return what is to be killed, on the member's own host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a driver is opened with: where it is, its siblings' settings, the clock, and a folder for what it must keep
    (orphaned writes). `peers` maps every region of the component, its own included, to that member's settings.
    """

    component: Component
    region: RegionId
    place: Place
    clock: Clock
    keep: Path
    peers: Mapping[RegionId, Any] = field(default_factory=dict)


class DriverKind(Protocol):
    """What the entry-point group `evac.drivers` names: how to read a driver's settings and open a member.

    `settings` is a frozen pydantic model; config validates each member's settings with it.
    """

    name: str
    settings: type[Any]
    support: Support

    async def open(self, settings: Any, surroundings: Surroundings) -> Driver: ...


class BadAnswer(str):
    """Why a service does not do its job, where something there answered: it refused the connection, hung up, or said
    something else than it should. Whoever is told this has at least a way there.
    """

    __slots__ = ()


class Prober(Protocol):
    """One probe, ready to be asked again and again over whatever connection it keeps open."""

    async def ask(self) -> str:
        """Return "" when the service did its job, else a short reason; a `BadAnswer` where it is surely the other end
        that answered. The caller sets the time limit.
        """

    async def close(self) -> None: ...


class ProbeKind(Protocol):
    """What the entry-point group `evac.probes` names."""

    name: str
    settings: type[Any]

    async def open(self, probe: Probe, place: Place) -> Prober: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighted:
    """What an observer holds of one target: it did its job, or did not and why. `age` is how long ago that was so when
    the observer was asked, by its own clock.
    """

    service: ServiceId
    region: RegionId
    ok: bool
    age: timedelta
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What an observer counted of real clients sent to one target since its last answer, `window` ago: so many requests
    ended, so many of them badly.
    """

    service: ServiceId
    region: RegionId
    window: timedelta
    requests: int
    failed: int


class Watching(Protocol):
    """Something that already watches many targets, asked for all of them at once."""

    async def ask(self) -> Sequence[Sighted | Counted]:
        """Return what is new since the last answer. A target it knows nothing fresh of is left out: it is unknown.

        The caller sets the time limit. Raises a driver's errors when there is no answer, and then nothing is known.
        """

    async def check(self) -> tuple[Finding, ...]:
        """Ask once, and say of which targets it tells nothing."""

    async def close(self) -> None: ...


class ObserverKind(Protocol):
    """What the entry-point group `evac.observers` names."""

    name: str
    settings: type[Any]
    counts: bool
    """Whether it counts real clients, instead of telling whether targets are well."""

    def witnesses(self, settings: Any) -> frozenset[str]:
        """Return whom it listens to, as far as the same name is the same one everywhere (a loopback address is not).

        Two vantage points that listen to one witness would give it two votes.
        """

    async def open(self, observer: Observer, place: Place) -> Watching: ...


class Notifier(Protocol):
    """Tells people. Failing to tell is reported, never raised into a run."""

    async def tell(self, *, severity: str, title: str, text: str) -> None: ...
