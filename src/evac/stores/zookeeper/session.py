"""An ensemble as a client sees it: one server is asked, and another when that one does not answer.

Intuition: kazoo speaks the protocol, in threads of its own; which server is asked and for how long is decided here. So
each of kazoo's clients gets one server and one connection, and whatever goes wrong with that one ends it. Left to
itself, kazoo
- does not notice that a server is frozen as long as new questions are sent to it (what is sent counts as a ping);
- is turned away for ever by an ensemble that was restored from a backup, since it has seen what that has not;
- says why it cannot connect to its log only, and writes passwords into that at the level DEBUG;
- lets watches go with their connection.

No session matters to evac: nothing it keeps ends with one. What was asked and got no answer may have happened; it is
asked again only because all that is asked here may be (`ground`).

What this is not: a judge of what answers mean.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from evac.core.errors import StoreUnavailable
from evac.stores.logged.patience import Patience
from evac.stores.trust import read_secret, say_refusal, trusting
from evac.stores.zookeeper.address import ZookeeperAddress

SLOWEST_BYTES_PER_S = 512 * 1024
"""How slowly a question may be sent before its server counts as silent."""
TICK_MAX_S = 4.0
"""The shortest session that a server with ZooKeeper's own default settings grants (two ticks of two seconds)."""
WORDS_MAX = 300
"""So much of what kazoo says is told."""
_FAILED = "Failed connecting"
"""How the line begins by which kazoo tells its log that it has given up."""

Ask = Callable[[Any], Sequence[Any]]
"""Asks a client of kazoo's, without waiting, and returns kazoo's results to come."""


