"""The store's port on a log: a commit is an entry, a read is catching up, a watch is what is read.

Intuition: this process has all of the state in its memory, as it was a moment ago. To read linearizably is to read the
log's new end freshly, and then to look into memory. To commit is to append an entry, whatever others do, and then to
read up to it: what became of it is found out there, as all others find it. An entry whose answer was lost is sent
again; there twice, it happens once. One that was given up is named in the next one, and is void from there on.

    log      segments of entries: commits, and birth records (`words`)
    shelf    parts of what is large; snapshots, and which is the newest

What this is not: for much. The state lies in the memory of every process that opens the store, in few megabytes.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from pathlib import Path

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import Change, Record
from evac.stores.feed import Feed
from evac.stores.logged import parts, snapshots
from evac.stores.logged.ground import Entry, Gone, Ground, Sealed, parts_of
from evac.stores.logged.patience import Patience
from evac.stores.logged.replica import Outcome, Replica, Verdict
from evac.stores.logged.witness import note, noted_in
from evac.stores.logged.words import Words, write
from evac.stores.rules import check_commit, check_life

SEGMENT_ENTRIES = 256
"""So many entries a segment gets before the next one is begun."""
ROUNDS_MAX = 4
"""How often a commit or a look at the log begins again because something moved under it."""
COMMIT_BYTES_MAX = 16 * 1024 * 1024
"""The largest commit, as it is written."""
GIVEN_UP_MAX = 256
"""So many commits are remembered that may still happen; by then the oldest is void for its age (`replica.WINDOW`)."""
OWN, RESTORED_BY_HAND = "own", "restored"
"""The shelf's folder and name by which whoever restores a ground says so."""
PARTING = timedelta(seconds=1)
"""How long closing may take to tidy up."""

RESTORED = (
    "the store is not the one it was: it was restored from a backup, or made anew;"
    " whatever was known of it is void: read it again"
)


