"""Where an etcd cluster is and as whom to ask it, in one line of text.

    etcd://user@host:port,host:port/namespace?password-file=PATH
    etcds://host:port,host:port?ca=PATH&cert=PATH&key=PATH

Intuition: what a person writes into an estate or behind `--store` is one URL. It holds no secret, so it may be seen in
a process list: a password is named by the file it lies in. The member named first is asked first; name the nearest.

What this is not: a connection; nothing is read or opened here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 2379
MEMBERS_MAX = 7
SCHEMES = ("etcd", "etcds")
FILES = ("password-file", "ca", "cert", "key")
_ENDPOINT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to trust the members, and how to be trusted by them. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAddress:
    """A cluster's members as `host:port`, the nearest first, and the prefix under which everything is kept."""

    endpoints: tuple[str, ...]
    namespace: str
    user: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"etcd at {', '.join(self.endpoints)}"


def parse_address(text: str, *, namespace: str, folder: Path) -> EtcdAddress:
    """Return what a URL says. `namespace` holds if it names none; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it; words of the URL are not repeated, since a password
    could be among them.
    """
    scheme, found, rest = text.partition("://")
    if not found or scheme not in SCHEMES:
        raise ValueError("is not a store; write etcd://host:port,host:port, or etcds:// for TLS")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        raise ValueError("is not a URL; an IPv6 address stands in brackets, as in etcd://[::1]:2379") from None
    if parts.fragment:
        raise ValueError("has a #; write it as %23")
    credentials, at, hosts = parts.netloc.rpartition("@")
    user = _user(credentials) if at else None
    files = _files(parts.query, folder)
    if user is None and "password-file" in files:
        raise ValueError("names a password-file and no user; write etcd://user@host:port?password-file=…")
    if user is not None and "password-file" not in files:
        raise ValueError("names a user and no password; add ?password-file=PATH")
    return EtcdAddress(
        endpoints=_endpoints(hosts),
        namespace=unquote(parts.path).strip("/") or namespace,
        user=user,
        password_file=files.get("password-file"),
        tls=_tls(scheme, files),
    )


def _user(credentials: str) -> str:
    if ":" in credentials:
        raise ValueError("holds a password, which everybody could see; write it into a file: ?password-file=PATH")
    if not credentials:
        raise ValueError("has an empty user before the @")
    return unquote(credentials)


def _endpoints(hosts: str) -> tuple[str, ...]:
    endpoints = []
    for number, each in enumerate(hosts.split(","), start=1):
        found = _ENDPOINT.fullmatch(each)
        port = int(found["port"] or PORT) if found else 0
        if found is None or not 0 < port < 65536:
            raise ValueError(f"names a member (number {number}) that is not host or host:port; commas stand in between")
        endpoints.append(f"{found['host']}:{port}")
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("names a member twice")
    if len(endpoints) > MEMBERS_MAX:
        raise ValueError(f"names {len(endpoints)} members; at most {MEMBERS_MAX} make sense")
    return tuple(endpoints)


def _files(query: str, folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in FILES:
            raise ValueError(f"has an unknown part after the ?; there are: {', '.join(FILES)}")
        if not value or name in files:
            raise ValueError(f"needs exactly one path for {name}")
        path = Path.home() / value[2:] if value.startswith("~/") else Path(value)
        files[name] = folder / path
    return files


def _tls(scheme: str, files: dict[str, Path]) -> Tls | None:
    named = [name for name in ("ca", "cert", "key") if name in files]
    if scheme == "etcd":
        if named:
            raise ValueError(f"names {named[0]} and is not encrypted; write etcds:// for TLS")
        return None
    if ("cert" in files) != ("key" in files):
        raise ValueError("needs cert and key together: the client's certificate and its private key")
    return Tls(ca=files.get("ca"), certificate=files.get("cert"), key=files.get("key"))
