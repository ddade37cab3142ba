"""The simulator: the same seed is the same simulation, and whatever a few seeds let go wrong, every promise is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.core.estate import ReplicationMode
from evac.core.observation import MemberRole
from evac.core.plan import Action, Term, Verb
from evac.core.policy import Detection
from evac.sim import campaign
from evac.sim.campaign import Choice
from evac.sim.databases import Database, Databases
from evac.sim.estates import EAST, EUROPE, ORDERS_DB, ORDERS_LB, WEST, database_alone
from evac.sim.faults import FIRST, HEAL, Fault, Kind, Script
from evac.sim.invariants import Watch
from evac.sim.network import Network
from evac.sim.obedience import Effect
from evac.sim.routers import Router
from evac.sim.setting import Setup, setup
from evac.sim.simulation import simulate
from evac.sim.writers import Acknowledged

SEEDS = int(os.environ.get("EVAC_SIM_SEEDS", "12"))
TELL = """
from evac.sim import campaign
from evac.sim.setting import setup
from evac.sim.simulation import simulate

with campaign.silence():
    print("\\n".join(simulate(setup(2)).trace))
"""
AT_ONCE = 4
"""So many seeds are one test, so that workers share them."""
ASYNC, SYNC = ReplicationMode.ASYNC, ReplicationMode.SYNC


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_promise_is_kept(first: int) -> None:
    tally = campaign.run(range(first, first + AT_ONCE), choice=Choice(), told=lambda result: None)
    assert [Choice().replay(seed) for seed in tally.failed] == []
    assert tally.seeds == AT_ONCE
    assert tally.simulated_s >= AT_ONCE * HEAL


@pytest.mark.parametrize("mode", list(ReplicationMode))
@pytest.mark.parametrize("regions", [3, 5, 9])
def test_where_nothing_goes_wrong_nothing_is_done(regions: int, mode: ReplicationMode) -> None:
    script = Script(faults=(), rates=(1.02, 0.98, 1.02, 0.98, 1.0, 1.0, 1.0, 1.0, 1.0)[:regions])
    calm = Setup(seed=1, regions=regions, mode=mode, acks=int(mode is ReplicationMode.SYNC), script=script)
    with campaign.silence():
        result = simulate(calm)
    assert result.violations == ()
    assert result.runs == {}
    assert result.acknowledged.total() > regions * FIRST


def test_the_same_seed_is_the_same_simulation_whatever_strings_hash_to() -> None:
    traces = {
        subprocess.run(
            [sys.executable, "-c", TELL], env={**os.environ, "PYTHONHASHSEED": hashed}, capture_output=True, check=True
        ).stdout
        for hashed in ("1", "2")
    }
    assert len(traces) == 1
    assert b"completed" in traces.pop()


def test_one_seed_is_told_line_by_line_and_many_are_summed_up() -> None:
    runner = CliRunner()
    one = runner.invoke(app, ["sim", "--seed", "2"])
    assert one.exit_code == 0
    assert "every promise was kept" in one.output.splitlines()[-1]
    many = runner.invoke(app, ["sim", "--seeds", "1", "--from", "2", "--jobs", "1", "--json"])
    assert many.exit_code == 0
    said = json.loads(many.stdout.splitlines()[-1])
    assert list(said) == ["seeds", "violations", "simulated_s", "wall_s", "states", "faults"]
    assert said["faults"] == dict(campaign.run(range(2, 3), choice=Choice(), told=lambda result: None).faults)


@pytest.mark.parametrize(
    "words",
    [[], ["--seed", "1", "--seeds", "2"], ["--seed", "1", "--regions", "10"], ["--seed", "1", "--regions", "2"]],
)
def test_what_cannot_be_simulated_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["sim", *words]).exit_code == 2


def test_a_seed_is_replayed_by_the_command_that_is_told() -> None:
    choice = Choice(regions=5, mode=ReplicationMode.ASYNC)
    assert choice.replay(7) == "evac sim --seed 7 --regions 5 --mode async"
    assert choice.setup(7) == setup(7, regions=5, mode=ReplicationMode.ASYNC)


@pytest.mark.parametrize(
    ("mode", "invoked", "said", "broken"),
    [
        (ASYNC, 4.8, 4.9, []),
        (ASYNC, 4.8, 5.1, ["S9"]),
        (SYNC, 4.8, 5.1, []),  # a standby said yes, then refused; its yes was under way
        (SYNC, 4.8, 5.2, ["S9"]),
        (SYNC, 5.05, 5.1, ["S9"]),
    ],
)
def test_a_yes_that_was_on_its_way_when_a_primary_was_left_breaks_nothing(
    mode: ReplicationMode, invoked: float, said: float, broken: list[str]
) -> None:
    regions = (EAST, WEST, EUROPE)
    estate = database_alone(regions, mode=mode, acks=int(mode is SYNC), detection=Detection())
    network = Network(regions=regions, one_way={frozenset((EAST, WEST)): 0.1}, random=Random(0))
    watch = Watch(estate=estate, databases=Databases(network=network, random=Random(0)), clock=lambda: 5.3)
    watch.left[EAST] = 5.0
    watch.told(Acknowledged(name="x", node=EAST, term=1, invoked=invoked, said=said, heard=5.3))
    assert [v.rule for v in watch.found] == broken


@pytest.mark.parametrize("mode", list(ReplicationMode))
def test_a_standby_that_was_left_refusing_is_brought_back(mode: ReplicationMode) -> None:
    left = Fault(kind=Kind.LEFT_REFUSING, region=WEST, begins=10.0, ends=11.0)
    script = Script(faults=(left,), rates=(1.0, 1.0, 1.0))
    what = Setup(seed=1, regions=3, mode=mode, acks=int(mode is ReplicationMode.SYNC), script=script)
    with campaign.silence():
        result = simulate(what)
    assert result.violations == ()
    assert result.runs == {"rejoin completed": 1}


@pytest.mark.parametrize(
    ("weights", "how"),
    [
        ({EAST: 0, WEST: 100}, ""),
        ({EAST: 0, WEST: 0}, "sends clients nowhere"),
        ({EAST: 50, WEST: 50}, "was left and not rebuilt"),
        ({EUROPE: 100}, "is standby"),
    ],
)
def test_a_router_that_sends_clients_where_no_primary_is_breaks_s10(weights: dict[str, int], how: str) -> None:
    regions = (EAST, WEST, EUROPE)
    estate = database_alone(regions, mode=ReplicationMode.ASYNC, acks=0, detection=Detection(), routed=True)
    databases = Databases(network=Network(regions=regions, one_way={}, random=Random(0)), random=Random(0))
    for region in regions:
        databases.nodes[ORDERS_DB, region] = Database(ORDERS_DB, region, databases)
    databases.nodes[ORDERS_DB, WEST].role = MemberRole.PRIMARY
    watch = Watch(estate=estate, databases=databases, clock=lambda: 5.0, left={EAST: 4.0})
    router = Router(component=ORDERS_LB, region=EUROPE, weights={WEST: 100})
    action = Action(component=ORDERS_LB, region=EUROPE, verb=Verb.SHIFT, term=Term(2), args={})
    watch.sent(router, Effect(action=action, undo=False, seen=1, anew=False), weights)
    assert [v.rule for v in watch.found] == ["S10"] * bool(how)
    assert all(how in v.what for v in watch.found)
    assert watch.misrouted([router]) == ""
    assert "sends clients to eu-west-1" in watch.misrouted([replace(router, weights={EUROPE: 100})])
