"""PostgreSQL: streaming replication, quorum commit, failover by starved standbys, and rejoin without silent loss.

Intuition: evac never asks PostgreSQL to be clever. A primary is what was promoted last; a standby follows whom its
`primary_conninfo` names; an old primary that went past the fork is rewound. What makes it safe is the order of things
(`core.planning`) and what each verb proves before it answers. One file a verb; `session` and `guard` say how all of
them speak to the server, `hands` and `fence` how they reach its host.

What this is not: an installer, a backup tool, or a connection pool.
"""

from __future__ import annotations

from typing import cast

from evac.core.estate import RegionId
from evac.drivers.postgresql.driver import UNDOABLE, VERBS, PostgresqlDriver
from evac.drivers.postgresql.fence import Fence
from evac.drivers.postgresql.hands import Hands
from evac.drivers.postgresql.member import Member
from evac.drivers.postgresql.session import Session
from evac.drivers.postgresql.settings import PostgresqlSettings
from evac.drivers.postgresql.upkeep import Upkeep
from evac.ports import Driver, DriverKind, Support, Surroundings

__all__ = ["KIND", "PostgresqlSettings"]


class PostgresqlKind:
    """The kind `postgresql`."""

    name = "postgresql"
    settings: type[PostgresqlSettings] = PostgresqlSettings
    support = Support(
        verbs=VERBS,
        undoable=UNDOABLE,
        verified_on="PostgreSQL 18.6, real servers, by pg_ctl, systemd 252 and own commands",
        relays=True,
        watched=True,
    )

    async def open(self, settings: PostgresqlSettings, surroundings: Surroundings) -> Driver:
        """Open a member. Nothing is connected yet: the first question does that."""
        place, region = surroundings.place, surroundings.region
        hands = Hands(settings=settings, region=region, place=place)
        watching = Session(settings=settings, region=region, place=place)
        member = Member(
            component=surroundings.component,
            region=region,
            settings=settings,
            peers={RegionId(r): cast("PostgresqlSettings", s) for r, s in surroundings.peers.items()},
            session=Session(settings=settings, region=region, place=place),
            watching=watching,
            hands=hands,
            fence=Fence(settings=settings, hands=hands),
            place=place,
            clock=surroundings.clock,
            keep=surroundings.keep,
        )
        upkeep = Upkeep(member=member, session=Session(settings=settings, region=region, place=place))
        return PostgresqlDriver(member=member, upkeep=upkeep)


KIND: DriverKind = PostgresqlKind()
