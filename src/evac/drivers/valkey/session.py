"""A connection to one server, and what the server says of itself.

Errors: what could not be asked is `Unavailable`; a change whose answer was lost is `Indeterminate`; what the server
refuses is `Rejected`. A change that took effect and could not be written to the configuration file is `Indeterminate`
as well: a restart would take it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from valkey.asyncio import Valkey
from valkey.exceptions import (
    AuthenticationError,
    BusyLoadingError,
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
_BEGIN, _END = ("MULTI",), ("EXEC",)


@contextmanager
def begun() -> Iterator[None]:
    """From here on the server has been told: what fails now may have happened."""
    try:
        yield
    except (Rejected, Unavailable) as error:
        raise Indeterminate(str(error)) from error


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
        self._has_acl_file: bool | None = None
        """As the last look saw it."""

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
        return self._looked(await self._run(_LOOKING, changing=False))

    async def ask(self, *command: str | int) -> Any:
        """Run one command that changes nothing."""
        return (await self._run((command,), changing=False))[0]

    async def change(self, command: tuple[str | int, ...]) -> None:
        """Run one command that changes something."""
        await self._run((command,), changing=True)

    async def keep(self, notes: Notes, *commands: tuple[str | int, ...]) -> Look:
        """Note, run commands and write all of it to the configuration file, as one transaction, and look.

        A transaction is discarded whole where one command is denied, or the server is loading its data; what fails as
        it is carried out does not take back the others. So it is seen beforehand that the file can be written.

        Raises `Rejected` and `Unavailable` when nothing was changed, `Indeterminate` when something may have been.
        """
        try:
            await self._write()
        except Rejected as refusal:
            raise Rejected(f"{refusal}; nothing was changed") from refusal
        noted = ("ACL", "SETUSER", USER, "reset", *rules(notes))
        changes = (noted, *commands, *self._writing)
        answers = await self._ask((_BEGIN, *changes, _END, *_LOOKING), changing=True)
        look = len(changes) + 2
        results = answers[look - 1]
        if not isinstance(results, list):
            self._discarded(changes, answers[:look])
        for command, result in zip(changes, results, strict=True):
            if isinstance(result, Exception):
                raise Indeterminate(
                    f"{self._denies(command, result)}, though other commands of the same order took effect:"
                    " a restart may take them back; make room, or correct what it says, then look again"
                )
        with begun():
            return self._looked(self._all_well(_LOOKING, answers[look:]))

    async def written(self) -> None:
        """Have what the server was told before written down. Raises `Indeterminate` where a restart may forget it."""
        try:
            await self._write()
        except (Rejected, Unavailable) as error:
            raise Indeterminate(f"{error}; a restart may take back what it was told before") from error

    async def _write(self) -> None:
        """Write down the configuration that is in force. Raises `Rejected` where that fails."""
        if self._has_acl_file is None:
            await self.look()
        commands = (_BEGIN, *self._writing, _END)
        answers = await self._ask(commands, changing=False)
        if isinstance(answers[-1], list):
            answers[1:-1] = answers[-1]
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Exception):
                raise Rejected(f"{self._denies(command, answer)}: make room, or give it the right to write")

    @property
    def _writing(self) -> tuple[tuple[str, ...], ...]:
        """Where there is a file for users, the notes, which are one, are in that."""
        return (("CONFIG", "REWRITE"), ("ACL", "SAVE")) if self._has_acl_file else (("CONFIG", "REWRITE"),)

    def _discarded(self, changes: tuple[tuple[str | int, ...], ...], answers: Sequence[Any]) -> NoReturn:
        """Say why a transaction was not carried out. Without its begin the commands were run one by one."""
        refused = [
            pair for pair in zip((_BEGIN, *changes, _END), answers, strict=True) if isinstance(pair[1], Exception)
        ]
        why = self._denies(*refused[0])
        if isinstance(answers[0], Exception):
            raise Indeterminate(f"{why}, so its commands were run one by one; look again")
        raise Rejected(f"{why}; nothing was changed")

    def _looked(self, answers: Sequence[Any]) -> Look:
        self._has_acl_file = bool(answers[_CONFIGURED].get("aclfile"))
        return _look(answers)

    async def _run(self, commands: tuple[tuple[str | int, ...], ...], *, changing: bool) -> list[Any]:
        return self._all_well(commands, await self._ask(commands, changing=changing))

    def _all_well(self, commands: tuple[tuple[str | int, ...], ...], answers: list[Any]) -> list[Any]:
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Exception):
                raise Rejected(self._denies(command, answer)) from answer
        return answers

    def _denies(self, command: tuple[str | int, ...], error: Exception) -> str:
        return f"{self.where} refuses {' '.join(str(word) for word in command[:2])}: {error}"

    async def _ask(self, commands: tuple[tuple[str | int, ...], ...], *, changing: bool) -> list[Any]:
        """Send commands in one message; an answer that is a refusal is returned as one."""
        client = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_MAX_S), client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
                return answers
        except AuthenticationError as error:
            raise Rejected(f"{self.where}: {error}; correct `username` and `password`") from error
        except BusyLoadingError as error:
            raise Unavailable(f"{self.where} is still loading its data") from error
        except (ValkeyError, OSError) as error:
            kind = Indeterminate if changing else Unavailable
            raise kind(f"{self.where}: {_short(error)}") from error

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


def nobody_listens(silence: Unavailable) -> bool:
    """Whether what was not answered was refused, or cut off: a process that is frozen does neither."""
    why = silence.__cause__
    return isinstance(why, ConnectionFailed | ConnectionError) and not isinstance(why, BusyLoadingError)


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