class LoggedStore:
    """Implements `evac.ports.Store`. Opening asks nobody yet: a ground that is not there shows with the first use."""

    def __init__(
        self,
        ground: Ground,
        *,
        witness: Path | None = None,
        patience: Patience | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`witness` is the file in which this process notes how far it has read the log."""
        self.ground = ground
        self.patience = patience or Patience()
        self.chance = chance or random.Random()
        self._witness = witness
        self._replica: Replica | None = None
        self._feed = Feed(revision=0)
        self._reading = asyncio.Lock()
        self._reads_begun = self._reads_done = 0
        """Of those that were fresh: how many were begun, and which was the last that was done."""
        self._waited: dict[str, Outcome | None] = {}
        """This process's commits that are under way, and what became of them."""
        self._given_up: dict[str, None] = {}
        self._born: str | None = None
        """The birth record of the life that this process knows; None: not known, or still to be written."""
        self._unborn = False
        """Whether this process was the first to notice another life, and has still to write its birth record."""
        self._lives = 0
        """Counts the lives this process has seen."""
        self._bearing = asyncio.Lock()
        self._bearer: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._abreast = False
        """Whether the follower hears of everything just now."""
        self._closed = False

    @property
    def replica(self) -> Replica:
        """The state as this process knows it. It has been read before."""
        assert self._replica is not None, "the log has not been read yet"
        return self._replica

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        await self.catch_up(near=near)
        return self.replica.get(key)

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        await self.catch_up(near=near)
        return self.replica.under(prefix)

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        check_commit(expect=expect, put=put, delete=delete)
        lives = self._lives
        if self._replica is None or not (put or delete) or self.replica.conflict(expect):
            await self.catch_up()
            if why := self.replica.conflict(expect):
                raise Conflict(why)
            if not put and not delete:
                return self.replica.revision
        check_life(life, await self._birth())
        for _ in range(ROUNDS_MAX):
            outcome = await self._say(life=lives, expect=expect, put=put, delete=delete)
            match outcome.verdict:
                case Verdict.DONE:
                    return outcome.revision
                case Verdict.CONFLICT:
                    raise Conflict(outcome.why)
                case Verdict.OTHER_LIFE:
                    raise StoreUnavailable(RESTORED)
                case Verdict.VOID:
                    continue
        raise StoreUnavailable(f"{self.ground}: a commit came too late {ROUNDS_MAX} times; nothing happened, try again")

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        if self._replica is None:
            await self.catch_up()
        self._need_open()
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="log followed")
            self._follower.add_done_callback(self._stop_following)
        async with aclosing(self._feed.follow(prefix, after=after)) as changes:
            async for change in changes:
                yield change

    async def revision(self) -> int:
        await self.catch_up()
        return self.replica.revision

    async def incarnation(self) -> str:
        try:
            await self.catch_up()
        except StoreUnavailable:
            await self.catch_up()  # that it is another one is what is asked for
        return await self._birth()

    async def close(self) -> None:
        if self._closed:
            return
        if self._unborn:
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING.total_seconds()):
                    await self._bear_soon()
        self._closed = True
        self._feed.close()
        tasks = [task for task in (self._follower, self._bearer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.note)
        await self.ground.close()

    def note(self) -> None:
        """Note how far this process has read the log, where a next one will look."""
        if self._replica is not None and not self._unborn:
            note(self._witness, self._replica.noted)

    async def catch_up(self, *, near: bool = False) -> None:
        """Read all there is in the log by now; with `near` what the nearest member has, or has told.

        Raises `StoreUnavailable`, also when the log is not the one it was.
        """
        self._need_open()
        if not (near and self._abreast):
            await self._look(fresh=not near)

    async def _look(self, *, fresh: bool, until: str = "") -> None:
        """Read on in the log, unless another has since this was asked, or it is known what became of `until`."""
        life, mine = self._lives, self._reads_begun + 1
        async with self._reading:
            self._need_open()
            read = fresh and self._reads_done >= mine
            if self._replica is None or not (read or self._waited.get(until)):
                await self._read_on(fresh=fresh)
        if self._lives != life:
            raise StoreUnavailable(RESTORED)

    async def _read_on(self, *, fresh: bool) -> None:
        self._reads_begun += fresh
        mine = self._reads_begun
        try:
            await (self._read_anew() if self._replica is None else self._read_after(self._replica, fresh=fresh))
        except Gone:
            if not fresh:
                return await self._read_on(fresh=True)
            await self._read_anew()
        if fresh:
            self._reads_done = mine
        return None

    async def _read_after(self, replica: Replica, *, fresh: bool) -> None:
        for entry in await self.ground.read(replica.place, fresh=fresh):
            outcome = await self._apply(replica, entry)
            if outcome is not None:
                self._hear(outcome)

    async def _apply(self, replica: Replica, entry: Entry) -> Outcome | None:
        if entry.content is None:
            replica.pass_seal(entry.place)
            return None
        return replica.apply(entry.place, await parts.pick_up(self.ground, entry.content))

    def _hear(self, outcome: Outcome) -> None:
        """Tell whoever waits for it of a commit's end, and watchers of what it changed."""
        if outcome.id in self._waited and self._waited[outcome.id] is None:
            self._waited[outcome.id] = outcome
        if self._born is not None and self.replica.born != self._born:
            self._begin_anew(self.replica.born)
        elif outcome.revision:
            self._feed.publish(outcome.changes, revision=outcome.revision)

    async def _read_anew(self) -> None:
        """Read the newest snapshot and all that came after it, and judge whether that is still the same life."""
        noted = noted_in(self._witness) if self._replica is None else self._replica.noted
        first, contradicted, begun = self._replica is None, False, Feed(revision=0)
        for _ in range(ROUNDS_MAX):
            with suppress(Gone):
                replica = await snapshots.load(self.ground)
                begun = Feed(revision=replica.revision)
                for entry in await self.ground.read(replica.place, fresh=True):
                    outcome = await self._apply(replica, entry)
                    contradicted |= replica.count == noted.count and replica.contradicts(noted)
                    if outcome is not None and outcome.revision:
                        begun.publish(outcome.changes, revision=outcome.revision)
                break
        else:
            raise StoreUnavailable(f"{self.ground}: what was written is not there to be read; see its log")
        declared = await self.ground.get(OWN, RESTORED_BY_HAND) is not None
        self._replica = replica
        if declared or replica.contradicts(noted) or (contradicted and replica.born == noted.born):
            self._begin_anew("")
        elif self._born is not None and self._born != replica.born:
            self._begin_anew(replica.born)
        else:
            self._born = replica.born or None
            if first:
                self._feed = begun
            else:
                self._feed.skip(replica.revision)

    async def _say(
        self,
        *,
        life: int,
        expect: Mapping[str, int] | None = None,
        put: Mapping[str, bytes] | None = None,
        delete: Collection[str] = (),
        birth: str = "",
    ) -> Outcome:
        """Write a commit into the log, and return what became of it. Raises `StoreUnavailable`."""
        if self._lives != life:
            raise StoreUnavailable(RESTORED)
        words = Words(
            id=secrets.token_hex(8),
            on=self.replica.digest,
            life=self.replica.born_at,
            birth=birth,
            void=tuple(self._given_up),
            expect=expect or {},
            put=put or {},
            delete=tuple(delete),
        )
        self._waited[words.id] = None
        try:
            await self._append(write(words))
            await self._look(fresh=False, until=words.id)
            if self._waited[words.id] is None:  # the member that was read is behind the one that took it
                await self._look(fresh=True, until=words.id)
            outcome = self._waited[words.id] or self._from_fate(words.id)
        except BaseException:
            self._give_up(words.id)
            raise
        finally:
            del self._waited[words.id]
        for each in words.void:
            self._given_up.pop(each, None)
        if outcome.nth and outcome.nth % SEGMENT_ENTRIES == 0:
            with suppress(StoreUnavailable):  # then the next one that is as far does
                await self.ground.seal(outcome.segment)
        return outcome

    async def _append(self, content: bytes) -> None:
        if len(content) > COMMIT_BYTES_MAX:
            raise StoreUnavailable(f"a commit of {len(content)} bytes; {self.ground} takes {COMMIT_BYTES_MAX}")
        segment = self.replica.place.segment
        for _ in range(ROUNDS_MAX):
            written = await parts.lay_down(self.ground, parts_of(segment), content)
            try:
                return await self.ground.append(segment, written)
            except Sealed as sealed:
                segment = sealed.newest
        raise StoreUnavailable(f"{self.ground}: its segments are sealed faster than they are filled; nothing happened")

    def _from_fate(self, commit: str) -> Outcome:
        """Return what became of a commit that this process did not read itself: a snapshot took its place."""
        fate = self.replica.fate(commit)
        if fate is None:
            raise StoreUnavailable(f"{self.ground}: a commit was taken, and is not there to be read")
        return Outcome(id=commit, verdict=Verdict.DONE if fate else Verdict.VOID, revision=fate)

    def _give_up(self, commit: str) -> None:
        self._given_up[commit] = None
        while len(self._given_up) > GIVEN_UP_MAX:
            del self._given_up[next(iter(self._given_up))]

    async def _birth(self) -> str:
        """Return the store's birth record, written if there is none, or if this process has found another life."""
        self._need_open()
        async with self._bearing:
            for _ in range(ROUNDS_MAX):
                if self._born is not None:
                    return self._born
                if self.replica.born and not self._unborn:
                    self._born = self.replica.born
                    continue
                birth = secrets.token_hex(8)
                outcome = await self._say(life=self._lives, birth=birth)
                if outcome.verdict is not Verdict.VOID:  # this one's, or that of another who was first
                    self._born, self._unborn = self.replica.born, False
                    await self.ground.delete(OWN, [RESTORED_BY_HAND])
        raise StoreUnavailable(f"{self.ground}: its birth record came too late {ROUNDS_MAX} times; try again")

    def _begin_anew(self, born: str) -> None:
        """Forget all that was known of another life. `born` is the new birth record; "": it is to be written."""
        self._lives += 1
        self._born, self._unborn = born or None, not born
        self._given_up.clear()
        self._feed.close(RESTORED)
        self._feed = Feed(revision=self.replica.revision)
        if self._unborn:
            self._bearer = asyncio.create_task(self._bear_soon(), name="log's birth record")

    async def _bear_soon(self) -> None:
        """Write the birth record that is due. If that fails, whoever needs it next writes it."""
        with suppress(StoreUnavailable):
            await self._birth()

    async def _follow(self) -> None:
        """Bring what is new, until the store is closed. While nothing answers, watches wait."""
        while True:
            try:
                await self._look(fresh=not self._abreast)
                self._abreast = True
                await self.ground.wait(self.replica.place)
            except StoreUnavailable:
                self._abreast = False
                await asyncio.sleep(self.patience.pause(self.chance))

    def _stop_following(self, follower: asyncio.Task[None]) -> None:
        """Tell all watches when nothing brings them changes any more, whatever the reason."""
        self._abreast, self._follower = False, None
        if not follower.cancelled():
            self._feed.close(f"the log is not followed any more: {follower.exception()!r}")
            self._feed = Feed(revision=self.replica.revision)

    def _need_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
