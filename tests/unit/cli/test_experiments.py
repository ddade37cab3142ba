"""The experiments for Chaos Toolkit ask evac only what it knows, and put right what they broke."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from evac.cli import app

FOLDER = Path(__file__).parents[3] / "docs" / "how-to" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.json"))


def commands(experiment: Mapping[str, Any], part: str) -> Iterator[list[str]]:
    """The words of each command of a part, with the defaults of what may be set."""
    defaults = {name: each["default"] for name, each in experiment["configuration"].items()}
    activities = experiment[part]["probes"] if part == "steady-state-hypothesis" else experiment[part]
    for activity in activities:
        provider = activity["provider"]
        assert (provider["type"], provider["path"]) == ("process", "evac")
        yield shlex.split(re.sub(r"\$\{(\w+)\}", lambda name: defaults[name[1]], provider["arguments"]))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("part", ["steady-state-hypothesis", "method", "rollbacks"])
def test_every_command_of_an_experiment_is_one_that_evac_takes(path: Path, part: str) -> None:
    found = list(commands(json.loads(path.read_text()), part))
    assert found
    for words in found:
        command: Any = typer.main.get_command(app)
        while isinstance(command, TyperGroup):
            name = words.pop(0)
            assert name in command.commands, f"evac has no {name}"
            command = command.commands[name]
        with command.make_context(command.name, list(words)) as context:
            assert context.params


def test_there_is_an_experiment() -> None:
    assert EXPERIMENTS
