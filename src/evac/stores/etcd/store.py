"""A store on an etcd cluster: shared by all regions, and there as long as a majority of its members is.

Intuition: etcd is already what the port asks for. A key's version is the revision of etcd that wrote it
(`mod_revision`; etcd's own `version` begins again at 1 after a deletion), an expectation is a comparison of it, a
commit is a transaction, and every read is linearizable. What is added is what a client must do so that no failure of a
member shows: ask another one (`members`), commit once however often it is sent (`slots`), go on with a watch where it
was (`streams`), and notice that the store is not the one it was (`life`).

    <namespace>/data/<key>              what evac keeps
    <namespace>/own/born                the birth record: a random identity
    <namespace>/own/pulse               a sign of life for streams
    <namespace>/own/slots/<process>/<n> what makes commits happen once
    <namespace>/own/history             up to where history may be dropped (`upkeep`)

What this is not: a lease or a lock of etcd's; evac's own are records like all others. `lasting` changes nothing: what
etcd has acknowledged is on the disks of a majority.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import Change, Record, StoreHealth
from evac.stores.etcd import wire
from evac.stores.etcd.address import EtcdAddress
from evac.stores.etcd.health import health
from evac.stores.etcd.life import Life
from evac.stores.etcd.members import Answer, Members, Patience, Refused
from evac.stores.etcd.slots import Slot, Slots, nonce
from evac.stores.etcd.streams import Pulse, Stream
from evac.stores.etcd.wire import RANGE, TXN, Found, Json, Trouble
from evac.stores.rules import check_commit, check_life

PAGE = 256
"""How many keys are read at once."""
ROUNDS_MAX = 4
"""How often a commit or a list begins again because something moved under it."""
PARTING = timedelta(seconds=1)
"""How long closing may take to tidy up."""

_RESTORED = (
    "the store is not the one it was: it was restored from a backup, or made anew;"
    " whatever was known of it is void: read it again"
)


class EtcdStore:
    """Implements `evac.ports.Store`. Opening asks nobody yet: a cluster that is not there shows with the first use."""

    def __init__(
        self,
        address: EtcdAddress,
        *,
        witness: Path | None = None,
        patience: Patience | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`witness` is the file in which this process notes how far it saw the store come.

        Raises `StoreUnavailable` when a certificate cannot be read.
        """
        self.members = Members(address, patience=patience or Patience(), chance=chance or random.Random())
        self.own = f"{address.namespace}/own/"
        self._data = f"{address.namespace}/data/"
        self._life = Life(witness)
        self._slots = Slots(folder=f"{self.own}slots/")
        self._pulse = Pulse(key=f"{self.own}pulse")
        self._streams: dict[Stream, asyncio.Task[None]] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._bearing = asyncio.Lock()
        self._bearer: asyncio.Task[None] | None = None
        self._told = 0
        """The newest revision that a watch has told of."""
        self._closed = False

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        question = wire.get(self._data + key)
        reply = await self._nearby(question) if near else None
        found = wire.found_one(reply if reply is not None else (await self.ask(RANGE, question)).reply)
        return self._record(found) if found.version else None

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        reply = await self._nearby(wire.get_prefix(self._data + prefix, limit=PAGE)) if near else None
        if reply is not None and not reply.get("more"):
            return tuple([self._record(f) for f in wire.found(reply)])
        for _ in range(ROUNDS_MAX):
            with suppress(Trouble):  # compacted while it was read: from the beginning, at the newest revision
                return tuple([self._record(f) for f in await self.read_all(self._data + prefix)])
        raise StoreUnavailable(
            f"{self.members.address}: it forgets faster than {prefix} can be read; compact less often"
        )

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
        if not put and not delete:
            return await self._check(expect)
        born = await self._birth()
        if life is not None:
            check_life(life, await self._name(born))
        slot = self._slots.take()
        then = [wire.put_op(self._data + k, v) for k, v in put.items()]
        then += [wire.delete_op(self._data + k) for k in delete]
        try:
            return await self._commit_once(slot, born, expect, then)
        except Refused as refusal:
            size = sum(map(len, put.values()))
            raise Refused(
                f"{refusal} (a commit of {len(then)} writes, {len(expect)} expectations, {size} bytes)"
            ) from None
        finally:
            self._slots.give_back(slot)

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        stream = self._stream(prefix, after)
        stream.join()
        try:
            async with aclosing(stream.feed.follow(prefix, after=after)) as changes:
                async for change in changes:
                    self._told = max(self._told, change.revision)
                    yield change
        finally:
            stream.part()

    async def revision(self) -> int:
        answer = await self.ask(RANGE, wire.get(f"{self.own}born", keys_only=True))
        return wire.seen(answer.reply).revision

    async def incarnation(self) -> str:
        reply = (await self.ask(RANGE, wire.get(f"{self.own}born"))).reply
        now = wire.found_one(reply)
        if self._life.born is not None and self._life.born.version != now.version:
            self._begin_anew(now)
        return await self._name(await self._birth())

    async def health(self) -> StoreHealth:
        """Return how the cluster is (`ports.Inspectable`)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.revision()
            read = timedelta(seconds=loop.time() - began)
        except StoreUnavailable:
            read = None
        return await health(self.members, read=read)

    async def close(self) -> None:
        if self._closed:
            return
        if self._life.unborn:
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING.total_seconds()):
                    await self._bear()
        self._closed = True
        self._end_streams("the store is closed")
        tasks = [*self._streams.values(), *self._keepers, *([self._bearer] if self._bearer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._life.note)
        if self._slots.used:
            gone = wire.transaction(compare=(), then=[wire.delete_prefix_op(self._slots.prefix)])
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(PARTING.total_seconds()):
                    await self.members.ask(TXN, gone)
        await self.members.close()

    async def ask(self, path: str, body: Json) -> Answer:
        """Ask the cluster something linearizable. Raises `StoreUnavailable`, also when it has gone back in time."""
        self._need_open()
        since, life = self._life.seen, self._life.number
        answer = await self.members.ask(path, body)
        if self._life.number == life and not self._life.went_back(wire.seen(answer.reply), since=since):
            return answer
        if self._life.number == life:
            self._begin_anew(None)
        raise StoreUnavailable(_RESTORED)

    async def read_all(self, prefix: str, *, keys_only: bool = False) -> tuple[Found, ...]:
        """Return all keys under a prefix at one revision. Raises `Trouble` when that was compacted meanwhile."""
        found: tuple[Found, ...] = ()
        begin, revision, more = b"", 0, True
        while more:
            wanted = wire.get_prefix(prefix, begin=begin, limit=PAGE, revision=revision, keys_only=keys_only)
            reply = (await self.ask(RANGE, wanted)).reply
            found += tuple(wire.found(reply))
            more = bool(reply.get("more"))
            revision = revision or wire.seen(reply).revision
            begin = found[-1].key.encode() + b"\0" if found else b""
        return found

    async def _nearby(self, question: Json) -> Json | None:
        """Return what the member that is asked first says by itself; None when it knows less than was told before."""
        self._need_open()
        told = replace(self._life.seen, revision=max(self._life.seen.revision, self._told), term=0)
        reply = await self.members.ask_member(self.members.current, RANGE, wire.nearby(question))
        return None if reply is None or not told.cluster or wire.seen(reply).is_behind(told) else reply

    def note(self) -> None:
        """Note how far this store was seen to come, where a next process will look."""
        self._life.note()

    def _record(self, found: Found) -> Record:
        return Record(key=found.key.removeprefix(self._data), value=found.value, version=found.version)

    async def _check(self, expect: Mapping[str, int]) -> int:
        """Return the newest revision if all versions are as expected. Raises `Conflict`."""
        reads = [wire.get_op(self._data + key, keys_only=True) for key in expect]
        compare = [wire.at_version(self._data + key, version) for key, version in expect.items()]
        reply = (await self.ask(TXN, wire.transaction(compare=compare, then=(), otherwise=reads))).reply
        if not reply.get("succeeded"):
            raise _conflict(expect, wire.found_in(reply))
        return wire.seen(reply).revision

    async def _commit_once(self, slot: Slot, born: Found, expect: Mapping[str, int], then: Sequence[Json]) -> int:
        """Send a commit until it is known what became of it. Raises `Conflict`, `StoreUnavailable`."""
        mine = nonce()
        for _ in range(ROUNDS_MAX):
            answer = await self.ask(TXN, self._transaction(slot, mine, born, expect, then))
            if answer.reply.get("succeeded"):
                slot.version = wire.seen(answer.reply).revision
                return slot.version
            held, life, *found = wire.found_in(answer.reply)
            if held.value == mine:  # an earlier sending succeeded; its reply was lost
                slot.version = held.version
                return slot.version
            if life.version != born.version:
                self._begin_anew(life)
                raise StoreUnavailable(_RESTORED)
            if held.version != slot.version:
                self._slots.follow(slot, held)
                continue
            if answer.unanswered and (late := await self._void(slot, mine)):
                return late
            raise _conflict(expect, found)
        raise StoreUnavailable(f"{self.members.address}: a commit found its slot moved {ROUNDS_MAX} times; try again")

    def _transaction(
        self, slot: Slot, mine: bytes, born: Found, expect: Mapping[str, int], then: Sequence[Json]
    ) -> Json:
        keys = [self._data + key for key in expect]
        return wire.transaction(
            compare=[
                wire.at_version(slot.key, slot.version),
                wire.at_version(f"{self.own}born", born.version),
                *(wire.at_version(key, version) for key, version in zip(keys, expect.values(), strict=True)),
            ],
            then=[wire.put_op(slot.key, mine), *then],
            otherwise=[
                wire.get_op(slot.key),
                wire.get_op(f"{self.own}born"),
                *(wire.get_op(key, keys_only=True) for key in keys),
            ],
        )

    async def _void(self, slot: Slot, mine: bytes) -> int:
        """Make sure that no earlier sending of a commit can still succeed; return the revision at which one has."""
        void = wire.transaction(
            compare=[wire.at_version(slot.key, slot.version)],
            then=[wire.put_op(slot.key, nonce())],
            otherwise=[wire.get_op(slot.key)],
        )
        reply = (await self.ask(TXN, void)).reply
        if reply.get("succeeded"):
            slot.version = wire.seen(reply).revision
            return 0
        held = wire.found_in(reply)[0]
        self._slots.follow(slot, held)
        return held.version if held.value == mine else 0

    async def _birth(self) -> Found:
        """Return the store's birth record, written if there is none, or if this process has found another life."""
        self._need_open()
        async with self._bearing:
            if self._life.born is None:
                before = Found()
                if self._life.unborn:
                    before = wire.found_one((await self.ask(RANGE, wire.get(f"{self.own}born"))).reply)
                self._life.born = await self._be_born(before)
                self._life.unborn = False
            return self._life.born

    async def _name(self, born: Found) -> str:
        """Return the identity of a life: the cluster's, and its birth record's."""
        if not self._life.seen.cluster:
            await self.revision()  # a life that was only just heard of
        return f"{self._life.seen.cluster:x}.{born.value.decode(errors='replace')}"

    async def _be_born(self, before: Found) -> Found:
        """Write a birth record in the place of another, unless somebody has just done so; return the one that holds."""
        key, value = f"{self.own}born", secrets.token_hex(8)
        fresh = wire.transaction(
            compare=[wire.at_version(key, before.version)],
            then=[wire.put_op(key, value.encode())],
            otherwise=[wire.get_op(key)],
        )
        reply = (await self.ask(TXN, fresh)).reply
        if reply.get("succeeded"):
            return Found(key=key, value=value.encode(), version=wire.seen(reply).revision)
        return wire.found_in(reply)[0]

    def _begin_anew(self, born: Found | None) -> None:
        """Forget all that was known of another life. `born` is the new birth record; None: it is to be written."""
        self._life.begin_anew(born if born and born.version else None)
        self._slots.forget()
        self._told = self._pulse.version = 0
        self._end_streams(_RESTORED)
        if self._life.unborn:
            self._bearer = asyncio.create_task(self._bear(), name="etcd birth record")

    async def _bear(self) -> None:
        """Write the birth record that is due. If that fails, whoever needs it next writes it."""
        with suppress(StoreUnavailable):
            await self._birth()

    def _stream(self, prefix: str, after: int) -> Stream:
        """Return a stream that has all changes under a prefix after a revision: one there is, or a new one."""
        self._need_open()
        for stream, task in self._streams.items():
            if stream.prefix == prefix and stream.feed.reaches(after) and not task.done():
                return stream
        stream = Stream(members=self.members, root=self._data, prefix=prefix, after=after, pulse=self._pulse)
        task = asyncio.create_task(stream.run(), name=f"etcd stream {prefix}")
        self._streams[stream] = task
        task.add_done_callback(lambda _: self._streams.pop(stream, None))
        self._keepers = [keeper for keeper in self._keepers if not keeper.done()]
        if not self._keepers:
            self._keep(self._keep_pulse())
            self._keep(self._keep_near())
        return stream

    def _keep(self, keeping: Coroutine[None, None, None]) -> None:
        self._keepers.append(asyncio.create_task(keeping, name="etcd keeper"))

    async def _keep_pulse(self) -> None:
        """Write the pulse whenever nobody has for a while, as long as there are streams."""
        patience, loop = self.members.patience, asyncio.get_running_loop()
        while self._streams:
            await asyncio.sleep(patience.pulse.total_seconds() * self.members.chance.uniform(0.8, 1.2))
            if loop.time() - self._pulse.heard < patience.pulse.total_seconds():
                continue
            beat = wire.transaction(
                compare=[wire.at_version(self._pulse.key, self._pulse.version)],
                then=[wire.put_op(self._pulse.key, b"")],
                otherwise=[wire.get_op(self._pulse.key, keys_only=True)],
            )
            with suppress(StoreUnavailable):  # no pulse is what then tells every stream
                reply = (await self.ask(TXN, beat)).reply
                if not reply.get("succeeded"):
                    self._pulse.version = wire.found_in(reply)[0].version

    async def _keep_near(self) -> None:
        """Go back to the member named first when it is well again, as long as there are streams."""

        async def well(member: str) -> bool:
            return await self.members.ask_member(member, RANGE, wire.get(f"{self.own}born", keys_only=True)) is not None

        await self.members.stay_near(well, needed=lambda: bool(self._streams))

    def _need_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def _end_streams(self, why: str) -> None:
        """End every stream, telling its readers why."""
        for stream, task in self._streams.items():
            stream.feed.close(why)
            task.cancel()


def _conflict(expect: Mapping[str, int], found: Collection[Found]) -> Conflict:
    """Return the conflict of the first version that is not as expected."""
    for (key, version), now in zip(expect.items(), found, strict=True):
        if now.version != version:
            return Conflict(f"{key} is at version {now.version}, {version} was expected")
    raise AssertionError("a transaction failed, and all it compared is as expected")
