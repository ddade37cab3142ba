"""Figures come with how they were measured, and are unknown rather than flattering."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from evac.core.plan import Term
from evac.core.run import Done, Event, Opened, Resumed
from evac.report.measures import Judgement, Loss, laps, loss, losses, recovery
from evac.report.value import Report, report_of
from fakes.journals import JOURNALS, at, estate, failover, rejoin, rolled_back, stuck, switchover


def figures(name: str, *, rejoined: tuple[Event, ...] = ()) -> dict[str, tuple[str, Judgement]]:
    report: Report = report_of(JOURNALS[name], estate=estate(), rejoined=rejoined)
    return {m.name: (m.value, m.judgement) for m in report.measures}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("failover", {"RTO": ("2.01 s", Judgement.MET), "RPO": ("0 writes", Judgement.MET)}),
        ("asynchronous", {"RTO": ("2.01 s", Judgement.MET), "RPO": ("unknown", Judgement.UNKNOWN)}),
        ("switchover", {"Write gap": ("320 ms", Judgement.MET), "RPO": ("0 writes", Judgement.MET)}),
        ("rolled-back", {"Write gap": ("1.08 s", Judgement.MET), "RPO": ("0 writes", Judgement.MET)}),
        ("stuck", {"RTO": ("not reached", Judgement.UNKNOWN), "RPO": ("unknown", Judgement.UNKNOWN)}),
        ("under-way", {"RTO": ("not reached", Judgement.UNKNOWN), "RPO": ("unknown", Judgement.UNKNOWN)}),
        ("rejoin", {}),
    ],
)
def test_figures(name: str, expected: dict[str, tuple[str, Judgement]]) -> None:
    assert figures(name) == expected


def test_a_rejoin_counts_what_nobody_could_know_before() -> None:
    assert figures("asynchronous", rejoined=rejoin(orphans=3))["RPO"] == ("3 writes", Judgement.UNKNOWN)
    assert figures("asynchronous", rejoined=rejoin(orphans=0))["RPO"] == ("0 writes", Judgement.MET)


def test_what_was_not_counted_exactly_is_a_lower_bound() -> None:
    some = Loss(
        component="orders-db", region="us-east-1", orphans=3, exact=False, lost_bytes=None, file=None, method="clone"
    )
    found = loss(JOURNALS["asynchronous"], (some,), estate())
    assert (found.value, found.judgement) == ("at least 3 writes", Judgement.UNKNOWN)


def test_over_target_is_missed() -> None:
    late = tuple(
        replace(e, at=e.at + timedelta(minutes=6)) if isinstance(e, Done) and e.step.startswith("verify") else e
        for e in failover()
    )
    assert recovery(late, estate()).judgement is Judgement.MISSED


def test_one_refusal_of_two_proves_nothing() -> None:
    journal = tuple(
        replace(e, receipt=replace(e.receipt, kind="refuse")) if isinstance(e, Done) and "eu-west-1" in e.step else e
        for e in failover()
    )
    found = loss(journal, (), estate())
    assert found.value == "unknown"
    assert "1 of us-west-2, eu-west-1 refuse it, 2 must" in found.how


def test_a_switch_that_stopped_nothing_has_no_gap() -> None:
    measure = recovery(switchover()[:3], estate())
    assert (measure.value, measure.judgement) == ("none", Judgement.MET)
    open_gap = recovery(rolled_back()[:5], estate())
    assert (open_gap.value, open_gap.judgement) == ("not closed", Judgement.UNKNOWN)


def test_a_planned_move_for_what_evac_detected_is_measured_from_the_symptom() -> None:
    """Clients suffered before anything was stopped: a gap in writing alone would flatter."""
    opened, *more = switchover()
    assert isinstance(opened, Opened)
    detected = replace(opened, decided_by="evac", symptom_at=opened.at - timedelta(seconds=1))
    found = recovery((detected, *more), estate())
    assert (found.name, found.value) == ("RTO", "1.79 s")
    assert [lap.phase for lap in laps((detected, *more))][:2] == ["detect", "decide"]
    by_trigger = replace(detected, decision={"trigger": {"trigger": "full"}})
    assert recovery((by_trigger, *more), estate()).name == "Write gap"
    assert laps((by_trigger, *more))[0].phase == "decide"


def taken_up(journal: tuple[Event, ...], *, after: int, boot_ago: timedelta | None) -> tuple[Event, ...]:
    """A journal that another controller goes on with 2 s later; its boot clock, if another, was started so long ago."""
    opened, last = journal[0], journal[after - 1]
    assert isinstance(opened, Opened)
    late = timedelta(seconds=2)
    resumed_at = last.at + late
    wall = opened.wall + (resumed_at - opened.at)
    shift = late if boot_ago is None else boot_ago - last.at
    resumed = Resumed(at=last.at + shift, wall=wall, term=Term(9), by="another")
    return (*journal[:after], resumed, *(replace(e, at=e.at + shift) for e in journal[after:]))


@pytest.mark.parametrize("boot_ago", [None, timedelta(seconds=30), timedelta(days=90)])
def test_figures_of_a_run_that_was_taken_up_count_from_its_beginning(boot_ago: timedelta | None) -> None:
    """Also when the machine was started anew in between, so that its boot clock began again."""
    moved = taken_up(switchover(), after=5, boot_ago=boot_ago)
    measures = {m.name: m.value for m in report_of(moved, estate=estate()).measures}
    assert measures["Write gap"] == "2.32 s"
    lost = report_of(taken_up(failover(), after=5, boot_ago=boot_ago), estate=estate())
    assert {m.name: m.value for m in lost.measures}["RTO"] == "4.01 s"
    assert lost.lines[-1].at - lost.lines[-1].since == lost.took
    assert all(one.begin <= one.end for one in lost.laps)


@pytest.mark.parametrize("name", JOURNALS)
def test_laps_touch_and_start_at_the_symptom(name: str) -> None:
    found = laps(JOURNALS[name])
    assert found[0].begin == timedelta()
    assert all(one.end == two.begin for one, two in pairwise(found))
    assert not any(lap.over for lap in found)


def test_laps_add_up_to_the_recovery() -> None:
    assert laps(failover())[-1].end == at(2.011) - at(0)
    assert [lap.phase for lap in laps(failover())] == ["detect", "decide", "fence", "promote", "shift", "verify"]


def test_losses_name_what_was_kept() -> None:
    (found,) = losses(rejoin(orphans=3), kept={".evac/kept/shop/orders-db/8.jsonl": ["a", "b", "c"]})
    assert (found.orphans, found.exact, found.method, found.listed) == (3, True, "rewind", ("a", "b", "c"))
    assert losses((), kept={}) == ()
    assert losses(stuck(), kept={}) == ()
