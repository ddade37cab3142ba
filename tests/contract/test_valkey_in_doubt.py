"""What a Valkey's answers prove and what they leave in doubt, and that an undo leads back. Real servers."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from world_valkey import OLD, OTHER, TARGET, Trio, opened, settings, trio

from evac.core.errors import Indeterminate, Rejected, Unavailable
from evac.core.observation import Instant, Json
from evac.core.plan import Action, Verb
from evac.drivers.valkey.notes import Notes
from evac.drivers.valkey.session import GUARD
from evac.engine.clock import BootClock
from evac.lab.servers import process
from evac.ports import Truth


class Hasty(BootClock):
    """A clock that runs a hundred times as fast, for what waits in vain."""

    def now(self) -> Instant:
        return super().now() * 100

    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / 100)


class Meanwhile(BootClock):
    """A clock whose sleeper misses something."""

    def __init__(self, made: Trio, *missed: tuple[str | int, ...]) -> None:
        self._made = made
        self._missed = missed

    async def sleep(self, duration: timedelta) -> None:
        for command in self._missed:
            await self._made.sessions[TARGET].change(command)
        await super().sleep(duration)


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


async def test_a_replica_that_was_led_back_while_it_waited_gives_no_receipt(made: Trio) -> None:
    back = ("REPLICAOF", made.settings[OLD].host, made.settings[OLD].port)
    driver = await opened(dict(made.settings), TARGET, made.keep, clock=Meanwhile(made, back))
    refuse = made.action(Verb.REFUSE, TARGET, old=OLD)
    with pytest.raises(Indeterminate, match="no longer does"):
        await driver.do(refuse)
    assert (await driver.holds(refuse)).truth is Truth.NO
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


async def test_the_undo_of_a_refusal_takes_back_what_the_replica_lends(made: Trio) -> None:
    before = await made.state(TARGET)
    refuse = made.action(Verb.REFUSE, TARGET, old=OLD)
    await made.drivers[TARGET].do(refuse)
    guard = ("CONFIG", "SET", "min-replicas-to-write", GUARD)
    await made.sessions[TARGET].keep(Notes(term=refuse.term, state="lending"), guard, ("REPLICAOF", "NO", "ONE"))
    for _ in range(2):
        await made.drivers[TARGET].undo(refuse)
    await made.caught_up()
    assert await made.state(TARGET) == before


async def test_the_undo_of_a_refusal_does_not_believe_a_primary(made: Trio) -> None:
    refuse = made.action(Verb.REFUSE, TARGET, old=OLD)
    await made.drivers[TARGET].do(refuse)
    await made.sessions[TARGET].keep(Notes(term=refuse.term), ("REPLICAOF", "NO", "ONE"))
    with pytest.raises(Rejected, match="is a primary now"):
        await made.drivers[TARGET].undo(refuse)


async def test_a_new_primary_whose_settings_a_person_changed_is_not_denied_by_a_look(made: Trio) -> None:
    promote = made.action(Verb.PROMOTE, TARGET, sync={"acks": 1, "standbys": [OTHER]}, old=OLD, receipts={})
    await made.drivers[TARGET].do(promote)
    await made.sessions[TARGET].change(("CONFIG", "SET", "min-replicas-to-write", 0))
    held = await made.drivers[TARGET].holds(promote)
    assert (held.truth, "asks for 0 replicas, not 1" in held.reason) == (Truth.UNKNOWN, True)
    await made.drivers[TARGET].do(promote)
    assert (await made.drivers[TARGET].holds(promote)).truth is Truth.YES


async def test_a_frozen_primary_that_a_command_did_not_end_is_not_taken_for_stopped(made: Trio) -> None:
    """It would take writes as it wakes up."""
    server = made.servers[OLD]
    told = settings(server.port, control={"commands": {"stop": ["true"], "start": ["false"]}})
    driver = await opened({**made.settings, OLD: told}, OLD, made.keep)
    process.send(server.pids(), signal.SIGSTOP)
    with pytest.raises(Indeterminate, match="nothing says that the command ended it"):
        await driver.do(made.action(Verb.STOP, OLD, mode="kill"))
    await driver.close()


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
