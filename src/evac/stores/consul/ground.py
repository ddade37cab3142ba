"""A log on Consul.

Intuition: an entry is a key that is written once, and the index of Consul's own log at which it was (`ModifyIndex`) is
its place in ours. Each is written in one transaction with a look at which segment is the newest, so nothing comes after
a segment's seal. A reader lists the names in a segment, which are few and short, and fetches those it has not seen.

    <namespace>/segment             which is the newest
    <namespace>/log/<segment>/<id>  an entry, the seal, or the segment's first key
    <namespace>/shelf/<folder>/<name>

A fresh read is one with `?consistent`. All else is read in the default mode, from the leader. Sessions, and with them
Consul's locks, are not used.

Source: Consul's HTTP API, "KV store", "Transactions" and "Blocking queries".
"""

from __future__ import annotations

import base64
import json
import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from evac.core.errors import Conflict, StoreUnavailable
from evac.stores.consul.address import ConsulAddress
from evac.stores.consul.agents import Agents, Answer
from evac.stores.logged.ground import Entry, Gone, Kept, Place, Sealed, parts_of
from evac.stores.logged.patience import Patience

MINE_MAX = 256
"""So many entries of this process are remembered until they are read."""
FETCHED_AT_ONCE = 32
"""Entries read in one transaction; Consul takes 64 operations, newer ones 128."""
ROUNDS_MAX = 4
"""How often something is asked anew because a segment was sealed meanwhile, or nothing was there yet."""
WAIT = timedelta(seconds=3)
"""How long an agent is asked to wait for something new before it says that there is nothing: it may be frozen."""
JITTER = 1 / 16
"""By this share of it Consul waits longer, at most."""
_ENTRY, _SEAL, _FIRST = b"e", b"s", b"f"
_FRESH: Mapping[str, str] = {"consistent": ""}


