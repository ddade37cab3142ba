"""What brings changes from a cluster: one stream a prefix, however often and by however many it is watched.

Intuition: a stream that is silent may be quiet, or dead, or held by a member that is frozen or cut off, and nobody can
tell which. So every stream also watches one small key, the pulse, which whoever has not heard it for a while writes
anew (`EtcdStore`); one second's silence more or less is then a member that has failed. The stream is taken up at
another one after the last change it brought, so nothing is lost and nothing comes twice. A member without a leader
ends its streams by itself (`hasleader`).

A prefix under which nothing happens would have to be taken up where it began, long after that is compacted away. So
when a pulse is old enough (`Patience.settled`) and no change came since, the stream goes on from that pulse: a member
sends all of one stream in order, and a change that came late all the same ends the stream, loudly.

What this is not: an end to waiting. While no member answers, a watch waits; it ends when something was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from evac.core.errors import StoreUnavailable
from evac.stores.etcd.members import Members
from evac.stores.etcd.wire import WATCH, Json, Remedy, Trouble, after_prefix, b64, cancelled, change
from evac.stores.feed import Feed, no_longer_kept
from evac.stores.trust import FAILED

_CHANGES, _PULSES = "1", "2"
"""The two watches of a stream, as they are numbered on the wire."""


@dataclass(slots=True, kw_only=True)
class Pulse:
    """The key that every stream watches as a sign of life: its newest version, and when that was heard (loop time)."""

    key: str
    version: int = 0
    heard: float = float("-inf")


class Stream:
    """The changes under one prefix after a revision, brought into a feed for as long as anybody reads it."""

    def __init__(self, *, members: Members, root: str, prefix: str, after: int, pulse: Pulse) -> None:
        self.prefix = prefix
        self.feed = Feed(revision=after)
        self._members = members
        self._root = root
        self._pulse = pulse
        self._readers = 0
        self._unread_since = 0.0
        self._denied = False
        """Whether the last try was refused, perhaps for its token only."""
        self._mark: tuple[int, float] | None = None
        """A pulse after which nothing has come yet: its revision, and when it was heard."""

    def join(self) -> None:
        """Count one more reader."""
        self._readers += 1

    def part(self) -> None:
        """Count one reader less."""
        self._readers -= 1
        self._unread_since = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Bring changes until nobody has read them for a while, or until some were lost: readers are told so."""
        try:
            while not self._is_unread():
                await self._bring_from(await self._members.chosen())
        except StoreUnavailable as lost:
            self.feed.close(str(lost))
        finally:
            self.feed.close()

    async def _bring_from(self, member: str) -> None:
        """Bring changes from one member until it fails, or another one is to be asked."""
        patience = self._members.patience
        try:
            async with asyncio.timeout(patience.silence.total_seconds()) as limit:
                await self._bring(member, limit)
            return
        except FAILED:
            self._members.leave(member)
        except Trouble as trouble:
            match trouble.remedy:
                case Remedy.COMPACTED:
                    raise StoreUnavailable(no_longer_kept(self.feed.revision)) from None
                case Remedy.TOKEN_OR_NONE if not self._denied:
                    self._denied = True
                    self._members.sign_in_anew()
                case Remedy.NONE | Remedy.TOKEN_OR_NONE:
                    raise StoreUnavailable(f"{self._members.address}: {trouble.text}; {trouble.advice}") from None
                case Remedy.ELSEWHERE:
                    self._members.leave(member)
                case Remedy.TOKEN:
                    pass
        await asyncio.sleep(self._members.pause())

    async def _bring(self, member: str, limit: asyncio.Timeout) -> None:
        """Bring changes from one member within a limit that every message moves; at once over when it is left."""
        loop = asyncio.get_running_loop()

        def leave(left: str) -> None:
            if left == member and not limit.expired():
                limit.reschedule(loop.time())

        self._mark = None
        with self._members.telling(leave):
            async with self._members.stream(member, WATCH, self._wanted()) as messages:
                await self._listen(messages, member, limit)

    async def _listen(self, messages: AsyncIterator[Json], member: str, limit: asyncio.Timeout) -> None:
        """Hear a stream until it is to be taken up elsewhere. Raises `httpx.ReadError` when it ends by itself."""
        loop = asyncio.get_running_loop()
        async for message in messages:
            limit.reschedule(loop.time() + self._members.patience.silence.total_seconds())
            self._hear(message, now=loop.time())
            if self._members.current != member or self._is_unread():
                return
        raise httpx.ReadError(f"{member} ended the stream")

    def _wanted(self) -> list[Json]:
        prefix = self._root + self.prefix
        changes = {
            "key": b64(prefix),
            "range_end": b64(after_prefix(prefix)),
            "start_revision": str(self.feed.revision + 1),
            "watch_id": _CHANGES,
        }
        pulses = {"key": b64(self._pulse.key), "watch_id": _PULSES}
        return [{"create_request": changes}, {"create_request": pulses}]

    def _hear(self, message: Json, *, now: float) -> None:
        """Take what a member sent. Raises `Trouble` when it ends a watch, `StoreUnavailable` when it came too late."""
        if message.get("canceled"):
            raise cancelled(message)
        self._denied = False
        events: list[Any] = message.get("events", [])
        if message.get("watch_id") == _PULSES:
            for event in events:
                self._hear_pulse(int(event["kv"]["mod_revision"]), now=now)
        elif events:
            self._mark = None
            changes = [change(event, root=self._root) for event in events]
            if changes[0].revision <= self.feed.revision:
                late = f"a change of revision {changes[0].revision} came after {self.feed.revision}"
                raise StoreUnavailable(f"{late}: list, then watch again")
            self.feed.publish(changes, revision=changes[-1].revision)

    def _hear_pulse(self, revision: int, *, now: float) -> None:
        self._pulse.version = max(self._pulse.version, revision)
        self._pulse.heard = now
        if self._mark is None:
            self._mark = revision, now
        elif now - self._mark[1] >= self._members.patience.settled.total_seconds():
            self.feed.publish((), revision=self._mark[0])
            self._mark = revision, now

    def _is_unread(self) -> bool:
        rest = asyncio.get_running_loop().time() - self._unread_since
        return self._readers == 0 and rest > self._members.patience.linger.total_seconds()
