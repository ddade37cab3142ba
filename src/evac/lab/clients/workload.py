"""What the clients are to do, as a file: `workload.json` in their folder.

A file rather than options, because it holds passwords, and because who starts the clients (the lab, a bench) writes
it from the same class that the clients read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

FILE = "workload.json"


class Workload(BaseModel):
    """Who writes what, how fast, and for how long. Addresses are `HOST:PORT`. Anything left out is not exercised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(default_factory=lambda: os.urandom(4).hex(), pattern=r"^[0-9a-z]+$")
    """First part of every id, so that one run's rows are told from another's."""
    rate: float = 60.0
    """Orders a second, of all web and direct clients together."""
    append_rate: float = 20.0
    """Appends to Valkey a second, of all appenders together."""
    seconds_max: float = 3600.0
    """The clients end by themselves after this time."""
    writes_max: int = 500_000
    """The clients end by themselves after so many writes."""
    limit: float = 1.0
    """Seconds a client waits for one answer."""

    web: int = 8
    """How many clients go through DNS and HAProxy."""
    name: str = "api.shop.example"
    """What web clients ask the name servers for."""
    dns: tuple[str, ...] = ()
    """Name servers. None: web clients go to the entries in order, staying with one that works."""
    entries: tuple[str, ...] = ()
    """The HAProxies; all listen on one port, which is used with the addresses that the name servers give."""

    direct: int = 2
    """How many clients write to PostgreSQL by themselves."""
    via: Literal["direct", "inside"] = "direct"
    """What their writes are called in the history."""
    postgresql: Mapping[str, str] = {}
    """Region to address."""
    conninfo: str = "dbname=shop user=evac"
    """The rest of the connection string: user, password, database."""

    appenders: int = 2
    """How many clients append to Valkey."""
    valkey: Mapping[str, str] = {}
    """Region to address."""
    valkey_password: str | None = None
    wait: int = 0
    """How many replicas must have an append before its client calls it acknowledged (`WAIT`)."""

    def write(self, folder: Path) -> Path:
        """Write this as the folder's workload file, readable by its owner only, and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        path.touch(mode=0o600)
        path.write_text(self.model_dump_json(indent=1))
        return path

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's workload file."""
        return cls.model_validate_json((folder / FILE).read_bytes())


def split(address: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return host, int(port)
