"""How a lab is spoken to: one line of JSON there, one back, over a socket in the lab's folder.

A path of more than 107 bytes does not fit into a socket's address; so we go through a descriptor of its folder, which
has a short name in `/proc`. The kernel says who listens at the other end: that is how a lab's process is found from
outside, whatever its number is inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evac.core.errors import EvacError
from evac.lab.faults import Fault, FaultKind, Target

ANSWER_WAIT_S = 120.0
_LINE_MAX = 1 << 20


class LabError(EvacError):
    """The lab cannot be reached, or refused: what it said."""


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for a path that fits into a socket's address."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def bind(path: Path) -> Iterator[socket.socket]:
    """Give a socket bound to a path. Only our own user may connect."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, _short(path) as name:
        listening.bind(name)
        path.chmod(0o600)
        yield listening


def connect(path: Path) -> socket.socket:
    """Return a connection to a lab. Raises `LabError` when none is up there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        raise LabError(f"no lab is up in {path.parent} ({error.strerror}); start one: evac lab up") from None
    return connection


def supervisor_pid(path: Path) -> int:
    """Return the process id, as we see it, of the lab that listens at a path."""
    with connect(path) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = int(struct.unpack("3i", credentials)[0])
    if pid == 0:
        raise LabError(f"the lab in {path.parent} lives outside of this process namespace")
    return pid


async def ask(path: Path, order: dict[str, Any], *, wait_s: float = ANSWER_WAIT_S) -> dict[str, Any]:
    """Give a lab an order and return its answer. Raises `LabError`."""
    connection = connect(path)
    connection.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_LINE_MAX)
    try:
        async with asyncio.timeout(wait_s):
            writer.write(json.dumps(order).encode() + b"\n")
            line = await reader.readline()
    except (TimeoutError, OSError) as error:
        raise LabError(f"the lab in {path.parent} did not answer: {str(error) or type(error).__name__}") from None
    finally:
        writer.close()
    if not line:
        raise LabError(f"the lab in {path.parent} ended while it was asked")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise LabError(str(answer["error"]))
    return answer


async def answer(
    obey: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Serve one connection: one order, one answer; an error of the world becomes an answer too."""
    try:
        line = await reader.readline()
        if line:
            try:
                said = await obey(json.loads(line))
            except (EvacError, OSError) as error:
                said = {"error": str(error)}
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
    except OSError:
        pass  # who asked has gone; what was asked is done
    finally:
        writer.close()


def encode_fault(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON can carry it."""
    return {
        "kind": str(fault.kind),
        "region": fault.region,
        "to": fault.to,
        "value": fault.value,
        "what": str(fault.what),
        "at_s": fault.at_s,
    }


def decode_fault(data: dict[str, Any]) -> Fault:
    """Return the fault that `encode_fault` wrote. Raises `LabError`."""
    try:
        return Fault(
            kind=FaultKind(data["kind"]),
            region=str(data["region"]),
            to=data.get("to"),
            value=float(data.get("value") or 0.0),
            what=Target(data.get("what") or Target.DATABASE),
            at_s=data.get("at_s"),
        )
    except (KeyError, ValueError) as error:
        raise LabError(f"not a fault: {error}") from None
