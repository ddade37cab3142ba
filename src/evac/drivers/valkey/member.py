"""A member as its verbs see it: its server, its siblings, the clock, and what it may be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.estate import RegionId
from evac.core.observation import Instant
from evac.core.plan import Action
from evac.drivers.valkey import process
from evac.drivers.valkey.notes import Notes
from evac.drivers.valkey.session import NOWHERE, Look, Session, nobody_listens
from evac.drivers.valkey.settings import Control, ValkeySettings
from evac.ports import Surroundings

POLL = timedelta(milliseconds=50)
START_MAX = timedelta(seconds=30)
"""How long a started server may take to load its data and answer."""


class Member:
    """One region's server, and the ways to its siblings."""

    def __init__(self, settings: ValkeySettings, surroundings: Surroundings) -> None:
        self.settings = settings
        self.region = surroundings.region
        self.component = surroundings.component.id
        self.clock = surroundings.clock
        self.place = surroundings.place
        self.keep_folder = surroundings.keep
        replication = surroundings.component.replication
        self.acks = replication.acks if replication is not None else 0
        self.lag_max = replication.lag_max if replication is not None else timedelta(seconds=10)
        self._peers = {region: peer for region, peer in surroundings.peers.items() if isinstance(peer, ValkeySettings)}
        self.session = Session(place=self.place, settings=settings)
        self.turned_away_at: Instant | None = None
        """When this very driver saw its replica turn away; another one's word on it is not believed."""

    def peer(self, region: object) -> ValkeySettings:
        """Return a sibling's settings. Raises `Rejected` when there is none."""
        found = self._peers.get(RegionId(str(region)))
        if found is None:
            raise Rejected(f"{self.component} has no member in {region}; the order is for another estate")
        return found

    def address(self, region: object) -> tuple[str, int]:
        """Return where a sibling is followed."""
        peer = self.peer(region)
        return peer.host, peer.port

    def region_of(self, address: tuple[str, int] | None) -> RegionId | None:
        """Return whose address it is; None if nobody's."""
        return next((r for r, peer in self._peers.items() if (peer.host, peer.port) == address), None)

    async def obeying(self, action: Action) -> Look:
        """Look, and refuse an order that is over, or that the server could not keep across a restart."""
        look = await self.session.look()
        self.refuse_stale(look, action)
        if not look.durable:
            raise Rejected(
                f"{self.session.where} runs without a configuration file, so nothing survives its restart;"
                " start it with one"
            )
        return look

    def refuse_stale(self, look: Look, action: Action) -> None:
        """Raise `Rejected` when the server has been told a higher term."""
        if look.notes.term is not None and look.notes.term > action.term:
            raise Rejected(f"{self.session.where} has obeyed term {look.notes.term}; term {action.term} is over")

    async def until(self, holds: Callable[[Look], bool], *, within: timedelta, what: str) -> Look:
        """Look until something holds; raises `Unavailable` saying `what` was waited for."""
        deadline = self.clock.now() + within
        while True:
            look = await self.session.look()
            if holds(look):
                return look
            if self.clock.now() >= deadline:
                raise Unavailable(f"{self.session.where}: waited {within.total_seconds():g} s in vain {what}")
            await self.clock.sleep(POLL)

    async def turn_away(self, notes: Notes) -> None:
        """Follow nobody, durably."""
        await self.session.keep(notes, ("REPLICAOF", *NOWHERE))

    async def killed(self, control: Control) -> None:
        """End the process and keep it down.

        Raises `Indeterminate` when it answers all the same, or is only silent: what systemd ended has ended, but a
        process that a command left frozen may go on.
        """
        await process.end(control, self.place)
        try:
            await self.session.look()
        except Unavailable as silence:
            if control.systemd or nobody_listens(silence):
                return
            raise Indeterminate(f"{silence}: nothing says that the command ended it; correct `control`") from silence
        raise Indeterminate(
            f"{self.session.where} answers though it was killed: who started it again? correct `control`"
        )

    async def started(self) -> Look:
        """Start the process if it does not answer, and return what it says."""
        try:
            return await self.session.look()
        except Unavailable:
            control = self.settings.control
            if control is None:
                raise
        await process.start(control, self.place)
        deadline = self.clock.now() + START_MAX
        while True:
            try:
                return await self.session.look()
            except Unavailable:
                if self.clock.now() >= deadline:
                    raise
            await self.clock.sleep(POLL)
