"""How faults change the network, and that they come apart cleanly."""

from __future__ import annotations

import pytest

from evac.lab.faults import Fault, FaultKind
from evac.lab.wan.links import Direction, Link, base, with_faults

SITES = ("a", "b", "c")
BASE = base({("a", "b"): 0.06, ("c", "a"): 0.08, ("b", "c"): 0.13}, sites=SITES, jitter_s=0.001)


def _blocked(links: dict[Direction, Link]) -> set[Direction]:
    return {direction for direction, link in links.items() if link.blocked}


def test_a_round_trip_is_shared_by_its_two_directions() -> None:
    assert BASE["a", "b"] == BASE["b", "a"] == Link(delay_s=0.03, jitter_s=0.001)
    assert BASE["a", "c"].delay_s == 0.04
    assert len(BASE) == 6


@pytest.mark.parametrize(
    ("kind", "to", "blocked"),
    [
        (FaultKind.CUT, None, {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}),
        (FaultKind.POWER, None, {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}),
        (FaultKind.CUT, "b", {("a", "b"), ("b", "a")}),
        (FaultKind.CUT_OUT, None, {("a", "b"), ("a", "c")}),
        (FaultKind.CUT_IN, None, {("b", "a"), ("c", "a")}),
        (FaultKind.CUT_IN, "c", {("c", "a")}),
        (FaultKind.KILL, None, set()),
        (FaultKind.FREEZE, None, set()),
        (FaultKind.DISK_FULL, None, set()),
    ],
)
def test_a_cut_blocks_what_it_names_and_nothing_else(kind: FaultKind, to: str | None, blocked: set[Direction]) -> None:
    assert _blocked(with_faults(BASE, [Fault(kind=kind, region="a", to=to)])) == blocked


def test_losses_combine_as_independent_causes() -> None:
    faults = [Fault(kind=FaultKind.LOSS, region=region, value=0.5) for region in ("a", "b")]
    links = with_faults(BASE, faults)
    assert links["a", "b"].loss == pytest.approx(0.75)
    assert links["a", "c"].loss == pytest.approx(0.5)


def test_a_delay_is_of_the_round_trip() -> None:
    links = with_faults(BASE, [Fault(kind=FaultKind.DELAY, region="a", value=0.2)])
    assert links["a", "b"].delay_s + links["b", "a"].delay_s == pytest.approx(0.26)


def test_of_two_cuts_one_can_be_healed() -> None:
    both = [Fault(kind=FaultKind.CUT, region="a", to="b"), Fault(kind=FaultKind.CUT, region="a")]
    assert _blocked(with_faults(BASE, both[:1])) == {("a", "b"), ("b", "a")}
    assert with_faults(BASE, []) == BASE


def test_every_kind_of_fault_is_understood() -> None:
    for kind in FaultKind:
        with_faults(BASE, [Fault(kind=kind, region="a", value=0.1)])
