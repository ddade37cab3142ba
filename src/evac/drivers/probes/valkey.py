"""Valkey and Redis probes: a replica answers a read; a primary writes a key and reads it.

Intuition: a primary that lost its replicas (`min-replicas-to-write`), or whose disk fails, still answers PING. With
`write`, one key (`evac.canary.<random>`, gone after a minute) is set and read in one message. A replica refuses the
SET by itself (READONLY) and is asked for the reading only.

Spoken with one low-level connection of the valkey client, which can keep a reply owed (`kept`); its pooled client
closes the connection instead.
"""

from __future__ import annotations

import secrets
from typing import Any

from valkey.asyncio import Connection, SSLConnection
from valkey.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, ResponseError, ValkeyError
from valkey.exceptions import ConnectionError as ConnectionFailed

from evac.core.estate import Probe
from evac.drivers.probes.kept import Asker, Broken, Line, OpenLine
from evac.drivers.settings import EstatePath, Secret, Settings
from evac.ports import Place, Prober

_KEY_LIFE_S = 60
_TOO_MANY, _HUNG_UP = "max number of clients reached", "closed by server"
"""What the client says of a connection that the server would not have, and of one that it ended."""


class ValkeySettings(Settings):
    """Where the server is, as whom to ask, and whether to write."""

    host: str
    """Host name or address, as seen from the region that probes."""
    port: int = 6379
    """TCP port; default 6379."""
    username: str | None = None
    """ACL user; default: the server's default user."""
    password: Secret | None = None
    """Its password; default none."""
    write: bool = False
    """Whether a primary must also set and get one key, `evac.canary.…`; default no."""
    tls: bool = False
    """Whether to speak TLS; default no."""
    ca: EstatePath | None = None
    """Certificates to trust, as a PEM file; default: the system's."""


class ValkeyLine:
    """One connection; counts the replies that are still owed."""

    def __init__(self, connection: Connection, *, write: bool) -> None:
        self._connection = connection
        self._write = write
        self._key = f"evac.canary.{secrets.token_hex(4)}"
        self._count = 0
        self._owed = 0

    async def ask(self) -> str:
        self._count += 1
        commands: list[tuple[str, ...]] = [("GET", self._key)]
        if self._write:
            commands.insert(0, ("SET", self._key, str(self._count), "EX", str(_KEY_LIFE_S)))
        self._owed = len(commands)
        try:
            await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        except (ValkeyError, OSError) as error:
            raise Broken("connection closed by the other end") from error
        answers = [await self._reply() for _ in commands]
        return self._judged(answers)

    async def settle(self) -> None:
        while self._owed:
            await self._reply()

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def _reply(self) -> object:
        try:
            answer = await self._connection.read_response(disconnect_on_error=False)
        except ConnectionFailed as error:
            raise _lost(error) from error
        except ResponseError as error:
            answer = error
        except (ValkeyError, ValueError, IndexError) as error:  # what the client's parser raises of anything else
            raise Broken(f"not Valkey: {error}", answered=True) from error
        self._owed -= 1
        return answer

    def _judged(self, answers: list[object]) -> str:
        *written, read = answers
        for answer in written:
            if isinstance(answer, ResponseError) and not isinstance(answer, ReadOnlyError):
                return str(answer)
        if isinstance(read, ResponseError):
            return str(read)
        if written == [b"OK"] and read != str(self._count).encode():
            return "it does not hold what was just written to it"
        return ""


def _lost(error: ValkeyError) -> Exception:
    """What is behind a failed connection: what the server said, or what failed beneath."""
    if isinstance(error, (BusyLoadingError, AuthenticationError)) or _TOO_MANY in str(error):
        return Broken(str(error), answered=True)
    if isinstance(error.__context__, OSError):
        return error.__context__
    return EOFError() if _HUNG_UP in str(error) else Broken(str(error))


async def _connect(settings: ValkeySettings, host: str, port: int) -> ValkeyLine:
    password = settings.password.read() if settings.password else None
    shape: dict[str, Any] = {"socket_timeout": None, "lib_name": None, "lib_version": None}
    kind = Connection
    if settings.tls:
        kind = SSLConnection
        shape |= {"ssl_ca_certs": str(settings.ca) if settings.ca else None}
    connection = kind(host=host, port=port, username=settings.username, password=password, **shape)
    line = ValkeyLine(connection, write=settings.write)
    try:
        await connection.connect()
    except AuthenticationError as error:
        raise Broken(f"the password is refused: {error}", answered=True) from error
    except ValkeyError as error:
        raise _lost(error) from error
    except BaseException:
        await line.close()
        raise
    return line


def _opener(settings: ValkeySettings) -> OpenLine:
    async def open_line(host: str, port: int) -> Line:
        return await _connect(settings, host, port)

    return open_line


class ValkeyKind:
    """The kind `valkey`."""

    name = "valkey"
    settings = ValkeySettings

    async def open(self, probe: Probe, place: Place) -> Prober:
        settings = probe.settings
        assert isinstance(settings, ValkeySettings)
        return Asker(
            place=place, host=settings.host, port=settings.port, open_line=_opener(settings), fresh=probe.as_client
        )
