"""HAProxy's runtime API: commands in, text out, one connection each.

Intuition: the API answers commands joined by `;` one after the other, each answer ending with an empty line, and
closes. A command that changes something answers nothing but that line; any other word is a refusal.

Errors: what fails before the commands were written is `Unavailable` (`NotRunning` when nobody listens: such an
instance carries no clients); what fails after, when they change something, is `Indeterminate`.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.ports import Place

ANSWER_MAX_S = 3.0
"""How long a runtime API may take to answer."""
_BYTES_MAX = 64 * 1024 * 1024
_READ_BYTES_MAX = 1024 * 1024
_UNAVAILABLE_BITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20 | 0x40
"""Administrative states that keep clients out: forced, inherited and configured maintenance or drain, DNS."""


class NotRunning(Unavailable):
    """Nobody listens there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of the backend as HAProxy sees it. `weight` is what clients get: 0 when drained or in maintenance."""

    name: str
    weight: int
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One instance's answer to "what do you do now?"."""

    servers: Mapping[str, Server]
    term: int | None
    counters: Mapping[str, Mapping[str, str]]
    """The statistics of each server, and of the whole under `BACKEND`, by HAProxy's own column names."""


class RuntimeApi:
    """One HAProxy process, reached from a place."""

    def __init__(self, *, place: Place, address: str) -> None:
        self.address = address
        self._place = place

    async def look(self, *, backend: str, term_variable: str | None) -> Look:
        """Return servers, term and counters of a backend. Raises `Rejected` when it has no such backend."""
        return self._seen(await self._ask(_looking(backend, term_variable)), backend)

    async def count(self) -> str:
        """Return what it has counted of every server of every backend, as CSV (management guide 9.1)."""
        (answer,) = await self._ask(("show stat -1 4 -1",))
        if not answer.startswith("# pxname,"):
            raise Rejected(f"HAProxy at {self.address}: {answer[:200]}; is this its runtime API?")
        return answer

    async def change(self, commands: Sequence[str], *, backend: str, term_variable: str | None) -> tuple[Look, str]:
        """Run commands that change something, and look, all in one conversation.

        Returns with the look the state of all servers of all backends, as a state file holds it.

        Raises `Rejected` when evac may not change anything there, `Indeterminate` when one command is refused.
        """
        looking = _looking(backend, term_variable)
        answers = await self._ask((*commands, *looking, "show servers state"), changing=True)
        done, looked, state = answers[: len(commands)], answers[len(commands) : -1], answers[-1]
        refusals = [answer for answer in done if answer]
        if any(answer.startswith("Permission denied") for answer in refusals):
            raise Rejected(f"HAProxy at {self.address}: Permission denied; give its `stats socket` line `level admin`")
        if refusals:
            raise Indeterminate(f"HAProxy at {self.address}: {refusals[0]}")
        return self._seen(looked, backend), f"{state}\n"

    def _seen(self, answers: Sequence[str], backend: str) -> Look:
        variable, state, counted = answers
        if not state.startswith("1\n#"):
            raise Rejected(f"HAProxy at {self.address}: backend {backend}: {state}; correct `backend` in the estate")
        return Look(servers=_servers(state), term=_term(variable), counters=_counters(counted))

    async def allowed(self, *, backend: str) -> str:
        """Return why evac could not change anything there; empty if it could. Changes nothing."""
        (answer,) = await self._ask((f"set server {backend}/evac.no.such.server weight 1",))
        return "" if answer == "No such server." else answer

    async def _ask(self, commands: Sequence[str], *, changing: bool = False) -> list[str]:
        line = "; ".join(commands).encode() + b"\n"
        if self.address.startswith("/"):
            said = await self._by_socket(line, changing=changing)
        else:
            said = await self._by_tcp(line, changing=changing)
        answers = [part.strip("\n") for part in _parts(said.decode(errors="replace"), len(commands))]
        if len(answers) != len(commands):
            raise self._lost("it closed the connection before it had answered", written=changing)
        return answers

    async def _by_tcp(self, line: bytes, *, changing: bool) -> bytes:
        host, _, port = self.address.rpartition(":")
        written = False
        try:
            async with (
                asyncio.timeout(ANSWER_MAX_S),
                self._place.forward(host.strip("[]"), int(port)) as (near, near_port),
            ):
                reader, writer = await asyncio.open_connection(near, near_port)
                try:
                    written = changing
                    writer.write(line)
                    said = bytearray()
                    while more := await reader.read(_READ_BYTES_MAX):
                        said += more
                        if len(said) > _BYTES_MAX:
                            raise self._lost(f"it answers with more than {_BYTES_MAX} bytes", written=written)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise self._lost(f"no answer within {ANSWER_MAX_S:g} s", written=written) from None
        except OSError as error:
            if written:
                raise self._lost(str(error), written=True) from error
            raise NotRunning(f"HAProxy at {self.address}: {error}; is it running?") from error
        if not said and not written:
            raise NotRunning(f"HAProxy at {self.address} closed the connection at once; is it running?")
        return bytes(said)

    async def _by_socket(self, line: bytes, *, changing: bool) -> bytes:
        argv = ("socat", "-t", f"{ANSWER_MAX_S:g}", "-", f"UNIX-CONNECT:{self.address}")
        done = await self._place.run(argv, stdin=line, timeout=timedelta(seconds=2 * ANSWER_MAX_S))
        if done.code == 0:
            return done.out
        said = done.err.decode(errors="replace").strip()
        if done.code == 127:
            raise Unavailable(f"HAProxy at {self.address}: socat is missing there; install it, or give host:port")
        if "refused" in said or "No such file" in said:
            raise NotRunning(f"HAProxy at {self.address}: {said}; is it running?")
        if "Permission denied" in said:
            raise Unavailable(f"HAProxy at {self.address}: {said}; let evac's user there write to the socket")
        raise self._lost(said or f"socat ended with {done.code}", written=changing)

    def _lost(self, why: str, *, written: bool) -> Unavailable | Indeterminate:
        return (Indeterminate if written else Unavailable)(f"HAProxy at {self.address}: {why}")


