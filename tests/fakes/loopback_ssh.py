"""An ssh server on 127.0.0.1 that runs commands as this process's user: the far host of the ssh place's tests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from evac.places.ssh import SshSettings


class _Session(asyncssh.SSHServerSession[bytes]):
    """One channel: `exec` runs the command in a process group; a signal goes to the group."""

    def __init__(self, host: LoopbackHost) -> None:
        self._host = host
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._given = bytearray()
        self._ended = False
        self._command = ""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        self._host.group.create_task(self._serve())

    async def _serve(self) -> None:
        assert self._channel is not None
        pipe = asyncio.subprocess.PIPE
        process = self._process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", self._command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._host.processes.add(process)
        assert process.stdin is not None
        process.stdin.write(bytes(self._given))
        if self._ended:
            process.stdin.close()
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tell(process.stdout, None))
            both.create_task(self._tell(process.stderr, asyncssh.EXTENDED_DATA_STDERR))
        code = await process.wait()
        self._host.processes.discard(process)
        with suppress(OSError):
            self._channel.exit(code) if code >= 0 else self._channel.exit_with_signal("KILL")

    async def _tell(self, stream: asyncio.StreamReader, datatype: int | None) -> None:
        assert self._channel is not None
        while data := await stream.read(65536):
            with suppress(OSError):
                self._channel.write(data, datatype)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self._process is None or self._process.stdin is None:
            self._given += data
        else:
            self._process.stdin.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        return True

    def signal_received(self, signame: str) -> None:
        if self._process is not None:
            _kill(self._process)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


class _Server(asyncssh.SSHServer):
    """A connection: sessions run commands, and forwarding to anywhere is allowed."""

    def __init__(self, host: LoopbackHost) -> None:
        self._host = host

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._host.connections.append(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections = [c for c in self._host.connections if not c.is_closed()]

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return _Session(self._host)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


@dataclass(slots=True)
class LoopbackHost:
    """The server, its connections, and what a test does to it."""

    folder: Path
    group: asyncio.TaskGroup
    port: int = 0
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    processes: set[asyncio.subprocess.Process] = field(default_factory=set)
    _acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        """Listen; on the same port as before when it was stopped."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Server(self),
            server_host_keys=[str(self.folder / "host")],
            authorized_client_keys=str(self.folder / "client.pub"),
            encoding=None,
        )
        self.port = self._acceptor.get_port()

    def stop_listening(self) -> None:
        """Refuse new connections."""
        assert self._acceptor is not None
        self._acceptor.close()

    def drop(self) -> None:
        """Cut every connection, as a reboot of the host would."""
        for connection in self.connections:
            connection.abort()

    def freeze(self) -> None:
        """Let the host stop answering, although its connections stand."""
        for connection in self.connections:
            connection._transport.pause_reading()  # type: ignore[union-attr]

    def settings(self, **changed: object) -> SshSettings:
        """Return the settings that reach this host."""
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        return SshSettings.model_validate(
            {
                "host": "127.0.0.1",
                "port": self.port,
                "user": "evac",
                "key": self.folder / "client",
                "known_hosts": known,
                **changed,
            }
        )


@asynccontextmanager
async def loopback_host(folder: Path) -> AsyncIterator[LoopbackHost]:
    """Give a running server whose keys are in `folder`; nothing of it is left afterwards."""
    for name in ("host", "client"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
    async with asyncio.TaskGroup() as group:
        host = LoopbackHost(folder=folder, group=group)
        await host.start()
        try:
            yield host
        finally:
            host.stop_listening()
            host.drop()
            for process in host.processes:
                _kill(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
