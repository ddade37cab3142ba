"""How a cluster is, as its members say: which of them answer, which leads, how much is kept and may be."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from evac.ports import StoreHealth, StoreMember
from evac.stores.etcd.members import Members
from evac.stores.etcd.wire import STATUS, Json


async def health(members: Members, *, read: timedelta | None) -> StoreHealth:
    """Ask every member how it is. `read` is how long a read that a majority answers took just now, None if none did."""
    endpoints = members.address.endpoints
    said = await asyncio.gather(*[members.ask_member(member, STATUS, {}) for member in endpoints])
    answers = [status for status in said if status is not None]
    quotas = [int(status["dbSizeQuota"]) for status in answers if "dbSizeQuota" in status]
    return StoreHealth(
        kind="etcd",
        members=tuple(
            StoreMember(name=name, up=status is not None, leads=status is not None and _leads(status))
            for name, status in zip(endpoints, said, strict=True)
        ),
        read=read,
        size=max((int(status.get("dbSize", 0)) for status in answers), default=None),
        limit=min(quotas, default=None),
        trouble="; ".join(sorted({str(e) for status in answers for e in status.get("errors", ())})),
    )


def _leads(status: Json) -> bool:
    return bool(status["header"]["member_id"] == status.get("leader"))
