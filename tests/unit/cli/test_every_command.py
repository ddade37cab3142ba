"""What holds for every command, found by walking them: help, JSON, and streams that somebody else closes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import typer

from evac.cli import app
from evac.config import load
from evac.daemon import open_store, running
from evac.engine.clock import BootClock
from evac.engine.codec import encode
from fakes.commands import EVAC, evac
from fakes.opening import open_run
from fakes.shapes import shapes

STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
OTHERS_SPEAK = {"lab shell", "lab exec"}
"""Commands that become another one, whose output is its own."""
JSON_BY_NATURE = {"schema"}


REFUSED_WHERE_NOTHING_ANSWERS = (
    ("resolve",),
    ("approve",),
    ("shift", "--yes"),
    ("failback", "--yes"),
    ("rejoin", "paris"),
    ("degrade", "berlin", "--yes"),
)


def walked(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command below one, with the words it is called by."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(names), command
    else:
        for name, each in below.items():
            yield from walked(each, *names, name)


COMMANDS = dict(walked(typer.main.get_command(app)))


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Path:
    file = tmp_path / "estate.yaml"
    file.write_text(STARTER.read_text())
    return file


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_prints_does_so_for_machines_too(name: str) -> None:
    flags = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
    assert ("--json" in flags) is (name not in OTHERS_SPEAK | JSON_BY_NATURE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_each_of_its_parameters_says_what_it_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert len(command.get_short_help_str(limit=200)) <= 63, "a list of commands shows no more"
    assert [p.name for p in command.params if not getattr(p, "help", "")] == []


@pytest.mark.parametrize("words", [(), ("lab",)])
def test_without_a_command_it_says_which_there_are(words: tuple[str, ...]) -> None:
    done = evac(*words)
    assert done.returncode == 2
    for name in COMMANDS:
        *before, last = name.split()
        assert tuple(before) != words or last in done.stdout + done.stderr


def test_a_slip_of_the_pen_is_understood() -> None:
    done = evac("stauts")
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


def test_it_says_which_evac_it_is() -> None:
    assert evac("--version").stdout.startswith("evac ")


async def test_what_reads_prints_one_document(estate: Path) -> None:
    plan, clock = shapes()[0].plan, BootClock()
    async with open_store(estate.parent / ".evac") as store:
        await store.commit(expect={}, put={f"placement/{plan.group}": encode(plan.before)})
        run = await open_run(
            plan, store=store, clock=clock, decided_by="alice", symptom_at=clock.now(), decision={}, request=None
        )
    for words in (("check", "--offline"), ("runs",), ("report", run)):
        done = await asyncio.to_thread(evac, *words, "--estate", estate, "--json")
        assert json.loads(done.stdout), words
    assert json.loads(evac("schema").stdout)["type"] == "object"
    assert json.loads(evac("init", estate.parent / "new.yaml", "--json").stdout) == {
        "wrote": str(estate.parent / "new.yaml")
    }


async def test_what_tells_a_controller_prints_one_document(estate: Path) -> None:
    """The starter's hosts are nobody's: nothing answers, and automation can be paused all the same."""
    async with running(
        load(estate), state=estate.parent / ".evac", announce=lambda news: None, name="a test"
    ) as controller:
        await controller.recalled.wait()
        done = await asyncio.to_thread(evac, "pause", "--reason", "lunch", "--estate", estate, "--json")
        assert json.loads(done.stdout) == {"wish": "pause", "run": None}
        assert controller.known.pause is not None
        assert controller.known.pause.reason == "lunch"
        done = await asyncio.to_thread(evac, "maintenance", "--for", "2h", "--region", "berlin", "--estate", estate)
        assert done.stdout == "nothing moves by itself there for 2 h\n"
        told = (await asyncio.to_thread(evac, "status", "--estate", estate)).stdout
        assert "  automation is paused: lunch (by " in told
        assert "  maintenance of berlin until " in told
        done = await asyncio.to_thread(evac, "maintenance", "--end", "--estate", estate)
        assert done.stdout == "it is over\n"
        for options, said in (
            (("--for", "soon"), "soon is not a duration; write 30m, 2h or 1d"),
            (("--for", "2h", "--end"), "one of --for and --end, not both"),
            ((), "say how long it lasts, or --end"),
        ):
            wrong = await asyncio.to_thread(evac, "maintenance", *options, "--estate", estate)
            assert (wrong.returncode, said in wrong.stderr) == (2, True)
        status = await asyncio.to_thread(evac, "status", "--estate", estate, "--json")
        assert json.loads(status.stdout)["fine"] is False
        assert status.returncode == 1
        for words in (*REFUSED_WHERE_NOTHING_ANSWERS, ("plan", "switchover"), ("plan", "shift")):
            refused = await asyncio.to_thread(evac, *words, "--estate", estate, "--json")
            assert refused.returncode == 3, words
            assert refused.stdout == "", words
        deaf = await asyncio.to_thread(evac, "links", "--for", "1s", "--estate", estate, "--json")
        assert (deaf.returncode, deaf.stdout, "no agent told anything for 1 s" in deaf.stderr) == (4, "", True)
        deaf = await asyncio.to_thread(evac, "replication", "--for", "1s", "--estate", estate, "--json")
        assert (deaf.returncode, deaf.stdout, "no member told anything for 1 s" in deaf.stderr) == (4, "", True)
        unknown = await asyncio.to_thread(evac, "resolve", "7", "--estate", estate)
        assert (unknown.returncode, "there is no run 7; evac runs lists them" in unknown.stderr) == (2, True)
        done = await asyncio.to_thread(evac, "resume", "--estate", estate, "--json")
        assert json.loads(done.stdout) == {"wish": "resume", "run": None}


async def test_automation_is_paused_where_nobody_serves(estate: Path) -> None:
    done = await asyncio.to_thread(evac, "pause", "--estate", estate)
    assert done.stdout == "automation is off; on again: evac resume\n"
    async with open_store(estate.parent / ".evac") as store:
        assert await store.get("pause") is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("failover", "berlim"), "there is no region berlim in this estate (did you mean berlin?)"),
        (("switchover", "rome"), "there are: berlin, paris, madrid"),
        (("plan", "failover", "rome"), "there is no region rome"),
        (("failback", "--group", "shoes"), "there is no group shoes"),
        (("failover", "berlin", "--strategy", "canary"), "canary is not built yet; there is: immediate"),
        (("plan", "failback", "berlin"), "a failback goes home"),
        (("plan", "switchover", "paris", "--to", "madrid"), "name the region to move to once"),
        (("plan", "shift", "rome"), "there is no region rome"),
        (("plan", "shift", "paris", "--to", "madrid"), "name the region to move to once"),
        (("shift", "madrit"), "there is no region madrit in this estate (did you mean madrid?)"),
        (("shift", "--group", "shoes"), "there is no group shoes"),
        (("explain", "rome"), "there is no region rome"),
        (("rejoin", "rome"), "there is no region rome"),
        (("degrade", "rome"), "there is no region rome"),
        (("degrade", "berlin", "--group", "shoes"), "there is no group shoes"),
        (("agent", "--region", "pariss"), "there is no region pariss in this estate (did you mean paris?)"),
        (("agent", "--region", "paris"), "agents need a store that all regions share"),
        (("status", "--store", "sqlite://here"), "--store"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_started(
    words: tuple[str, ...], said: str, estate: Path
) -> None:
    done = evac(*words, "--estate", estate, "--state", estate.parent / "state")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (estate.parent / "state").exists()


@pytest.mark.parametrize(
    "words",
    [("failover", "berlin"), ("switchover",), ("failback",), ("shift", "paris"), ("degrade", "berlin")],
)
def test_what_changes_something_is_refused_where_nobody_can_be_asked(words: tuple[str, ...], estate: Path) -> None:
    """A refusal leaves standard output to those who read answers from it."""
    done = evac(*words, "--json", "--estate", estate, "--state", estate.parent / "state")
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is no terminal to ask at" in done.stderr
    assert not (estate.parent / "state").exists()


def test_a_lab_of_no_known_form_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    for option, said in (("--form", "is embedded or distributed"), ("--mode", "is sync or async")):
        done = evac("lab", "up", "--dir", tmp_path / "lab", option, "round", "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    assert not (tmp_path / "lab").exists()


def test_an_estate_that_is_there_is_not_overwritten(estate: Path) -> None:
    estate.write_text("evac: 1\n")
    done = evac("init", estate)
    assert done.returncode == 2
    assert "is left as it is" in done.stderr
    assert estate.read_text() == "evac: 1\n"


def test_an_empty_estate_is_filled(estate: Path) -> None:
    estate.write_text("\n")
    assert "evac init" in evac("check", "--offline", "--estate", estate).stderr
    assert evac("init", estate).returncode == 0
    assert estate.read_text() == STARTER.read_text()


def test_what_to_type_next_names_the_estate_that_was_wrong(estate: Path) -> None:
    estate.write_text("evac: 2\n")
    said = evac("status", "--estate", estate).stderr
    assert "the estate is wrong" in said
    assert said.endswith(f"next: mend it, then: evac check --estate {estate}\n")


@pytest.mark.parametrize("words", [("--store", "foo://x"), ("--environment", "staging")])
def test_an_option_that_is_wrong_is_not_the_estates_fault(words: tuple[str, ...], estate: Path) -> None:
    done = evac("status", *words, "--estate", estate)
    assert done.returncode == 2
    assert "the command line is wrong; nothing was changed" in done.stderr
    assert "next:" not in done.stderr


def test_a_reader_who_has_read_enough_changes_nothing() -> None:
    """The schema is longer than a pipe holds, so that writing goes on after the reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    done = evac("schema", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_controller_whose_listeners_have_gone_goes_on_watching(estate: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    serving = subprocess.Popen([EVAC, "serve", "--json", "--estate", str(estate)], stdout=writer, stderr=writer)
    os.close(writer)
    seen: set[str] = set()
    try:
        while len(seen) < 3:
            asked = evac("status", "--json", "--estate", estate)
            if asked.returncode == 1:  # before the first view there is nothing to say
                told = json.loads(asked.stdout)
                seen |= {told["snapshot"]["wall"]} if told["led"] else set()
            assert serving.poll() is None
    finally:
        serving.terminate()
    assert serving.wait() == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobodys_trouble(closed: str, estate: Path) -> None:
    """A store that is opened must not become the standard output of its process."""
    command = f"{EVAC} pause --estate {estate} {closed} && {EVAC} runs --estate {estate}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "no runs yet")


def test_a_full_disk_under_the_output_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = evac("schema", stdout=full)
    assert done.returncode == 4
    assert "No space left on device" in done.stderr


def test_a_locale_without_our_characters_is_no_defect(estate: Path) -> None:
    accented = estate.with_name("état.yaml")
    estate.rename(accented)
    done = evac("check", "--offline", "--estate", accented, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "?tat.yaml" in done.stdout
