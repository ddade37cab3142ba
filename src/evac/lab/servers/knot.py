"""Knot DNS from the distribution: one primary server of a small zone, taking updates by RFC 2136 with a TSIG key.

Knot is the one part of the lab that is not a wheel. Where it is missing, `found` says so and the lab goes on without
DNS.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.process import Process

KEY_NAME = "evac"
ALGORITHM = "hmac-sha256"

_CONFIGURATION = """\
server:
    rundir: "{folder}/run"
    listen: {address}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1

database:
    storage: "{folder}/db"
    journal-db-max-size: 16M
    kasp-db-max-size: 16M
    timer-db-max-size: 16M
    catalog-db-max-size: 16M

log:
  - target: stderr
    any: info

key:
  - id: {key_name}
    algorithm: {algorithm}
    secret: {secret}

acl:
  - id: update
    key: {key_name}
    action: [update, transfer]

template:
  - id: default
    storage: "{folder}"
    zonefile-sync: 0

zone:
  - domain: {zone}
    file: "{zone}.zone"
    acl: update
"""

_ZONE = """\
$ORIGIN {zone}.
$TTL {ttl}
@ SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 1
@ NS ns.{zone}.
ns A {address}
{records}
"""


def found() -> str | None:
    """Return where `knotd` is, or None."""
    return shutil.which("knotd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@dataclass(slots=True, kw_only=True)
class NameServer:
    """One Knot. `records` are lines of the zone file as it is first written; `secret` is the TSIG key in base64."""

    region: str
    folder: Path
    address: str
    port: int
    secret: str
    records: Sequence[str]
    zone: str = "shop.example"
    ttl: int = 1
    within: Sequence[str] = ()
    _process: Process | None = None

    async def start(self) -> None:
        """Start it and return when it takes connections; a zone file that is already there is kept."""
        knotd = found()
        assert knotd is not None, "who starts a name server has asked `found` first"
        for each in ("run", "db"):
            (self.folder / each).mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "knot.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                address=self.address,
                port=self.port,
                key_name=KEY_NAME,
                algorithm=ALGORITHM,
                secret=self.secret,
                zone=self.zone,
            )
        )
        zone = self.folder / f"{self.zone}.zone"
        if not zone.exists():
            text = _ZONE.format(zone=self.zone, ttl=self.ttl, address=self.address, records="\n".join(self.records))
            zone.write_text(text)
        self._process = Process(
            name=f"knot {self.region}",
            argv=(knotd, "-c", str(configuration)),
            within=self.within,
            log=self.folder / "knot.log",
        )
        await self._process.start(ready=lambda pid: process.listening(pid, self.port) and self._zone_loaded())

    def _zone_loaded(self) -> bool:
        return f"[{self.zone}.] loaded" in (self.folder / "knot.log").read_text(errors="replace")

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return its processes."""
        return self._process.pids() if self._process else ()

    async def stop(self) -> None:
        """Shut it down."""
        if self._process:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL it."""
        if self._process:
            await self._process.kill()


@asynccontextmanager
async def name_server(
    folder: Path, *, records: Sequence[str], secret: str, region: str = "us-east-1"
) -> AsyncIterator[NameServer]:
    """Run one Knot on loopback, killed at the end."""
    (port,) = process.free_ports(1)
    chosen = NameServer(region=region, folder=folder, address="127.0.0.1", port=port, secret=secret, records=records)
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.kill()
