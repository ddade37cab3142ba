"""A store's URL: which members, as whom, and how they are trusted, whatever kind of store it is.

    <scheme>://user@host:port,host:port/namespace?<file>=PATH&<file>=PATH

Intuition: what a person writes into an estate or behind `--store` is one URL. It holds no secret, so it may be seen in
a process list: a password or a token is named by the file it lies in. The member named first is asked first; name the
nearest. A scheme with an `s` more means TLS, as in `https`.

What this is not: a connection; nothing is read or opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

MEMBERS_MAX = 7
TLS_FILES = ("ca", "cert", "key")
_ENDPOINT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to trust the members, and how to be trusted by them. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a kind of store takes in its URL."""

    scheme: str
    """Without TLS; with TLS it has an `s` more."""
    port: int
    files: tuple[str, ...]
    """The files that may be named behind the `?`, beside `TLS_FILES`; the first is the one that holds the secret."""
    words: tuple[str, ...] = ()
    """What may be named behind the `?` that is no file."""

    @property
    def schemes(self) -> tuple[str, str]:
        """Without TLS, and with it."""
        return self.scheme, f"{self.scheme}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a URL says. `namespace` is empty when it names none."""

    endpoints: tuple[str, ...]
    namespace: str
    user: str | None
    files: Mapping[str, Path]
    words: Mapping[str, str]
    tls: Tls | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPassword:
    """A cluster that asks for a user's password, or for none: its members as `host:port`, the nearest first, and the
    prefix or path under which everything is kept.
    """

    endpoints: tuple[str, ...]
    namespace: str
    user: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None

    @classmethod
    def of(cls, named: Named, *, namespace: str) -> Self:
        """Return what a URL names, with a `namespace` that may be another's."""
        return cls(
            endpoints=named.endpoints,
            namespace=namespace,
            user=named.user,
            password_file=named.files.get("password-file"),
            tls=named.tls,
        )


def read_url(text: str, form: Form, *, folder: Path) -> Named:
    """Return what a URL of a known form says; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it; words of the URL are not repeated, since a password
    could be among them.
    """
    scheme, found, rest = text.partition("://")
    if not found or scheme not in form.schemes:
        raise ValueError(f"is not a store; write {form.scheme}://host:port,host:port, or {form.scheme}s:// for TLS")
    parts = _split(rest, form)
    credentials, at, hosts = parts.netloc.rpartition("@")
    user = _user(credentials, form) if at else None
    words, files = _behind(parts.query, form, folder)
    return Named(
        endpoints=_endpoints(hosts, form.port),
        namespace=unquote(parts.path).strip("/"),
        user=user,
        files=files,
        words=words,
        tls=_tls(scheme, form, files),
    )


def need_password(named: Named, form: Form) -> None:
    """See that a user comes with a `password-file`, and neither alone. Raises `ValueError`."""
    if named.user is None and "password-file" in named.files:
        raise ValueError(f"names a password-file and no user; write {form.scheme}://user@host:port?password-file=…")
    if named.user is not None and "password-file" not in named.files:
        raise ValueError("names a user and no password; add ?password-file=PATH")


def _split(rest: str, form: Form) -> SplitResult:
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        example = f"{form.scheme}://[::1]:{form.port}"
        raise ValueError(f"is not a URL; an IPv6 address stands in brackets, as in {example}") from None
    if parts.fragment:
        raise ValueError("has a #; write it as %23")
    return parts


def _user(credentials: str, form: Form) -> str:
    if ":" in credentials:
        secret = next(iter(form.files))
        raise ValueError(f"holds a password, which everybody could see; write it into a file: ?{secret}=PATH")
    if not credentials:
        raise ValueError("has an empty user before the @")
    return unquote(credentials)


def _endpoints(hosts: str, default: int) -> tuple[str, ...]:
    endpoints = []
    for number, each in enumerate(hosts.split(","), start=1):
        found = _ENDPOINT.fullmatch(each)
        port = int(found["port"] or default) if found else 0
        if found is None or not 0 < port < 65536:
            raise ValueError(f"names a member (number {number}) that is not host or host:port; commas stand in between")
        endpoints.append(f"{found['host']}:{port}")
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("names a member twice")
    if len(endpoints) > MEMBERS_MAX:
        raise ValueError(f"names {len(endpoints)} members; at most {MEMBERS_MAX} make sense")
    return tuple(endpoints)


def _behind(query: str, form: Form, folder: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Return what stands behind the `?`: the words, and the files."""
    words: dict[str, str] = {}
    files: dict[str, Path] = {}
    known = (*form.files, *form.words, *TLS_FILES)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"has an unknown part after the ?; there are: {', '.join(known)}")
        if not value or name in files or name in words:
            raise ValueError(f"needs exactly one {'value' if name in form.words else 'path'} for {name}")
        if name in form.words:
            words[name] = value
        else:
            files[name] = folder / (Path.home() / value[2:] if value.startswith("~/") else Path(value))
    return words, files


def _tls(scheme: str, form: Form, files: Mapping[str, Path]) -> Tls | None:
    named = [name for name in TLS_FILES if name in files]
    if scheme == form.scheme:
        if named:
            raise ValueError(f"names {named[0]} and is not encrypted; write {form.scheme}s:// for TLS")
        return None
    if ("cert" in files) != ("key" in files):
        raise ValueError("needs cert and key together: the client's certificate and its private key")
    return Tls(ca=files.get("ca"), certificate=files.get("cert"), key=files.get("key"))
