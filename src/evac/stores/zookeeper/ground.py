"""A log on ZooKeeper.

Intuition: an entry is a sequential znode, and the order of their numbers is the order of the log. Each is created in
one transaction with a look at which segment is the newest, so nothing comes after a segment's seal. Entries are
numbered one after the other, so the next one's name is known before it is there: a reader asks for it, and a watch
waits for it.

    <namespace>/segment             which is the newest
    <namespace>/fence               written to read freshly
    <namespace>/log/<segment>       a token: which life's segment of that number this is
    <namespace>/log/<segment>/e<n>  an entry, or the seal
    <namespace>/shelf/<folder>/<name>

ZooKeeper's `sync` is no read by a majority: a leader that has been deposed and does not know it yet answers it. So a
fresh read first writes one empty znode, which only a leader with a majority can, over the same connection.

What this is not: a use of sessions, ephemeral znodes, or of znode versions for evac's own: those begin anew with each
creation, and are used for what is never deleted only.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from evac.core.errors import Conflict, StoreUnavailable
from evac.stores.logged.ground import Entry, Gone, Kept, Place, Sealed, parts_of
from evac.stores.logged.patience import Patience
from evac.stores.logged.store import OWN
from evac.stores.zookeeper.address import ZookeeperAddress
from evac.stores.zookeeper.session import Session

READ_AT_ONCE = 256
DELETED_AT_ONCE = 256
ROUNDS_MAX = 4
"""How often something is asked anew because a segment was sealed meanwhile, or nothing was there yet."""
_ENTRY, _SEAL = b"e", b"s"
_SEGMENT_SHIFT = 32
"""A position is a segment's number, and in its lower bits the entry's: ZooKeeper numbers up to 2^31 in one place."""


class ZookeeperGround:
    """Implements `evac.stores.logged.Ground`."""

    def __init__(
        self, address: ZookeeperAddress, *, patience: Patience | None = None, chance: random.Random | None = None
    ) -> None:
        """Raises `StoreUnavailable` when a certificate cannot be read, or kazoo is not installed."""
        self.address = address
        self.session = Session(address, patience=patience or Patience(), chance=chance or random.Random())
        self._errors = self.session.errors
        self._root = f"/{address.namespace}"
        self._newest: tuple[int, int] | None = None
        """The newest segment that is known, and the version of the znode that says so."""

    def __str__(self) -> str:
        return str(self.address)

    async def append(self, segment: int, content: bytes) -> None:
        for _ in range(ROUNDS_MAX):
            number, version = await self._newest_segment(at_least=segment)
            if number != segment:
                raise Sealed(number)

            def asking(client: Any, version: int = version) -> Sequence[Any]:
                transaction = client.transaction()
                transaction.check(f"{self._root}/segment", version)
                transaction.create(f"{self._folder(segment)}/e", _ENTRY + content, sequence=True)
                return [transaction.commit_async()]

            if await self._transact(asking, size=len(content)):
                return
            self._newest = None
        raise StoreUnavailable(f"{self}: its newest segment changed {ROUNDS_MAX} times while one entry was written")

    async def seal(self, segment: int) -> None:
        number, version = await self._newest_segment(at_least=segment)
        if number != segment:
            return
        following, token = segment + 1, secrets.token_hex(8)
        seal = _SEAL + json.dumps({"next": following, "token": token}).encode()

        def asking(client: Any) -> Sequence[Any]:
            transaction = client.transaction()
            transaction.set_data(f"{self._root}/segment", str(following).encode(), version)
            transaction.create(f"{self._folder(segment)}/e", seal, sequence=True)
            transaction.create(self._folder(following), token.encode())
            return [transaction.commit_async()]

        await self._transact(asking)  # if not, another has just sealed it
        self._newest = None

    async def read(self, after: Place, *, fresh: bool) -> Sequence[Entry]:
        found: list[Entry] = []
        place, left = after, ROUNDS_MAX
        while True:
            try:
                some = await self._read_segment(place, fresh=fresh)
            except Gone:
                left -= 1
                if not fresh or not left:
                    raise
                continue  # the server was left for one that is behind, perhaps
            found += some
            if not some or some[-1].content is not None:
                return found
            place = some[-1].place

    async def _read_segment(self, place: Place, *, fresh: bool) -> list[Entry]:
        """Return what comes after a place in its segment, the seal included. Raises `Gone`."""
        found: list[Entry] = []
        number, count = _next_number(place), 1
        newest, last, answers = await self._stand(place, fresh=fresh)
        while True:
            for n, answer in enumerate(answers, start=number):
                if answer is None:
                    if newest > last:  # something came later, and is not the next: what was in between is not there
                        raise Gone(self._name(place.segment, n))
                    return found
                content, stat = answer
                found.append(_entry(place.segment, n, content))
                if found[-1].content is None:
                    return found
                last = stat.czxid
            number, count = number + count, min(4 * count, READ_AT_ONCE)
            names = [self._name(place.segment, n) for n in range(number, number + count)]
            found_there = await self.session.ask(partial(_get_all, names=names))
            answers = [self._allowed(answer) for answer in found_there]

    async def _stand(self, place: Place, *, fresh: bool) -> tuple[int, int, list[Any]]:
        """See that what a place stands for is there. Return the transaction of the newest entry in its segment, that of
        the place, and the next entry if there is one. Raises `Gone`.
        """
        folder, next_name = self._folder(place.segment), self._name(place.segment, _next_number(place))
        at_begin = not _next_number(place)
        standing = folder if at_begin else self._name(place.segment, _next_number(place) - 1)
        for _ in range(ROUNDS_MAX):
            answers = await self.session.ask(
                lambda client: [
                    *([client.set_async(f"{self._root}/fence", b"")] if fresh else []),
                    client.exists_async(folder),
                    client.get_async(standing),
                    client.get_async(next_name),
                ]
            )
            if fresh and self._is_missing(answers[0]):
                await self._prepare()
                continue
            *_, segment, held, following = map(self._allowed, answers)
            if segment is None or held is None or (place.mark and place.mark != _mark(held[0])):
                raise Gone(standing)
            return segment.pzxid, held[1].czxid, [following]
        raise StoreUnavailable(f"{self}: {self._root} cannot be made")

    async def wait(self, after: Place) -> None:
        name = self._name(after.segment, _next_number(after))
        await self.session.hear(lambda client, tell: client.exists_async(name, watch=tell))

    async def get(self, folder: str, name: str) -> Kept | None:
        path = self._shelf(folder, name)
        fence, answer = await self.session.ask(
            lambda client: [client.set_async(f"{self._root}/fence", b""), client.get_async(path)]
        )
        if self._is_missing(fence):
            await self._prepare()
            return None
        self._allowed(fence)
        held = self._allowed(answer)
        return None if held is None else Kept(content=held[0], version=held[1].version + 1)

    async def put(self, folder: str, name: str, content: bytes, *, version: int | None = None) -> None:
        path = self._shelf(folder, name)
        for _ in range(ROUNDS_MAX):
            [answer] = await self.session.ask(
                lambda client: [
                    client.set_async(path, content, version - 1) if version else client.create_async(path, content)
                ],
                size=len(content),
            )
            if isinstance(answer, self._errors.NodeExistsError) and version is None:
                return  # an earlier sending came through
            if isinstance(answer, self._errors.NodeExistsError | self._errors.BadVersionError):
                raise Conflict(f"{folder}/{name} is not at version {version}")
            if not self._is_missing(answer):
                self._allowed(answer)
                return
            if version:
                raise Conflict(f"{folder}/{name} is not there")
            await self._create_all([f"{self._root}/shelf/{folder}"])
        raise StoreUnavailable(f"{self}: {folder}/{name} cannot be written: its folder is deleted again and again")

    async def names(self, folder: str) -> Collection[str]:
        return await self.children(f"shelf/{folder}")

    async def delete(self, folder: str, names: Collection[str]) -> None:
        await self._delete_all([self._shelf(folder, name) for name in names])

    async def forget(self, *, before: int) -> None:
        segments = sorted(int(name) for name in await self.children("log") if name.isdecimal())
        for segment in segments:
            if segment < before:
                for folder in (self._folder(segment), f"{self._root}/shelf/{parts_of(segment)}"):
                    inside = sorted(await self.children(folder.removeprefix(f"{self._root}/")))
                    await self._delete_all([f"{folder}/{name}" for name in inside])
                    await self._delete_all([folder])

    async def answering(self) -> tuple[int, int]:
        return await self.session.answering(), len(self.address.endpoints)

    async def close(self) -> None:
        await self.session.close()

    async def _newest_segment(self, *, at_least: int) -> tuple[int, int]:
        """Return the newest segment as it is known, and its znode's version; read freshly if that is not known."""
        if self._newest is None or self._newest[0] < at_least:
            for _ in range(ROUNDS_MAX):
                fence, answer = await self.session.ask(
                    lambda client: [
                        client.set_async(f"{self._root}/fence", b""),
                        client.get_async(f"{self._root}/segment"),
                    ]
                )
                if not self._is_missing(fence) and (held := self._allowed(answer)) is not None:
                    self._newest = int(held[0]), held[1].version
                    return self._newest
                await self._prepare()
            raise StoreUnavailable(f"{self}: {self._root} cannot be made")
        return self._newest

    async def _transact(self, asking: Any, *, size: int = 0) -> bool:
        """Return whether a transaction was taken; not if what it checks is otherwise."""
        [results] = await self.session.ask(asking, size=size)
        if isinstance(results, Exception):
            self._allowed(results)
            return False
        passing = (
            self._errors.BadVersionError,
            self._errors.NoNodeError,
            self._errors.NodeExistsError,
            self._errors.RolledBackError,
            self._errors.RuntimeInconsistency,
        )
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, passing):
                self._allowed(result)
        return not any(isinstance(result, Exception) for result in results)

    async def children(self, path: str) -> list[str]:
        """Return the names of what is under a path below the namespace, in no order."""
        [answer] = await self.session.ask(lambda client: [client.get_children_async(f"{self._root}/{path}")])
        return self._allowed(answer) or []

    async def _delete_all(self, paths: Sequence[str]) -> None:
        """Delete znodes in this order; those that are not there, or hold others again, are left."""
        for at in range(0, len(paths), DELETED_AT_ONCE):
            some = paths[at : at + DELETED_AT_ONCE]
            for answer in await self.session.ask(partial(_delete_all, paths=some)):
                if not isinstance(answer, self._errors.NotEmptyError):
                    self._allowed(answer)

    async def _prepare(self) -> None:
        """Make what a log begins with, as far as it is not there."""
        parts = self._root.split("/")[1:]
        above = ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]
        await self._create_all([*above, f"{self._root}/log", f"{self._root}/shelf", f"{self._root}/shelf/{OWN}"])

        def asking(client: Any) -> Sequence[Any]:
            transaction = client.transaction()
            transaction.create(f"{self._root}/segment", b"1")
            transaction.create(self._folder(1), secrets.token_hex(8).encode())
            transaction.create(f"{self._root}/fence", b"")
            return [transaction.commit_async()]

        await self._transact(asking)  # if not, another has just made it

    async def _create_all(self, paths: Sequence[str]) -> None:
        answers = await self.session.ask(lambda client: [client.create_async(path, b"") for path in paths])
        for answer in answers:
            if not isinstance(answer, self._errors.NodeExistsError):
                self._allowed(answer)

    def _is_missing(self, answer: object) -> bool:
        return isinstance(answer, self._errors.NoNodeError)

    def _allowed(self, answer: Any) -> Any:
        """Return an answer, None for what is not there. Raises `StoreUnavailable` for what a person has to mend."""
        if not isinstance(answer, Exception):
            return answer
        if self._is_missing(answer):
            return None
        if isinstance(answer, self._errors.NoAuthError):
            why = "may not be used as who is named; look at the user in the store's URL, the password file and the ACLs"
            raise StoreUnavailable(f"{self}: {self._root} {why}")
        raise StoreUnavailable(f"{self}: {type(answer).__name__} {answer}; see its log") from answer

    def _folder(self, segment: int) -> str:
        return f"{self._root}/log/{segment}"

    def _name(self, segment: int, number: int) -> str:
        return f"{self._folder(segment)}/e{number:010d}"

    def _shelf(self, folder: str, name: str) -> str:
        return f"{self._root}/shelf/{folder}/{name}"


def _get_all(client: Any, names: Sequence[str]) -> Sequence[Any]:
    return [client.get_async(name) for name in names]


def _delete_all(client: Any, paths: Sequence[str]) -> Sequence[Any]:
    return [client.delete_async(path) for path in paths]


def _next_number(place: Place) -> int:
    """Return the number of the entry that comes after a place; 0: the first of its segment."""
    return place.position & ((1 << _SEGMENT_SHIFT) - 1)


def _entry(segment: int, number: int, content: bytes) -> Entry:
    """Return an entry as it was read, at the place after it; after a seal that is the next segment's beginning."""
    if content.startswith(_SEAL):
        said = json.loads(content[1:])
        following = int(said["next"])
        place = Place(segment=following, position=following << _SEGMENT_SHIFT, mark=_mark(str(said["token"]).encode()))
        return Entry(place=place, content=None)
    position = (segment << _SEGMENT_SHIFT) + number + 1
    return Entry(place=Place(segment=segment, position=position, mark=_mark(content)), content=content[1:])


def _mark(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