class Session:
    """Asks an ensemble. Closed by its owner."""

    def __init__(self, address: ZookeeperAddress, *, patience: Patience, chance: random.Random) -> None:
        """Raises `StoreUnavailable` when a certificate cannot be read, or kazoo is not installed."""
        self.address = address
        self.patience = patience
        self._kazoo = _kazoo()
        self.errors = self._kazoo.exceptions
        self._chance = chance
        if address.tls:
            trusting(address.tls)  # kazoo would try a file that is not there again and again
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._current = 0
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._parting: set[threading.Thread] = set()
        self._turning_back: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def current(self) -> str:
        """The server that is asked first."""
        return self.address.endpoints[self._current]

    async def ask(self, asking: Ask, *, size: int = 0) -> list[Any]:
        """Return what each question was answered: a value, or ZooKeeper's error if that is not about the connection.

        Raises `StoreUnavailable` when no server answers in time; all of it may have happened, several times.
        """
        loop = asyncio.get_running_loop()
        sending = size / SLOWEST_BYTES_PER_S
        why = ""
        try:
            async with asyncio.timeout_at(loop.time() + self.patience.whole.total_seconds() + sending):
                while True:
                    if self._closed:
                        raise StoreUnavailable("the store is closed")
                    answers = await self._ask_current(asking, sending)
                    if not isinstance(answers, str):
                        return answers
                    why = answers
                    await asyncio.sleep(self.patience.pause(self._chance) if self._current == 0 else 0)
        except TimeoutError:
            whole = self.patience.whole.total_seconds()
            raise StoreUnavailable(
                f"{self.address} did not answer in {whole:g} s ({why or 'not a word'});"
                " look whether a majority of its servers runs and can be reached from here"
            ) from None

    async def _ask_current(self, asking: Ask, sending: float) -> list[Any] | str:
        """Return the current server's answers, or why it gave none; then the next one is the current one."""
        connection, current, began = None, self._current, self._loop.time()
        try:
            async with asyncio.timeout(self.patience.attempt.total_seconds() + sending):
                connection = await self._connected()
                return await connection.ask(asking)
        except TimeoutError:
            why = "is silent"
        except Lost as lost:
            why = str(lost)
        except asyncio.CancelledError:
            if self._loop.time() - began >= self.patience.suspicion.total_seconds() + sending:
                self._leave(connection, current)
            raise
        self._leave(connection, current)
        return f"{self.address.endpoints[current]} {why}"

    async def hear(self, asking: Callable[[Any, Callable[[object], None]], Any]) -> None:
        """Ask one question with a watch; return if its answer is not None, or once the watch tells, or after a while.

        Only one at a time may wait so. Raises `StoreUnavailable` when the server fails meanwhile.
        """
        self._told.clear()
        [answer] = await self.ask(lambda client: [asking(client, self._tell)])
        connection = self._connection
        if answer is not None or connection is None:
            return
        connection.ended.add(self._told)
        try:
            async with asyncio.timeout(self.patience.look.total_seconds()):
                await self._told.wait()
        except TimeoutError:
            return
        finally:
            connection.ended.discard(self._told)
        if connection.why:
            raise StoreUnavailable(f"{self.address}: a connection {connection.why}")

    def _tell(self, _: object) -> None:
        """Be told by a watch, in a thread of kazoo's. It is the same for all, so that kazoo keeps it once."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._told.set)

    async def _connected(self) -> Connection:
        """Return the connection to the current server, made if there is none. Raises `Lost`, `StoreUnavailable`."""
        async with self._connecting:
            if self._connection is not None and self._connection.why:
                self._part(self._connection)
                self._connection = None
            if self._connection is None:
                made = await self._connect(self.address.endpoints[self._current])
                if self._closed:
                    self._part(made)
                    raise Lost("the store is closed")
                self._connection = made
                self._turn_back_later()
            return self._connection

    async def _connect(self, endpoint: str) -> Connection:
        password = await asyncio.to_thread(self._password) if self.address.user is not None else ""
        connection = Connection(self._kazoo, self.address, endpoint, password=password, patience=self.patience)
        try:
            await connection.made()
        except BaseException:
            self._part(connection)
            raise
        return connection

    def _password(self) -> str:
        return read_secret(self.address.password_file, where=self.address, what="password")

    def _leave(self, connection: Connection | None, current: int) -> None:
        """Let the next server be the current one, unless another has left it already."""
        if connection is not self._connection or current != self._current:
            return
        if self._connection is not None:
            self._part(self._connection)
        self._connection = None
        self._current = (self._current + 1) % len(self.address.endpoints)

    def _part(self, connection: Connection) -> None:
        """End a connection, in a thread: with a server that is silent it takes as long as kazoo's patience."""
        connection.end("it was left")
        thread = threading.Thread(target=connection.close, name="evac-zookeeper-part", daemon=True)
        self._parting = {each for each in self._parting if each.is_alive()} | {thread}
        thread.start()

    def _turn_back_later(self) -> None:
        if self._current and (self._turning_back is None or self._turning_back.done()):
            self._turning_back = asyncio.create_task(self._turn_back(), name="nearest ZooKeeper sought")

    async def _turn_back(self) -> None:
        """Go back to the server named first, as soon as it serves again."""
        while self._current:
            await asyncio.sleep(self.patience.back.total_seconds() * self._chance.uniform(0.8, 1.2))
            with suppress(Lost, TimeoutError, StoreUnavailable):
                async with asyncio.timeout(self.patience.attempt.total_seconds()):
                    nearest = await self._connect(self.address.endpoints[0])
                left, self._connection, self._current = self._connection, nearest, 0
                if left is not None:
                    self._part(left)

    async def answering(self) -> int:
        """Return how many servers answer."""

        async def answers(endpoint: str) -> bool:
            with suppress(Lost, TimeoutError):
                async with asyncio.timeout(self.patience.attempt.total_seconds()):
                    self._part(await self._connect(endpoint))
                    return True
            return False

        return sum(await asyncio.gather(*[answers(endpoint) for endpoint in self.address.endpoints]))

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._turning_back is not None:
            self._turning_back.cancel()
            await asyncio.gather(self._turning_back, return_exceptions=True)
        if self._connection is not None:
            self._part(self._connection)
        for thread in self._parting:
            await asyncio.to_thread(thread.join, 2 * TICK_MAX_S)


class Lost(Exception):
    """The connection ended, or was not made: what was asked may have happened."""


