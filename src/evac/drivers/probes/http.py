"""HTTP and HTTPS probes: the status is expected, and the body says what it should.

Intuition: a health page that answers 200 proves that the service says it is well; a canary page that writes and
reads proves that it does its job. Redirects are not followed: what answers here is what is asked.

Spoken with h11 on a plain stream, because a reply that is given up must stay owed on its connection (`kept`), and
HTTP clients close the connection instead.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping

import h11
from pydantic import Field, field_validator

from evac.core.estate import Probe
from evac.drivers.probes.kept import Asker, Broken, Line, OpenLine
from evac.drivers.settings import EstatePath, Settings
from evac.ports import Place, Prober

_MATCHED_MAX = 64 * 1024
"""How many bytes of a body the expression is matched against."""
_BODY_MAX = 4 * 1024 * 1024
"""How long a body may be before its connection is given up."""


class HttpSettings(Settings):
    """What is asked, and which answer is well."""

    host: str
    """Host name or address, as seen from the region that probes."""
    port: int = 80
    """TCP port; default 80, also with `tls`."""
    path: str = "/"
    """Path and query; default `/`."""
    method: str = "GET"
    """Request method; default GET."""
    host_header: str | None = None
    """The name asked for (Host header, and the name a certificate must bear); default: `host`."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Further request headers."""
    status: tuple[int, ...] = (200,)
    """Statuses that are well; default 200 only."""
    body: str | None = None
    """Regular expression that must be found in the first 64 KiB of the body; default: any body is well."""
    tls: bool = False
    """Whether to speak TLS; default no."""
    ca: EstatePath | None = None
    """Certificates to trust, as a PEM file; default: the system's."""

    @field_validator("body")
    @classmethod
    def _compiles(cls, body: str | None) -> str | None:
        try:
            re.compile(body or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return body


class HttpLine:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: HttpSettings) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._body = bytearray()

    async def ask(self) -> str:
        try:
            self._send()
            await self._reply()
        except h11.LocalProtocolError as error:
            raise Broken(f"cannot be asked for: {error}") from error
        except h11.RemoteProtocolError as error:
            raise Broken(f"not HTTP: {error}", answered=True) from error
        if self._status not in self._settings.status:
            return f"HTTP {self._status}"
        text = bytes(self._body[:_MATCHED_MAX]).decode(errors="replace")
        if self._settings.body is not None and not re.search(self._settings.body, text):
            return f"HTTP {self._status}, but the body does not match"
        return ""

    async def settle(self) -> None:
        if self._http.our_state is h11.IDLE:
            return
        try:
            await self._reply()
        except h11.ProtocolError as error:
            raise Broken(f"not HTTP: {error}", answered=True) from error

    async def close(self) -> None:
        self._writer.transport.abort()

    def _send(self) -> None:
        if self._http.our_state is not h11.IDLE or self._reader.at_eof():
            raise Broken("connection closed by the other end")
        settings = self._settings
        headers = {"Host": settings.host_header or settings.host, "User-Agent": "evac", "Accept": "*/*"}
        headers |= settings.headers
        request = h11.Request(method=settings.method, target=settings.path, headers=list(headers.items()))
        self._status = 0
        self._body.clear()
        self._writer.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))

    async def _reply(self) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(65536)
                if not (data or self._status):
                    raise EOFError
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > _BODY_MAX:
                    raise Broken(f"HTTP {self._status}, but the body is longer than {_BODY_MAX} bytes", answered=True)
            elif isinstance(event, h11.EndOfMessage):
                if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                    self._http.start_next_cycle()
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError


def _opener(settings: HttpSettings) -> OpenLine:
    context = ssl.create_default_context(cafile=settings.ca) if settings.tls else None
    name = (settings.host_header or settings.host) if settings.tls else None

    async def open_line(host: str, port: int) -> Line:
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        return HttpLine(reader, writer, settings)

    return open_line


class HttpKind:
    """The kind `http`."""

    name = "http"
    settings = HttpSettings

    async def open(self, probe: Probe, place: Place) -> Prober:
        settings = probe.settings
        assert isinstance(settings, HttpSettings)
        return Asker(
            place=place, host=settings.host, port=settings.port, open_line=_opener(settings), fresh=probe.as_client
        )
