"""A lab as a value in a program: up, faults, commands at its sites, down. The demo, the bench and the CLI rest on it.

    async with world.lab(folder, mode="sync") as lab:
        fault = await lab.fault("power", "us-east-1")      # fault.at_s: when it took effect, boot time
        process = subprocess.Popen(lab.command("clients", "python", "-m", "evac.lab.clients", ...))
        await lab.heal("us-east-1")

Boot time (`faults.boot_s`) is one clock for all processes of the machine, also those at the lab's sites.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evac.lab import control, enter
from evac.lab.control import LabError
from evac.lab.faults import Fault, FaultKind, Target
from evac.lab.layout import Form, Mode

UP_WAIT_S = 90.0
DOWN_WAIT_S = 20.0
_POLL_S = 0.05

_NAMESPACES = (
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--fork",
    "--mount-proc",
    "--kill-child",
)
_FIRST_PROCESS = 'exec 3<&0; "$@" <&3 3<&- & exec 3<&-; wait $!'
"""The first process of the lab's process namespace: it waits for the supervisor, and takes in orphans until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What a heal did. `at_s`: when the network was whole; `done_s`: when all was booted. `problems`: what was not."""

    faults: tuple[Fault, ...]
    at_s: float
    done_s: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up in `folder`."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    """The lab's outermost process, when it was started here."""

    @property
    def estate(self) -> Path:
        """The estate file that evac is given."""
        return self.folder / "estate.yaml"

    async def status(self) -> dict[str, Any]:
        """Return what there is: servers by region, faults that are on, what the WAN has seen."""
        return await control.ask(self._socket, {"do": "status"})

    async def fault(
        self,
        kind: FaultKind | str,
        region: str,
        *,
        to: str | None = None,
        value: float = 0.0,
        what: Target | str = Target.DATABASE,
    ) -> Fault:
        """Bring a fault about; return it with the instant at which it took effect. Raises `LabError`."""
        wanted = control.decode_fault({"kind": kind, "region": region, "to": to, "value": value, "what": what})
        said = await control.ask(self._socket, {"do": "fault", "fault": control.encode_fault(wanted)})
        return control.decode_fault(said["fault"])

    async def heal(self, region: str | None = None) -> Healed:
        """End the faults of a region (default: all), and boot what they killed."""
        said = await control.ask(self._socket, {"do": "heal", "region": region})
        return Healed(
            faults=tuple(control.decode_fault(f) for f in said["healed"]),
            at_s=said["at_s"],
            done_s=said["done_s"],
            problems=tuple(said["problems"]),
        )

    def command(self, site: str, *command: str) -> tuple[str, ...]:
        """Return the command line that runs a command at a site; see `enter` for its signals and its end."""
        return enter.argv(self.folder, site, command)

    async def down(self) -> None:
        """End the lab and everything in it; return when nothing of it runs any more."""
        first = _parent(control.supervisor_pid(self._socket))  # the kernel ends it after all others
        await control.ask(self._socket, {"do": "down"})
        deadline = time.monotonic() + DOWN_WAIT_S
        while not _ended(first):
            if time.monotonic() > deadline:
                os.kill(first, signal.SIGKILL)
            await asyncio.sleep(_POLL_S)
        if self._process is not None:
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    @property
    def _socket(self) -> Path:
        return self.folder / "control.sock"


def at(folder: Path) -> Lab:
    """Return the lab in a folder. Raises `LabError` when none is up there."""
    lab = Lab(folder.resolve())
    control.connect(lab.folder / "control.sock").close()
    return lab


async def up(
    folder: Path,
    *,
    file: Path | None = None,
    mode: Mode = "sync",
    form: Form = "embedded",
    tied: bool = False,
) -> Lab:
    """Bring a lab up in a folder, and return when all its servers are ready.

    With `tied` it ends when this process does, however that ends. Raises `LabError` with the end of its log.
    """
    folder = _free_folder(folder)
    process = _start(folder, file=file, mode=mode, form=form, tied=tied)
    try:
        async with asyncio.timeout(UP_WAIT_S):
            while not _answers(folder):
                if process.poll() is not None:
                    raise LabError(f"the lab did not come up; its log {folder / 'lab.log'} ends with:\n{_tail(folder)}")
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        _give_up(process)
        raise LabError(f"the lab was not up after {UP_WAIT_S:.0f} s; its log: {folder / 'lab.log'}") from None
    except BaseException:
        _give_up(process)
        raise
    return Lab(folder, process)


def _free_folder(folder: Path) -> Path:
    """Return a folder, made if need be, in which no lab is up."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if _answers(folder):
        raise LabError(f"a lab is up in {folder} already; take it down first: evac lab down --dir {folder}")
    return folder


def _answers(folder: Path) -> bool:
    try:
        control.connect(folder / "control.sock").close()
    except LabError:
        return False
    return True


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """Kill a lab that is not to be: all of it dies with its outermost process."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _start(folder: Path, *, file: Path | None, mode: Mode, form: Form, tied: bool) -> subprocess.Popen[bytes]:
    if shutil.which("unshare") is None or shutil.which("ip", path=_path()) is None:
        raise LabError("the lab needs `unshare` (util-linux) and `ip` (iproute2); install them")
    options = ["--dir", str(folder), "--mode", mode, "--form", form]
    options += ["--estate", str(file.resolve())] if file else []
    options += ["--tied"] if tied else []
    supervisor = (sys.executable, "-m", "evac.lab.supervisor", *options)
    with (folder / "lab.log").open("wb") as log:
        return subprocess.Popen(
            ["unshare", *_NAMESPACES, "--", "sh", "-c", _FIRST_PROCESS, "lab", *supervisor],
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PATH": _path()},
        )


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _tail(folder: Path, lines: int = 20) -> str:
    return "\n".join((folder / "lab.log").read_text(errors="replace").splitlines()[-lines:])


def _ended(pid: int) -> bool:
    """Say whether a process is gone (a zombie is)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@asynccontextmanager
async def lab(
    folder: Path, *, file: Path | None = None, mode: Mode = "sync", form: Form = "embedded"
) -> AsyncIterator[Lab]:
    """Run a lab for as long as the context lives; it also ends when this process is killed."""
    running = await up(folder, file=file, mode=mode, form=form, tied=True)
    try:
        yield running
    finally:
        await running.down()
