"""A small stub resolver, as a client's machine has one: asks a few name servers, stays with one that works, keeps TTLs.

When nobody answers, the last good answer stays in use: that is what resolvers that serve stale data do, and better
than nothing.
"""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from evac.lab.clients.record import boot_time
from evac.lab.clients.workload import split

ASK_LIMIT = 0.5
"""Seconds for one question to one server."""
TTL_MIN = 1.0
"""Seconds an answer is kept at least, also when it was empty."""


class Names:
    """Resolves one name. `entries` are the addresses to use when there are no name servers, or none ever answered."""

    def __init__(self, name: str, *, servers: tuple[str, ...], entries: tuple[str, ...]) -> None:
        self._question = name
        self._servers = list(servers)
        self._known = tuple(split(entry)[0] for entry in entries)
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def addresses(self) -> tuple[str, ...]:
        """Return the name's addresses, at most a TTL old if any server answers."""
        if not self._servers or boot_time() < self._until:
            return self._known
        async with self._asking:
            if boot_time() >= self._until:
                await self._refresh()
        return self._known

    async def _refresh(self) -> None:
        """Ask each server once, beginning with the one that answered last."""
        for server in tuple(self._servers):
            try:
                found, ttl = await self._ask(server)
            except (dns.exception.DNSException, OSError):
                self._servers.append(self._servers.pop(0))
                continue
            if found:
                self._known = found
            self._until = boot_time() + max(ttl, TTL_MIN)
            return
        self._until = boot_time() + TTL_MIN

    async def _ask(self, server: str) -> tuple[tuple[str, ...], float]:
        """Return one server's addresses and their TTL; raises when it does not give a proper answer."""
        host, port = split(server)
        query = dns.message.make_query(self._question, dns.rdatatype.A)
        answer = await dns.asyncquery.udp(query, host, port=port, timeout=ASK_LIMIT)
        if answer.rcode() != dns.rcode.NOERROR:
            raise OSError(f"{server} answers {dns.rcode.to_text(answer.rcode())}")
        for records in answer.answer:
            if records.rdtype == dns.rdatatype.A:
                return tuple(sorted(str(record) for record in records)), float(records.ttl)
        return (), 0.0
