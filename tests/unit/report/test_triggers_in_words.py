"""Triggers in words, and the figures of a run that one asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.run import Opened
from evac.core.trigger import Action
from evac.report.measures import Judgement, recovery
from evac.report.triggers import declared, how
from evac.sim.estates import shop
from fakes.journals import estate, failover
from fakes.triggers import standing, trigger

AT = timedelta(seconds=500)


def test_what_a_trigger_would_do_is_said() -> None:
    one = trigger(shop(), "region.availability < 0.5", lasting=120, rto=timedelta(minutes=5))
    head = "region.availability < 0.5, for 2 min: "
    assert declared(one) == head + "moves the primaries (warning, RTO 5 min); looks after shop"
    asks = replace(one, action=Action.SHIFT, automatic=False, rto=None, groups=frozenset())
    assert (
        declared(asks) == head + "asks a person, then sends clients in by another door (warning); looks after nothing"
    )
    assert declared(replace(one, action=Action.CALL, rto=None)) == head + "calls a person (warning); looks after shop"


def test_how_one_stands_is_said_with_what_comes_of_it() -> None:
    half = standing(at=AT, held=timedelta(seconds=30), since=AT - timedelta(seconds=20))
    assert how(half, at=AT) == "true for 20 s; counted 30 s of 2 min: moves the primaries in 1 min 30 s"


def test_the_time_to_recover_runs_from_when_the_trigger_became_true_against_its_own_target() -> None:
    opened, *rest = failover()
    assert isinstance(opened, Opened)

    def by(rto: int | None) -> tuple[Judgement, str, str]:
        told = {**opened.decision, "trigger": {"trigger": "half-down", "rto": rto}}
        found = recovery((replace(opened, decision=told), *rest), estate())
        return found.judgement, found.target, found.how

    own = recovery((opened, *rest), estate()).target
    begins = "from when trigger half-down became true to "
    assert by(1_000_000)[:2] == (Judgement.MISSED, "≤ 1 s")
    assert by(None)[:2] == (Judgement.MET, own)
    assert by(1_000_000)[2].startswith(begins)
