"""How a store's members are trusted over TLS, how secrets are read from their files, and what an HTTP failure means.

Intuition: certificates are short-lived and agents are not. Whoever renews a certificate writes it over the old one, and
the next connection shows it.

What this is not: a client; each kind of store has its own.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import httpx
import structlog

from evac.core.errors import StoreUnavailable
from evac.stores.urls import Tls

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A connection whose other end has gone without a word is found out within five seconds."""


FAILED = (httpx.HTTPError, OSError)
"""What an HTTP client raises for a question that is not answered. httpx gives most of it a name of its own; what TLS
finds wrong once its handshake is over (a broken record, a certificate refused under TLS 1.3) comes as `ssl.SSLError`.
"""

_log = structlog.get_logger(__name__)


class Trust(ssl.SSLContext):
    """Whom to trust and what to show, by files that are read anew for a new connection once they have changed.

    Files that cannot be used, half written perhaps, change nothing: new connections are made by the last that could.
    For clients that wrap memory, as httpx does; wrapping a socket trusts nobody.
    """

    def __new__(cls, tls: Tls) -> Self:
        """Make one that by itself trusts nobody."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, tls: Tls) -> None:
        """Raises `StoreUnavailable`, naming the file that cannot be used."""
        self._tls = tls
        self._protocols: tuple[str, ...] = ()
        self._reading = threading.Lock()
        """Connections may be wrapped in several threads at a time."""
        self._marks = _marks(tls)
        self._refused = self._marks
        """How the files were when they could not be used last."""
        self._read = _read(tls)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self._protocols = tuple(alpn_protocols)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # as in the standard library
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        context = self._newest()
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        return context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _newest(self) -> ssl.SSLContext:
        """Return what the files say now; if they cannot be used, what they said before."""
        with self._reading:
            marks = _marks(self._tls)
            if marks not in (self._marks, self._refused):
                try:
                    self._read, self._marks = _read(self._tls), marks
                except StoreUnavailable as error:
                    self._refused = marks
                    _log.warning("renewed certificates cannot be used: those before are used on", why=str(error))
            return self._read


def trusting(tls: Tls) -> Trust:
    """Return whom to trust and what to show. Raises `StoreUnavailable`, naming the file that cannot be used."""
    return Trust(tls)


def _marks(tls: Tls) -> tuple[object, ...]:
    """What changes when a file is written or put in another's place."""

    def mark(file: Path | None) -> object:
        try:
            found = file.stat() if file is not None else None
        except OSError:
            return "not there"
        return found and (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)

    return tuple(mark(file) for file in (tls.ca, tls.certificate, tls.key))


def _read(tls: Tls) -> ssl.SSLContext:
    file = tls.ca
    try:
        context = ssl.create_default_context(cafile=file)
        if tls.certificate is not None:
            file = tls.certificate
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        why = "holds no certificate that can be used" if isinstance(error, ssl.SSLError) else error.strerror
        raise StoreUnavailable(f"the store's certificate {file}: {why}; look at ca, cert and key in its URL") from None
    return context


def read_secret(file: Path | None, *, where: object, what: str) -> str:
    """Return what a file holds without its line's end, read anew each time: it may have been changed.

    Raises `StoreUnavailable`, naming the store (`where`), what is missing and the file, never what it holds.
    """
    assert file is not None, f"an address that needs a {what} names its file"
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StoreUnavailable(f"{where}: no {what}: {file}: {why}; write it there, readable by evac only") from None


def say_failure(error: httpx.HTTPError | OSError) -> str:
    """Return what became of a question that was not answered."""
    if isinstance(error, httpx.TimeoutException):
        return "is silent"
    return say_refusal(str(error) or type(error).__name__)


def say_refusal(text: str) -> str:
    """Return why a connection was not made, and which file to look at when that was TLS."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"shows a certificate that is not trusted: {text}; look at ca in the store's URL"
    if "_ALERT_" in text and any(word in text for word in ("CERTIFICATE", "UNKNOWN_CA", "DECRYPT_ERROR")):
        return (
            f"refuses what it is shown: {text}; look at cert and key in the store's URL: whether they are named, have"
            " not expired, and come from an authority that the members trust"
        )
    return f"cannot be reached: {text}"
