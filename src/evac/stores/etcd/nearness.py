"""Where the cluster's own leader sits: beside whoever writes most.

Intuition: every commit goes to etcd's leader, and from there to a majority. Whoever has the leader for its nearest
member pays one round trip a commit, all others pay two. evac writes most while one process leads, so that process asks
for the leadership of the cluster to be where it is itself.

What this is not: anything that safety rests on. A cluster that will not is left as it is; only speed depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from evac.ports import Clock
from evac.stores.etcd.store import EtcdStore
from evac.stores.etcd.wire import MOVE_LEADER, STATUS, Json

LOOK_EVERY = timedelta(seconds=5)


async def keep_leader_near(store: EtcdStore, *, clock: Clock, calm: Callable[[], bool]) -> None:
    """See to it, without end, that the member named first leads the cluster.

    Only while it is `calm`: while the leadership passes on, the cluster takes no commits for about a round trip.
    """
    while True:
        await clock.sleep(LOOK_EVERY)
        if calm():
            await draw_leader(store)


async def draw_leader(store: EtcdStore) -> bool:
    """See to it that the member named first leads the cluster; return whether it now does."""
    members, endpoints = store.members, store.members.address.endpoints
    said = await asyncio.gather(*[members.ask_member(member, STATUS, {}) for member in endpoints])
    nearest = said[0]
    if nearest is None or _leads(nearest):
        return nearest is not None
    for member, status in zip(endpoints, said, strict=True):
        if status is not None and _leads(status):
            await members.ask_member(member, MOVE_LEADER, {"targetID": _id(nearest)})  # its answer holds not a word
    now = await members.ask_member(endpoints[0], STATUS, {})
    return now is not None and _leads(now)


async def is_leader_near(store: EtcdStore) -> bool:
    """Return whether the member named first leads the cluster."""
    status = await store.members.ask_member(store.members.address.endpoints[0], STATUS, {})
    return status is not None and _leads(status)


def _leads(status: Json) -> bool:
    return _id(status) == status.get("leader")


def _id(status: Json) -> object:
    return status["header"]["member_id"]
