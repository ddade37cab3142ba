"""Trials become lines, and lines are held to what their case has to reach."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from evac.lab.bench.cases import CASES, by_scenario, select
from evac.lab.bench.results import Trial, as_json, conclude, phases, spread
from evac.lab.bench.table import as_table
from evac.lab.checker import Orphans, TwoOwners, Verdict
from evac.lab.history import Owner

KEPT = Verdict(acknowledged=100, failed=1, unknown=2, unknown_present=1)
TRIAL = Trial(rto_s=2.0, write_gap_s=2.1, verdict=KEPT, phases_s={"detect": 1.5, "fence": 0.1}, outcome="completed")
(POWER,) = select("rto/sync/power/embedded")
(ORPHANS,) = select("orphans")


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("", len(CASES)), ("rto/sync", 8), ("rto/*/cut/*", 3), ("switchover", 4), ("rto/*/embedded", 4), ("nothing", 0)],
)
def test_pattern_selects_by_part_or_by_wildcards(pattern: str, count: int) -> None:
    assert len(select(pattern)) == count


def test_one_switch_answers_two_cases() -> None:
    (cases,) = by_scenario(select("switchover/*/embedded")).values()

    assert [case.store for case in cases] == ["orders", "carts"]


def test_spread_and_phases_are_medians_over_those_that_have_them() -> None:
    other = replace(TRIAL, phases_s={"detect": 2.5})

    assert spread([3.0, 1.0, 2.00049]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert spread([]) is None
    assert phases([TRIAL, other]) == {"detect": 2.0, "fence": 0.1}


def test_case_is_met_when_all_its_trials_keep_their_promises() -> None:
    result = conclude(POWER, [TRIAL, replace(TRIAL, rto_s=7.0), TRIAL])

    line = as_json(result)
    assert line["met"]
    assert (line["name"], line["n"]) == ("rto/sync/power/embedded", 3)
    assert line["rto_s"] == {"median": 2.0, "min": 2.0, "max": 7.0}
    assert (line["lost_acked"], line["dual_primary"], line["acknowledged"]) == (0, 0, 300)


@pytest.mark.parametrize(
    ("trials", "failure"),
    [
        ([replace(TRIAL, rto_s=6.5)], "median 6.50 s is over 6 s"),
        ([TRIAL, replace(TRIAL, rto_s=None)], "1 of 2 never recovered"),
        ([replace(TRIAL, verdict=replace(KEPT, lost=("a",)))], "1 of 1 broke a promise"),
        ([], "0 of 0 trials could not be made"),
    ],
)
def test_what_a_case_misses_is_said(trials: list[Trial], failure: str) -> None:
    result = conclude(POWER, trials)

    assert result.failures == (failure,)
    assert not as_json(result)["met"]


def test_reported_orphans_are_no_broken_promise() -> None:
    verdict = replace(KEPT, lost=("a", "b"), orphans=Orphans())
    wrong = replace(verdict, orphans=Orphans(unreported=("b",), false=("c",)))

    line = as_json(conclude(ORPHANS, [replace(TRIAL, verdict=verdict, orphans_reported=2)]))
    missed = as_json(conclude(ORPHANS, [replace(TRIAL, verdict=wrong, orphans_reported=2)]))

    assert (line["met"], line["lost_acked"], line["orphans_reported"]) == (True, 2, 2)
    assert (missed["met"], missed["orphans_unreported"], missed["orphans_false"]) == (False, 1, 1)


def test_forced_move_promises_a_report_but_not_one_owner() -> None:
    owner = Owner(node="us-east-1", term=1)
    two = TwoOwners(write="a", owner=owner, other=replace(owner, term=2), why="after a later term began")
    trial = replace(TRIAL, verdict=replace(KEPT, lost=("a",), orphans=Orphans(), two_owners=(two,)))

    assert conclude(ORPHANS, [trial]).failures == ()
    assert conclude(POWER, [trial]).failures != ()
    assert as_json(conclude(ORPHANS, [trial]))["dual_primary"] == 1


def test_table_has_a_line_for_each_case() -> None:
    console = Console(width=200, no_color=True)
    with console.capture() as printed:
        console.print(as_table([conclude(POWER, [TRIAL]), conclude(ORPHANS, [], ["the lab did not come up"])]))

    assert "rto/sync/power/embedded" in printed.get()
    assert "MISSED: 1 of 1 trials could not be made" in printed.get()
