"""Keys on file and what they have signed: how a key is made and refused, and what a signature holds to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evac.core.errors import EvacError
from evac.core.evidence import Seal
from evac.core.run import RunId
from evac.engine.keys import is_genuine, open_signer
from fakes.evidence import signer_of

WALL = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEAL = Seal(estate="shop", run=RunId("7"), entry="ab" * 32, by="a leader", wall=WALL)


def pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey, *, password: bytes | None = None) -> bytes:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "signing.key"
    first = open_signer(file, estate="shop")
    assert file.stat().st_mode & 0o777 == 0o600
    assert open_signer(file, estate="shop").public == first.public
    assert [f.name for f in file.parent.iterdir()] == ["signing.key"], "nothing else is left there"
    assert is_genuine(first.sign(SEAL), SEAL)


async def test_of_two_that_make_a_key_at_once_both_get_the_same(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    made = await asyncio.gather(*[asyncio.to_thread(open_signer, file, estate="shop") for _ in range(16)])
    assert len({signer.public for signer in made}) == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"", "holds no private key"),
        (b"not a key", "holds no private key"),
        (pem(Ed25519PrivateKey.generate(), password=b"hunter2"), "without a password"),
        (pem(generate_private_key(SECP256R1())), "none of ed25519"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(written: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    file.write_bytes(written)
    file.chmod(0o600)
    with pytest.raises(EvacError, match=said) as refused:
        open_signer(file, estate="shop")
    assert not [word for word in written.split() if len(word) > 12 and word.decode() in str(refused.value)]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    open_signer(file, estate="shop")
    file.chmod(0o640)
    with pytest.raises(EvacError, match=f"chmod 600 {file}"):
        open_signer(file, estate="shop")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvacError, match="signing_key in the estate"):
        open_signer(tmp_path / "file" / "signing.key", estate="shop")


def test_a_signature_holds_to_its_statement_and_key_alone() -> None:
    signer = signer_of("us-east-1")
    signature = signer.sign(SEAL)
    assert is_genuine(signature, SEAL)
    for other in (
        replace(SEAL, run=RunId("8")),
        replace(SEAL, estate="shoq"),
        replace(SEAL, entry="ab" * 31),
        replace(SEAL, by="me"),
    ):
        assert not is_genuine(signature, other)
    assert not is_genuine(replace(signature, key=signer_of("us-west-2").public), SEAL)


@pytest.mark.parametrize("spelled", [str.upper, lambda text: f" {text}", lambda text: text[:-1], lambda text: "é"])
def test_a_signature_has_one_spelling(spelled: Callable[[str], str]) -> None:
    signature = signer_of("us-east-1").sign(SEAL)
    assert not is_genuine(replace(signature, key=spelled(signature.key)), SEAL)
    assert not is_genuine(replace(signature, value=spelled(signature.value)), SEAL)
