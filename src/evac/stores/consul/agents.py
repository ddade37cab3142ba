"""Consul's agents as a client sees them: one is asked, and another when that one does not answer.

Intuition: every agent passes questions on to the servers, so it does not matter which is asked, only that it answers in
time. What was sent and got no answer may have happened; it is sent again only because all that is asked here may be
(`ground`). Without a leader an agent answers with an error, late; then another one is asked.

Source: Consul's HTTP API, "API structure", "Consistency modes" and "Blocking queries".

What this is not: a judge of what replies mean.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from evac.core.errors import StoreUnavailable
from evac.stores.consul.address import ConsulAddress
from evac.stores.logged.patience import Patience
from evac.stores.trust import FAILED, KEEPALIVE, read_secret, say_failure, trusting

CONNECTIONS_MAX = 64
"""Consul takes 200 of one address, by default."""
SLOWEST_BYTES_PER_S = 512 * 1024
"""How slowly a question may be sent before its agent counts as silent."""
INDEX = "X-Consul-Index"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What another agent may answer otherwise: none of them knows a leader for ever, or is asked too much."""
_ADVICE = {
    400: "it does not take what evac asks: see its log, and whether it is Consul",
    401: "look at the token in the store's URL",
    403: 'give the token a policy: key_prefix "{namespace}/" {{ policy = "write" }}',
    413: "raise kv_max_value_size and txn_max_req_len to their default, 512 kB, at least",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent replied. `said` is what its JSON holds, None for 404."""

    status: int
    said: Any
    index: int


class Agents:
    """Asks one datacenter. Closed by its owner."""

    def __init__(self, address: ConsulAddress, *, patience: Patience, chance: random.Random) -> None:
        """Raises `StoreUnavailable` when a certificate or key cannot be read."""
        self.address = address
        self.patience = patience
        self._chance = chance
        self._current = 0
        self._left_at = float("-inf")
        """When the agent named first was left (loop time)."""
        self._token: str | None = None
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

    async def ask(
        self,
        method: str,
        path: str,
        *,
        where: Mapping[str, str] | None = None,
        content: bytes = b"",
        longer: timedelta = timedelta(),
    ) -> Answer:
        """Return the answer of whichever agent gives one, to a question that may be asked several times.

        `longer` is what an agent may wait with its answer by intention. Raises `StoreUnavailable` when none answers in
        time, or when what was answered is for a person to mend.
        """
        loop = asyncio.get_running_loop()
        extra = longer.total_seconds() + len(content) / SLOWEST_BYTES_PER_S
        why, failed = "", 0
        try:
            async with asyncio.timeout_at(loop.time() + self.patience.whole.total_seconds() + extra):
                while True:
                    if self._client.is_closed:
                        raise StoreUnavailable("the store is closed")
                    answer = await self._ask_current(method, path, where or {}, content, extra)
                    if not isinstance(answer, str):
                        return answer
                    why, failed = answer, failed + 1
                    if failed % len(self.address.endpoints) == 0:
                        await asyncio.sleep(self.patience.pause(self._chance))
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.address} did not answer in {self.patience.whole.total_seconds():g} s ({why or 'not a word'});"
                " look whether its servers have a leader and can be reached from here"
            ) from None

    async def _ask_current(
        self, method: str, path: str, where: Mapping[str, str], content: bytes, extra: float
    ) -> Answer | str:
        """Return the current agent's answer, or why it gave none; then the next one is the current one."""
        self._turn_back()
        current, loop = self._current, asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await self._ask_one(self.address.endpoints[current], method, path, where, content, extra)
        except FAILED as error:
            answer = f"{self.address.endpoints[current]} {say_failure(error)}"
        except asyncio.CancelledError:
            if loop.time() - began >= self.patience.suspicion.total_seconds() + extra:
                self._leave(current)
            raise
        if isinstance(answer, str):
            self._leave(current)
        return answer

    def _leave(self, current: int) -> None:
        """Let the next agent be the current one, unless another question has left this one already."""
        if current == self._current:
            self._current = (current + 1) % len(self.address.endpoints)
            if current == 0:
                self._left_at = asyncio.get_running_loop().time()

    def _turn_back(self) -> None:
        """Ask the agent named first again, after a while: it is the nearest."""
        if self._current and asyncio.get_running_loop().time() - self._left_at > self.patience.back.total_seconds():
            self._current = 0

    async def _ask_one(
        self, endpoint: str, method: str, path: str, where: Mapping[str, str], content: bytes, extra: float
    ) -> Answer | str:
        token = await self._signed()
        response = await self._client.request(
            method,
            f"{'https' if self.address.tls else 'http'}://{endpoint}/v1/{path}",
            params={**where, **({"dc": self.address.datacenter} if self.address.datacenter else {})},
            content=content,
            headers={"X-Consul-Token": token} if token else {},
            timeout=self.patience.attempt.total_seconds() + extra,
        )
        status, words = response.status_code, response.text[:200].strip()
        if status in (401, 403) and token is not None:
            self._token = None  # its file may hold another by now
            if await self._signed() != token:
                return f"{endpoint} says: {words}"
        if status in _PASSING:
            return f"{endpoint} says: {words or status}"
        if status not in (200, 404, 409):
            advice = _ADVICE.get(status, "see its log").format(namespace=self.address.namespace)
            raise StoreUnavailable(f"{self.address}: {words or status}; {advice}")
        return _parsed(response)

    async def _signed(self) -> str | None:
        """Return the token, None if there is none. Raises `StoreUnavailable` when it cannot be read."""
        if self._token is None and self.address.token_file is not None:
            self._token = await asyncio.to_thread(
                read_secret, self.address.token_file, where=self.address, what="token"
            )
        elif self._token is None and self.address.token_env is not None:
            if self.address.token_env not in os.environ:
                raise StoreUnavailable(f"{self.address}: no token: {self.address.token_env} is not set")
            self._token = os.environ[self.address.token_env]
        if self._token is not None and not _is_token(self._token):
            self._token = None
            raise StoreUnavailable(f"{self.address}: what is named as its token is empty, or no token")
        return self._token

    def sign_in_anew(self) -> None:
        """Read the token anew with the next question: this one may not do what was asked."""
        self._token = None

    async def answering(self) -> int:
        """Return how many agents answer, and know a leader."""

        async def answers(endpoint: str) -> bool:
            with suppress(*FAILED, StoreUnavailable):
                answer = await self._ask_one(endpoint, "GET", "status/leader", {}, b"", 0)
                return not isinstance(answer, str) and bool(answer.said)
            return False

        return sum(await asyncio.gather(*[answers(endpoint) for endpoint in self.address.endpoints]))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _is_token(text: str) -> bool:
    """Return whether a text may stand in a header."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _parsed(response: httpx.Response) -> Answer | str:
    """Return an answer; what is none, from a proxy in between perhaps, is said."""
    index = response.headers.get(INDEX, "0")
    try:
        said = None if response.status_code == httpx.codes.NOT_FOUND else json.loads(response.content)
        return Answer(status=response.status_code, said=said, index=int(index))
    except ValueError:
        return f"{response.url.host}:{response.url.port} does not answer as Consul does"
