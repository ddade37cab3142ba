"""What a lab's parts recognise each other by: ssh keys, certificates, passwords, a TSIG key; made anew for each lab."""

from __future__ import annotations

import base64
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from evac.lab.layout import OPERATOR, SSH_PORT, Layout
from evac.lab.servers.authority import Authority, Certificate

_KEY = "ssh-ed25519"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Passwords:
    """The lab's secrets, as its servers need them."""

    postgresql: str
    valkey: str
    tsig: str
    etcd: str


def make(layout: Layout) -> Passwords:
    """Write the keys and secrets of a lab into its folder, and return the secrets."""
    for folder in (layout.keys, layout.secrets):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
    client = asyncssh.generate_private_key(_KEY, comment="evac")
    _write(layout.keys / "evac", client.export_private_key())
    (layout.keys / "authorized").write_bytes(client.export_public_key())
    _sign(layout)
    known = []
    for region in layout.regions:
        host = asyncssh.generate_private_key(_KEY, comment=region)
        _write(host_key(layout, region), host.export_private_key())
        known.append(f"[{layout.address(region)}]:{SSH_PORT} {host.export_public_key().decode()}")
    (layout.keys / "known_hosts").write_text("".join(known))
    passwords = Passwords(
        postgresql=secrets.token_urlsafe(18),
        valkey=secrets.token_urlsafe(18),
        tsig=base64.b64encode(secrets.token_bytes(32)).decode(),
        etcd=secrets.token_urlsafe(18),
    )
    for name, secret in (
        ("pg", passwords.postgresql),
        ("valkey", passwords.valkey),
        ("tsig", passwords.tsig),
        ("etcd", passwords.etcd),
    ):
        _write(layout.secrets / name, secret.encode())
    return passwords


def host_key(layout: Layout, region: str) -> Path:
    """Return the file of a region's ssh host key."""
    return layout.keys / f"{region}_host"


def certificate(layout: Layout, name: str) -> Certificate:
    """Return what a region's store member (`etcd-REGION`), its agent (`agent-REGION`) or an operator shows."""
    folder = layout.certificates
    return Certificate(file=folder / f"{name}.pem", key=folder / f"{name}.key", ca=folder / "ca.pem")


def _sign(layout: Layout) -> None:
    """Found the lab's authority, and have it sign for everybody who speaks to the store or is it."""
    authority = Authority.found(layout.certificates)
    for region in layout.regions:
        for part in ("etcd", "agent"):
            authority.sign(f"{part}-{region}", address=layout.address(region))
    authority.sign(OPERATOR, address="127.0.0.1")


def _write(path: Path, secret: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secret)
