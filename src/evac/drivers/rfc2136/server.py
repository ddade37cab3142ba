"""One name server: asked and told over one TCP connection, through a place.

Intuition: an answer counts only if the server has authority over the zone. An update works whole or not at all, so
every refusal (`REFUSED`, `NOTAUTH`, a signature that is wrong) is `Rejected`; only an answer that never came, or a
server that failed, leaves open whether it worked.
"""

from __future__ import annotations

import asyncio
import binascii
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.tsig
import dns.update

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.drivers.rfc2136.settings import Rfc2136Settings
from evac.ports import Place

ANSWER_MAX_S = 3.0
"""How long a server may take to answer."""
_TERM = "evac-term="
_OVERTAKEN = (dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.YXDOMAIN, dns.rcode.NXDOMAIN)
_REMEDIES = {
    dns.rcode.REFUSED: "let this key update this zone (Knot: `acl` with `action: update`; BIND: `update-policy`)",
    dns.rcode.NOTAUTH: "is it primary for the zone, and may this key (or, without `tsig`, anybody) update it?",
    dns.rcode.NOTZONE: "`name` must lie inside `zone`",
    dns.rcode.NOTIMP: "it takes no updates (RFC 2136); name another server",
    dns.rcode.FORMERR: "it does not understand updates (RFC 2136); name another server",
}


class NotRunning(Unavailable):
    """Nobody listens there."""


class Overtaken(Exception):
    """A prerequisite did not hold: somebody else wrote first, and nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one server answers now. `term_record` is the TXT record as it is, which an update names as prerequisite."""

    addresses: Mapping[dns.rdatatype.RdataType, frozenset[str]]
    term: int | None
    term_record: dns.rdataset.Rdataset | None
    ttl: int | None
    serial: int


class NameServer:
    """One server of the zone, where it is."""

    def __init__(self, *, place: Place, address: str, settings: Rfc2136Settings) -> None:
        self.address = address
        self._place = place
        self._settings = settings

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """Connect, and hold one conversation. Raises `NotRunning` or `Unavailable`."""
        host, port = _host_and_port(self.address)
        async with self._place.forward(host, port) as near:
            try:
                backend = dns.asyncbackend.get_backend("asyncio")
                connection = await backend.make_socket(
                    socket.AF_UNSPEC, socket.SOCK_STREAM, 0, None, near, ANSWER_MAX_S
                )
            except (OSError, dns.exception.Timeout) as error:
                raise _unreached(self.address, error) from error
            async with connection:
                yield Talk(connection, address=self.address, settings=self._settings)


