"""A connection to one server, and what the server says of itself.

Errors: what could not be asked is `Unavailable`; a change whose answer was lost is `Indeterminate`; what the server
refuses is `Rejected`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from valkey.asyncio import Valkey
from valkey.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ResponseError,
    ValkeyError,
)
from valkey.exceptions import ConnectionError as ConnectionFailed
from valkey.exceptions import TimeoutError as TimedOut

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.drivers.valkey.notes import USER, Notes, parsed, rules
from evac.drivers.valkey.settings import ValkeySettings
from evac.ports import Place

ANSWER_MAX_S = 2.0
"""How long a server may take to answer."""
NOWHERE = ("127.0.0.1", 1)
"""The address a refusing replica follows: nobody listens there."""
GUARD = 1_000_000
"""So many replicas nobody has: as `min-replicas-to-write` it refuses every write."""


_LOOKING: tuple[tuple[str, ...], ...] = (
    ("INFO", "replication"),
    ("INFO", "server"),
    ("CONFIG GET", "min-replicas-to-write", "min-replicas-max-lag", "repl-ping-replica-period", "aclfile"),
    ("ACL GETUSER", USER),
)
_CONFIGURED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica as its primary sees it."""

    address: tuple[str, int]
    online: bool
    offset: int
    lag_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a server says of itself. Offsets count bytes of the replication stream."""

    is_replica: bool
    offset: int
    replid: str
    replid2: str
    divergence: int
    """For a promoted replica: up to where its stream is the old one's (`second_repl_offset` - 1)."""
    primary: tuple[str, int] | None
    link_up: bool
    silence_s: int | None
    syncing: bool
    replicas: tuple[Replica, ...]
    good_replicas: int
    min_replicas: int
    lag_max_s: int
    ping_s: int
    notes: Notes
    durable: bool
    """Whether it has a configuration file, so that what is changed survives a restart."""

    @property
    def detached(self) -> bool:
        """A replica that follows nobody."""
        return self.is_replica and self.primary == NOWHERE

    @property
    def guarded(self) -> bool:
        """A primary that refuses every write."""
        return not self.is_replica and self.min_replicas >= GUARD and self.lag_max_s > 0

    @property
    def writable(self) -> bool:
        """A primary that has the replicas it asks for."""
        asks = self.min_replicas if self.lag_max_s else 0
        return not self.is_replica and self.good_replicas >= asks


class Session:
    """One server, reached from a place; the connection is kept open and opened again when it broke."""

    def __init__(self, *, place: Place, settings: ValkeySettings) -> None:
        self._place = place
        self._settings = settings
        self._around = AsyncExitStack()
        self._client: Valkey | None = None

    @property
    def where(self) -> str:
        return f"Valkey at {self._settings.host}:{self._settings.port}"

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._client = None
        around, self._around = self._around, AsyncExitStack()
        await around.aclose()

    async def look(self) -> Look:
        """Ask for everything at once."""
        return _look(await self._run(_LOOKING, changing=False))

    async def ask(self, *command: str | int) -> Any:
        """Run one command that changes nothing."""
        return (await self._run((command,), changing=False))[0]

    async def change(self, *commands: tuple[str | int, ...]) -> None:
        """Run commands that change something, in one message, in order."""
        await self._run(commands, changing=True)

    async def keep(self, notes: Notes, *commands: tuple[str | int, ...]) -> Look:
        """Note, run commands, write all of it to the configuration file, and look, in one message.

        Raises `Rejected` if it has no configuration file.
        """
        noted = ("ACL", "SETUSER", USER, "reset", *rules(notes))
        changes = (noted, *commands, ("CONFIG", "REWRITE"))
        answers = (await self._run((*changes, *_LOOKING), changing=True))[len(changes) :]
        if answers[_CONFIGURED].get("aclfile"):
            await self.change(("ACL", "SAVE"))
        return _look(answers)

    async def _run(self, commands: tuple[tuple[str | int, ...], ...], *, changing: bool) -> list[Any]:
        client = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_MAX_S), client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
        except AuthenticationError as error:
            raise Rejected(f"{self.where}: {error}; correct `username` and `password`") from error
        except BusyLoadingError as error:
            raise Unavailable(f"{self.where} is still loading its data") from error
        except (ConnectionFailed, TimedOut, OSError) as error:
            kind = Indeterminate if changing else Unavailable
            raise kind(f"{self.where}: {_short(error)}") from error
        except ValkeyError as error:
            raise Rejected(f"{self.where}: {error}") from error
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, BusyLoadingError):
                raise Unavailable(f"{self.where} is still loading its data")
            if isinstance(answer, Exception):
                await self._refused(command, answer)
        return answers

    async def _refused(self, command: tuple[str | int, ...], error: Exception) -> None:
        if not isinstance(error, ResponseError):
            raise Indeterminate(f"{self.where}: {error}") from error
        name = " ".join(str(word) for word in command[:2])
        raise Rejected(f"{self.where} refuses {name}: {error}") from error

    async def _connected(self) -> Valkey:
        if self._client is not None:
            return self._client
        settings = self._settings
        async with AsyncExitStack() as around:
            host, port = await around.enter_async_context(self._place.forward(settings.host, settings.port))
            client: Valkey = Valkey(
                host=host,
                port=port,
                username=settings.username,
                password=settings.password.read() if settings.password else None,
                decode_responses=True,
                # no socket_timeout: with it the client sends under asyncio.wait_for, which in Python 3.11 may swallow
                # the cancellation of whoever waits (seen: a step that went on after its time limit)
                socket_timeout=None,
                socket_connect_timeout=None,
                max_connections=4,
            )
            around.push_async_callback(client.aclose)
            self._around = around.pop_all()
        self._client = client
        return client


def _short(error: Exception) -> str:
    text = str(error)
    if isinstance(error, TimedOut | TimeoutError):
        return f"no answer within {ANSWER_MAX_S:g} s"
    return "connection refused; is it running?" if "refused" in text or "Connect call failed" in text else text


def _look(answers: Sequence[Any]) -> Look:
    """Put together what the questions of `_LOOKING` were answered."""
    said, server, configured, user = answers
    is_replica = said["role"] == "slave"
    down_s = int(said.get("master_link_down_since_seconds", -1))
    silence_s = int(said.get("master_last_io_seconds_ago", -1))
    replicas = [value for key, value in said.items() if key.startswith("slave") and isinstance(value, Mapping)]
    return Look(
        is_replica=is_replica,
        offset=int(said["slave_repl_offset" if is_replica else "master_repl_offset"]),
        replid=str(said["master_replid"]),
        replid2=str(said["master_replid2"]),
        divergence=int(said["second_repl_offset"]) - 1,
        primary=(str(said["master_host"]), int(said["master_port"])) if is_replica else None,
        link_up=said.get("master_link_status") == "up",
        silence_s=silence_s if silence_s >= 0 else down_s if down_s >= 0 else None,
        syncing=bool(int(said.get("master_sync_in_progress", 0))),
        replicas=tuple(
            Replica(
                address=(str(r["ip"]), int(r["port"])),
                online=r["state"] == "online",
                offset=int(r["offset"]),
                lag_s=int(r["lag"]),
            )
            for r in replicas
        ),
        good_replicas=int(said.get("min_slaves_good_slaves", said.get("connected_slaves", 0))),
        min_replicas=int(configured["min-replicas-to-write"]),
        lag_max_s=int(configured["min-replicas-max-lag"]),
        ping_s=int(configured["repl-ping-replica-period"]),
        notes=parsed(user),
        durable=bool(server.get("config_file")),
    )
