"""The place that is another host, reached over one ssh connection that is kept open.

Intuition: whoever is cut off from a region must notice it, and whoever acts in one must not pay for a handshake
first. So one connection stands, and on it one remote `cat`: a line written to it that comes back is a round trip
through the whole chain (network, sshd, a process of that host), which is what `ping` means. Commands and forwarded
connections are further channels of the same connection, one round trip each.

`keep` is the only place that connects: it connects, reads what `cat` echoes, and when that ends begins anew after a
jittered, bounded wait. Everybody else uses the connection that is there, waits for the attempt that is under way, or
is told at once that there is none. A connection that nothing has come back on for `silence_max` is given up, because
after a cut TCP itself may stay silent for minutes longer than the cut.

What this is not: a shell (arguments are quoted), or a file transfer.

Traps: a server ends a command's channel only when all that hold its output have closed it; start daemons with their
output elsewhere. OpenSSH passes no signal on in a session of root's: there a command that was given up is killed by the
remote `timeout`, a second after its time limit, and holds its session until then.
"""

from __future__ import annotations

import asyncio
import random
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import asyncssh
from pydantic import Field

from evac.core.errors import Indeterminate, Unavailable
from evac.drivers.settings import Duration, EstatePath, Settings
from evac.places.forwarding import forward_through
from evac.ports import Completed

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
"""In the order of what they cost here: one call a packet for AES-GCM, six for ChaCha20. All are OpenSSH's defaults."""
SESSIONS_MAX = 8
"""Commands at one time; OpenSSH allows ten sessions a connection as shipped, and the echo is one."""
SESSION_RETRY_S = 0.1
"""How long to wait at most before a server that has no session free is asked again."""
KEEPALIVES_MAX = 4
"""How many unanswered keepalives make the silence that ends a connection."""


class SshSettings(Settings):
    """How a region's host is reached. One key, one known host; no agent, no user's ssh configuration."""

    host: str
    """Name or address of the host evac acts from in this region."""
    port: int = Field(default=22, ge=1, le=65535)
    """Port of its ssh server."""
    user: str
    """User that runs the commands there."""
    key: EstatePath | None = None
    """Private key file without a passphrase. Default: the keys of the user that runs evac, in `~/.ssh`."""
    known_hosts: EstatePath | None = None
    """File with the host's public key. Default: `~/.ssh/known_hosts`. An unknown host is never accepted."""
    connect_timeout: Duration = timedelta(seconds=5)
    """Longest time for one attempt to connect and log in."""
    silence_max: Duration = timedelta(seconds=5)
    """A connection on which nothing comes back for so long is given up and made anew."""
    retry_min: Duration = timedelta(milliseconds=250)
    """Shortest wait before connecting again; doubled, with jitter, after every failure."""
    retry_max: Duration = timedelta(seconds=5)
    """Longest wait before connecting again."""

    def by_hand(self) -> str:
        """Return the command by which a person tries the same, with the same key and known host."""
        key = ["-i", str(self.key)] if self.key else []
        known = ["-o", f"UserKnownHostsFile={self.known_hosts}"] if self.known_hosts else []
        return shlex.join(["ssh", "-p", str(self.port), *key, *known, f"{self.user}@{self.host}", "true"])


@dataclass(slots=True)
class _Line:
    """A connection that stands, the how many-th it is, its echo, and who waits for which echoed number."""

    number: int
    connection: asyncssh.SSHClientConnection
    echo: asyncssh.SSHClientProcess[str]
    waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    asked: int = 0


