"""A real OpenSSH server on 127.0.0.1, with keys of its own: the far host of the ssh place's tests.

It runs as whoever runs the tests, who is also its only user. As root it gets a /run of its own, because sshd wants a
folder there; nothing of this machine is changed. Its commands have no home, so that no start file of this user's shell
runs, which may take its time, or may not like to be killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from evac.lab.servers import process
from evac.lab.servers.process import Process
from evac.places.ssh import SshSettings

_CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM {pam}
SetEnv HOME=/nonexistent
"""
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_OWN_RUN = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'


@dataclass(slots=True)
class OpensshHost:
    """The server, and what a test does to it."""

    folder: Path
    port: int
    program: str
    more: str = ""
    """Lines of `sshd_config` that differ from what the distribution ships."""
    _process: Process | None = None
    _started: set[int] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; on the same port as before when it was stopped."""
        if self._process is not None:
            await self._process.kill()
        root = os.geteuid() == 0
        configuration = self.folder / "sshd_config"
        text = _CONFIGURATION.format(port=self.port, folder=self.folder, pam="yes" if root else "no")
        configuration.write_text(f"{self.more}\n{text}")
        self._process = Process(
            name="sshd",
            argv=(self.program, "-D", "-e", "-f", str(configuration)),
            within=(*_OWN_MOUNTS, "sh", "-c", _OWN_RUN, "sh") if root else (),
            log=self.folder / "sshd.log",
        )
        await self._process.start(ready=lambda pid: process.listening(pid, self.port))

    def _sessions(self) -> tuple[int, ...]:
        """Every process of a connection: the server's for it, and the commands it runs."""
        listener = self._process.pid if self._process else None
        found = process.tree(listener)[1:] if listener is not None else ()
        self._started.update(found)
        return found

    def stop_listening(self) -> None:
        """Refuse new connections; those that stand go on."""
        self._sessions()
        if self._process is not None and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGKILL)

    def drop(self) -> None:
        """Cut every connection and end its commands, as a reboot would: none lives to tell of another's end."""
        self._sessions()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            process.send(self._started, number)
        self._started.clear()

    def freeze(self) -> None:
        """Let the host stop answering, although its connections stand."""
        process.send(self._sessions(), signal.SIGSTOP)

    def settings(self, **changed: object) -> SshSettings:
        """Return the settings that reach this host."""
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        given = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "key": self.folder / "client",
        }
        return SshSettings.model_validate({**given, "known_hosts": known, **changed})

    async def end(self) -> None:
        """Kill the server and all that it started."""
        self.stop_listening()
        self.drop()
        if self._process is not None:
            await self._process.kill()


def _may_mount() -> bool:
    return subprocess.run([*_OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True).returncode == 0


@asynccontextmanager
async def openssh_host(folder: Path, *, more: str = "") -> AsyncIterator[OpensshHost]:
    """Give a running server whose keys are in `folder`; skips where OpenSSH's server is not installed or cannot run."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("OpenSSH's server is not installed")
    if os.geteuid() == 0 and not _may_mount():
        pytest.skip("OpenSSH's server wants a folder in /run, and root may make no mount namespace here")
    for name in ("host", "client"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
        (folder / name).chmod(0o600)
    host = OpensshHost(folder=folder, port=process.free_ports(1)[0], program=program, more=more)
    try:
        await host.start()
        yield host
    finally:
        await host.end()
