"""A TLS server that breaks what it says: it shows a right certificate, and then sends a record that nobody can read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from evac.lab.servers.authority import Certificate

T = TypeVar("T")

UNREADABLE = b"\x17\x03\x03\x00\x30" + bytes(48)
"""A record of application data that is encrypted with nobody's key."""
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{"

Breaks = Literal["handshake", "answer", "middle"]


def shown(certificate: Certificate, *, asks: bool = False) -> ssl.SSLContext:
    """Return a server's context; with `asks` it lets in only who shows a certificate of the same authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.ca)
    context.load_cert_chain(certificate.file, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """Sends the broken record during the handshake, instead of an answer, or in the middle of one."""

    context: ssl.SSLContext
    breaks: Breaks

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)

        async def carry_out(do: Callable[[], T]) -> T:
            while True:
                try:
                    return do()
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    if not (came := await reader.read(65536)):
                        raise EOFError from None
                    incoming.write(came)
                finally:
                    writer.write(outgoing.read())

        try:
            if self.breaks != "handshake":
                await carry_out(tls.do_handshake)
                await carry_out(lambda: tls.read(65536))
            if self.breaks == "middle":
                await carry_out(lambda: tls.write(BEGUN))
            writer.write(UNREADABLE)
            await reader.read()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
