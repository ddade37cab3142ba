"""Which member of a cluster is asked, by servers on loopback that answer, or do not, as a test wants them to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from evac.stores.etcd.address import EtcdAddress
from evac.stores.etcd.members import Members
from evac.stores.etcd.wire import RANGE
from fakes.scripted import PATIENCE, Scripted

PATIENT = replace(PATIENCE, attempt=timedelta(seconds=1))
"""Long beside a pause that a busy machine makes, as who answers first is what these tests are about."""


@asynccontextmanager
async def asking(*scripted: Scripted) -> AsyncIterator[Members]:
    """Serve members, the nearest first, and give what asks them."""
    servers = [await asyncio.start_server(each.answer, "127.0.0.1", 0) for each in scripted]
    endpoints = tuple(f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers)
    members = Members(EtcdAddress(endpoints=endpoints, namespace="evac"), patience=PATIENT, chance=random.Random(1))
    try:
        yield members
    finally:
        await members.close()
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_questions_that_fail_together_are_one_failure_and_do_not_lose_the_nearest_member() -> None:
    near = Scripted(silent=True, status_after=timedelta(milliseconds=100))
    far = Scripted(status_after=timedelta(seconds=60))
    async with asking(near, far) as members:
        nearest = members.current
        questions = [asyncio.create_task(members.ask(RANGE, {})) for _ in range(3)]
        while near.asked < len(questions):
            await asyncio.sleep(0.01)
        near.silent = False
        assert all([(await question).unanswered == 1 for question in questions])
        assert members.current == nearest
        assert far.asked == 0


async def test_a_member_that_says_it_is_well_and_fails_again_and_again_is_left() -> None:
    near, far = Scripted(silent=True), Scripted(status_after=timedelta(milliseconds=500))
    async with asking(near, far) as members:
        nearest = members.current
        answer = await members.ask(RANGE, {})
        assert answer.unanswered >= 2
        assert members.current != nearest
        assert far.asked == 1
