from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random
from statistics import median

import pytest

from evac.sim.estates import EAST, shop
from evac.sim.lossy import SLOT, Failing, World, healthy, time_to_move
from evac.sim.probing import Place
from evac.sim.tcp import Connection, Link, Way, connect


class Fates(Random):
    """A randomness that was written down: below a link's loss means lost."""

    def __init__(self, draws: Sequence[float]) -> None:
        super().__init__(0)
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0)


LOST, PASSED = 0.0, 0.9
LINK = Link(round_trip=0.1, loss=0.5)


def test_a_segment_takes_half_a_round_trip() -> None:
    assert Way(LINK).send(10.0, Fates([PASSED])) == pytest.approx(10.05)


@pytest.mark.parametrize(("lost", "later"), [(1, 0.3), (2, 0.9), (3, 2.1)])
def test_a_lost_segment_is_sent_again_after_time_outs_that_double(lost: int, later: float) -> None:
    assert Way(LINK).send(10.0, Fates([LOST] * lost + [PASSED])) == pytest.approx(10.05 + later)


def test_what_is_sent_during_a_stall_shares_its_fate() -> None:
    way = Way(LINK)
    stalled = way.send(10.0, Fates([LOST, LOST, PASSED]))
    assert way.send(10.5, Fates([])) == stalled
    assert way.send(11.0, Fates([PASSED])) == pytest.approx(11.05)


def test_a_lost_handshake_costs_a_second() -> None:
    assert connect(LINK, 0.0, Fates([PASSED])) == pytest.approx(0.1)
    assert connect(LINK, 0.0, Fates([LOST, PASSED])) == pytest.approx(1.1)
    assert connect(LINK, 0.0, Fates([LOST, LOST, PASSED])) == pytest.approx(3.1)


def test_nothing_passes_a_dead_link() -> None:
    dead = Link(round_trip=0.1, loss=1.0)
    assert Way(dead).send(0.0, Random(1)) == inf
    assert connect(dead, 0.0, Random(1)) == inf


def test_a_connection_is_stalled_while_either_way_is() -> None:
    line = Connection(LINK)
    line.back.send(0.0, Fates([LOST, PASSED]))
    assert line.stalled(0.2)
    assert not line.stalled(0.4)


def place(link: Link, random: Random) -> Place:
    return Place(EAST, link, 0.5, 1.0, 0.0, random)


def test_a_place_that_does_not_answer_in_time_is_deaf_meanwhile() -> None:
    here = place(Link(round_trip=0.1, loss=0.5), Fates([LOST, LOST, LOST, PASSED, PASSED]))
    assert here.ping() is None
    assert here.was_deaf(0.5, 0.8)
    assert here.was_deaf(-1.0, 0.5)
    assert not here.was_deaf(1.0, 1.2)
    assert here.next_ping == 1.0


def test_a_row_of_failed_pings_is_one_deafness() -> None:
    here = place(Link(round_trip=0.1, loss=1.0), Random(1))
    assert [here.ping(), here.ping(), here.ping()] == [None, None, None]
    assert here.failed == (0.0, 3.0)


def test_a_silent_place_is_connected_to_again() -> None:
    link = Link(round_trip=0.1, loss=1.0)
    here = place(link, Random(1))
    for _ in range(20):
        here.ping()
    assert here.connections > 0
    link.loss = 0.0
    assert any(here.ping() is not None for _ in range(20))


def played(*, plain: bool, loss: float, seed: int, end: float) -> World:
    world = World(estate=shop(), random=Random(seed), plain=plain)
    world.run(begin=0.0, end=30.0)
    world.lose(loss, around=EAST)
    world.run(begin=30.0, end=end, stop_at_move=True)
    return world


@pytest.mark.parametrize("seed", range(4))
def test_noting_instead_of_folding_changes_no_decision(seed: int) -> None:
    quick, plain = (played(plain=p, loss=0.4, seed=seed, end=90.0).tally for p in (False, True))
    assert len(quick.moves) == len(plain.moves)
    assert all(abs(a - b) <= 3 * SLOT for a, b in zip(quick.moves, plain.moves, strict=True))


@pytest.mark.parametrize("around", [EAST, None])
@pytest.mark.parametrize("seed", range(2))
def test_two_hours_of_ten_percent_loss_move_nothing(around: None, seed: int) -> None:
    tally = healthy(seconds=7200.0, loss=0.1, around=around, seed=seed)
    assert tally.moves == []
    assert (tally.shifts, tally.calls) == (0, 0)
    assert tally.questions > 300_000


def test_a_dead_region_is_decided_on_within_the_bound() -> None:
    times = [time_to_move(loss=1.0, seed=seed, limit=20.0) for seed in range(20)]
    assert max(times) <= 4.0


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_sent_round_a_path_that_loses_packets(seed: int) -> None:
    assert played(plain=False, loss=0.4, seed=seed, end=90.0).tally.shifts == 0


def test_forty_percent_loss_is_decided_on_in_time() -> None:
    times = [time_to_move(loss=0.4, seed=seed, limit=60.0) for seed in range(20)]
    assert median(times) <= 12.0


def test_a_killed_database_and_a_region_that_is_shut_down_refuse_so_they_are_decided_on_sooner_than_a_silent_one() -> (
    None
):
    silent = min(time_to_move(loss=1.0, seed=seed, limit=20.0) for seed in range(5))
    for how in (Failing.DATABASE_KILLED, Failing.SHUT_DOWN):
        assert max(time_to_move(how=how, seed=seed, limit=20.0) for seed in range(20)) < silent


def test_a_database_that_is_only_started_anew_is_waited_for() -> None:
    """Up to a second, which is less than three failed answers take; one that takes three is left."""
    short = [time_to_move(how=Failing.DATABASE_KILLED, lasts=1.0, seed=seed, limit=10.0) for seed in range(20)]
    assert short == [10.0] * 20
    long = [time_to_move(how=Failing.DATABASE_KILLED, lasts=3.0, seed=seed, limit=10.0) for seed in range(20)]
    assert max(long) < 3.0
