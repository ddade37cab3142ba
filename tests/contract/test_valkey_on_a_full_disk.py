"""What a server that cannot write its configuration file is told: nothing, or that it may have happened. Real servers.

The file's path is taken by a folder, so that CONFIG REWRITE fails as on a full disk, for root too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from world_valkey import OLD, OTHER, PASSWORD, REDIS, TARGET, Trio, opened, settings, trio

from evac.core.errors import Indeterminate, Rejected
from evac.core.observation import Json
from evac.core.plan import Action, Verb
from evac.places.local import LocalPlace
from evac.ports import Driver, Truth

SYNC: Json = {"acks": 1, "standbys": [OTHER]}
ORDERS: Mapping[Verb, tuple[str, Mapping[str, Json]]] = {
    Verb.STOP: (OLD, {"mode": "clean", "target": TARGET}),
    Verb.REFUSE: (OTHER, {"old": OLD}),
    Verb.FOLLOW: (OTHER, {"primary": TARGET, "old": OLD}),
    Verb.PROTECT: (OLD, {"acks": 2, "standbys": [TARGET, OTHER]}),
    Verb.PROMOTE: (TARGET, {"sync": SYNC, "old": OLD, "receipts": {}}),
}
each_order = pytest.mark.parametrize("verb", list(ORDERS))


@pytest.fixture(params=["valkey", REDIS])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trio]:
    async with trio(tmp_path, request.param) as three:
        yield three


def fill(file: Path) -> None:
    """Make writing a file anew fail."""
    file.rename(file.with_suffix(".was"))
    file.mkdir()


def make_room(file: Path) -> None:
    file.rmdir()
    file.with_suffix(".was").rename(file)


class Between(LocalPlace):
    """This host, where something `happens`, once, as a message with a word in it is on its way to a server."""

    def __init__(self, word: bytes, happens: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._word = word
        self.happens = happens

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                if self._word in data and self.happens is not None:
                    self.happens()
                    self.happens = None
                writer.write(data)
            writer.close()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))

        async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
            address: tuple[str, int] = server.sockets[0].getsockname()
            yield address[0], address[1]


@asynccontextmanager
async def through(place: Between, made: Trio, region: str) -> AsyncIterator[Driver]:
    driver = await opened(dict(made.settings), region, made.keep, place=place)
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def filling(made: Trio, region: str) -> AsyncIterator[Driver]:
    """A driver whose server's disk fills up after all that is asked beforehand, as it is told to change something."""
    async with through(Between(b"SETUSER", lambda: fill(made.servers[region].configuration)), made, region) as driver:
        yield driver


async def order(made: Trio, verb: Verb) -> Action:
    """An order that can be carried out now."""
    region, args = ORDERS[verb]
    if verb is Verb.FOLLOW:
        await made.sessions[TARGET].change(("CONFIG", "SET", "min-replicas-to-write", 0))
        await made.sessions[TARGET].change(("REPLICAOF", "NO", "ONE"))
    return made.action(verb, region, 7, **args)


@each_order
async def test_what_could_not_be_written_down_is_refused_before_anything_changes(made: Trio, verb: Verb) -> None:
    action = await order(made, verb)
    region = str(action.region)
    before = await made.look(region)
    fill(made.servers[region].configuration)
    with pytest.raises(Rejected, match="CONFIG REWRITE.*nothing was changed"):
        await made.drivers[region].do(action)
    after = await made.look(region)
    assert (after.notes, after.primary, after.min_replicas, after.is_replica, after.ping_s) == (
        before.notes, before.primary, before.min_replicas, before.is_replica, before.ping_s)  # fmt: skip
    assert (await made.drivers[region].holds(action)).truth is Truth.NO


async def test_a_planned_switch_whose_target_has_no_room_turns_back_to_one_writer(made: Trio) -> None:
    stop = made.action(Verb.STOP, OLD, 7, mode="clean", target=TARGET)
    stopped = dict((await made.drivers[OLD].do(stop)).facts)
    fill(made.servers[TARGET].configuration)
    with pytest.raises(Rejected, match="make room"):
        await made.promote(receipts={"stop": stopped})
    await made.drivers[OLD].undo(stop)
    with pytest.raises(Rejected, match="read only replica"):
        await made.write(TARGET, "second")
    await made.caught_up()
    await made.write(OLD, "first")


