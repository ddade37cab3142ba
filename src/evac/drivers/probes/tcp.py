"""TCP probes: the port accepts a connection and, if wished, says what it should.

Intuition: the weakest proof there is, since a frozen server's kernel still accepts. Use it for what speaks nothing
else, and let it `expect` a greeting where there is one.

Every question opens a connection. Through a forwarding (an ssh place) a connection is accepted near and made far, so
that accepting proves nothing: without `expect` the place itself is asked to connect (bash's `/dev/tcp`).
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from pydantic import field_validator

from evac.core.errors import Indeterminate
from evac.core.estate import Probe
from evac.drivers.probes.kept import Asker, Broken, Line
from evac.drivers.settings import Settings
from evac.ports import BadAnswer, Place, Prober

_GREETING_MAX = 4096
_REMOTE_MAX = timedelta(seconds=30)
"""The longest a connection attempt made by the place itself may run on after the question was given up."""


class TcpSettings(Settings):
    """Where to connect, and what to hear."""

    host: str
    """Host name or address, as seen from the region that probes."""
    port: int
    """TCP port."""
    send: str = ""
    """Text sent after connecting; default nothing."""
    expect: str | None = None
    """Regular expression that must be found in what the other end says; default: connecting is enough."""

    @field_validator("expect")
    @classmethod
    def _compiles(cls, expect: str | None) -> str | None:
        try:
            re.compile(expect or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return expect


class TcpLine:
    """A connection that hears one greeting."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: TcpSettings) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings

    async def ask(self) -> str:
        if self._settings.send:
            self._writer.write(self._settings.send.encode())
        if self._settings.expect is None:
            return ""
        heard = b""
        while len(heard) < _GREETING_MAX:
            more = await self._reader.read(_GREETING_MAX)
            heard += more
            if re.search(self._settings.expect, heard.decode(errors="replace")):
                return ""
            if not more:
                break
        if not heard:
            raise EOFError
        return "it does not say what is expected"

    async def settle(self) -> None:
        raise Broken("given up")

    async def close(self) -> None:
        self._writer.transport.abort()


class ConnectAt:
    """A prober that lets the place itself connect."""

    def __init__(self, *, place: Place, settings: TcpSettings) -> None:
        self._place = place
        self._settings = settings

    async def ask(self) -> str:
        script = ("bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', self._settings.host, str(self._settings.port))
        try:
            done = await self._place.run(script, timeout=_REMOTE_MAX)
        except Indeterminate as error:
            return str(error)
        if done.code == 0:
            return ""
        said = done.err.decode(errors="replace").lower()
        return (
            BadAnswer("connection refused")
            if "refused" in said
            else (said.strip().rpartition(": ")[2] or "no connection")
        )

    async def close(self) -> None:
        """Nothing is kept open."""


class TcpKind:
    """The kind `tcp`."""

    name = "tcp"
    settings = TcpSettings

    async def open(self, probe: Probe, place: Place) -> Prober:
        settings = probe.settings
        assert isinstance(settings, TcpSettings)

        async def open_line(host: str, port: int) -> Line:
            return TcpLine(*await asyncio.open_connection(host, port), settings)

        asker = Asker(place=place, host=settings.host, port=settings.port, open_line=open_line, fresh=True)
        return asker if settings.expect is not None else TcpProber(place=place, settings=settings, direct=asker)


class TcpProber:
    """Connects directly where the place gives the address itself, and lets the place connect where it forwards."""

    def __init__(self, *, place: Place, settings: TcpSettings, direct: Asker) -> None:
        self._place = place
        self._settings = settings
        self._direct = direct
        self._remote = ConnectAt(place=place, settings=settings)

    async def ask(self) -> str:
        wanted = (self._settings.host, self._settings.port)
        async with self._place.forward(*wanted) as address:
            is_forwarded = address != wanted
        return await (self._remote if is_forwarded else self._direct).ask()

    async def close(self) -> None:
        await self._direct.close()
