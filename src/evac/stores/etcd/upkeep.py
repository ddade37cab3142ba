"""Keeping a store on etcd small, and saying how large it is.

Intuition: etcd keeps every version of every key until it is told to forget. Every process that runs for long offers to
tell it: each looks now and then at one record, and who finds it as it was at its last look, `HISTORY` ago, replaces it
and lets etcd forget what is older than what that record names. So one of them does it, whoever lives; no clock but
one's own decides; and a watch is always given at least `HISTORY` to be taken up again.

Slots of processes that died are swept away by the same hand: those not written since then.

What this is not: defragmentation. etcd uses the freed pages again; who wants them back on the disk runs
`etcdctl defrag`, one member after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from evac.core.errors import StoreUnavailable
from evac.ports import Clock
from evac.stores.etcd import wire
from evac.stores.etcd.store import EtcdStore
from evac.stores.etcd.wire import COMPACT, RANGE, STATUS, TXN, Found, Trouble

HISTORY = timedelta(minutes=5)
"""For how long at least every version is kept; for twice as long at most, while anybody looks."""
SWEPT_AT_ONCE = 100
"""Slots swept in one transaction: etcd takes 128 operations."""
LARGE_BYTES = 1024**3
"""A database of this size is told: etcd's default limit, at which it takes no more writes, is twice as much."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The largest database among the members that answered, on its disk and in use, and how many answered."""

    on_disk_bytes: int
    in_use_bytes: int
    answered: int
    members: int


async def size(store: EtcdStore) -> Size:
    """Return how large the store is. Raises `StoreUnavailable` when no member says so."""
    endpoints = store.members.address.endpoints
    said = await asyncio.gather(*[store.members.ask_member(member, STATUS, {}) for member in endpoints])
    answers = [status for status in said if status is not None]
    if not answers:
        raise StoreUnavailable(f"{store.members.address}: no member says how large its database is")
    return Size(
        on_disk_bytes=max(int(status.get("dbSize", 0)) for status in answers),
        in_use_bytes=max(int(status.get("dbSizeInUse", 0)) for status in answers),
        answered=len(answers),
        members=len(endpoints),
    )


async def keep_small(store: EtcdStore, *, clock: Clock) -> None:
    """Let the store forget what is older than `HISTORY`, again and again, without end."""
    looked: Found | None = None
    while True:
        try:
            looked = await forget(store, looked)
            await asyncio.to_thread(store.note)
            now = await size(store)
            if now.on_disk_bytes > LARGE_BYTES:
                _log.warning("the store is large: defragment it, or find what fills it", **_megabytes(now))
        except StoreUnavailable as trouble:
            _log.warning("the store could not be kept small: tried again later", why=str(trouble))
        await clock.sleep(HISTORY * store.members.chance.uniform(1.0, 1.2))


async def forget(store: EtcdStore, looked: Found | None) -> Found:
    """Let etcd forget what is older than the record `looked` at names, unless another process has; return the new one.

    Raises `StoreUnavailable`.
    """
    key = f"{store.own}history"
    read = (await store.ask(RANGE, wire.get(key))).reply
    held, newest = wire.found_one(read), wire.seen(read).revision
    if held.version and (looked is None or looked.version != held.version):
        return held  # another process lets it forget; or this one has only just come
    mine = wire.transaction(
        compare=[wire.at_version(key, held.version)],
        then=[wire.put_op(key, str(newest).encode())],
        otherwise=[wire.get_op(key)],
    )
    reply = (await store.ask(TXN, mine)).reply
    if not reply.get("succeeded"):
        return wire.found_in(reply)[0]
    if held.version:
        await _forget_before(store, int(held.value))
    return Found(key=key, value=str(newest).encode(), version=wire.seen(reply).revision)


async def _forget_before(store: EtcdStore, revision: int) -> None:
    try:
        await store.ask(COMPACT, {"revision": str(revision)})
        slots = await store.read_all(f"{store.own}slots/", keys_only=True)
    except Trouble:
        return  # somebody has let it forget more already, an operator's own settings perhaps
    old = [slot for slot in slots if slot.version <= revision]
    for at in range(0, len(old), SWEPT_AT_ONCE):
        await _sweep(store, old[at : at + SWEPT_AT_ONCE])


async def _sweep(store: EtcdStore, slots: Sequence[Found]) -> None:
    """Delete slots, unless one of them is used again just now: then the next time."""
    compare = [wire.at_version(slot.key, slot.version) for slot in slots]
    await store.ask(TXN, wire.transaction(compare=compare, then=[wire.delete_op(slot.key) for slot in slots]))


def _megabytes(now: Size) -> dict[str, int]:
    return {"on_disk_mb": now.on_disk_bytes // 1024**2, "in_use_mb": now.in_use_bytes // 1024**2}