def _looking(backend: str, term_variable: str | None) -> tuple[str, ...]:
    return f"get var {term_variable or 'proc.evac_none'}", f"show servers state {backend}", f"show stat {backend} 6 -1"


def _parts(said: str, count: int) -> list[str]:
    """Split what was said into `count` answers: each ends with an empty line, and a silent one is that line only."""
    parts: list[str] = []
    rest = said
    while rest and len(parts) < count:
        if rest.startswith("\n"):
            # "Permission denied" comes after a line break of its own
            refused, _, after = rest[1:].partition("\n\n")
            if refused.startswith("Permission denied"):
                parts.append(refused)
                rest = after
            else:
                parts.append("")
                rest = rest[1:]
            continue
        part, _, rest = rest.partition("\n\n")
        parts.append(part)
    return parts


def _term(answer: str) -> int | None:
    _, _, value = answer.partition("value=<")
    digits = value.rstrip(">\n")
    return int(digits) if digits.isdecimal() else None


def _servers(state: str) -> dict[str, Server]:
    _, header, *lines = state.splitlines()
    names = header.removeprefix("# ").split()
    rows = [dict(zip(names, line.split(" "), strict=False)) for line in lines]
    return {
        row["srv_name"]: Server(
            name=row["srv_name"],
            weight=0 if int(row["srv_admin_state"]) & _UNAVAILABLE_BITS else int(row["srv_uweight"]),
            up=row["srv_op_state"] != "0",
        )
        for row in rows
    }


def _counters(text: str) -> dict[str, dict[str, str]]:
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    return {row["svname"]: {name: value for name, value in row.items() if name and value} for row in rows}
