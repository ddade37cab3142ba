"""Keys and signatures: an agent vouches for its receipts, a leader for the end of a run, by ed25519 (RFC 8032).

Intuition: the private key is made where it is used and never leaves that file. The public key is its own name: it
stands in every signature, so a run can be checked by itself, and in the store under `signers/<key>`, with whose it is,
so that it can be pinned.

What this is not: what is vouched for (`core.evidence`), the files keys are in and the check of a signature
(`engine.keys`), or the check of a whole run (`engine.verifying`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from evac.core.errors import Conflict
from evac.core.evidence import Seal, Statement, Testimony, Word
from evac.core.run import Forced, RunId, Settled, Signature
from evac.engine.chain import digest, link
from evac.engine.codec import decode, encode, encode_plain
from evac.ports import Store

if TYPE_CHECKING:  # whoever signs has a key, and with it the library; a simulation has neither
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNERS = "signers/"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSigner:
    """A public key as the store knows it: the regions whose agents' it is, and since when."""

    key: str
    regions: tuple[str, ...]
    since: datetime


class Signer:
    """One process's private key, at work for one estate. Its text never shows the key."""

    def __init__(self, key: Ed25519PrivateKey, *, estate: str) -> None:
        self._key = key
        self.estate = estate
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, statement: Statement) -> Signature:
        """Return the signature of a statement made in this estate's name."""
        blank = self.blank(by=statement.by, wall=statement.wall)
        return replace(blank, value=self._key.sign(message(statement)).hex())

    def blank(self, *, by: str, wall: datetime) -> Signature:
        """Return a signature that has all but its value."""
        return Signature(key=self.public, by=by, estate=self.estate, wall=wall, value="")


def message(statement: Statement) -> bytes:
    """Return the bytes that are signed: what kind of statement it is, and its canonical form."""
    match statement:
        case Testimony():
            return b"evac testimony 1\n" + encode(statement)
        case Seal():
            return b"evac seal 1\n" + encode(statement)
        case Word():  # pragma: no branch (the union is closed)
            return b"evac word 1\n" + encode(statement)


def sealed(end: Settled, signer: Signer, *, run: RunId, before: str, by: str) -> Settled:
    """Return a journal's last entry, sealed; `before` is the digest of the one before."""
    end = replace(end, signature=signer.blank(by=by, wall=end.wall))
    entry = digest(link(end, before=before))
    return replace(end, signature=signer.sign(Seal(estate=signer.estate, run=run, entry=entry, by=by, wall=end.wall)))


def vouched(word: Forced, signer: Signer, *, run: RunId, before: str, by: str) -> Forced:
    """Return the entry that holds a person's word, signed by the leader that took it; `before` as for `sealed`."""
    word = replace(word, signature=signer.blank(by=by, wall=word.wall))
    entry = digest(link(word, before=before))
    return replace(word, signature=signer.sign(Word(estate=signer.estate, run=run, entry=entry, by=by, wall=word.wall)))


def sealed_entry(written: bytes) -> str:
    """Return the digest that the signature of an entry which is signed as a whole was made over (the last one, and a
    person's word). Raises `ValueError`.
    """
    plain = json.loads(written)
    return digest(encode_plain({**plain, "signature": {**plain["signature"], "value": ""}}))


async def make_known(signer: Signer, regions: Sequence[str], *, store: Store, now: datetime) -> None:
    """Write to the store whose key this is, unless it knows. Raises `StoreUnavailable`."""
    key = SIGNERS + signer.public
    known = await store.get(key)
    before = decode(known.value, KnownSigner) if known else KnownSigner(key=signer.public, regions=(), since=now)
    mine = replace(before, regions=tuple(sorted({*before.regions, *regions})))
    if known is not None and mine == before:
        return
    with suppress(Conflict):  # another process with the same key was quicker
        await store.commit(expect={key: known.version if known else 0}, put={key: encode(mine)})


async def known_signers(store: Store) -> tuple[KnownSigner, ...]:
    """Return every public key that the store knows. Raises `StoreUnavailable`."""
    return tuple([decode(r.value, KnownSigner) for r in await store.list(SIGNERS)])
