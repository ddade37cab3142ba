"""How a store's members are trusted over TLS, how secrets are read from their files, and what an HTTP failure means.

What this is not: a client; each kind of store has its own.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx

from evac.core.errors import StoreUnavailable
from evac.stores.urls import Tls

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A connection whose other end has gone without a word is found out within five seconds."""


def trusting(tls: Tls) -> ssl.SSLContext:
    """Return whom to trust and what to show. Raises `StoreUnavailable`, naming the file that cannot be used."""
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
