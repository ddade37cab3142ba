"""Private keys in their files, and whether a signature is genuine: where evac meets the library of ed25519.

What this is not: what is signed, and how it is put (`engine.signing`).
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evac.core.errors import EvacError
from evac.core.evidence import Statement
from evac.core.run import Signature
from evac.engine.signing import Signer, message


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
