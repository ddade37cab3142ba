"""A certificate authority for one lab: signs what its servers and their clients show each other.

A certificate may be used both ways, since etcd shows its server's certificate to itself when its JSON gateway asks it.

What this is not: safe. Its key lies beside what it signed, and all is valid for a day.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its key as PEM files, and the authority's own certificate that vouches for it."""

    file: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Signs. Made by `found`."""

    folder: Path
    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @classmethod
    def found(cls, folder: Path) -> Authority:
        """Make a new authority whose files go into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evac lab")])
        certificate = (
            _unsigned(name, key).issuer_name(name).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        ).sign(key, hashes.SHA256())
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder=folder, _key=key, _certificate=certificate)

    def sign(self, name: str, *, address: str, valid: timedelta = VALID) -> Certificate:
        """Return a new certificate for a name, an IP address and this machine itself, valid from now on for a while.

        This machine itself: a lab's members are also reached by a gateway on loopback. A negative `valid`, down to an
        hour, makes one that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = dict.fromkeys(ipaddress.ip_address(each) for each in (address, "127.0.0.1"))
        names = [x509.DNSName(name), *(x509.IPAddress(each) for each in addresses)]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            # Without a name of its own: etcd's gateway refuses clients' names, and so its own.
            _unsigned(x509.Name([]), key, valid)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.SubjectAlternativeName(names), True)
            .add_extension(x509.ExtendedKeyUsage(usages), False)
        ).sign(self._key, hashes.SHA256())
        made = Certificate(file=self.folder / f"{name}.pem", key=self.folder / f"{name}.key", ca=self.folder / "ca.pem")
        made.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.key.touch(mode=0o600)
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made


def _unsigned(subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta = VALID) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + valid)
    )