@asynccontextmanager
async def ssh_place(settings: SshSettings) -> AsyncIterator[SshPlace]:
    """Give a place whose connection is kept for as long as the context lives.

    Does not wait for the first connection and does not raise when there is none: the place's methods do.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        place = SshPlace(settings, group)
        keeper = group.create_task(place.keep(), name=f"ssh {settings.host}")
        try:
            yield place
        except Exception as error:  # what the body raised leaves as it is, not inside the task group's exception group
            failure = error
        finally:
            await place.close()
            keeper.cancel()
    if failure is not None:
        raise failure


class SshPlace:
    """Acts and looks from a host behind ssh (`ports.Place`). Made by `ssh_place`, which owns its tasks."""

    def __init__(self, settings: SshSettings, group: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._group = group
        self._line: _Line | None = None
        self._connected = 0
        self._trouble = ""
        """Why there is no connection; empty while the attempt that will tell is under way."""
        self._settled = asyncio.Event()
        """Set when there is a connection or a reason why there is none."""
        self._sessions = asyncio.Semaphore(SESSIONS_MAX)
        self._closed = False
        self._name = f"{settings.user}@{settings.host}:{settings.port}"

    async def keep(self) -> None:
        """Connect, stay until the connection ends, and begin anew, until closed."""
        try:
            await self._keep()
        finally:
            self._closed = True
            self._settled.set()

    async def _keep(self) -> None:
        wait = self._settings.retry_min
        while not self._closed:
            self._trouble = ""
            try:
                async with asyncio.timeout(self._settings.connect_timeout.total_seconds()):
                    line = await self._connect()
            except (asyncssh.Error, OSError) as error:
                self._trouble = _say(error)
                self._settled.set()
                await asyncio.sleep(wait.total_seconds() * (0.5 + random.random() / 2))
                self._settled.clear()
                wait = min(2 * wait, self._settings.retry_max)
                continue
            wait = self._settings.retry_min
            await self._stay(line)

    async def ping(self) -> int:
        """Return when the remote `cat` has sent a new line back. The caller sets the time limit."""
        line = await self._standing()
        line.asked += 1
        number = line.asked
        answer = line.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            line.echo.stdin.write(f"{number}\n")
            await answer
        except OSError as error:
            raise self._lost(error) from error
        finally:
            line.waiting.pop(number, None)
        return line.number

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: timedelta) -> Completed:
        """Run a command there and wait until it has ended and its output is closed.

        When the time runs out or the caller is cancelled the command is killed; when that order cannot arrive, the
        remote `timeout` kills it a second after the time limit, so that no command acts late. A program that is not
        there ends with 127, one that may not be run with 126.
        """
        limit = timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                await self._sessions.acquire()
                try:
                    line = await self._standing()
                except BaseException:
                    self._sessions.release()
                    raise
        except TimeoutError:
            raise Unavailable(f"no free session on {self._name} within {limit:g} s; {argv[0]} was not run") from None
        try:
            return await self._run(line, argv, stdin, limit)
        finally:
            self._sessions.release()

    def forward(self, host: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """Give a port on 127.0.0.1 whose connections go on to `host:port` from there.

        The port stays the same when the ssh connection is made anew; while there is none, connections to it are
        closed.
        """
        return forward_through(self._connection, host, port, group=self._group)

    async def close(self) -> None:
        """Close the connection; running commands are `Indeterminate` for those who wait for them."""
        self._closed = True
        if self._line is not None:
            self._line.connection.abort()

    async def _connect(self) -> _Line:
        at = self._settings
        connection = await asyncssh.connect(
            at.host,
            at.port,
            username=at.user,
            client_keys=[str(at.key)] if at.key else (),
            known_hosts=str(at.known_hosts) if at.known_hosts else (),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            encryption_algs=CIPHERS,
            keepalive_interval=at.silence_max.total_seconds() / (KEEPALIVES_MAX + 1),
            keepalive_count_max=KEEPALIVES_MAX,
        )
        try:
            echo = await connection.create_process("exec cat")
        except BaseException:
            connection.abort()
            raise
        self._connected += 1
        return _Line(number=self._connected, connection=connection, echo=echo)

    async def _stay(self, line: _Line) -> None:
        """Read echoes until there are no more; then whoever waits is told."""
        self._line = line
        self._settled.set()
        try:
            async for text in line.echo.stdout:
                if not text.strip().isdigit():
                    continue  # a login script that prints
                waiter = line.waiting.get(int(text))
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
        except (asyncssh.Error, OSError) as error:
            self._trouble = _say(error)
        finally:
            self._line = None
            self._settled.clear()
            line.connection.abort()
            for waiter in line.waiting.values():
                if not waiter.done():
                    waiter.set_exception(self._lost(ConnectionResetError("the connection ended")))

    async def _standing(self) -> _Line:
        """Return the connection, after the attempt that may be under way. Raises `Unavailable` if there is none."""
        if self._closed:
            raise Unavailable(f"the place {self._name} was closed; evac is ending")
        await self._settled.wait()
        if self._line is None:
            why = self._trouble or "the connection ended"
            raise Unavailable(f"{self._name} cannot be reached: {why}; by hand: {self._settings.by_hand()}")
        return self._line

    async def _connection(self) -> asyncssh.SSHClientConnection:
        return (await self._standing()).connection

    async def _run(self, line: _Line, argv: Sequence[str], stdin: bytes, limit: float) -> Completed:
        command = f"exec timeout -s KILL {limit + 1:g} {shlex.join(argv)}"
        process: asyncssh.SSHClientProcess[bytes] | None = None
        try:
            async with asyncio.timeout(limit):
                process = await self._opened(line, command, within=limit / 2)
                with suppress(BrokenPipeError):  # it has ended already, without its input
                    process.stdin.write(stdin)
                process.stdin.write_eof()
                ended = await process.wait(check=False)
        except asyncssh.ChannelOpenError as error:
            raise Unavailable(
                f"{self._name} opened no session: {_say(error)}; {argv[0]} was not run; "
                f"MaxSessions of its ssh server should be {SESSIONS_MAX + 2} or more"
            ) from error
        except TimeoutError:
            raise Indeterminate(
                f"{argv[0]} on {self._name} had not ended after {limit:g} s and was told to die"
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise Indeterminate(f"{self._name} was lost while {argv[0]} ran: {_say(error)}") from error
        finally:
            _end(process)
        if ended.returncode is None:
            raise Indeterminate(f"{self._name} was lost while {argv[0]} ran: its end was not told")
        return Completed(code=ended.returncode, out=_bytes(ended.stdout), err=_bytes(ended.stderr))

    async def _opened(self, line: _Line, command: str, *, within: float) -> asyncssh.SSHClientProcess[bytes]:
        """Start a command, asking again while the server has no session free: a command that is done gives one back.

        Raises its refusal when it has asked for `within` seconds, or the connection is gone. That is only a part of the
        command's time, so that the answer to the last try is still waited for: without it nobody knows whether it runs.
        """
        clock = asyncio.get_running_loop().time
        last = clock() + within
        while True:
            try:
                return await line.connection.create_process(command, encoding=None)
            except asyncssh.ChannelOpenError:
                pause = SESSION_RETRY_S * (0.5 + random.random() / 2)
                if line is not self._line or clock() + pause > last:
                    raise
                await asyncio.sleep(pause)

    def _lost(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self._name} was lost: {_say(error)}; evac connects again by itself")


def _end(process: asyncssh.SSHClientProcess[bytes] | None) -> None:
    """Kill a command that still runs and give its channel back."""
    if process is None:
        return
    if process.exit_status is None:
        with suppress(asyncssh.Error, OSError):
            process.kill()
    process.close()


def _bytes(printed: object) -> bytes:
    assert isinstance(printed, bytes), "the process was opened without an encoding"
    return printed


def _say(error: BaseException) -> str:
    """Return an error's reason in a few words; for a file that it is about, which one."""
    if isinstance(error, asyncssh.Error):
        return error.reason
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
