"""The writes that only an old primary has: read out of its own replication backlog, byte for byte.

Intuition: a primary keeps the last part of its stream for replicas that come back. The new primary says up to which
byte its stream is the old one's (`second_repl_offset`); what the old one has after that byte is what was lost, and a
replica that asked to go on from there would be given exactly those bytes. So we ask as one.

When the backlog does not reach back that far, or the old primary was restarted and has forgotten its place in the
stream, the bytes cannot be had: then the whole data set is kept beside the server as a copy.

What this is not: a merge. What to do with these writes is for people.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from evac.core.errors import Unavailable
from evac.drivers.valkey.settings import ValkeySettings
from evac.ports import Place

READ_MAX_S = 60.0
"""How long reading the backlog may take."""
_NO_WRITES = frozenset({b"PING", b"SELECT", b"REPLCONF", b"MULTI", b"EXEC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One write: its database and its words."""

    db: int
    words: tuple[bytes, ...]


async def tail(place: Place, settings: ValkeySettings, *, replid: str, after: int, length: int) -> bytes | None:
    """Return `length` bytes of a server's stream after byte `after`; None when it no longer has them.

    Raises `Unavailable` when it does not answer.
    """
    try:
        async with asyncio.timeout(READ_MAX_S), place.forward(settings.host, settings.port) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                if settings.password is not None:
                    who = (settings.username, settings.password.read()) if settings.username else None
                    writer.write(_command("AUTH", *(who or (settings.password.read(),))))
                    await reader.readline()
                writer.write(_command("PSYNC", replid, str(after + 1)))
                answer = await reader.readline()
                while not answer.strip():
                    answer = await reader.readline()
                return await reader.readexactly(length) if answer.startswith(b"+CONTINUE") else None
            finally:
                writer.transport.abort()
    except (OSError, EOFError, TimeoutError) as error:
        where = f"Valkey at {settings.host}:{settings.port}"
        raise Unavailable(f"{where}: its last writes could not be read: {type(error).__name__} {error}") from error


def _command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)


def writes(stream: bytes) -> tuple[Orphan, ...]:
    """Return the writes of a part of a stream that begins and ends between two commands."""
    found: list[Orphan] = []
    db = 0
    at = 0
    while at < len(stream):
        words, at = _words(stream, at)
        name = words[0].upper() if words else b""
        if name == b"SELECT":
            db = int(words[1])
        elif words and name not in _NO_WRITES:
            found.append(Orphan(db=db, words=words))
    return tuple(found)


def _words(stream: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """Read one command; a bare line break, which keeps a link alive, is a command of no words."""
    end = stream.index(b"\n", at)
    head = stream[at:end].strip()
    at = end + 1
    if not head.startswith(b"*"):
        return (), at
    words: list[bytes] = []
    for _ in range(int(head[1:])):
        end = stream.index(b"\r\n", at)
        size = int(stream[at + 1 : end])
        words.append(stream[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return tuple(words), at


def save(orphans: tuple[Orphan, ...], path: Path) -> None:
    """Write orphans as lines of JSON, readable by evac's owner only; bytes that are no text are escaped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as file:
        for orphan in orphans:
            words = [word.decode(errors="backslashreplace") for word in orphan.words]
            file.write(json.dumps({"db": orphan.db, "command": words}) + "\n")
