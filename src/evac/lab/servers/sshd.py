"""An ssh server in the foreground: `python -m evac.lab.servers.sshd --listen HOST:PORT --host-key F --authorized F`.

It takes one key, runs commands through the shell as the user it runs as, and opens TCP connections on behalf of its
clients (direct-tcpip). A command's whole process group is killed when its connection ends: nobody is left to hear of
it. What a command put into a session of its own (`pg_ctl start`) lives on, as on any host.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from evac.lab.servers import process
from evac.lab.servers.process import Process

_CHUNK = 1 << 16


@dataclass(slots=True, kw_only=True)
class SshServer:
    """One ssh server as a process."""

    region: str
    folder: Path
    address: str
    port: int
    host_key: Path
    authorized: Path
    within: Sequence[str] = ()
    _process: Process | None = None

    async def start(self) -> None:
        """Start it and return when it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        listen = f"{self.address}:{self.port}"
        self._process = Process(
            name=f"sshd {self.region}",
            argv=(
                sys.executable, "-m", "evac.lab.servers.sshd", "--listen", listen,
                "--host-key", str(self.host_key), "--authorized", str(self.authorized),
            ),
            within=self.within,
            log=self.folder / "sshd.log",
        )  # fmt: skip
        await self._process.start(ready=lambda pid: process.listening(pid, self.port))

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return the server and what it runs for its clients."""
        return self._process.pids() if self._process else ()

    async def stop(self) -> None:
        """Shut it down."""
        if self._process:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL it with what it runs."""
        if self._process:
            await self._process.kill()


class _Server(asyncssh.SSHServer):
    """Allow every forwarding: the client chose this place to look from."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


async def _serve_command(session: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run one command to its end, or to the end of its client."""
    if session.command is None:
        session.stderr.write(b"this server runs commands; it has no shell to talk to\n")
        session.exit(1)
        return
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        session.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(session, child.stdin))
            outputs = (
                group.create_task(_copy(child.stdout, session.stdout)),
                group.create_task(_copy(child.stderr, session.stderr)),
            )
            code = await _ended(child, session)
            if code is None:
                for output in outputs:
                    output.cancel()
            feeding.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    if code is not None:
        session.exit(code if code >= 0 else 128 - code)


async def _ended(child: asyncio.subprocess.Process, session: asyncssh.SSHServerProcess[bytes]) -> int | None:
    """Wait for the command's end, or for the client's; return the exit code, or None when the client is gone."""
    own = asyncio.create_task(child.wait())
    client = asyncio.create_task(session.channel.wait_closed())
    try:
        await asyncio.wait({own, client}, return_when=asyncio.FIRST_COMPLETED)
        return own.result() if own.done() else None
    finally:
        own.cancel()
        client.cancel()


async def _feed(session: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncssh.Error):
        while chunk := await session.stdin.read(_CHUNK):
            stdin.write(chunk)
            await stdin.drain()
    stdin.close()


async def _copy(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    with suppress(OSError, asyncssh.Error):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()


async def serve(*, listen: str, host_key: str, authorized: str) -> None:
    """Serve until SIGTERM."""
    host, _, port = listen.rpartition(":")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with asyncssh.listen(
        host,
        int(port),
        server_factory=_Server,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        process_factory=_serve_command,
        encoding=None,
        keepalive_interval=5,
        keepalive_count_max=3,
        login_timeout=15,
        tcp_keepalive=True,
        compression_algs=[],
        sftp_factory=None,
    ):
        await ended.wait()


def main(argv: Sequence[str]) -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.servers.sshd", description="A region's ssh server.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--host-key", required=True, metavar="FILE")
    parser.add_argument("--authorized", required=True, metavar="FILE", help="public keys that may come in")
    options = parser.parse_args(argv)
    asyncio.run(serve(listen=options.listen, host_key=options.host_key, authorized=options.authorized))


if __name__ == "__main__":
    main(sys.argv[1:])
