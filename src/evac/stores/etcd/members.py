"""The members of a cluster as a client sees them: one is asked, and another when that one does not answer.

Intuition: all members say the same, so it does not matter which is asked, only that it answers in time. One is the
current one. Whoever finds that it fails leaves it, for all; then all members are asked how they are, and the first that
knows a leader is the current one: perhaps the same, when what failed was the leader it passed the question on to. What
was sent and got no answer may have
happened, so the same words are sent again only because they are such that twice is once (`commits`).

A user's token is fetched when it is needed and fetched anew when a member no longer knows it; a member that was
restarted has forgotten all of them.

What this is not: a judge of what replies mean.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx

from evac.core.errors import StoreUnavailable
from evac.stores.etcd.address import EtcdAddress
from evac.stores.etcd.wire import AUTHENTICATE, STATUS, Json, Remedy, Trouble, trouble
from evac.stores.trust import FAILED, KEEPALIVE, read_secret, say_failure, trusting

CONNECTIONS_MAX = 256
PAUSE_MIN, PAUSE_MAX = timedelta(milliseconds=50), timedelta(milliseconds=250)
"""How long to wait when no member answered, before all are asked again: between the two, by chance."""
SLOWEST_BYTES_PER_S = 512 * 1024
"""How slowly a question may be sent before its member counts as silent."""
STRIKES_MAX = 2
"""How often in a row a member may fail until another one is asked, however well it says it is. What fails within
`Patience.attempt` of the first failure is one time: several questions wait for one answer, or for one election.
"""
TOKENS_MAX = 3
"""How often one question may ask for a new token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what is waited for. The defaults suit round trips up to 200 ms and elections of two seconds."""

    attempt: timedelta = timedelta(seconds=1)
    """How long one member may keep silent before another one is asked; longer for what takes long to send."""
    whole: timedelta = timedelta(seconds=6)
    """How long members are asked one after another; then the store counts as unavailable."""
    seek: timedelta = timedelta(milliseconds=500)
    """How long members are given to say how they are, when one is to be chosen."""
    suspicion: timedelta = timedelta(milliseconds=500)
    """How long a member must have kept silent to be left when whoever asks has lost patience itself."""
    pulse: timedelta = timedelta(seconds=1)
    """How often a stream carries a sign of life."""
    silence: timedelta = timedelta(seconds=3)
    """How long a stream may be silent before it is taken up at another member."""
    settled: timedelta = timedelta(seconds=10)
    """How long no change may come after a pulse until what was before it counts as all that was."""
    linger: timedelta = timedelta(seconds=30)
    """How long a stream that nobody reads is kept."""
    back_soon: timedelta = timedelta(milliseconds=250)
    """How soon the member named first is looked at, once another one is asked: it may only have had no leader."""
    back: timedelta = timedelta(seconds=10)
    """How seldom it is looked at in the end, each pause being twice the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a member replied, and how many sendings of the question had no answer before."""

    reply: Json
    unanswered: int


class Refused(StoreUnavailable):
    """The cluster will not do it until a person has mended something: nothing happened."""


class Members:
    """Asks a cluster. Closed by its owner."""

    def __init__(self, address: EtcdAddress, *, patience: Patience, chance: random.Random) -> None:
        """Raises `StoreUnavailable` when a certificate or key cannot be read."""
        self.address = address
        self.patience = patience
        self.chance = chance
        self._current = 0
        self._strikes = dict.fromkeys(address.endpoints, 0)
        """How often in a row each has failed."""
        self._struck_at = dict.fromkeys(address.endpoints, float("-inf"))
        """When each was counted to have failed last (loop time)."""
        self._seeking: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        """Questions that go on to their own end, whoever has stopped waiting: a connection that is given up while it is
        made may be left open.
        """
        self._told: list[Callable[[str], None]] = []
        self._token: str | None = None
        self._signing_in = asyncio.Lock()
        self._scheme = "https" if address.tls else "http"
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=trusting(address.tls) if address.tls else False,
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
                trust_env=False,
                socket_options=KEEPALIVE,
            ),
            timeout=None,  # every use has its own limit, over the whole of it
            trust_env=False,
        )

    @property
    def current(self) -> str:
        """The member that is asked first."""
        return self.address.endpoints[self._current]

    def leave(self, member: str) -> None:
        """Let the current member be chosen anew, if this is it: it has failed."""
        self._strike(member)
        if member == self.current:
            self._current = (self._current + 1) % len(self.address.endpoints)
            if self._seeking is None or self._seeking.done():
                self._seeking = asyncio.create_task(self._seek(), name="etcd member sought")
        for tell in tuple(self._told):
            tell(member)

    def _strike(self, member: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._struck_at[member] >= self.patience.attempt.total_seconds():
            self._strikes[member] += 1
            self._struck_at[member] = now

    async def chosen(self) -> str:
        """Return the current member, once one is chosen."""
        if self._seeking is not None and not self._seeking.done():
            await asyncio.wait([self._seeking])
        return self.current

    async def _seek(self) -> None:
        """Choose the member that first says it knows a leader, those last that failed too often; without a leader, the
        nearest that answers.
        """

        async def ask(member: str) -> tuple[str, bool] | None:
            status = await self.ask_member(member, STATUS, {})
            return None if status is None else (member, int(status.get("leader", 0)) != 0)

        answered: list[str] = []
        spare: list[str] = []
        asked = [asyncio.create_task(ask(member)) for member in self.address.endpoints]
        try:
            for each in asyncio.as_completed(asked, timeout=self.patience.seek.total_seconds()):
                if (said := await each) is None:
                    continue
                member, led = said
                if led and self._strikes[member] < STRIKES_MAX:
                    return self.prefer(member)
                (spare if led else answered).append(member)
        except TimeoutError:
            pass  # those that have not answered are not asked
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        for found in (spare, answered):
            if found:
                return self.prefer(min(found, key=lambda m: (self._strikes[m], self.address.endpoints.index(m))))
        return None

    @contextmanager
    def telling(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Call `tell` with each member that is left, for as long as the context lives."""
        self._told.append(tell)
        try:
            yield
        finally:
            self._told.remove(tell)

    async def ask(self, path: str, body: Json) -> Answer:
        """Return the answer of whichever member gives one. What is asked may be asked several times.

        Raises `StoreUnavailable` when none does in time, `Refused` when what was answered is for a person to mend, and
        `Trouble` when what was asked for is compacted away.
        """
        content = json.dumps(body).encode()
        end = asyncio.get_running_loop().time() + self.patience.whole.total_seconds() + _sending(content)
        unanswered, why = 0, ""
        try:
            async with asyncio.timeout_at(end):
                while True:
                    if self._client.is_closed:
                        raise StoreUnavailable("the store is closed")
                    answer = await self._ask_current(path, content)
                    if not isinstance(answer, str):
                        return Answer(reply=answer, unanswered=unanswered)
                    unanswered, why = unanswered + 1, answer
                    if unanswered % len(self.address.endpoints) == 0:
                        await asyncio.sleep(self.pause())
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.address} did not answer in {self.patience.whole.total_seconds():g} s"
                f" ({why or 'not a word'}); look whether a majority of its members runs and can be reached from here"
            ) from None

    async def _ask_current(self, path: str, content: bytes) -> Json | str:
        """Return the current member's answer, or why it gave none; then the current one is chosen anew."""
        member, loop = await self.chosen(), asyncio.get_running_loop()
        began = loop.time()
        try:
            reply = await self._signed_in(member, path, content)
            self._strikes[member], self._struck_at[member] = 0, float("-inf")
            return reply
        except FAILED as error:
            why = f"{member} {say_failure(error)}"
        except asyncio.CancelledError:
            if loop.time() - began >= self.patience.suspicion.total_seconds():
                self.leave(member)
            raise
        except Trouble as error:
            if error.remedy is Remedy.COMPACTED:
                raise
            if error.remedy is not Remedy.ELSEWHERE:
                raise Refused(f"{self.address}: {error.text}; {error.advice}") from None
            why = f"{member} says: {error.text}"
        self.leave(member)
        return why

    async def ask_member(self, member: str, path: str, body: Json) -> Json | None:
        """Return one member's own answer, None when it gives none in time or only an error."""
        try:
            async with asyncio.timeout(self.patience.attempt.total_seconds()):
                return await self._signed_in(member, path, json.dumps(body).encode())
        except (*FAILED, Trouble, StoreUnavailable):
            return None

    def sign_in_anew(self) -> None:
        """Fetch a new token with the next question, if there is a user."""
        self._token = None

    def prefer(self, member: str) -> None:
        """Ask this member from now on."""
        self._current = self.address.endpoints.index(member)

    async def stay_near(self, well: Callable[[str], Awaitable[bool]], *, needed: Callable[[], bool]) -> None:
        """Go back to the member named first when it is well again, as long as that is needed.

        Soon at first: while the cluster chooses a leader every member fails, and the nearest is none the worse for it.
        Then ever more seldom, also where it is well and fails again, until it has been stayed with for as long as
        `Patience.back`.
        """
        patience, loop = self.patience, asyncio.get_running_loop()
        nearest, pause, returned_at = self.address.endpoints[0], patience.back_soon, float("-inf")
        while needed():
            await asyncio.sleep(pause.total_seconds() * self.chance.uniform(0.8, 1.2))
            if self.current == nearest:
                if loop.time() - returned_at >= patience.back.total_seconds():
                    pause = patience.back_soon
                continue
            if await well(nearest):
                self.prefer(nearest)
                returned_at = loop.time()
            pause = min(2 * pause, patience.back)

    @asynccontextmanager
    async def stream(self, member: str, path: str, bodies: list[Json]) -> AsyncIterator[AsyncIterator[Json]]:
        """Give the messages of a stream as they come. The caller sets the limits.

        Raises what is in `FAILED` when it breaks, and `Trouble` when the member refuses or ends it.
        """
        used = await self._sign_in(member)
        headers = {**_bearing(used), "Grpc-Metadata-hasleader": "true"}
        content = "".join(json.dumps(body) for body in bodies)
        async with self._client.stream("POST", self._url(member, path), content=content, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                error = trouble(_parsed(await response.aread()))
                self._forget(used, error)
                raise error
            async with aclosing(self._messages(response, used)) as messages:
                yield messages

    async def _messages(self, response: httpx.Response, used: str | None) -> AsyncGenerator[Json, None]:
        async for line in response.aiter_lines():
            message = _parsed(line)
            if "result" not in message:
                error = trouble(message)
                self._forget(used, error)
                raise error
            yield message["result"]

    async def close(self) -> None:
        """Close every connection."""
        if self._seeking is not None:
            self._seeking.cancel()
            await asyncio.wait([self._seeking])
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=self.patience.attempt.total_seconds())
            for posting in late:
                posting.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._client.aclose()

    def _ended(self, posting: asyncio.Task[httpx.Response]) -> None:
        self._under_way.discard(posting)
        if not posting.cancelled():
            posting.exception()  # asked for, so that nobody misses it when whoever waited has gone

    def pause(self) -> float:
        """Return how many seconds to wait before all members are asked again."""
        return self.chance.uniform(PAUSE_MIN.total_seconds(), PAUSE_MAX.total_seconds())

    def _url(self, member: str, path: str) -> str:
        return f"{self._scheme}://{member}{path}"

    async def _signed_in(self, member: str, path: str, content: bytes) -> Json:
        """Ask one member, with a new token when it does not know the one there is. Raises `Trouble`, httpx's errors."""
        for _ in range(TOKENS_MAX):
            used = await self._sign_in(member)
            try:
                return await self._post(member, path, content, token=used)
            except Trouble as error:
                self._forget(used, error)
                if error.remedy is not Remedy.TOKEN or used is None:
                    raise
        raise StoreUnavailable(f"{self.address}: it does not know the token it has just given to {self.address.user}")

    async def _sign_in(self, member: str) -> str | None:
        """Return the user's token, fetched if there is none. Raises `Trouble`, `StoreUnavailable`, httpx's errors."""
        user = self.address.user
        if user is None or self._token is not None:
            return self._token
        async with self._signing_in:
            if self._token is None:
                who = {"name": user, "password": await asyncio.to_thread(self._password)}
                reply = await self._post(member, AUTHENTICATE, json.dumps(who).encode(), token=None)
                self._token = str(reply.get("token", ""))
        return self._token

    def _forget(self, used: str | None, error: Trouble) -> None:
        if error.remedy is Remedy.TOKEN and self._token == used:
            self._token = None

    def _password(self) -> str:
        return read_secret(self.address.password_file, where=self.address, what="password")

    async def _post(self, member: str, path: str, content: bytes, *, token: str | None) -> Json:
        limit = self.patience.attempt.total_seconds() + _sending(content)
        posting = asyncio.create_task(
            self._client.post(self._url(member, path), content=content, headers=_bearing(token), timeout=limit)
        )
        self._under_way.add(posting)
        posting.add_done_callback(self._ended)
        response = await asyncio.shield(posting)
        parsed = _parsed(response.content)
        if response.status_code != httpx.codes.OK or "header" not in parsed:  # the second is not etcd's
            raise trouble(parsed)
        return parsed


def _bearing(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": token}


def _parsed(text: str | bytes) -> Json:
    """Return a JSON object; what is none is an answer without words, as from a proxy in between."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _sending(content: bytes) -> float:
    """Return how many seconds something may take to be sent, beyond the usual."""
    return len(content) / SLOWEST_BYTES_PER_S
