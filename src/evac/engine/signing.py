"""Keys and signatures: an agent vouches for its receipts, a leader for the end of a run, by ed25519 (RFC 8032).

Intuition: the private key is made where it is used and never leaves that file. The public key is its own name: it
stands in every signature, so a run can be checked by itself, and in the store under `signers/<key>`, with whose it is,
so that it can be pinned.

What this is not: what is vouched for (`core.evidence`), or the check of a whole run (`engine.verifying`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evac.core.errors import Conflict, EvacError
from evac.core.evidence import Seal, Statement, Testimony, Word
from evac.core.run import Forced, RunId, Settled, Signature
from evac.engine.chain import digest, link
from evac.engine.codec import decode, encode, encode_plain
from evac.ports import Store

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


def is_genuine(signature: Signature, statement: Statement) -> bool:
    """Return whether the key that a signature names has signed just this statement."""
    try:
        key, value = bytes.fromhex(signature.key), bytes.fromhex(signature.value)
        Ed25519PublicKey.from_public_bytes(key).verify(value, message(statement))
    except (InvalidSignature, ValueError):
        return False
    # One key, one name: the same bytes could be spelled with capitals or spaces.
    return (signature.key, signature.value) == (key.hex(), value.hex())


def open_signer(file: Path, *, estate: str) -> Signer:
    """Return the signer whose private key is in a file, which is made on first use, readable by its owner only.

    Raises `EvacError` when it cannot be used; no message holds any of it.
    """
    try:
        if not file.exists():
            _make(file)
        if file.stat().st_mode & 0o077:
            raise EvacError(
                f"{file} can be read by others than its owner: chmod 600 {file}, or delete it for a new key"
            )
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise EvacError(
            f"{file}, the key that receipts are signed with: {error.strerror}; mend that, or name another file as"
            " signing_key in the estate"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise EvacError(f"{file} holds no private key without a password: delete it, a new one is made then") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvacError(f"{file} holds a key, but none of ed25519: delete it, a new one is made then")
    return Signer(key, estate=estate)


def _make(file: Path) -> None:
    """Write a new key to the disk, whole or not at all. If another process was quicker, its key stands."""
    written = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(written)
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)


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