class Connection:
    """One connection to one server: a client of kazoo's that is thrown away when it fails."""

    def __init__(
        self, kazoo: Any, address: ZookeeperAddress, endpoint: str, *, password: str, patience: Patience
    ) -> None:
        self.why = ""
        """Why it has ended; empty while it lives."""
        self.ended: set[asyncio.Event] = set()
        """Whoever is to be told when it ends."""
        self._kazoo = kazoo
        self._loop = asyncio.get_running_loop()
        self._live = asyncio.Event()
        self._last = "is silent"
        tls, who = address.tls, f"{address.user}:{password}"
        signed_in = address.user is not None
        security = kazoo.security
        self._client = kazoo.client.KazooClient(
            hosts=endpoint,
            timeout=max(TICK_MAX_S, 2 * patience.attempt.total_seconds()),
            auth_data=[("digest", who)] if signed_in else None,
            default_acl=[security.make_digest_acl(address.user, password, all=True)] if signed_in else None,
            connection_retry=kazoo.retry.KazooRetry(max_tries=1),
            randomize_hosts=False,
            logger=_Ear(self._hear),
            use_ssl=tls is not None,
            ca=str(tls.ca) if tls and tls.ca else None,
            certfile=str(tls.certificate) if tls and tls.certificate else None,
            keyfile=str(tls.key) if tls and tls.key else None,
            verify_certs=True,
            check_hostname=tls is not None,
        )
        self._client.add_listener(self._turn)

    async def made(self) -> None:
        """Return when it serves. Raises `Lost`, saying why it will not."""
        self.ended.add(self._live)
        self._client.start_async()
        await self._live.wait()
        self.ended.discard(self._live)
        if self.why:
            raise Lost(self.why)

    async def ask(self, asking: Ask) -> list[Any]:
        """Return the answers to all that is asked. Raises `Lost`."""
        futures = [self._coming(result) for result in asking(self._client)]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        errors = self._kazoo.exceptions
        lost = (errors.ConnectionLoss, errors.SessionExpiredError, errors.ConnectionClosedError)
        for answer in answers:
            if isinstance(answer, (*lost, errors.OperationTimeoutError)):
                raise Lost(f"was lost: {type(answer).__name__}")
        return answers

    def _coming(self, result: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle() -> None:
            if future.done():
                return
            if result.successful():
                future.set_result(result.value)
            else:
                future.set_exception(result.exception)

        result.rawlink(lambda _: self._soon(settle))
        return future

    def _soon(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(what)

    def _turn(self, state: str) -> None:
        """Hear, in a thread of kazoo's, that the connection was made or lost."""
        if state == self._kazoo.client.KazooState.CONNECTED:
            self._soon(self._live.set)
        else:
            self._soon(lambda: self.end(self._last))

    def _hear(self, text: str) -> None:
        """Hear, in a thread of kazoo's, what it would tell its log."""
        if text.startswith(_FAILED):
            self._soon(lambda: self.end(self._last))
        else:
            what = text.removeprefix("Connection dropped: ").removeprefix("socket connection error: ")
            self._last = say_refusal(what[:WORDS_MAX])

    def end(self, why: str) -> None:
        """Take note that it has ended."""
        self.why = self.why or why
        for event in tuple(self.ended):
            event.set()

    def close(self) -> None:
        """End it, in a thread."""
        with suppress(Exception):  # kazoo gives up in its own words; what it still holds it lets go by itself
            self._client.stop()
            self._client.close()


class _Ear(logging.Logger):
    """Where kazoo writes its log: warnings are why a connection failed, and all else is dropped, secrets among it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__("evac.zookeeper", logging.WARNING)
        self._tell = tell

    def handle(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


def _kazoo() -> Any:
    """Return kazoo with what is used of it. Raises `StoreUnavailable` when it is not installed."""
    try:
        import kazoo.client
        import kazoo.exceptions
        import kazoo.retry
        import kazoo.security
    except ImportError:
        raise StoreUnavailable("a store on ZooKeeper needs kazoo: pip install 'evac[zookeeper]'") from None
    return kazoo
