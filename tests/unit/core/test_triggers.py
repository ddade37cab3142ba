"""When a trigger is true, on whose word, and how long it counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from evac.core.assessment import assess
from evac.core.detector import Detector, fold
from evac.core.estate import Estate, GroupId, RegionId
from evac.core.plan import Placement
from evac.core.trigger import Action, Severity, Value
from evac.core.triggers import GAP_MAX, Standing, Triggers, advance, say_value, worst_first
from evac.sim.estates import EAST, EUROPE, FIVE, GROUP, ORDERS, ORDERS_DB, SHOP, WEST, placed, shop
from fakes.estates import changed, members, seconds, sweep
from fakes.triggers import trigger

ALL = ("us-west-2", "eu-west-1", "ap-northeast-1", "sa-east-1")


@dataclass(slots=True)
class Watch:
    """A world that is looked at twice a second, and how its triggers stand."""

    estate: Estate
    detector: Detector
    triggers: Triggers
    now: float = 0.0
    free_disk: float | None = 0.5
    placement: Placement | None = None

    def on(
        self, until: float, *, failing_from: Collection[RegionId] = (), silent: Collection[RegionId] = ()
    ) -> Standing:
        """Go on to a moment, and return how the first trigger stands then."""
        while self.now < until:
            self.now += 0.5
            down = {(v, EAST, ORDERS) for v in failing_from}
            told = members(self.estate)
            told = changed(told, ORDERS_DB, EAST, free_disk=self.free_disk)
            here = [replace(seen, at=seconds(self.now)) for seen in told.values() if seen.region not in silent]
            self.detector = fold(self.detector, *sweep(self.estate, self.now, down=down, silent=silent), *here)
            self.look()
        return self.triggers.standings[GROUP][0]

    def look(self) -> None:
        self.triggers = advance(
            self.triggers,
            detector=self.detector,
            assessment=assess(self.detector, now=seconds(self.now), estate=self.estate),
            estate=self.estate,
            placements={GROUP: self.placement or placed(self.estate)},
        )


def watch(when: str, *, regions: tuple[RegionId, ...] = FIVE, lasting: float = 10) -> Watch:
    estate = shop(regions)
    estate = replace(estate, triggers=(trigger(estate, when, lasting=lasting),))
    return Watch(estate, Detector(policy=estate.detection), Triggers())


@pytest.mark.parametrize(("sees", "true"), [((WEST, EUROPE), None), ((WEST, EUROPE, FIVE[3]), True), ((), False)])
def test_as_many_as_a_verdict_takes_must_find_it_true(sees: tuple[RegionId, ...], true: bool | None) -> None:
    here = watch("!services.orders.reachable")
    here.on(5)
    standing = here.on(20, failing_from=sees)
    if true is None:
        assert standing.true is False, "two of four deny it: there is no quorum for it"
    else:
        assert standing.true is true
    assert {e.view for e in standing.sights if e.vantage in sees} == ({"true"} if sees else set())


def test_it_counts_while_it_is_true_and_begins_anew_when_it_was_false() -> None:
    here = watch("components.orders_db.free_disk < 0.1")
    assert here.on(5).true is False
    here.free_disk = 0.05
    standing = here.on(11)
    assert (standing.true, standing.since, standing.held, standing.left) == (
        True,
        seconds(5.5),
        seconds(5.5),
        seconds(4.5),
    )
    assert not standing.acts
    assert here.on(15.5).acts
    assert here.on(15.5).fired
    here.free_disk = 0.5
    standing = here.on(16)
    assert (standing.held, standing.fired, standing.true_at, standing.since) == (seconds(0), False, None, seconds(16))
    here.free_disk = 0.05
    assert here.on(20).held == seconds(3.5)


def test_what_is_unknown_neither_fires_nor_clears_and_is_forgotten_in_the_end() -> None:
    here = watch("components.orders_db.free_disk < 0.1")
    here.free_disk = 0.05
    here.on(6)
    here.free_disk = None
    standing = here.on(14)
    assert (standing.true, standing.held, standing.true_at) == (None, seconds(5.5), seconds(0.5))
    assert not standing.acts
    assert {e.why for e in standing.sights} == {"components.orders_db.free_disk not known"}
    here.free_disk = 0.05
    standing = here.on(20)
    assert (standing.true, standing.acts, standing.true_at) == (True, True, seconds(0.5))
    here.free_disk = None
    standing = here.on(40)
    assert (standing.held, standing.true_at, standing.fired) == (seconds(0), None, True), "it has not been over"
    here.free_disk = 0.05
    assert not here.on(41).acts


def test_who_has_no_vote_is_not_heard() -> None:
    here = watch("!services.orders.reachable")
    here.on(5)
    standing = here.on(20, failing_from=FIVE[1:4], silent=(FIVE[1],))
    assert standing.true is None, "two of those three are heard, and the fourth denies it: a third one may yet come"
    (mute,) = [e for e in standing.sights if e.vantage == FIVE[1]]
    assert (mute.votes, mute.why) == (False, "silent for 15.0 s")


def test_what_a_quorum_denies_is_false_whatever_the_others_see() -> None:
    here = watch("!services.orders.reachable")
    here.estate = replace(here.estate, detection=replace(here.estate.detection, quorum=2))
    here.on(5)
    assert here.on(20, silent=FIVE[1:3]).true is False


def test_even_what_members_say_needs_a_quorum_that_has_asked() -> None:
    here = watch("components.orders_db.free_disk < 0.1")
    here.free_disk = 0.05
    here.on(5)
    assert here.on(8, silent=FIVE[1:3]).true is None
    assert here.on(20, silent=FIVE[1:2]).true is True


def test_an_expression_that_breaks_is_unknown_and_says_why() -> None:
    here = watch("1 / (components.orders_db.streaming - 4) > 0 || services.orders.error_rate > 0.5")
    here.on(5)
    standing = here.on(6)
    assert standing.true is None
    assert {e.why for e in standing.sights} == {
        "divide by zero; components.orders_db.streaming 4, services.orders.error_rate 0"
    }


def test_with_the_primaries_the_count_begins_anew() -> None:
    here = watch("region.availability > 0.5")
    assert here.on(20).acts
    here.placement = replace(placed(here.estate), primary=WEST)
    standing = here.on(20.5)
    assert (standing.region, standing.held, standing.acts) == (WEST, seconds(0), False)


def test_what_was_not_looked_at_for_a_while_is_counted_anew() -> None:
    here = watch("region.availability > 0.5")
    assert here.on(20).acts
    lost = replace(here.triggers, at=seconds(20) - GAP_MAX)
    here.triggers = lost
    assert here.on(20.5).held == seconds(0)


def test_it_is_not_asked_more_often_than_it_changes_anything() -> None:
    here = watch("region.availability > 0.5")
    here.on(5)
    before = here.triggers
    here.now += 0.1
    here.look()
    assert here.triggers is before


def test_of_many_groups_each_is_asked_about_less_often() -> None:
    here = watch("region.availability > 0.5")
    (one,) = here.estate.triggers
    many = frozenset({GROUP, *(GroupId(f"group-{i}") for i in range(1999))})
    here.estate = replace(here.estate, triggers=(replace(one, groups=many),))
    looks = set()
    while here.now < 30:
        here.on(here.now + 0.5)
        looks.add(here.triggers.at)
    assert looks == {seconds(at) for at in (0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5)}
    assert here.triggers.standings[GROUP][0].held == seconds(28)
    here.triggers = replace(here.triggers, at=seconds(30 - 13))
    assert here.on(30.5).held == seconds(0), "more than three turns were left out"


def test_where_nothing_is_declared_nothing_is_looked_at() -> None:
    here = watch("region.availability > 0.5")
    here.estate = replace(here.estate, triggers=())
    here.now = 1.0
    here.look()
    assert here.triggers == Triggers()


def test_a_trigger_looks_after_its_own_groups_and_regions() -> None:
    here = watch("region.availability > 0.5")
    (one,) = here.estate.triggers
    for other in (replace(one, groups=frozenset()), replace(one, regions=frozenset({WEST}))):
        here.estate = replace(here.estate, triggers=(other,))
        with pytest.raises(KeyError):
            here.on(here.now + 1)


def test_response_times_are_sampled_for_those_that_ask_for_them() -> None:
    here = watch('kinds.api.p95 > duration("50ms")')
    assert here.on(9).true is None, "too few answers yet"
    assert here.on(12).true is True
    assert {sight.service for sight in here.triggers.times} == {SHOP}
    aside = watch('services.orders.p95 > duration("50ms")')
    (one,) = aside.estate.triggers
    aside.estate = replace(aside.estate, triggers=(one, replace(one, name="other", groups=frozenset())))
    aside.on(12)
    assert {sight.service for sight in aside.triggers.times} == {ORDERS}


def test_the_worst_comes_first() -> None:
    estate = shop()
    whens = ("region.availability < 0.5", "services.shop.clients_failing > 0.1", "region.availability > 0.9")
    slow = trigger(estate, "region.availability > 0.8", name="slow", lasting=60)
    estate = replace(estate, triggers=(*(trigger(estate, w, name=w) for w in whens), slow))
    here = Watch(estate, Detector(policy=estate.detection), Triggers())
    here.on(20)
    assert [s.trigger for s in worst_first(here.triggers.standings)] == [whens[2], "slow", whens[1], whens[0]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not known"),
        (True, "true"),
        (False, "false"),
        (timedelta(seconds=6.12), "6.12 s"),
        (0.0417, "0.0417"),
        (3, "3"),
    ],
)
def test_facts_are_said_in_words(value: Value | None, words: str) -> None:
    assert say_value(value) == words


def test_a_firing_keeps_what_it_rests_on() -> None:
    estate = shop()
    one = trigger(estate, "region.availability > 0.5", severity=Severity.CRITICAL, rto=timedelta(minutes=5))
    here = Watch(replace(estate, triggers=(one,)), Detector(policy=estate.detection), Triggers())
    standing = here.on(20)
    fired = standing.as_fired()
    assert (fired.trigger, fired.severity, fired.since, fired.rto) == ("watched", "critical", seconds(0.5), one.rto)
    assert standing.action is Action.FAILOVER


def test_what_is_read_of_kinds_is_each_groups_own() -> None:
    other = GroupId("other")
    here = watch("kinds.api.reachable")
    here.on(5)
    (one,) = here.estate.triggers
    services = {s.id: replace(s, group=GROUP if s.id == SHOP else other) for s in here.estate.services.values()}
    apart = replace(here.estate, services=services, triggers=(replace(one, groups=frozenset({GROUP, other})),))
    home = placed(here.estate)
    now = assess(here.detector, now=seconds(here.now), estate=apart)
    both = {GROUP: home, other: replace(home, group=other)}
    found = advance(Triggers(), detector=here.detector, assessment=now, estate=apart, placements=both)
    assert {group: standing.true for group, (standing,) in found.standings.items()} == {GROUP: True, other: None}


def test_groups_whose_facts_are_the_same_share_one_question() -> None:
    here, asked = watch("region.availability > 0.5"), 0
    here.on(5)

    def condition(facts: Mapping[str, Value]) -> bool | str:
        nonlocal asked
        asked += 1
        return True

    (one,) = here.estate.triggers
    groups = frozenset({GROUP, GroupId("other")})
    estate = replace(here.estate, triggers=(replace(one, condition=condition, groups=groups),))
    both = {group: replace(placed(estate), group=group) for group in groups}
    now = assess(here.detector, now=seconds(here.now), estate=estate)
    found = advance(Triggers(), detector=here.detector, assessment=now, estate=estate, placements=both)
    assert {group: standing.group for group, (standing,) in found.standings.items()} == {g: g for g in groups}
    assert asked == len(estate.regions) - 1


def test_a_fact_is_read_once_however_many_ask() -> None:
    asked: list[Mapping[str, Value]] = []

    def condition(facts: Mapping[str, Value]) -> bool | str:
        asked.append(facts)
        return False

    here = watch("region.availability > 0.5")
    (one,) = here.estate.triggers
    here.estate = replace(here.estate, triggers=(replace(one, condition=condition), replace(one, name="again")))
    here.on(3)
    assert asked[-1] == {"region.availability": 1.0}
