"""Outages that have happened end as they should, every promise is kept on the way, and a person can play them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.core.estate import ReplicationMode
from evac.sim import campaign
from evac.sim.breaking import refused_blank_estate
from evac.sim.estates import EAST
from evac.sim.faults import Fault, Kind, Script
from evac.sim.obedience import Obedience
from evac.sim.scenarios import SCENARIOS
from evac.sim.setting import Rules, Setup
from evac.sim.simulation import simulate


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_outage_of_the_past_ends_as_it_should(name: str) -> None:
    with campaign.silence():
        result, unlike = SCENARIOS[name].play()
    assert result.violations == ()
    assert unlike == ()


def test_a_stale_plan_is_obeyed_by_members_that_do_not_look_at_the_term() -> None:
    rules = Rules(obedience=Obedience(looks_at_the_term=False))
    with campaign.silence():
        result, unlike = SCENARIOS["stale-plan"].play(rules=rules)
    assert "S6" in {v.rule for v in result.violations}
    assert any("every late order was to be refused" in why for why in unlike)


def test_no_agent_begins_on_an_estate_file_with_nothing_in_it() -> None:
    assert "is empty" in refused_blank_estate()


def test_scenarios_are_listed_played_and_refused_by_name() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["sim", "--scenario", "list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(SCENARIOS)
    assert json.loads(runner.invoke(app, ["sim", "--scenario", "list", "--json"]).stdout).keys() == SCENARIOS.keys()
    played = runner.invoke(app, ["sim", "--scenario", "blank-policy"])
    assert played.exit_code == 0
    assert played.output.splitlines()[-1].startswith("blank-policy: as expected")
    said = json.loads(runner.invoke(app, ["sim", "--scenario", "blank-policy", "--json"]).stdout)
    assert (said["scenario"], said["unexpected"], said["violations"]) == ("blank-policy", [], [])
    unknown = runner.invoke(app, ["sim", "--scenario", "meteor"])
    assert unknown.exit_code == 2
    assert "stale-plan" in unknown.output
    assert runner.invoke(app, ["sim", "--scenario", "stale-plan", "--mode", "async"]).exit_code == 2


WAYS_BACK = {
    "after a move": (
        Fault(kind=Kind.REGION_DEATH, region=EAST, begins=9.0, ends=22.0),
        Fault(kind=Kind.STORE_RESTORED, region=None, begins=22.5, ends=23.5),
    ),
    "after the watchdog's time": (
        Fault(kind=Kind.STORE_OUT, region=None, begins=9.0, ends=24.0),
        Fault(kind=Kind.STORE_RESTORED, region=None, begins=23.5, ends=24.5),
    ),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_a_lease_that_a_backup_brought_back_starts_no_primary_that_was_left(way: str) -> None:
    what = Setup(
        seed=1,
        regions=3,
        mode=ReplicationMode.ASYNC,
        acks=0,
        held=True,
        script=Script(faults=WAYS_BACK[way], rates=(0.98, 1.02, 1.0)),
    )
    with campaign.silence():
        result = simulate(what)
    assert result.violations == ()
    assert result.primary != EAST, "it was moved, and stays so"
