"""One member as its verbs see it: settings, siblings, the session for orders, hands at the place, the fence.

What this is not: the driver (`driver.py`), which chooses the verb; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from psycopg import sql

from evac.core.errors import Rejected
from evac.core.estate import Component, RegionId, ReplicationMode
from evac.core.observation import Json
from evac.core.plan import Action
from evac.drivers.postgresql import naming
from evac.drivers.postgresql.fence import Fence
from evac.drivers.postgresql.guard import setting
from evac.drivers.postgresql.hands import Hands
from evac.drivers.postgresql.naming import Waits
from evac.drivers.postgresql.session import Session
from evac.drivers.postgresql.settings import PostgresqlSettings
from evac.ports import Clock, Place

GRACE = timedelta(seconds=3)
"""How much longer than the server's own wait evac waits for its answer."""


@dataclass(slots=True)
class Credentials:
    """Where on the member's own host the passwords of the others are; empty until evac has put them there."""

    passfile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a verb works with."""

    component: Component
    region: RegionId
    settings: PostgresqlSettings
    peers: Mapping[RegionId, PostgresqlSettings]
    session: Session
    watching: Session
    """The connection that observes."""
    hands: Hands
    fence: Fence
    place: Place
    clock: Clock
    keep: Path
    credentials: Credentials = field(default_factory=Credentials)

    @property
    def others(self) -> tuple[RegionId, ...]:
        return tuple(region for region in self.peers if region != self.region)

    @property
    def leased(self) -> bool:
        """Whether it is held under a lease: its marker is there then while it runs as a primary."""
        return self.component.held is not None

    def peer(self, action: Action, name: str) -> RegionId:
        """Return the sibling region that an argument names; `Rejected` when there is none."""
        region = action.args.get(name)
        if not isinstance(region, str) or region not in self.peers or region == self.region:
            raise Rejected(f"{action.verb} in {self.region}: argument {name} must name another member, not {region!r}")
        return RegionId(region)

    def names(self, regions: Sequence[RegionId]) -> tuple[str, ...]:
        return tuple(naming.application_name(region, self.peers[region]) for region in regions)

    def waits(self, given: object, verb: str) -> Waits:
        """Return whom to wait for, from an argument `{acks, standbys}`."""
        if not isinstance(given, Mapping) or not isinstance(given.get("acks"), int):
            raise Rejected(f"{verb} in {self.region}: needs acks and standbys")
        standbys = given.get("standbys") or ()
        if not isinstance(standbys, (list, tuple)) or any(s not in self.others for s in standbys):
            raise Rejected(f"{verb} in {self.region}: standbys must name other members, not {standbys!r}")
        if not 0 <= given["acks"] <= len(standbys):
            raise Rejected(f"{verb} in {self.region}: {given['acks']} of {len(standbys)} standbys cannot acknowledge")
        return Waits(acks=given["acks"], names=self.names([RegionId(s) for s in standbys]))

    def armed_names(self) -> str:
        """Return the set a standby carries so that it waits for others from its first moment as a primary; "" for none.

        A server decides whether it waits at all by a flag that its checkpointer sets some time after a reload; a
        standby that has carried a set all along never acknowledges alone in that window.
        """
        replication = self.component.replication
        if replication is None or replication.mode is not ReplicationMode.SYNC:
            return ""
        return Waits(acks=min(replication.acks, len(self.others)), names=self.names(self.others)).text()

    def arming(self) -> tuple[sql.Composable, ...]:
        """Return what makes a standby carry that set."""
        names = self.armed_names()
        return (setting("synchronous_standby_names", names),) if names else ()

    def conninfo(self, upstream: RegionId) -> str:
        """Return the `primary_conninfo` by which this member follows another."""
        return naming.upstream_conninfo(self.region, upstream, self.peers, passfile=self.credentials.passfile)

    def following(self, upstream: RegionId) -> tuple[sql.Composable, ...]:
        """Return what makes this member follow another, with its own slot there."""
        return (
            setting("primary_conninfo", self.conninfo(upstream)),
            setting("primary_slot_name", naming.slot_name(self.region, self.settings)),
        )


def receipts(action: Action, *, having: str) -> tuple[Mapping[str, Json], ...]:
    """Return the facts of the earlier steps that have one of a name."""
    given = action.args.get("receipts")
    facts = given.values() if isinstance(given, Mapping) else ()
    return tuple(f for f in facts if isinstance(f, Mapping) and f.get(having) is not None)


def told(action: Action, region: RegionId) -> bool:
    """Say whether an earlier step of the run has made this member remember the order's term already."""
    return any(f.get("region") == region and f.get("term") == action.term for f in receipts(action, having="term"))


def number(value: Json) -> int:
    """Return a fact that must be a whole number."""
    assert isinstance(value, int), f"a position or timeline, not {value!r}"
    return int(value)
