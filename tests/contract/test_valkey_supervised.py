"""Valkey that somebody starts again: a real systemd unit with `Restart=always`, and an operator's bad command."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from systemd_host import OWN, VENDOR, SystemdHost, systemd_host
from world_valkey import OLD, OTHER, TARGET, Trio, opened, settings, trio

from evac.core.errors import Indeterminate, Rejected
from evac.core.observation import MemberRole
from evac.core.plan import Verb
from evac.lab.servers import process
from evac.lab.servers.valkey import Member
from evac.ports import Driver

UNIT = "carts.service"
WHILE_RESTARTED_S = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderSystemd:
    """A trio whose primary is a unit of a host, and the driver that goes through its systemd."""

    trio: Trio
    host: SystemdHost
    old: Driver


@asynccontextmanager
async def under_systemd(folder: Path, *, units: Path) -> AsyncIterator[UnderSystemd]:
    async with trio(folder) as made, systemd_host(folder) as host:
        server = made.servers[OLD]
        await server.kill()
        run = shlex.join((str(server.program), str(server.configuration)))
        await host.add_unit(UNIT, folder=units, service=(f"ExecStart={run}",))
        await host.systemctl("start", UNIT)
        control = {"systemd": {"unit": UNIT}}
        known = {**made.settings, OLD: settings(server.port, control=control)}
        driver = await opened(known, OLD, made.keep, place=host.place())
        try:
            await process.until(lambda: _listens(server), what="systemd to start Valkey")
            await made.caught_up()
            yield UnderSystemd(trio=made, host=host, old=driver)
        finally:
            await driver.close()


def _listens(server: Member) -> bool:
    return any(process.listening(pid, server.port) for pid in server.pids())


async def test_a_frozen_primary_is_killed_and_stays_down_until_it_rejoins(tmp_path: Path) -> None:
    async with under_systemd(tmp_path, units=VENDOR) as made:
        assert [finding for finding in await made.old.check() if not finding.ok] == []
        server, stop = made.trio.servers[OLD], made.trio.action(Verb.STOP, OLD, mode="kill")
        process.send(server.pids(), signal.SIGSTOP)
        for _ in range(2):
            assert (await made.old.do(stop)).facts["position"] is None
            await asyncio.sleep(WHILE_RESTARTED_S)
            assert server.pids() == ()
        await made.trio.fence()
        await made.trio.promote()
        await made.trio.do(Verb.FOLLOW, OTHER, primary=TARGET)
        await made.old.do(made.trio.action(Verb.REJOIN, OLD, primary=TARGET))
        state = await made.old.observe()
        assert (state.role, state.upstream) == (MemberRole.STANDBY, TARGET)
        assert await made.host.systemctl("is-active", UNIT) == "active"


async def test_an_undone_stop_starts_the_unit_again(tmp_path: Path) -> None:
    async with under_systemd(tmp_path, units=VENDOR) as made:
        stop = made.trio.action(Verb.STOP, OLD, mode="kill")
        process.send(made.trio.servers[OLD].pids(), signal.SIGSTOP)
        await made.old.do(stop)
        for _ in range(2):
            await made.old.undo(stop)
        await made.trio.caught_up()
        assert (await made.old.observe()).writable


async def test_a_unit_that_cannot_be_masked_is_not_killed_and_check_says_so(tmp_path: Path) -> None:
    """Killed, it would be back a moment later, as a primary."""
    async with under_systemd(tmp_path, units=OWN) as made:
        ill = [finding.remedy for finding in await made.old.check() if not finding.ok]
        assert [f"{OWN}/{UNIT}" in remedy for remedy in ill] == [True]
        server = made.trio.servers[OLD]
        before = server.pids()
        process.send(before, signal.SIGSTOP)
        with pytest.raises(Rejected, match="nothing was stopped"):
            await made.old.do(made.trio.action(Verb.STOP, OLD, mode="kill"))
        assert server.pids() == before


async def test_a_command_that_leaves_it_running_proves_nothing(tmp_path: Path) -> None:
    async with trio(tmp_path) as made:
        server = made.servers[OLD]
        control = {"commands": {"stop": [str(tmp_path / "thaw")], "start": ["false"]}}
        (tmp_path / "thaw").write_text(f"#!/bin/sh\nkill -CONT {server.pids()[0]}\n")
        (tmp_path / "thaw").chmod(0o755)
        driver = await opened({**made.settings, OLD: settings(server.port, control=control)}, OLD, made.keep)
        process.send(server.pids(), signal.SIGSTOP)
        with pytest.raises(Indeterminate, match="who started it again"):
            await driver.do(made.action(Verb.STOP, OLD, mode="kill"))
        await driver.close()
