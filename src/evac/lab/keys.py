"""What a lab's parts recognise each other by: ssh keys, passwords, a TSIG key; made anew for each lab."""

from __future__ import annotations

import base64
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from evac.lab.layout import SSH_PORT, Layout

_KEY = "ssh-ed25519"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Passwords:
    """The lab's secrets, as its servers need them."""

    postgresql: str
    valkey: str
    tsig: str


def make(layout: Layout) -> Passwords:
    """Write the keys and secrets of a lab into its folder, and return the secrets."""
    for folder in (layout.keys, layout.secrets):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
    client = asyncssh.generate_private_key(_KEY, comment="evac")
    _write(layout.keys / "evac", client.export_private_key())
    (layout.keys / "authorized").write_bytes(client.export_public_key())
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
    )
    for name, secret in (("pg", passwords.postgresql), ("valkey", passwords.valkey), ("tsig", passwords.tsig)):
        _write(layout.secrets / name, secret.encode())
    return passwords


def host_key(layout: Layout, region: str) -> Path:
    """Return the file of a region's ssh host key."""
    return layout.keys / f"{region}_host"


def _write(path: Path, secret: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secret)
