"""Settings of a HAProxy member: where its runtime APIs are, and which servers are which region's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from evac.drivers.settings import Settings


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given


Apis = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]


def _addresses(api: tuple[str, ...]) -> tuple[str, ...]:
    if not api:
        raise ValueError("names no runtime API")
    for address in api:
        host, _, port = address.rpartition(":")
        if not address.startswith("/") and not (host and port.isdecimal()):
            raise ValueError(f"{address!r} is neither host:port nor the path of a socket")
    return api


class CountingSettings(Settings):
    """Load balancers whose counts of real clients are listened to, and what their names stand for."""

    api: Apis
    """Runtime APIs (`stats socket … level user` is enough), as seen from the region that asks: `host:port`, or the path
    of a UNIX socket, which needs `socat` there. One, or a list of all instances there."""
    service_names: Mapping[str, str] = Field(default_factory=dict)
    """evac's name of the service that a backend is of, where they differ."""
    region_names: Mapping[str, str] = Field(default_factory=dict)
    """evac's name of the region that a server is in, where they differ. Several servers may be in one region."""

    _api = field_validator("api")(_addresses)


class HaproxySettings(Settings):
    """A region's load balancers: one HAProxy, or several that are to say the same."""

    api: Apis
    """Runtime APIs (`stats socket … level admin`), as seen from the region: `host:port`, or the path of a UNIX socket,
    which needs `socat` there. One, or a list of several instances."""
    backend: str
    """The backend whose servers are the regions."""
    servers: Mapping[str, str] = Field(default_factory=dict)
    """Server name of each region; default: the region's id."""
    at_zero: Literal["drain", "maint"] = "drain"
    """What a region with weight 0 gets. `drain` (default) keeps its health checks going, but a client with a
    persistence cookie still reaches it; `maint` keeps everybody out."""
    term_variable: str | None = "proc.evac_term"
    """Process variable that keeps the highest term; default `proc.evac_term`. It needs HAProxy's experimental mode,
    which marks the process as tainted; null keeps no term there."""
    state_file: str | None = None
    """File, on the region's host, that HAProxy loads at its start (`server-state-file`); written after every shift.
    Default none: a restarted HAProxy starts with the weights of its configuration."""

    client_url: str | None = None
    """What a client asks for at this door, `http://shop.example/health`, as seen from the region: asked before and
    after clients are sent in by it, it must answer with a status below 400. Default none: HAProxy's own checks say
    whether it carries clients on."""

    @field_validator("client_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError(f"{url!r} is no http or https address")
        return url

    _api = field_validator("api")(_addresses)

    @field_validator("backend", "term_variable")
    @classmethod
    def _one_word(cls, name: str | None) -> str | None:
        if name is not None and (not name or set(name) & set(" ;\n\\/")):
            raise ValueError("is not one word")
        return name

    @field_validator("servers")
    @classmethod
    def _words(cls, servers: Mapping[str, str]) -> Mapping[str, str]:
        for name in servers.values():
            cls._one_word(name)
        return servers

    def server(self, region: str) -> str:
        """Return the name of a region's server."""
        return self.servers.get(region, region)
