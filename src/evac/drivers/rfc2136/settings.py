"""Settings of an RFC 2136 member: a region's name servers, the name, and each region's addresses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal

import dns.exception
import dns.name
import dns.rdatatype
from pydantic import BeforeValidator, field_validator

from evac.drivers.settings import Duration, Secret, Settings


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given


Several = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
"""One text, or a list of them."""


class Tsig(Settings):
    """The key that signs updates (RFC 8945)."""

    name: str
    """The key's name, as the server knows it."""
    secret: Secret
    """The key itself, in base64."""
    algorithm: Literal["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    """Its algorithm; default hmac-sha256."""


class Rfc2136Settings(Settings):
    """A name that follows the service, and the servers that are told."""

    servers: Several
    """Name servers that take updates, as `host` or `host:port`, seen from the region (TCP). Each is told, and asked."""
    secondaries: Several = ()
    """Further servers, which copy the zone by themselves: a shift waits until they answer the same. Default none."""
    zone: str
    """The zone, `example.com`."""
    name: str
    """The record's name, `api.example.com`, inside the zone."""
    addresses: Mapping[str, Several]
    """Each region's addresses, IPv4 and IPv6."""
    ttl: Duration = timedelta(seconds=30)
    """How long resolvers may keep an answer, in whole seconds; default 30 s."""
    term_name: str | None = None
    """Name of the TXT record that keeps the term; default `_evac.` before the record's name."""
    tsig: Tsig | None = None
    """The key that signs updates; default unsigned, which a server should refuse."""
    propagation_max: Duration = timedelta(seconds=5)
    """How long secondaries may take; default 5 s."""

    @field_validator("servers")
    @classmethod
    def _some(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if not servers:
            raise ValueError("names no server")
        return servers

    @field_validator("zone", "name", "term_name")
    @classmethod
    def _is_name(cls, text: str | None) -> str | None:
        try:
            dns.name.from_text(text or "x")
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"is not a domain name: {error}") from None
        return text

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for region, several in addresses.items():
            if not several:
                raise ValueError(f"names no address for {region}")
            for address in several:
                try:
                    ip_address(address)
                except ValueError:
                    raise ValueError(f"{address!r} of {region} is not an IP address") from None
        return addresses

    @field_validator("ttl")
    @classmethod
    def _whole(cls, ttl: timedelta) -> timedelta:
        if ttl % timedelta(seconds=1):
            raise ValueError("is not a whole number of seconds")
        return ttl

    @property
    def zone_name(self) -> dns.name.Name:
        """The zone, absolute."""
        return dns.name.from_text(self.zone)

    @property
    def record_name(self) -> dns.name.Name:
        """The record's name, absolute."""
        return dns.name.from_text(self.name)

    @property
    def term_record(self) -> dns.name.Name:
        """The term record's name, absolute."""
        return dns.name.from_text(self.term_name or f"_evac.{self.name}")

    def wanted(self, weights: Mapping[str, int]) -> dict[dns.rdatatype.RdataType, frozenset[str]]:
        """Return the addresses of the regions with a weight above 0, by record type; both types are always there."""
        wanted: dict[dns.rdatatype.RdataType, set[str]] = {dns.rdatatype.A: set(), dns.rdatatype.AAAA: set()}
        for region, weight in weights.items():
            for text in self.addresses.get(region, ()) if weight else ():
                address = ip_address(text)
                wanted[dns.rdatatype.A if address.version == 4 else dns.rdatatype.AAAA].add(str(address))
        return {kind: frozenset(addresses) for kind, addresses in wanted.items()}

    def weights(self, served: Mapping[dns.rdatatype.RdataType, frozenset[str]]) -> dict[str, int]:
        """Return 100 for each region all of whose addresses are served, 0 for the others."""
        everything = frozenset().union(*served.values())
        return {
            region: 100 if {str(ip_address(a)) for a in several} <= everything else 0
            for region, several in sorted(self.addresses.items())
        }
