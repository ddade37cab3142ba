"""The command line against a store on etcd: from any folder, one controller, plain words when it is not there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import resources
from pathlib import Path

from etcd_clusters import address, leader, needs_etcd

from evac.lab.servers import etcd, process
from evac.lab.servers.process import Process

pytestmark = needs_etcd

EVAC = (sys.executable, "-c", "from evac.cli import main; main()")
STARTER = resources.files("evac.config") / "estates" / "starter.yaml"


def evac(*words: str | Path) -> tuple[int, str]:
    """Run the command line; return its exit code and all it said."""
    done = subprocess.run([*EVAC, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


async def test_check_warns_of_a_store_that_is_asked_in_plain_text_and_asks_for_nobody(tmp_path: Path) -> None:
    members = etcd.laid_out(tmp_path / "etcd")
    async with etcd.running(members):
        await leader(members)
        url = f"etcd://{','.join(address(members).endpoints)}"
        (tmp_path / "estate.yaml").write_text(STARTER.read_text())
        _, said = await asyncio.to_thread(evac, "check", "--estate", tmp_path / "estate.yaml", "--store", url, "--json")
    assert "is asked in plain text" in said
    assert "asks for no user" in said
    assert "3 of 3 members answer" in said


async def test_whoever_names_the_store_sees_and_tells_the_controller_from_anywhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    members = etcd.laid_out(tmp_path / "etcd")
    async with etcd.running(members):
        await leader(members)
        url = f"etcd://{','.join(address(members).endpoints)}"
        (here / "estate.yaml").write_text(STARTER.read_text())
        (there / "estate.yaml").write_text(STARTER.read_text().replace("\nname:", f"\nstore: {url}\nname:"))
        code, said = await asyncio.to_thread(evac, "status", "--estate", there / "estate.yaml")
        assert code == 4
        assert "start evac serve" in said
        assert not (there / ".evac").exists()
        serving = Process(
            name="evac serve",
            argv=(*EVAC, "serve", "--estate", str(here / "estate.yaml"), "--store", url),
            log=tmp_path / "serve.log",
        )
        try:
            await serving.start(ready=lambda _: "watching my-shop" in process.tail(serving.log, lines=1000))
            code, said = await asyncio.to_thread(evac, "pause", "--estate", there / "estate.yaml")
            assert (code, said) == (0, "automation is off; on again: evac resume\n")
            code, said = await asyncio.to_thread(evac, "serve", "--estate", there / "estate.yaml")
            assert code == 4
            assert "leads this estate already" in said
            code, said = await asyncio.to_thread(evac, "status", "--estate", there / "estate.yaml")
            assert code == 1
            assert "automation is paused" in said
        finally:
            await serving.stop()
    code, said = await asyncio.to_thread(evac, "runs", "--estate", there / "estate.yaml")
    assert code == 4
    assert "look whether a majority of its members runs" in said


def test_a_url_that_is_none_is_the_command_lines_mistake(tmp_path: Path) -> None:
    (tmp_path / "estate.yaml").write_text(STARTER.read_text())
    code, said = evac("runs", "--estate", tmp_path / "estate.yaml", "--store", "etcd://evac:hunter2hunter2@host")
    assert code == 2
    assert "--store: holds a password" in said
    assert "hunter2" not in said
