"""Members of a cluster that are asked over TLS, by servers on loopback: one breaks what it says; files are renewed."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from evac.lab.servers.authority import Authority, Certificate
from evac.stores.etcd.address import EtcdAddress
from evac.stores.etcd.members import Members
from evac.stores.etcd.streams import Pulse, Stream
from evac.stores.etcd.wire import RANGE
from evac.stores.urls import Tls
from fakes.scripted import PATIENCE, Scripted
from fakes.tls import Breaking, Breaks, shown

LONG = replace(PATIENCE, attempt=timedelta(seconds=10))
"""For machines that have much else to do: nobody is silent here."""
FILES = ("ca.pem", "evac.pem", "evac.key")


@asynccontextmanager
async def asking(folder: Path, *servers: tuple[Scripted | Breaking, ssl.SSLContext | None]) -> AsyncIterator[Members]:
    """Serve members, the nearest first, and give what asks them by the certificates in a folder."""
    started = [await asyncio.start_server(each.answer, "127.0.0.1", 0, ssl=context) for each, context in servers]
    endpoints = tuple(f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in started)
    tls = Tls(ca=folder / "ca.pem", certificate=folder / "evac.pem", key=folder / "evac.key")
    members = Members(
        EtcdAddress(endpoints=endpoints, namespace="evac", tls=tls), patience=LONG, chance=random.Random(1)
    )
    try:
        yield members
    finally:
        await members.close()
        for server in started:
            server.close()
            await server.wait_closed()


def signed(folder: Path) -> Certificate:
    """Return what servers show, of a new authority in a folder that has clients' files too."""
    authority = Authority.found(folder)
    authority.sign("evac", address="127.0.0.1")
    return authority.sign("etcd", address="127.0.0.1")


@pytest.mark.parametrize("breaks", ["handshake", "answer", "middle"])
async def test_a_member_that_breaks_tls_is_left_for_another(breaks: Breaks, tmp_path: Path) -> None:
    context = shown(signed(tmp_path))
    async with asking(tmp_path, (Breaking(context=context, breaks=breaks), None), (Scripted(), context)) as members:
        answer = await members.ask(RANGE, {})
        assert answer.unanswered > 0
        assert members.current == members.address.endpoints[1]


@pytest.mark.parametrize("breaks", ["answer", "middle"])
async def test_a_stream_that_breaks_in_the_middle_is_taken_up_elsewhere(breaks: Breaks, tmp_path: Path) -> None:
    context = shown(signed(tmp_path))
    async with asking(
        tmp_path, (Breaking(context=context, breaks=breaks), None), (Scripted(silent=True), context)
    ) as members:
        stream = Stream(members=members, root="evac/", prefix="n/", after=0, pulse=Pulse(key="evac/pulse"))
        stream.join()
        running = asyncio.create_task(stream.run())
        async with asyncio.timeout(20):
            while members.current != members.address.endpoints[1] and not running.done():
                await asyncio.sleep(0.01)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])


def placed(folder: Path, source: Path, *names: str) -> None:
    """Put files in others' places, as who renews certificates does."""
    for name in names:
        shutil.copy(source / name, folder / f"{name}.new")
        (folder / f"{name}.new").rename(folder / name)


async def answers(members: Members, member: str) -> bool:
    """Whether a member answers, on a connection that stands or a new one: one may just have been closed."""
    return any([await members.ask_member(member, RANGE, {}) is not None for _ in range(3)])


async def test_certificates_that_were_renewed_are_shown_and_trusted_by_the_next_connection(tmp_path: Path) -> None:
    old, new = signed(tmp_path / "old"), signed(tmp_path / "new")
    (tmp_path / "keys").mkdir()
    placed(tmp_path / "keys", tmp_path / "old", *FILES)
    servers = (Scripted(), shown(old, asks=True)), (Scripted(), shown(new, asks=True))
    async with asking(tmp_path / "keys", *servers) as members:
        before, after = members.address.endpoints
        assert await answers(members, before)
        assert not await answers(members, after)
        placed(tmp_path / "keys", tmp_path / "new", *FILES)
        assert await answers(members, after)
        assert await answers(members, before), "a connection that stands goes on"
        servers[0][0].hang_up()
        assert not await answers(members, before), "what is trusted no longer is not trusted"


@pytest.mark.parametrize("half", ["evac.pem", "ca.pem"])
async def test_files_that_are_half_renewed_change_nothing_until_all_are(half: str, tmp_path: Path) -> None:
    old, new = signed(tmp_path / "old"), signed(tmp_path / "new")
    (tmp_path / "keys").mkdir()
    placed(tmp_path / "keys", tmp_path / "old", *FILES)
    servers = (Scripted(), shown(old, asks=True)), (Scripted(), shown(new, asks=True))
    async with asking(tmp_path / "keys", *servers) as members:
        before, after = members.address.endpoints
        if half == "ca.pem":
            (tmp_path / "keys" / half).write_bytes(b"")
        else:
            placed(tmp_path / "keys", tmp_path / "new", half)  # its key is still to come
        for _ in range(2):
            assert await answers(members, before)
            servers[0][0].hang_up()
        placed(tmp_path / "keys", tmp_path / "new", *FILES)
        assert await answers(members, after)
