"""What has happened to others ends here as it should; every promise is watched all the while."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.sim import campaign
from evac.sim.historic import SCENARIOS
from evac.sim.setting import Result
from evac.sim.simulation import simulate

ENDS = {
    "partition-sync": {"failover completed": 1, "rejoin completed": 1},
    "partition-async": {},
    "late-plan": {"switchover rolled-back": 1},
    "control-plane-dies-too": {"failover completed": 1, "rejoin completed": 1},
}


def played(name: str) -> Result:
    with campaign.silence():
        return simulate(SCENARIOS[name].setup)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_ends_as_it_should_and_no_promise_is_broken(name: str) -> None:
    result = played(name)
    assert result.violations == ()
    assert dict(result.runs) == ENDS[name]
    assert result.acknowledged > 50


def test_a_partition_of_an_asynchronous_primary_calls_a_person_and_moves_nothing() -> None:
    called = [line for line in played("partition-async").trace if "CallPerson" in line]
    assert "nothing proves it stopped" in called[0]


def test_whoever_leads_dies_with_the_primary_and_another_one_fails_over() -> None:
    trace = played("control-plane-dies-too").trace
    leaders = [line for line in trace if " leads, reign" in line]
    assert "us-east-1#1 leads, reign 1" in leaders[0]
    assert "reign 2" in leaders[1]
    assert "us-east-1" not in leaders[1]


def test_an_agent_that_wakes_with_an_old_order_meets_a_later_term() -> None:
    """Who led was killed; the next one has raised the term before the target's agent thaws."""
    trace = played("late-plan").trace
    assert any("reign 2" in line for line in trace)
    assert any("freeze-agent us-west-2" in line for line in trace)


def test_a_person_can_play_them() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["sim", "--scenario", "partition-async"])
    assert shown.exit_code == 0
    assert "every promise was kept" in shown.output.splitlines()[-1]
    said = json.loads(runner.invoke(app, ["sim", "--scenario", "partition-async", "--json"]).stdout)
    assert said["violations"] == []
    assert SCENARIOS["partition-async"].about in said["setup"]
    unknown = runner.invoke(app, ["sim", "--scenario", "flood"])
    assert unknown.exit_code == 2
    assert "late-plan" in unknown.output
