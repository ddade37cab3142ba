from __future__ import annotations

import json

import pytest

from evac.core.estate import Purpose
from evac.core.plan import RunKind
from evac.engine.parts import BATCH_BYTES_MAX
from evac.lab.bench.large import OUTSIDE, estate_of, placements_of, probes
from evac.lab.bench.leading import START, measure
from evac.lab.bench.long_run import measure_plan
from evac.lab.bench.scale import Figure, as_json, as_table, figures


def figure(*values: float, bound: float | None = None, slope_max: float | None = None) -> Figure:
    sizes = tuple(10**n for n in range(1, len(values) + 1))
    return Figure(name="cost", unit="s", sizes=sizes, values=values, bound=bound, slope_max=slope_max)


def test_every_service_has_a_state_in_every_region_and_a_few_who_look() -> None:
    estate = estate_of(4, 20)
    states = [c for c in estate.components.values() if c.purpose is Purpose.STATE]
    assert len(states) == 20
    assert all(set(c.members) == set(estate.regions) for c in states)
    assert len(list(probes(estate, START))) == 20 * 4 * (1 + OUTSIDE)
    assert len(placements_of(estate)) == 2


def test_a_small_estate_is_led_through_a_loss() -> None:
    found = measure(3, 300, 2)
    assert found["steps"] > 5 * 100  # a third of the services have lost their home
    assert found["told"] > 1
    assert 0 < found["status_rate"] < found["status"]
    assert 0 < found["commit"] <= BATCH_BYTES_MAX
    assert min(found["view"], found["views_rate"], found["thoughts"], found["think"]) > 0


def test_every_figure_is_measured_at_every_size() -> None:
    found = figures([(3, 20), (3, 40)], [36], 2)
    assert {f.sizes for f in found} == {(60, 120), (44,), (57,)}
    assert len({f.name for f in found}) == len(found)


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (RunKind.FAILOVER, 36 + 9 - 1),  # and the routers of all regions but the lost one
        (RunKind.SWITCHOVER, 39 + 2 * 9),  # and all routers, asked and turned
    ],
)
def test_a_small_plan_has_the_steps_asked_for_and_its_run_goes_to_the_end(kind: RunKind, steps: int) -> None:
    found = measure_plan(36, kind)
    assert found["steps"] == steps
    assert found["whole"] == 1.0


@pytest.mark.parametrize("kind", [RunKind.FAILOVER, RunKind.SWITCHOVER])
def test_a_plan_takes_as_many_calls_a_step_however_long_it_is(kind: RunKind) -> None:
    short, long = (measure_plan(steps, kind) for steps in (360, 1440))
    assert long["plan_calls"] / long["steps"] < 1.02 * short["plan_calls"] / short["steps"]


@pytest.mark.parametrize("kind", [RunKind.FAILOVER, RunKind.SWITCHOVER])
def test_what_steps_wait_for_takes_as_many_names_a_step_however_long_a_plan_is(kind: RunKind) -> None:
    short, long = (measure_plan(steps, kind) for steps in (360, 720))
    assert long["waits"] / long["steps"] < 1.02 * short["waits"] / short["steps"]


def test_a_slope_is_that_of_the_power() -> None:
    assert figure(1.0, 10.0, 100.0).slope == pytest.approx(1.0)
    assert figure(1.0, 100.0, 10_000.0).slope == pytest.approx(2.0)
    assert figure(1.0).slope == 0.0


def test_a_figure_says_plainly_whether_its_bounds_were_met() -> None:
    assert figure(0.1, 1.0, bound=1.0, slope_max=1.05).verdict == "met"
    assert figure(0.1, 2.0, bound=1.0).verdict == "MISSED: 2 > 1 s"
    assert figure(0.01, 0.9, bound=1.0, slope_max=1.05).verdict == "MISSED: slope 1.95 > 1.05"
    assert figure(5.0).verdict == "-"


def test_figures_are_told_as_a_table_and_as_plain_data() -> None:
    found = [figure(0.1, 2.0, bound=1.0)]
    assert as_table(found).row_count == 1
    assert "MISSED" in json.dumps(as_json(found))
