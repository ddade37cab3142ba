"""What Valkey and Redis really do: a planned switch loses nothing, a cut-off primary starves, orphans are listed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError
from world_valkey import OLD, OTHER, PASSWORD, REDIS, TARGET, Trio, opened, settings, trio

from evac.core.errors import Rejected, Unavailable
from evac.core.observation import Json, MemberRole
from evac.core.plan import Verb
from evac.drivers.valkey.settings import ValkeySettings
from evac.lab.servers import process
from evac.ports import Truth


@pytest.fixture(params=["valkey", REDIS])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trio]:
    async with trio(tmp_path, request.param) as three:
        yield three


@dataclass(slots=True)
class Writer:
    """A client that writes one key after the other to one server, and remembers each acknowledgement."""

    port: int
    name: str
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0

    async def run(self) -> None:
        # with a socket_timeout the client may swallow its own cancellation (see the driver's session)
        client = Valkey(host="127.0.0.1", port=self.port, password=PASSWORD, socket_timeout=None)
        try:
            for number in range(1_000_000):
                key = f"{self.name}.{number}"
                try:
                    await client.set(key, "1")
                    self.acknowledged.append(key)
                except ValkeyError:
                    self.refused += 1
                await asyncio.sleep(0.001)
        finally:
            await client.aclose()


async def switched(made: Trio) -> dict[str, Json]:
    """The steps of a planned switch up to the promotion, in a plan's order; returns the promotion's receipt."""
    await made.do(Verb.PREPARE, OLD, target=TARGET)
    stopped = dict(await made.do(Verb.STOP, OLD, mode="clean", target=TARGET))
    return dict(await made.promote(receipts={"stop": stopped}))


async def test_a_planned_switch_loses_no_acknowledged_write_and_copies_nothing_anew(made: Trio) -> None:
    writers = [Writer(made.servers[OLD].port, f"w{n}") for n in range(4)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.run()) for writer in writers]
        while not all(len(writer.acknowledged) > 100 for writer in writers):
            await asyncio.sleep(0.01)
        promoted = await switched(made)
        while not all(writer.refused for writer in writers):
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
    await made.do(Verb.FOLLOW, OTHER, primary=TARGET)
    await made.do(Verb.VERIFY, TARGET, write=True)
    facts = await made.do(Verb.REJOIN, OLD, primary=TARGET, receipts={"promote": promoted})
    assert (facts["method"], facts["orphans"], facts["lost_bytes"]) == ("follow", 0, 0)
    acknowledged = [key for writer in writers for key in writer.acknowledged]
    missing = [key for key in acknowledged if await made.read(TARGET, key) is None]
    assert missing == []
    assert (await made.sessions[TARGET].ask("INFO", "stats"))["sync_full"] == 0
    assert (await made.drivers[OLD].observe()).upstream == TARGET


async def test_a_stopped_primary_stays_stopped_across_a_restart_and_can_be_taken_back(made: Trio) -> None:
    await made.do(Verb.STOP, OLD, mode="clean")
    await made.servers[OLD].kill()
    await made.servers[OLD].start()
    assert (await made.drivers[OLD].observe()).role is MemberRole.STOPPED
    assert (await made.drivers[OLD].holds(made.action(Verb.STOP, OLD, mode="clean"))).truth is Truth.YES
    with pytest.raises(Rejected, match="NOREPLICAS"):
        await made.write(OLD, "late")
    await made.drivers[OLD].undo(made.action(Verb.STOP, OLD, mode="clean"))
    await made.caught_up()
    await made.write(OLD, "again")


async def test_a_primary_whose_replicas_turned_away_acknowledges_nothing_once_starved(made: Trio) -> None:
    """The primary is alive and has clients: what it still takes lies before the receipts."""
    writer = Writer(made.servers[OLD].port, "w")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(writer.run())
        receipts = await made.fence()
        taken = len(writer.acknowledged)
        refused = writer.refused
        while writer.refused < refused + 100:
            await asyncio.sleep(0.01)
        task.cancel()
    assert len(writer.acknowledged) == taken
    first = receipts["refuse:a"]
    assert isinstance(first, dict)
    assert first["waited_s"] == pytest.approx(4.3)


async def test_a_refusal_survives_a_restart_and_is_waited_for_anew_by_another_driver(made: Trio) -> None:
    await made.fence()
    await made.servers[TARGET].kill()
    await made.servers[TARGET].start()
    look = await made.look(TARGET)
    assert (look.detached, look.notes.term, look.notes.state) == (True, 7, "refusing")
    refusal = made.action(Verb.REFUSE, TARGET, old=OLD)
    assert (await made.drivers[TARGET].holds(refusal)).truth is Truth.YES
    stranger = await opened(dict(made.settings), TARGET, made.keep)
    assert (await stranger.holds(refusal)).truth is Truth.UNKNOWN
    await stranger.close()


async def test_what_only_the_other_replica_has_is_borrowed_before_promotion(made: Trio) -> None:
    target = made.sessions[TARGET]
    await target.change(("REPLICAOF", "127.0.0.1", 1))
    for number in range(50):
        await made.write(OLD, f"late.{number}")
    goal = (await made.look(OLD)).offset
    while (await made.look(OTHER)).offset < goal:
        await asyncio.sleep(0.01)
    receipts = await made.fence()
    facts = await made.do(Verb.CATCH_UP, TARGET, receipts=receipts)
    assert facts["from"] == OTHER
    assert (await made.look(TARGET)).detached
    assert (await made.look(OTHER)).detached
    await made.promote()
    await made.do(Verb.FOLLOW, OTHER, primary=TARGET)
    assert await made.read(TARGET, "late.49") == "1"
    assert (await target.ask("INFO", "stats"))["sync_full"] == 0
    await made.do(Verb.VERIFY, TARGET, write=True)


async def test_the_writes_that_only_a_cut_off_primary_has_are_listed_one_by_one(made: Trio) -> None:
    await asyncio.gather(*(made.sessions[region].change(("REPLICAOF", "127.0.0.1", 1)) for region in (TARGET, OTHER)))
    await made.sessions[OLD].change(("CONFIG", "SET", "min-replicas-to-write", 0))
    written = [f"orphan.{number}" for number in range(37)]
    for key in written:
        await made.write(OLD, key, "x\r\ny")
    await made.fence()
    await made.promote()
    await made.do(Verb.FOLLOW, OTHER, primary=TARGET)
    await made.do(Verb.STOP, OLD, mode="kill")
    facts = await made.do(Verb.REJOIN, OLD, primary=TARGET)
    assert (facts["orphans"], facts["orphans_exact"], facts["method"]) == (37, True, "clone")
    lines = [json.loads(line) for line in Path(str(facts["orphans_file"])).read_text().splitlines()]
    assert [line["command"] for line in lines] == [["SET", key, "x\r\ny"] for key in written]
    assert await made.read(OLD, "orphan.0") is None
    again = await made.do(Verb.REJOIN, OLD, primary=TARGET)
    assert again == facts


async def test_a_primary_that_forgot_its_place_keeps_a_copy_of_its_data(made: Trio) -> None:
    await made.write(OLD, "kept")
    await made.servers[OLD].kill()
    await made.fence()
    await made.promote()
    await made.do(Verb.FOLLOW, OTHER, primary=TARGET)
    with pytest.raises(Unavailable, match="is it running"):
        await made.do(Verb.REJOIN, OLD, primary=TARGET)
    await made.servers[OLD].start()
    facts = await made.do(Verb.REJOIN, OLD, primary=TARGET)
    assert (facts["lost_bytes"], facts["orphans_exact"], facts["method"]) == (None, False, "clone")
    assert Path(str(facts["orphans_file"])).read_bytes().startswith((b"REDIS", b"VALKEY"))


async def test_a_frozen_primary_is_killed_if_told_how(made: Trio) -> None:
    server = made.servers[OLD]
    (pid,) = server.pids()
    control: Json = {"commands": {"stop": ["kill", "-9", str(pid)], "start": ["false"]}}
    known = made.settings[OLD].model_dump(exclude={"password", "replicas_lag_max", "resync_max", "control"})
    told = ValkeySettings.parse({**known, "password": {"value": PASSWORD}, "control": control})
    driver = await opened({**made.settings, OLD: told}, OLD, made.keep)
    process.send(server.pids(), signal.SIGSTOP)
    with pytest.raises(Unavailable, match="no answer within 2 s"):
        await made.drivers[OLD].do(made.action(Verb.STOP, OLD, mode="kill"))
    receipt = await driver.do(made.action(Verb.STOP, OLD, mode="kill"))
    assert receipt.facts["position"] is None
    await process.until(lambda: not server.pids(), what="it to be gone")  # SIGKILL is sent before it has ended
    await driver.close()


async def test_undoing_a_refusal_goes_on_where_it_was_without_a_new_copy(made: Trio) -> None:
    copies = (await made.sessions[OLD].ask("INFO", "stats"))["sync_full"]
    await made.fence()
    await made.drivers[TARGET].undo(made.action(Verb.REFUSE, TARGET, old=OLD))
    await made.drivers[OTHER].undo(made.action(Verb.REFUSE, OTHER, old=OLD))
    await made.caught_up()
    await made.write(OLD, "again")
    await made.caught_up()
    assert await made.read(TARGET, "again") == "1"
    assert (await made.sessions[OLD].ask("INFO", "stats"))["sync_full"] == copies


async def test_check_names_a_fence_that_would_not_work(made: Trio) -> None:
    await made.sessions[OLD].change(("CONFIG", "SET", "min-replicas-to-write", 0))
    await made.sessions[OLD].change(("CONFIG", "SET", "min-replicas-max-lag", 9))
    ill = [finding.what for finding in await made.drivers[OLD].check() if not finding.ok]
    assert ["min-replicas-max-lag 9, declared are 2 s" in ill[0], "min-replicas-to-write 0" in ill[1]] == [True, True]


async def test_a_user_with_the_rights_that_are_asked_for_may_act(made: Trio) -> None:
    rights = ("~*", "+@admin", "+@read", "+@write", "+@transaction", "+info")
    await made.sessions[OLD].change(("ACL", "SETUSER", "evac", "on", f">{PASSWORD}", *rights))
    known = {**made.settings, OLD: settings(made.servers[OLD].port, username="evac")}
    driver = await opened(known, OLD, made.keep)
    assert [finding for finding in await driver.check() if not finding.ok] == []
    await driver.do(made.action(Verb.STOP, OLD, mode="clean", target=TARGET))
    await driver.close()
    await made.sessions[OLD].change(("ACL", "SETUSER", "evac", "-multi"))
    driver = await opened(known, OLD, made.keep)
    assert [finding.what.split()[-1] for finding in await driver.check() if not finding.ok] == ["MULTI"]
    await driver.close()
