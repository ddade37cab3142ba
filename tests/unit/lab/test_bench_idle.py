from __future__ import annotations

import math
import os
from collections.abc import Sequence

import pytest

from evac.lab.bench.idle import accounts
from evac.lab.bench.idle.comparison import QUAD, Block, Interval, compare, interval


def block(*, on: bool, tps: float, serving: float = 0.0, agents: float = 0.0) -> Block:
    return Block(
        on=on,
        seconds=10.0,
        transactions=round(tps * 10),
        tps=tps,
        database_s=8.0 + serving,
        serving_s={"looks": serving} if on else {},
        others_s={"agent": agents, "store": 2.0} if on else {"store": 1.0},
        commits=100 if on else 20,
        sessions=5,
    )


def quad(*tps: float) -> list[Block]:
    return [block(on=on, tps=each, serving=0.08 if on else 0.0, agents=0.5) for on, each in zip(QUAD, tps, strict=True)]


def test_a_steady_drift_costs_nothing() -> None:
    drifting = [*quad(100.0, 110.0, 120.0, 130.0), *quad(140.0, 130.0, 120.0, 110.0)]
    assert compare(drifting).throughput.mean == pytest.approx(0.0)


def test_what_is_missing_while_it_is_on_is_its_cost() -> None:
    found = compare([*quad(98.0, 100.0, 100.0, 98.0), *quad(99.0, 100.0, 100.0, 99.0)])
    assert found.throughput.mean == pytest.approx(0.015)
    assert found.quads == 2
    assert found.tps_off == pytest.approx(100.0)
    assert found.serving.mean == pytest.approx(0.08 / 8.08)
    assert found.serving_by == {"looks": pytest.approx(0.08 / 8.08)}
    assert found.others == {"agent": pytest.approx(0.05), "store": pytest.approx(0.1)}
    assert found.commits_per_s == pytest.approx(8.0)
    assert found.sessions_per_s == 0.0


def test_a_quad_that_is_not_whole_does_not_count() -> None:
    assert compare([*quad(98.0, 100.0, 100.0, 98.0), block(on=True, tps=1.0)]).quads == 1


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.01], -math.inf, math.inf),
        ([0.01, 0.01, 0.01], 0.01, 0.01),
        ([0.0, 0.02], 0.01 - 12.706 * 0.01, 0.01 + 12.706 * 0.01),
    ],
)
def test_an_interval_is_students(values: Sequence[float], low: float, high: float) -> None:
    found = interval(values)
    assert found.mean == pytest.approx(0.01)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.01, 0.009, "met"), (0.011, 0.02, "MISSED"), (0.0, 0.02, "open")]
)
def test_a_verdict_is_given_only_where_the_interval_lies_on_one_side(low: float, high: float, verdict: str) -> None:
    assert Interval(mean=0.01, low=low, high=high).verdict(0.01).startswith(verdict)


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (("/venv/bin/python3", "/venv/bin/evac", "agent", "--region", "eu-west-1"), "agent eu-west-1"),
        (("python", "-m", "evac.watchdog", "--socket", "x"), "watchdog"),
        (("python", "-m", "evac.lab.shop", "--region", "eu-west-1"), "shop"),
        (("/x/etcdbin/etcd", "--name", "a"), "store"),
        (("postgres",), ""),
        ((), ""),
    ],
)
def test_a_process_is_known_by_its_command_line(words: Sequence[str], label: str) -> None:
    assert accounts.label(words) == label


def test_connections_are_told_apart_by_their_names() -> None:
    assert accounts.name_of("evac") == accounts.SERVING["evac"]
    assert accounts.name_of("") == accounts.ASKED
    assert accounts.name_of(accounts.OWN) == ""


def test_what_began_since_counts_from_its_birth_and_what_ended_no_more() -> None:
    before = {(1, "a"): 1.0, (2, "a"): 5.0, (3, "b"): 1.0}
    assert accounts.between(before, {(1, "a"): 1.5, (4, "a"): 0.25, (3, "b"): 1.0}) == {"a": 0.75, "b": 0.0}


def test_a_process_has_an_account_and_the_gone_have_none() -> None:
    us = os.getpid()
    found = accounts.read([us], [us], {us: "us"})
    assert found.database > 0
    assert found.others == {}
    assert {name for _, name in found.serving} <= {"us"}
