"""`python -m evac.watchdog`: become one server's watchdog. The command ends when it listens; the watchdog goes on.

Ends with 3 when another one has the same socket: then that is the watchdog.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from evac.core.watchdog import Watched
from evac.watchdog import device
from evac.watchdog.device import Unfit
from evac.watchdog.serving import Watchdog

ANOTHER = 3
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_OOM_NEVER = "-1000"


def main(argv: Sequence[str]) -> int:
    """Read the options, take the socket, leave the caller's session, and watch."""
    options = _options(argv)
    lock = os.open(f"{options.socket}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ANOTHER
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        return 0 if os.read(told, 1) else 1
    os.setsid()
    folder, name = os.path.split(os.path.abspath(options.socket))
    os.chdir(folder)  # the kernel takes 107 bytes of a socket's address, which a whole path may exceed
    with suppress(FileNotFoundError):
        os.unlink(name)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(name)
    os.chmod(name, 0o600)
    listening.listen()
    try:
        watchdog = _watchdog(options, listening)
    except (Unfit, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    _stand_apart()
    os.write(tell, b"!")
    os.close(tell)
    watchdog.watch()
    return 0


def _watchdog(options: argparse.Namespace, listening: socket.socket) -> Watchdog:
    watched = Watched(
        folder=os.path.realpath(options.folder),
        names=tuple(options.name),
        marker=options.marker,
        leave=tuple(options.leave),
        lock=tuple(options.lock),
    )
    reset = timedelta(seconds=options.reset)
    return Watchdog(
        watched,
        within=timedelta(seconds=options.within),
        reset=reset,
        listening=listening,
        device=device.opened(options.device, reset=reset) if options.device else None,
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evac.watchdog", description="Be a primary's watchdog.")
    parser.add_argument("--socket", required=True, help="where orders come in (a UNIX socket)")
    parser.add_argument("--folder", required=True, help="the folder its processes work in")
    parser.add_argument("--name", action="append", required=True, help="what its processes are called")
    parser.add_argument("--marker", required=True, help="the file that says that only evac may start it")
    parser.add_argument("--leave", action="append", default=[], help="an empty file to make once it is dead")
    parser.add_argument("--within", type=float, required=True, help="kill when the newest renewal is so old (s)")
    parser.add_argument("--reset", type=float, required=True, help="longest time a kill may take (s)")
    parser.add_argument("--device", default="", help="a hardware watchdog, as /dev/watchdog")
    parser.add_argument("--lock", nargs=argparse.REMAINDER, default=[], help="command that locks its supervisor; last")
    return parser.parse_args(argv)


def _stand_apart() -> None:
    """Take nothing from the caller and be the last that the kernel forgets, as far as this user may."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.chdir("/")
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(_OOM_NEVER)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or os.geteuid() == 0:
        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
