"""A small host whose process 1 is a real systemd: its own processes, /run and units, the network of this machine.

Intuition: systemd needs to be process 1 of a process namespace, a cgroup tree that is its own, and a /run to talk in;
nothing else of a machine. Nothing of this machine's /etc or /usr is changed: what is written there stands on file
systems of the host's own, which are gone with it.

It takes root, and a kernel that lets a cgroup2 tree be mounted in a namespace: `systemd_host` skips where it cannot.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from entered_place import EnteredPlace

from evac.lab.servers import process
from evac.lab.servers.process import Process, ServerError
from evac.ports import Place

SYSTEMD = "/lib/systemd/systemd"
OWN, VENDOR = Path("/etc/systemd/system"), Path("/usr/local/lib/systemd/system")
"""Where an administrator's units lie, which hide a mask, and where a package's may."""

_BOOT = """set -e
mount -t tmpfs tmpfs /run
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /etc/systemd/system
mount -t tmpfs tmpfs /usr/local/lib
mkdir -p /usr/local/lib/systemd/system
printf '[Unit]\nDefaultDependencies=no\n' > /etc/systemd/system/host.target
exec env -i container=evac PATH="$PATH" {systemd} --system --unit=host.target --log-target=console --show-status=no
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdHost:
    """The host while it runs. `first` is its systemd's process id, seen from here."""

    first: int

    @property
    def enter(self) -> tuple[str, ...]:
        """The words that run a command in it."""
        return ("nsenter", "--target", str(self.first), "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--")

    def place(self, *user: str) -> Place:
        """Return it as a place, as root or as whom the words make one."""
        return EnteredPlace(*self.enter, *user)

    async def systemctl(self, *words: str) -> str:
        """Return what systemctl says, whatever its exit code."""
        done = await self.place().run(("systemctl", *words), timeout=timedelta(seconds=20))
        return (done.out + done.err).decode().strip()

    async def write(self, path: Path, text: str) -> None:
        """Write a file as the host sees it."""
        done = await self.place().run(("tee", str(path)), stdin=text.encode(), timeout=timedelta(seconds=5))
        assert done.code == 0, done.err

    async def add_unit(self, name: str, *, folder: Path, service: Sequence[str]) -> None:
        """Give it a service that is always started again."""
        always = ("Restart=always", "RestartSec=100ms")
        text = "\n".join(("[Unit]", "DefaultDependencies=no", "[Service]", *service, *always, ""))
        await self.write(folder / name, text)
        await self.systemctl("daemon-reload")


@asynccontextmanager
async def systemd_host(folder: Path) -> AsyncIterator[SystemdHost]:
    """Boot a host; nothing of it is left when the context ends."""
    if os.geteuid() != 0 or not Path(SYSTEMD).exists() or shutil.which("nsenter") is None:
        pytest.skip("a private systemd needs root, systemd and util-linux")
    cgroups = _cgroups()
    if cgroups is None:
        pytest.skip("a private systemd needs a cgroup2 tree that can be written")
    own = cgroups / f"evac-{os.getpid()}-{folder.name}"
    own.mkdir()
    booted = Process(
        name="systemd",
        argv=(
            "sh", "-c", f"echo $$ > '{own}/cgroup.procs'; exec \"$@\"", "sh",
            "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
            "--cgroup", "--uts", "--ipc", "--", "sh", "-c", _BOOT.format(systemd=SYSTEMD),
        ),
        log=folder / "systemd.log",
    )  # fmt: skip
    try:
        try:
            await booted.start(ready=lambda pid: bool(_first(pid)))
            host = SystemdHost(first=_first(booted.pid or 0))
            async with asyncio.timeout(process.READY_WAIT_S):
                while await host.systemctl("is-active", "host.target") != "active":
                    await asyncio.sleep(0.05)
        except (ServerError, TimeoutError):
            pytest.skip(f"systemd does not boot in a namespace here: {process.tail(booted.log, lines=3)}")
        yield host
    finally:
        await booted.kill()
        await _removed(own)


def _cgroups() -> Path | None:
    mounted = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next((Path(words[1]) for words in mounted if words[2] == "cgroup2" and os.access(words[1], os.W_OK)), None)


def _first(unshare: int) -> int:
    """Return the process id of the host's process 1 once that is systemd; 0 before."""
    children = process.tree(unshare)[1:2]
    return next((pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"), 0)


async def _removed(cgroup: Path) -> None:
    """Remove a cgroup tree, whose processes the kernel may still be ending."""

    def gone() -> bool:
        try:
            for each in sorted((p for p in cgroup.rglob("*") if p.is_dir()), reverse=True):
                each.rmdir()
            cgroup.rmdir()
        except OSError:
            return not cgroup.exists()
        return True

    await process.until(gone, what=f"{cgroup} to be empty")
