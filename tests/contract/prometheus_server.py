"""Debian's Prometheus, run by hand on a loopback port, and what it scrapes."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.authority import Certificate
from evac.lab.servers.process import Process

BINARY = shutil.which("prometheus")
PASSWORD = "test"
HASHED = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"
"""That password as Prometheus' manual shows it (*Securing with basic auth*)."""
SCRAPED_EVERY = "250ms"


@dataclass(slots=True)
class Exporter:
    """Says `lines` to whoever scrapes it; with `down` it closes the connection."""

    lines: dict[str, str] = field(default_factory=dict)
    """By series, the value and, if it has one of its own, the time in milliseconds."""
    down: bool = False
    scraped: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if not self.down:
                said = "".join(f"{series} {value}\n" for series, value in self.lines.items()).encode()
                head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(said)}\r\n\r\n"
                writer.write(head.encode() + said)
                await writer.drain()
                self.scraped += 1
        finally:
            writer.close()


@asynccontextmanager
async def exporter() -> AsyncIterator[Exporter]:
    one = Exporter()
    async with await asyncio.start_server(one.serve, "127.0.0.1", 0) as server:
        one.port = server.sockets[0].getsockname()[1]
        yield one


class Server(Process):
    """Its process, which can be frozen."""

    def freeze(self) -> None:
        process.send(self.pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        process.send(self.pids(), signal.SIGCONT)


@asynccontextmanager
async def prometheus(
    folder: Path, *, scrapes: Exporter, certificate: Certificate | None = None
) -> AsyncIterator[tuple[int, Server]]:
    """Run one that scrapes `scrapes`; with a certificate it speaks TLS, and wants a password."""
    assert BINARY is not None, "the tests that need it are skipped without it"
    (port,) = process.free_ports(1)
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {SCRAPED_EVERY}, scrape_timeout: {SCRAPED_EVERY}}}\n"
        "scrape_configs:\n- job_name: shop\n  honor_labels: true\n"
        f'  static_configs: [{{targets: ["127.0.0.1:{scrapes.port}"]}}]\n'
    )
    argv = [
        BINARY,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    if certificate is not None:
        (folder / "web.yml").write_text(
            f"tls_server_config: {{cert_file: {certificate.file}, key_file: {certificate.key}}}\n"
            f"basic_auth_users: {{evac: {HASHED}}}\n"
        )
        argv.append(f"--web.config.file={folder / 'web.yml'}")
    server = Server(name="prometheus", argv=argv, log=folder / "prometheus.log")
    try:
        await server.start(ready=lambda pid: process.listening(pid, port) or _listening6(pid, port))
        yield port, server
    finally:
        await server.kill()


def _listening6(pid: int, port: int) -> bool:
    """Whether somebody listens on a port by a socket for both versions of IP."""
    lines = Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]
    return any(f[3] == "0A" and int(f[1].split(":")[1], 16) == port for f in (line.split() for line in lines))
