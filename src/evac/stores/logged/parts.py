"""What is larger than a ground takes at once: laid on its shelf in parts, and named by what all of it hashes to.

Intuition: the parts come first, then whatever names them. So whoever reads a name finds the parts; whoever dies in
between leaves parts that nobody names, in a folder that is forgotten whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets

from evac.stores.logged.ground import PART_BYTES_MAX, Gone, Ground

_WHOLE, _IN_PARTS = b"w", b"p"
_AT_ONCE = 8
"""How many parts are on their way at one time."""


async def lay_down(ground: Ground, folder: str, content: bytes, *, always: bool = False) -> bytes:
    """Keep something in a folder if it is too large, or `always`, and return what is written for it.

    Raises `StoreUnavailable`.
    """
    if len(content) < PART_BYTES_MAX and not always:
        return _WHOLE + content
    name = secrets.token_hex(8)
    pieces = [content[at : at + PART_BYTES_MAX] for at in range(0, len(content), PART_BYTES_MAX)]
    for at in range(0, len(pieces), _AT_ONCE):
        some = enumerate(pieces[at : at + _AT_ONCE], start=at)
        await asyncio.gather(*[ground.put(folder, f"{name}.{n}", piece) for n, piece in some])
    named = {"folder": folder, "name": name, "parts": len(pieces), "hash": _hash(content)}
    return _IN_PARTS + json.dumps(named).encode()


async def pick_up(ground: Ground, written: bytes) -> bytes:
    """Return what something was written for; b"" for what `lay_down` did not write.

    Raises `Gone` when its parts are not there, and `StoreUnavailable`.
    """
    if not written.startswith(_IN_PARTS):
        return written[1:] if written.startswith(_WHOLE) else b""
    try:
        named = json.loads(written[1:])
        folder, name, count = str(named["folder"]), str(named["name"]), int(named["parts"])
    except (ValueError, KeyError, TypeError):
        return b""
    pieces = []
    for at in range(0, count, _AT_ONCE):
        some = range(at, min(at + _AT_ONCE, count))
        pieces += await asyncio.gather(*[ground.get(folder, f"{name}.{n}") for n in some])
    content = b"".join([piece.content for piece in pieces if piece is not None])
    if _hash(content) != named.get("hash"):
        raise Gone(f"{name} in {folder}")
    return content


def named_in(written: bytes) -> str:
    """Return the name of the parts that something is written for, "" if it needs none."""
    return str(json.loads(written[1:])["name"]) if written.startswith(_IN_PARTS) else ""


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
