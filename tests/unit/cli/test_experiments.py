"""The experiments for Chaos Toolkit ask evac only what it knows, and put right what they broke."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from evac.cli import app
from evac.cli.status import Known, lines
from evac.core.estate import RegionId
from evac.core.plan import Placement
from evac.sim.estates import EAST, GROUP, WEST, placed, shop
from fakes.estates import dead, judged, members
from fakes.views import snapshot_of

FOLDER = Path(__file__).parents[3] / "docs" / "how-to" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.json"))
WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)


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


def status(*placements: Placement, dark: RegionId | None = None) -> str:
    """What `evac status` prints where the groups are as said; nothing in the region that is dark answers."""
    estate = shop()
    seen = dead(estate, dark) if dark else judged(estate)
    told = members(estate, placements[0] if placements else None).values()
    snapshot = snapshot_of(
        seen,
        wall=WALL,
        members=tuple(replace(m, state=None, reason="gone") if m.region == dark else m for m in told),
        placements=placements,
        unplaced={} if placements else {GROUP: ["orders-db has no primary"]},
    )
    known = Known(snapshot=snapshot, forecasts={}, targets={}, past={}, blocked={})
    return "\n".join(lines(known, led=True, wall=WALL))


def holds(text: str) -> bool:
    """Whether the steady state of the experiment holds, by what `evac status` printed."""
    probes = json.loads((FOLDER / "region-dies.json").read_text())["steady-state-hypothesis"]["probes"]
    assert {p["provider"]["arguments"].split()[0] for p in probes} == {"status"}
    return all(re.search(p["tolerance"]["pattern"], text) for p in probes)


def test_the_steady_state_is_a_primary_that_answers_before_the_region_dies_and_after() -> None:
    here = placed(shop())
    assert holds(status(here))
    assert holds(status(replace(here, primary=WEST), dark=EAST))
    assert not holds(status(here, dark=EAST))
    assert not holds(status(dark=EAST))