class Talk:
    """A conversation with one server."""

    def __init__(self, connection: Any, *, address: str, settings: Rfc2136Settings) -> None:
        self._connection = connection
        self._address = address
        self._settings = settings

    async def look(self) -> Served:
        """Ask for addresses, term and serial. Raises `Rejected` when the server has no authority over the zone."""
        settings = self._settings
        asked = (
            (settings.record_name, dns.rdatatype.A),
            (settings.record_name, dns.rdatatype.AAAA),
            (settings.term_record, dns.rdatatype.TXT),
            (settings.zone_name, dns.rdatatype.SOA),
        )
        # Numbered here: of four random numbers two may be the same, and one answer would be waited for in vain.
        queries = [dns.message.make_query(name, kind, id=number) for number, (name, kind) in enumerate(asked)]
        v4, v6, term, soa = await self._ask(queries)
        if soa is None:
            raise Rejected(f"{self._address} has no authority over {settings.zone}; correct `zone` or `servers`")
        found = {dns.rdatatype.A: v4, dns.rdatatype.AAAA: v6}
        ttls = [rrset.ttl for rrset in found.values() if rrset is not None]
        return Served(
            addresses={kind: frozenset(str(r) for r in rrset or ()) for kind, rrset in found.items()},
            term=_term(term),
            term_record=term,
            ttl=min(ttls) if ttls else None,
            serial=soa[0].serial,
        )

    async def replace(self, weights: Mapping[str, int], *, term: int, seen: Served) -> None:
        """Write the record set and the term in one update, if the term is still what was seen. Raises `Overtaken`."""
        settings = self._settings
        ttl = int(settings.ttl.total_seconds())
        update = self._update()
        if seen.term_record is None:
            update.absent(settings.term_record, dns.rdatatype.TXT)
        else:
            update.present(settings.term_record, *seen.term_record)
        for kind, addresses in settings.wanted(weights).items():
            update.delete(settings.record_name, kind)
            for address in sorted(addresses):
                update.add(settings.record_name, ttl, kind, address)
        update.replace(settings.term_record, ttl, dns.rdatatype.TXT, f'"{_TERM}{term}"')
        await self._tell(update)

    async def try_nothing(self) -> None:
        """Send an update that deletes a record that is not there: it needs every right, and changes nothing."""
        update = self._update()
        name = dns.name.from_text("_evac-check", origin=self._settings.record_name)
        update.absent(name, dns.rdatatype.TXT)
        update.delete(name, dns.rdatatype.TXT)
        await self._tell(update)

    def _update(self) -> dns.update.UpdateMessage:
        tsig = self._settings.tsig
        key = None
        if tsig is not None:
            try:
                key = dns.tsig.Key(tsig.name, tsig.secret.read(), dns.name.from_text(tsig.algorithm))
            except binascii.Error:
                raise Rejected(
                    f"the key {tsig.name} is not base64; write the key as the server's file has it"
                ) from None
        return dns.update.UpdateMessage(self._settings.zone_name, keyring=key)

    async def _ask(self, queries: Sequence[dns.message.QueryMessage]) -> list[dns.rdataset.Rdataset | None]:
        """Send all queries at once, and return each one's answer section; None where it has none."""
        answers: dict[int, dns.message.Message] = {}
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                for query in queries:
                    await dns.asyncquery.send_tcp(self._connection, query)
                while len(answers) < len(queries):
                    answer, _ = await dns.asyncquery.receive_tcp(self._connection)
                    answers[answer.id] = answer
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise _unreached(self._address, error) from error
        return [self._answered(query, answers.get(query.id)) for query in queries]

    def _answered(
        self, query: dns.message.QueryMessage, answer: dns.message.Message | None
    ) -> dns.rdataset.Rdataset | None:
        question = query.question[0]
        if answer is None or not query.is_response(answer):
            raise Unavailable(f"{self._address} answered something else than was asked")
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not answer.flags & dns.flags.AA:
            raise Rejected(
                f"{self._address} does not answer for {question.name} with authority"
                f" ({dns.rcode.to_text(answer.rcode())}); correct `zone` or `servers`"
            )
        return answer.get_rrset(answer.answer, question.name, question.rdclass, question.rdtype)

    async def _tell(self, update: dns.update.UpdateMessage) -> None:
        where = f"{self._address}, zone {self._settings.zone}"
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                await dns.asyncquery.send_tcp(self._connection, update)
                answer, _ = await dns.asyncquery.receive_tcp(
                    self._connection, keyring=update.keyring, request_mac=update.mac
                )
        except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature, dns.tsig.PeerBadTruncation) as error:
            raise Rejected(f"{where}: the key is refused ({error}); compare name, secret and algorithm") from error
        except dns.tsig.PeerBadTime as error:
            raise Rejected(f"{where}: the clocks differ by more than the signature allows; set them") from error
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise Indeterminate(f"{where}: no answer to an update: {_said(error)}") from error
        code = answer.rcode()
        if code in _OVERTAKEN:
            raise Overtaken
        if code in _REMEDIES:
            raise Rejected(f"{where}: {dns.rcode.to_text(code)}: {_REMEDIES[code]}")
        if code != dns.rcode.NOERROR:
            raise Indeterminate(f"{where}: {dns.rcode.to_text(code)}; its log says why")


def _unreached(address: str, error: Exception) -> Unavailable:
    if isinstance(error, TimeoutError | dns.exception.Timeout):
        return Unavailable(f"name server {address}: no answer within {ANSWER_MAX_S:g} s")
    if isinstance(error, ConnectionRefusedError | ConnectionResetError | EOFError):
        return NotRunning(f"name server {address}: {_said(error)}; is it running?")
    return Unavailable(f"name server {address}: {_said(error)}")


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"none within {ANSWER_MAX_S:g} s"
    return "the connection was closed" if isinstance(error, EOFError) else str(error) or type(error).__name__


def _host_and_port(address: str) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]:port` or a bare IPv6 address."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and (host.startswith("[") or ":" not in host):
        return host.strip("[]"), int(port)
    return address.strip("[]"), 53


def _term(record: dns.rdataset.Rdataset | None) -> int | None:
    """The highest term that the TXT record names."""
    texts = [b"".join(rdata.strings).decode(errors="replace") for rdata in record or ()]
    terms = [text.removeprefix(_TERM) for text in texts if text.startswith(_TERM)]
    return max((int(term) for term in terms if term.isdecimal()), default=None)
