"""How an entry of the log and a snapshot are written: a header in JSON, then the values as they are, compressed.

What this is not: a place for secrets, or a format for others. What cannot be read is `None`; what a later evac wrote is
refused, since whoever passed over it would remember something else than the others.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evac.core.errors import StoreUnavailable

Json = dict[str, Any]

FORMAT = 1
UNPACKED_BYTES_MAX = 1024**3
"""What claims to be larger is not read."""
_LENGTH = struct.Struct(">I")
_LEVEL = 1
"""zlib's fastest: JSON shrinks to a fifth by it, and a log is written more often than it is read anew."""


def pack(header: Json, values: Iterable[bytes]) -> bytes:
    """Return a header and values as one."""
    head = json.dumps({"format": FORMAT, **header}, separators=(",", ":")).encode()
    return zlib.compress(b"".join((_LENGTH.pack(len(head)), head, *values)), _LEVEL)


def unpack(content: bytes) -> tuple[Json, memoryview] | None:
    """Return the header and all values in a row; None when it is nothing that `pack` made.

    Raises `StoreUnavailable` when a later evac wrote it.
    """
    try:
        unpacker = zlib.decompressobj()
        raw = memoryview(unpacker.decompress(content, UNPACKED_BYTES_MAX))
        length = _LENGTH.unpack_from(raw)[0] if unpacker.eof else 0
        header = json.loads(bytes(raw[_LENGTH.size : _LENGTH.size + length]))
    except (zlib.error, struct.error, ValueError):
        return None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        return None
    if header["format"] > FORMAT:
        raise StoreUnavailable("a later evac writes to this store: let all processes be of that version")
    return header, raw[_LENGTH.size + length :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A commit, as it is written into the log, with all that decides whether it happens."""

    id: str
    """Of this commit and no other."""
    on: str
    """The digest of the log as its writer knew it: in the log of another life it means nothing."""
    life: int
    """The version of the birth record that its writer knew; 0: none."""
    birth: str = ""
    """A new birth record."""
    void: tuple[str, ...] = ()
    """Commits of the same writer that shall not happen if they have not: he has given them up."""
    expect: Mapping[str, int] = field(default_factory=dict)
    put: Mapping[str, bytes] = field(default_factory=dict)
    delete: tuple[str, ...] = ()


def write(words: Words) -> bytes:
    """Return a commit as it stands in the log."""
    header = {
        "id": words.id,
        "on": words.on,
        "life": words.life,
        "birth": words.birth,
        "void": words.void,
        "expect": words.expect,
        "put": {key: len(value) for key, value in words.put.items()},
        "delete": words.delete,
    }
    return pack(header, words.put.values())


def read(content: bytes) -> Words | None:
    """Return the commit that stands in the log, None when nobody of us wrote it. Raises `StoreUnavailable`."""
    unpacked = unpack(content)
    if unpacked is None:
        return None
    header, values = unpacked
    try:
        return Words(
            id=str(header["id"]),
            on=str(header["on"]),
            life=int(header["life"]),
            birth=str(header["birth"]),
            void=tuple(map(str, header["void"])),
            expect={str(key): int(version) for key, version in header["expect"].items()},
            put=dict(zip(header["put"], cut(values, header["put"].values()), strict=True)),
            delete=tuple(map(str, header["delete"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def cut(values: memoryview, lengths: Iterable[int]) -> list[bytes]:
    """Return values that stand in a row. Raises `ValueError` when they are not as long as that."""
    found, at = [], 0
    for length in lengths:
        found.append(bytes(values[at : at + length]))
        at += length
    if at != len(values):
        raise ValueError("the values are not as long as the header says")
    return found
