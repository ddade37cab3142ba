"""TLS towards etcd: whom to trust, what to show, and what to say where one of both is refused.

What this is not: the asking (`members`).
"""

from __future__ import annotations

import ssl

import httpx

from evac.core.errors import StoreUnavailable
from evac.stores.etcd.address import Tls


def unreached(error: httpx.HTTPError) -> str:
    """Return what became of a question that was not answered."""
    if isinstance(error, httpx.TimeoutException):
        return "is silent"
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"shows a certificate that is not trusted: {text}; look at ca in the store's URL"
    if "_ALERT_" in text and any(word in text for word in ("CERTIFICATE", "UNKNOWN_CA")):
        return (
            f"refuses what it is shown: {text}; look at cert and key in the store's URL: whether they are named, have"
            " not expired, and come from an authority that the members trust"
        )
    return f"cannot be reached: {text}"


def trust(tls: Tls) -> ssl.SSLContext:
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
