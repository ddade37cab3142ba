"""What a Valkey's answers prove and what they leave in doubt, and that an undo leads back. Real servers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from world_valkey import OLD, OTHER, TARGET, Trio, opened, trio

from evac.core.errors import Indeterminate, Unavailable
from evac.core.observation import Instant, Json
from evac.core.plan import Action, Verb
from evac.engine.clock import BootClock
from evac.ports import Truth


class Hasty(BootClock):
    """A clock that runs a hundred times as fast, for what waits in vain."""

    def now(self) -> Instant:
        return super().now() * 100

    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / 100)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Trio]:
    async with trio(tmp_path) as three:
        yield three


def after(action: Action, receipt: dict[str, Json] | None) -> Action:
    """The order to undo what gave this receipt, or gave none that anybody knows."""
    return action if receipt is None else replace(action, args={**action.args, "receipt": receipt})


async def test_the_undo_of_a_following_that_was_only_seen_leads_back(made: Trio) -> None:
    driver = made.drivers[OTHER]
    follow = made.action(Verb.FOLLOW, OTHER, primary=TARGET, old=OLD)
    before = await made.state(OTHER)
    receipts: list[dict[str, Json] | None] = [None, {}, {"before": None}, {"before": TARGET}, {"before": OLD}]
    done = await driver.do(follow)
    again = await driver.do(follow)
    seen = (await driver.holds(follow)).receipt
    assert seen is not None
    assert [facts["before"] for facts in (done.facts, again.facts, seen.facts)] == [OLD, OLD, OLD]
    for receipt in (dict(seen.facts), *receipts):
        await driver.do(follow)
        for _ in range(2):
            await driver.undo(after(follow, receipt))
        assert (await made.look(OTHER)).primary == (made.settings[OLD].host, made.settings[OLD].port)
    await made.caught_up()
    assert await made.state(OTHER) == before


async def test_the_undo_of_a_following_that_never_happened_changes_nothing(made: Trio) -> None:
    before = await made.state(OTHER)
    await made.drivers[OTHER].undo(made.action(Verb.FOLLOW, OTHER, primary=TARGET))
    assert await made.state(OTHER) == before


async def test_a_following_without_a_stream_may_have_happened_and_is_not_denied_by_a_look(made: Trio) -> None:
    follow = made.action(Verb.FOLLOW, OTHER, primary=TARGET, old=OLD)
    await made.servers[TARGET].kill()
    driver = await opened(dict(made.settings), OTHER, made.keep, clock=Hasty())
    with pytest.raises(Indeterminate, match="in vain for the stream"):
        await driver.do(follow)
    assert (await driver.holds(follow)).truth is Truth.UNKNOWN
    await driver.undo(follow)
    assert (await driver.holds(follow)).truth is Truth.NO
    assert (await made.look(OTHER)).primary == (made.settings[OLD].host, made.settings[OLD].port)
    await driver.close()


async def test_a_replica_that_has_not_waited_yet_is_in_doubt_not_as_before(made: Trio) -> None:
    refuse = made.action(Verb.REFUSE, TARGET, old=OLD)
    task = asyncio.create_task(made.drivers[TARGET].do(refuse))
    while not (await made.look(TARGET)).detached:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await made.drivers[TARGET].holds(refuse)).truth is Truth.UNKNOWN


async def test_a_new_primary_whose_settings_a_person_changed_is_not_denied_by_a_look(made: Trio) -> None:
    promote = made.action(Verb.PROMOTE, TARGET, sync={"acks": 1, "standbys": [OTHER]}, old=OLD, receipts={})
    await made.drivers[TARGET].do(promote)
    await made.sessions[TARGET].change(("CONFIG", "SET", "min-replicas-to-write", 0))
    held = await made.drivers[TARGET].holds(promote)
    assert (held.truth, "asks for 0 replicas, not 1" in held.reason) == (Truth.UNKNOWN, True)
    await made.drivers[TARGET].do(promote)
    assert (await made.drivers[TARGET].holds(promote)).truth is Truth.YES


async def test_a_server_that_is_loading_its_data_is_told_nothing(made: Trio) -> None:
    """Some of an order's commands may be run meanwhile, and some may not."""
    server, session = made.servers[OTHER], made.sessions[OTHER]
    for number in range(100):
        await made.write(OLD, f"key.{number}", secrets.token_hex(1000))
    await made.caught_up()
    await session.change(("BGREWRITEAOF",))
    while (await session.ask("INFO", "persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.05)
    await server.kill()
    with server.configuration.open("a") as file:
        file.write("key-load-delay 50000\nloading-process-events-interval-bytes 1024\n")
    await server.start()
    with pytest.raises(Unavailable, match="still loading"):
        await made.drivers[OTHER].do(made.action(Verb.FOLLOW, OTHER, primary=TARGET, old=OLD))
    assert (await made.look(OTHER)).notes.term is None
