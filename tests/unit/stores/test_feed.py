"""A watcher is woken by what it watches for, and is never told of a gap that it need not know of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from evac.core.errors import StoreUnavailable
from evac.ports import Change, Record
from evac.stores.feed import KEPT_MAX, Feed


def put(feed: Feed, key: str) -> None:
    revision = feed.revision + 1
    record = Record(key=key, value=b"", version=revision)
    feed.publish([Change(key=key, record=record, revision=revision)], revision=revision)


async def waiting(watch: AsyncGenerator[Change, None]) -> asyncio.Task[Change]:
    """Begin to wait for the next change, and return once it is waited for."""
    task = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    return task


async def test_a_watcher_sleeps_through_all_that_it_does_not_watch_for() -> None:
    feed = Feed(revision=0)
    next_order = await waiting(feed.follow("orders/", after=0))
    for _ in range(2 * KEPT_MAX):
        put(feed, "views/here")
    await asyncio.sleep(0)
    assert not next_order.done(), "what was dropped meanwhile was not for it"
    put(feed, "orders/1")
    put(feed, "views/here")
    assert (await next_order).revision == 2 * KEPT_MAX + 1


async def test_what_is_published_while_a_watcher_is_busy_is_told_next() -> None:
    feed = Feed(revision=0)
    watch = feed.follow("orders/", after=0)
    first = await waiting(watch)
    put(feed, "orders/1")
    assert (await first).key == "orders/1"
    put(feed, "orders/2")
    put(feed, "views/here")
    assert (await anext(watch)).key == "orders/2"


@pytest.mark.parametrize("busy", [False, True])
async def test_the_end_is_told_to_whoever_waits_and_to_whoever_is_busy(*, busy: bool) -> None:
    feed = Feed(revision=0)
    watch = feed.follow("orders/", after=0)
    following = await waiting(watch)
    if busy:
        put(feed, "orders/1")
        await following
    feed.close("gone")
    with pytest.raises(StoreUnavailable, match="gone"):
        await (anext(watch) if busy else following)


async def test_a_watcher_that_was_woken_and_cancelled_at_once_leaves_nothing() -> None:
    feed = Feed(revision=0)
    following = await waiting(feed.follow("orders/", after=0))
    following.cancel()
    put(feed, "orders/1")
    await asyncio.wait({following})
    assert following.cancelled()
    put(feed, "orders/2")