class ConsulGround:
    """Implements `evac.stores.logged.Ground`."""

    def __init__(
        self, address: ConsulAddress, *, patience: Patience | None = None, chance: random.Random | None = None
    ) -> None:
        """Raises `StoreUnavailable` when a certificate or key cannot be read."""
        self.address = address
        self.agents = Agents(address, patience=patience or Patience(), chance=chance or random.Random())
        self._root = address.namespace
        self._newest: tuple[int, int] | None = None
        """The newest segment that is known, and the index at which that was written."""
        self._seen: tuple[int, dict[str, int]] = (0, {})
        """A segment, and the names in it that were read, with where they stand."""
        self._mine: dict[str, tuple[int, bytes]] = {}
        """What was appended here and not read yet: where it stands, and what it is. So it need not be fetched."""
        self._index = 1
        """Consul's index of the newest list of names."""

    def __str__(self) -> str:
        return str(self.address)

    async def append(self, segment: int, content: bytes) -> None:
        name, written = secrets.token_hex(8), _ENTRY + content
        for _ in range(ROUNDS_MAX):
            number, index = await self._newest_segment(at_least=segment)
            if number != segment:
                raise Sealed(number)
            done, wrong = await self._transact(
                _check(f"{self._root}/segment", index), _create(f"{self._folder(segment)}{name}", written)
            )
            if done:
                self._remember(name, int(done[-1]["KV"]["ModifyIndex"]), written)
            if 0 not in wrong:
                return  # if the entry's name was taken, an earlier sending came through
            self._newest = None
        raise StoreUnavailable(f"{self}: its newest segment changed {ROUNDS_MAX} times while one entry was written")

    def _remember(self, name: str, index: int, written: bytes) -> None:
        if len(self._mine) >= MINE_MAX:
            self._mine.clear()
        self._mine[name] = index, written

    async def seal(self, segment: int) -> None:
        number, index = await self._newest_segment(at_least=segment)
        if number != segment:
            return
        following, token = segment + 1, secrets.token_hex(8)
        seal = _SEAL + json.dumps({"next": following, "token": token}).encode()
        await self._transact(
            _cas(f"{self._root}/segment", str(following).encode(), index),
            _create(f"{self._folder(segment)}{secrets.token_hex(8)}", seal),
            _create(f"{self._folder(following)}{token}", _FIRST),
        )  # if not, another has just sealed it
        self._newest = None

    async def read(self, after: Place, *, fresh: bool) -> Sequence[Entry]:
        found: list[Entry] = []
        place = after
        while True:
            some = await self._read_segment(place, fresh=fresh)
            found += some
            if not some or some[-1].content is not None:
                return found
            place = some[-1].place

    async def _read_segment(self, place: Place, *, fresh: bool) -> list[Entry]:
        """Return what comes after a place in its segment, the seal included. Raises `Gone`."""
        names, self._index = await self._list(self._folder(place.segment), fresh=fresh)
        if place.mark and place.mark not in names:
            raise Gone(f"{self._folder(place.segment)}{place.mark}")
        if not names:
            await self._see_that_nothing_was(place)
            return []
        if self._seen[0] != place.segment:
            self._seen = place.segment, {}
        seen, found = self._seen[1], list[Entry]()
        new = [name for name in names if seen.get(name, place.position + 1) > place.position]
        mine = [(name, *self._mine.pop(name)) for name in new if name in self._mine]
        unread = [name for name in new if name not in {name for name, _, _ in mine}]
        for name, index, content in [*mine, *await self._fetch(place.segment, unread, fresh=fresh)]:
            seen[name] = index
            if index > place.position and not content.startswith(_FIRST):
                found.append(_entry(place.segment, name, index, content))
        return sorted(found, key=lambda entry: entry.place.position)

    async def _see_that_nothing_was(self, place: Place) -> None:
        """See that a segment without names is that of a store nothing was written to. Raises `Gone`."""
        held = await self._held(f"{self._root}/segment")  # who may not read is told so here: lists are only shorter
        if held is not None or place.position:
            raise Gone(self._folder(place.segment))

    async def _fetch(self, segment: int, names: Sequence[str], *, fresh: bool) -> list[tuple[str, int, bytes]]:
        """Return entries as they are: name, place and content. Raises `Gone` when one is not there."""
        found = []
        for at in range(0, len(names), FETCHED_AT_ONCE):
            some = names[at : at + FETCHED_AT_ONCE]
            operations = [_operation("get", f"{self._folder(segment)}{name}") for name in some]
            answer = await self._ask_for(operations, where=_FRESH if fresh else None)
            results = (answer.said or {}).get("Results") or ()
            if answer.status != 200 or len(results) != len(some):
                raise Gone(self._folder(segment))
            for name, result in zip(some, results, strict=True):
                found.append((name, int(result["KV"]["ModifyIndex"]), _value(result["KV"])))
        return found

    async def wait(self, after: Place) -> None:
        patience = self.agents.patience.look
        folder, asked = self._folder(after.segment), min(WAIT, patience)
        for _ in range(max(1, round(patience / asked))):
            where = {"keys": "", "index": str(self._index), "wait": f"{asked.total_seconds():.3f}s"}
            answer = await self.agents.ask("GET", f"kv/{folder}", where=where, longer=asked * (1 + JITTER))
            if not answer.index:
                raise StoreUnavailable(f"{self}: it does not say at which index it is; something stands in between")
            if answer.index != self._index:
                return

    async def get(self, folder: str, name: str) -> Kept | None:
        return await self._held(f"{self._root}/shelf/{folder}/{name}")

    async def put(self, folder: str, name: str, content: bytes, *, version: int | None = None) -> None:
        where = {"cas": str(version or 0)}
        answer = await self.agents.ask("PUT", f"kv/{self._root}/shelf/{folder}/{name}", where=where, content=content)
        if answer.said is not True and version is not None:  # without, an earlier sending came through
            raise Conflict(f"{folder}/{name} is not at version {version}")

    async def names(self, folder: str) -> Collection[str]:
        return (await self._list(f"{self._root}/shelf/{folder}/", fresh=True))[0]

    async def delete(self, folder: str, names: Collection[str]) -> None:
        for name in names:
            await self.agents.ask("DELETE", f"kv/{self._root}/shelf/{folder}/{name}")

    async def forget(self, *, before: int) -> None:
        names, _ = await self._list(f"{self._root}/log/", fresh=True, separator="/")
        segments = sorted(int(name.rstrip("/")) for name in names if name.rstrip("/").isdecimal())
        for segment in segments:
            if segment < before:
                for folder in (self._folder(segment), f"{self._root}/shelf/{parts_of(segment)}/"):
                    await self.agents.ask("DELETE", f"kv/{folder}", where={"recurse": ""})

    async def answering(self) -> tuple[int, int]:
        return await self.agents.answering(), len(self.address.endpoints)

    async def close(self) -> None:
        await self.agents.close()

    async def _newest_segment(self, *, at_least: int) -> tuple[int, int]:
        """Return the newest segment as it is known, and the index of that; read freshly if it is not known."""
        for _ in range(ROUNDS_MAX):
            if self._newest is not None and self._newest[0] >= at_least:
                return self._newest
            held = await self._held(f"{self._root}/segment")
            if held is not None:
                self._newest = int(held.content), held.version
                return self._newest
            await self._transact(
                _create(f"{self._root}/segment", b"1"),
                _create(f"{self._folder(1)}{secrets.token_hex(8)}", _FIRST),
            )  # if not, another has just made it
        raise StoreUnavailable(f"{self}: {self._root} cannot be made")

    async def _held(self, key: str) -> Kept | None:
        answer = await self.agents.ask("GET", f"kv/{key}", where=_FRESH)
        if not answer.said:
            return None
        return Kept(content=_value(answer.said[0]), version=int(answer.said[0]["ModifyIndex"]))

    async def _list(self, folder: str, *, fresh: bool, separator: str = "") -> tuple[list[str], int]:
        """Return the names in a folder, and Consul's index of that list."""
        where = {"keys": "", **(_FRESH if fresh else {}), **({"separator": separator} if separator else {})}
        answer = await self.agents.ask("GET", f"kv/{folder}", where=where)
        return [str(key).removeprefix(folder) for key in answer.said or ()], max(answer.index, 1)

    async def _transact(self, *operations: Any) -> tuple[Sequence[Any], set[int]]:
        """Do all of some operations or none; return what came of them, and which of them stood in the way."""
        answer = await self._ask_for(operations)
        if answer.status == 200:
            return (answer.said or {}).get("Results") or (), set()
        errors = (answer.said or {}).get("Errors") or ()
        if denied := [str(error["What"]) for error in errors if "ermission denied" in str(error["What"])]:
            self.agents.sign_in_anew()
            raise StoreUnavailable(f"{self}: {denied[0]}; give the token a policy to write {self._root}/")
        return (), {int(error["OpIndex"]) for error in errors}

    async def _ask_for(self, operations: Sequence[Any], *, where: Mapping[str, str] | None = None) -> Answer:
        return await self.agents.ask("PUT", "txn", where=where, content=json.dumps(operations).encode())

    def _folder(self, segment: int) -> str:
        return f"{self._root}/log/{segment}/"


def _operation(verb: str, key: str, **more: Any) -> Any:
    return {"KV": {"Verb": verb, "Key": key, **more}}


def _check(key: str, index: int) -> Any:
    return _operation("check-index", key, Index=index)


def _cas(key: str, value: bytes, index: int) -> Any:
    return _operation("cas", key, Index=index, Value=base64.b64encode(value).decode())


def _create(key: str, value: bytes) -> Any:
    return _cas(key, value, 0)


def _value(entry: Any) -> bytes:
    return base64.b64decode(entry["Value"] or "")


def _entry(segment: int, name: str, index: int, content: bytes) -> Entry:
    """Return an entry as it was read, at the place after it; after a seal that is the next segment's beginning."""
    if content.startswith(_SEAL):
        said = json.loads(content[1:])
        return Entry(place=Place(segment=int(said["next"]), position=index, mark=str(said["token"])), content=None)
    return Entry(place=Place(segment=segment, position=index, mark=name), content=content[1:])
