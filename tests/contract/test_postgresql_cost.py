"""What evac asks a server again and again is planned once a connection: a look's plan costs ten times the look."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from postgresql_members import settings_of

from evac.core.estate import RegionId
from evac.drivers.postgresql.observe import Observer
from evac.drivers.postgresql.session import Session
from evac.lab.servers import postgresql
from evac.places.local import LocalPlace

pytestmark = pytest.mark.asyncio

WITHIN = timedelta(seconds=20)
PLANNED = "SELECT count(*), sum(generic_plans + custom_plans) FROM pg_prepared_statements"


async def test_looks_share_one_plan_and_nothing_else_is_prepared(tmp_path: Path) -> None:
    async with postgresql.cluster(tmp_path, regions=("us-east-1",), acks=0) as members:
        (member,) = members.values()
        session = Session(settings=settings_of(member), region=RegionId(member.region), place=LocalPlace())
        observer = Observer(session=session, peers={}, within=WITHIN)
        try:
            for _ in range(4):
                assert not (await observer.look()).standby
                await session.look("SELECT 1", within=WITHIN)
            [[(statements, uses)]] = await session.look(PLANNED, within=WITHIN)
        finally:
            await session.close()
    assert (statements, uses) == (1, 4)
