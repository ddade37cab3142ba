"""Run a command at a site of a lab: `python -m evac.lab.enter --dir D --site S -- COMMAND...`, from outside or inside.

It enters the lab's namespaces, then the site's, and stands in for the command: signals are passed on to it, its exit
code is ours, and when we are killed it is killed. Whoever starts a command at a site has a process like any other.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from evac.core.errors import EvacError
from evac.lab.control import LabError, supervisor_pid

_KINDS = {"user": 0x10000000, "mnt": 0x00020000, "ipc": 0x08000000, "pid": 0x20000000}
"""Namespaces in the order in which they must be entered: being root of the first opens the others."""
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LIBC = ctypes.CDLL(None, use_errno=True)


def argv(folder: Path, site: str, command: Sequence[str]) -> tuple[str, ...]:
    """Return the command line that runs a command at a site of the lab in a folder."""
    return (sys.executable, "-m", "evac.lab.enter", "--dir", str(folder), "--site", site, "--", *command)


def enter(pid: int, site: str) -> None:
    """Move this process into a lab's namespaces and a site's network; its children get the process namespace too."""
    here = Path.cwd()
    doors = {}  # all are opened first: once in the lab's mounts, /proc shows other processes
    for kind, flag in _KINDS.items():
        door = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(door).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
            doors[door] = flag
    for door, flag in doors.items():
        _set_namespace(door, flag)
    path = Path("/run/netns") / site
    if not path.exists():
        raise LabError(f"the lab has no site {site}")
    _set_namespace(os.open(path, os.O_RDONLY | os.O_CLOEXEC), _CLONE_NEWNET)
    os.chdir(here)


def _set_namespace(door: int, flag: int) -> None:
    if _LIBC.setns(door, flag) != 0:
        raise LabError(f"cannot enter the lab's namespaces: {os.strerror(ctypes.get_errno())}")


def run(command: Sequence[str]) -> int:
    """Run a command as a child that dies with us; return its exit code as a shell would give it.

    Signals are waited for and not handled: one that comes just before a wait for the child begins would be told of by
    a handler only when that wait is over.
    """
    heard = (*_PASSED_ON, signal.SIGCHLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    child = os.fork()
    if child == 0:
        _become(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the child hears it by itself
    while True:
        got = signal.sigwait(heard)
        if got != signal.SIGCHLD:
            os.kill(child, got)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(command: Sequence[str]) -> None:
    """Be the command, in the child."""
    own = Path(sys.executable).parent  # where `evac` itself is, also in a virtual environment that is not activated
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{own}"
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_PASSED_ON, signal.SIGCHLD))
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    os._exit(127)


def main(arguments: Sequence[str]) -> int:
    """Read the options, enter, and run."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.enter", description="Run a command at a lab's site.")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command")
    try:
        enter(supervisor_pid(options.dir / "control.sock"), options.site)
    except EvacError as error:
        print(error, file=sys.stderr)
        return 125
    return run(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