@each_order
async def test_what_happened_and_could_not_be_written_down_may_have_happened(made: Trio, verb: Verb) -> None:
    """Until it is written down a restart takes it back, so it is neither refused nor done; then it is, durably."""
    action = await order(made, verb)
    region = str(action.region)
    async with filling(made, region) as driver:
        with pytest.raises(Indeterminate, match="CONFIG REWRITE.*make room"):
            await driver.do(action)
    driver = made.drivers[region]
    assert (await made.look(region)).notes.term == 7
    assert (await driver.holds(action)).truth is Truth.UNKNOWN
    with pytest.raises(Indeterminate, match="make room"):
        await driver.do(action)
    make_room(made.servers[region].configuration)
    await driver.do(action)
    assert (await driver.holds(action)).truth is Truth.YES
    told = await made.look(region)
    await made.servers[region].kill()
    await made.servers[region].start()
    again = await made.look(region)
    assert (again.notes, again.primary, again.min_replicas) == (told.notes, told.primary, told.min_replicas)


async def test_an_undo_that_was_not_written_down_is_not_done(made: Trio) -> None:
    """A primary taken back that would refuse every write after its next restart."""
    stop = made.action(Verb.STOP, OLD, 7, mode="clean", target=TARGET)
    await made.drivers[OLD].do(stop)
    async with filling(made, OLD) as driver:
        with pytest.raises(Indeterminate, match="make room"):
            await driver.undo(stop)
    with pytest.raises(Indeterminate, match="make room"):
        await made.drivers[OLD].undo(stop)
    make_room(made.servers[OLD].configuration)
    await made.drivers[OLD].undo(stop)
    await made.servers[OLD].kill()
    await made.servers[OLD].start()
    assert not (await made.look(OLD)).guarded


async def test_a_refusal_that_may_have_happened_is_not_waited_for_since_an_earlier_one(made: Trio) -> None:
    """Led back by a person in between: the old primary has lived on all the time."""
    place, file = Between(b"SETUSER"), made.servers[TARGET].configuration
    async with through(place, made, TARGET) as driver:
        await driver.do(made.action(Verb.REFUSE, TARGET, 7, old=OLD))
        await made.sessions[TARGET].change(("REPLICAOF", made.settings[OLD].host, made.settings[OLD].port))
        await made.caught_up()
        place.happens = lambda: fill(file)
        later = made.action(Verb.REFUSE, TARGET, 8, old=OLD)
        with pytest.raises(Indeterminate, match="make room"):
            await driver.do(later)
        make_room(file)
        assert (await driver.holds(later)).truth is Truth.UNKNOWN


async def test_a_server_that_falls_silent_as_it_is_asked_again_may_have_stopped_before(made: Trio) -> None:
    place = Between(b"REWRITE")
    async with through(place, made, OLD) as driver:
        stop = made.action(Verb.STOP, OLD, 7, mode="clean", target=TARGET)
        await driver.do(stop)
        place.happens = made.servers[OLD].freeze
        with pytest.raises(Indeterminate, match="no answer"):
            await driver.do(stop)
        made.servers[OLD].thaw()


async def test_notes_that_cannot_be_saved_in_an_acl_file_are_refused_before_anything_changes(made: Trio) -> None:
    server = made.servers[TARGET]
    users = server.folder / "users.acl"
    users.write_text(f"user default on >{PASSWORD} ~* &* +@all\n")
    await server.kill()
    kept = [line for line in server.configuration.read_text().splitlines() if not line.startswith(("user ", "require"))]
    server.configuration.write_text("\n".join([*kept, f"aclfile {users}\n"]))
    await server.start()
    await made.caught_up()
    refuse = made.action(Verb.REFUSE, TARGET, 7, old=OLD)
    fill(users)
    with pytest.raises(Rejected, match="ACL SAVE.*nothing was changed"):
        await made.drivers[TARGET].do(refuse)
    look = await made.look(TARGET)
    assert (look.notes.term, look.detached) == (None, False)
    make_room(users)
    await made.drivers[TARGET].do(refuse)
    await server.kill()
    await server.start()
    look = await made.look(TARGET)
    assert (look.notes.term, look.detached) == (7, True)


async def test_where_one_command_is_denied_none_is_carried_out(made: Trio) -> None:
    weak = ("ACL", "SETUSER", "weak", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-replicaof")
    await made.sessions[TARGET].change(weak)
    known = {**made.settings, TARGET: settings(made.servers[TARGET].port, username="weak")}
    driver = await opened(known, TARGET, made.keep)
    with pytest.raises(Rejected, match="REPLICAOF.*nothing was changed"):
        await driver.do(made.action(Verb.PROMOTE, TARGET, 7, sync={"acks": 0, "standbys": []}, old=OLD, receipts={}))
    look = await made.look(TARGET)
    assert (look.notes.term, look.min_replicas) == (None, 1)
    await driver.close()
