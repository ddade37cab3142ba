from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.estate import Estate
from evac.core.objectives import (
    BUDGETS,
    SHIPPED,
    Durations,
    Forecast,
    Loss,
    RpoBasis,
    detection_bound,
    forecast,
    losses_now,
)
from evac.core.plan import Phase, SyncSet, Term, Verb
from evac.core.planning import plan_move
from evac.core.policy import Detection
from evac.core.targets import Members
from evac.core.verdict import Assessment
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, ORDERS_DB, WEST, placed, shop
from fakes.estates import changed, dead, judged, members, move, seconds, situation

ESTATE = shop()
WELL = judged(ESTATE)


def expected(
    estate: Estate = ESTATE, said: Assessment | None = None, *, durations: Durations | None = None
) -> Forecast:
    here = situation(estate, said or dead(estate, EAST))
    plan = plan_move(move(EAST, WEST), here, term=Term(2))
    return forecast(plan, estate=estate, assessment=here.assessment, members=here.members, durations=durations or {})


def lost(known: Members, *, estate: Estate = ESTATE, said: Assessment = WELL) -> dict[str, Loss]:
    losses = losses_now(placed(estate), estate=estate, assessment=said, members=known)
    return {loss.component: loss for loss in losses}


def test_the_time_to_be_sure_at_the_shipped_settings() -> None:
    assert detection_bound(Detection()) == seconds(3.3)


def test_a_slow_heartbeat_makes_it_longer() -> None:
    assert detection_bound(Detection(heartbeat_stale=seconds(30))) == seconds(30.8)


def test_the_critical_path_is_what_clients_wait_for_longest() -> None:
    said = expected()
    steps = [Verb(step.split(":")[0]) for step in said.critical_path]
    assert steps[:2] == [Verb.REFUSE, Verb.CATCH_UP]
    assert not {Verb.VERIFY, Verb.REJOIN} & set(steps)
    assert said.rto == detection_bound(ESTATE.detection) + sum((SHIPPED[v][0] for v in steps), timedelta())
    assert said.rto_p95 > said.rto


def test_recorded_durations_count_once_there_are_enough() -> None:
    few: Durations = {("postgresql", Verb.PROMOTE): [seconds(9)] * 2}
    enough: Durations = {("postgresql", Verb.PROMOTE): [seconds(9)] * 3}
    assert expected(durations=few).rto == expected().rto
    assert expected(durations=enough).rto == expected().rto + seconds(9) - SHIPPED[Verb.PROMOTE][0]


def test_the_worst_twentieth_is_the_p95() -> None:
    times = [seconds(0.4)] * 18 + [seconds(30)] * 2
    said = expected(durations={("postgresql", Verb.PROMOTE): times})
    assert said.rto == expected().rto
    assert said.rto_p95 > said.rto + seconds(20)


def test_a_quorum_of_standbys_loses_nothing() -> None:
    loss = lost(members(ESTATE))[ORDERS_DB]
    assert (loss.basis, loss.time, loss.size) == (RpoBasis.QUORUM, timedelta(), 0)


def test_without_enough_standbys_the_loss_is_not_known() -> None:
    loss = lost(changed(members(ESTATE), ORDERS_DB, WEST, state=None))[ORDERS_DB]
    assert (loss.basis, loss.time, loss.size) == (RpoBasis.UNKNOWN, None, None)
    assert "1 can be reached" in loss.why


def test_a_primary_that_waits_for_nobody_loses_its_lag() -> None:
    known = changed(members(ESTATE), ORDERS_DB, EAST, sync_acks=0)
    assert lost(known)[ORDERS_DB].basis is RpoBasis.LAG


def test_an_asynchronous_copy_loses_the_lag_of_the_closest_standby() -> None:
    known = changed(members(ESTATE), CARTS_CACHE, WEST, lag=seconds(3), position=400)
    known = changed(known, CARTS_CACHE, EUROPE, lag=seconds(1), position=900)
    loss = lost(known)[CARTS_CACHE]
    assert (loss.basis, loss.time, loss.size) == (RpoBasis.LAG, seconds(1), 100)
    assert loss.why == "lag of the closest standby"


def test_a_standby_may_say_its_lag_in_bytes_itself() -> None:
    known = changed(members(ESTATE), CARTS_CACHE, WEST, lag_bytes=7)
    known = changed(known, CARTS_CACHE, EUROPE, position=None)
    assert lost(known)[CARTS_CACHE].size == 7


def test_a_loss_that_grows_is_told_so() -> None:
    known = changed(members(ESTATE), CARTS_CACHE, WEST, streaming=False, lag=seconds(4))
    known = changed(known, CARTS_CACHE, EUROPE, state=None)
    assert "grows" in lost(known)[CARTS_CACHE].why


def test_what_nobody_says_is_unknown() -> None:
    known = {k: s for k, s in members(ESTATE).items() if k[0] == ORDERS_DB}
    loss = lost(known)[CARTS_CACHE]
    assert (loss.basis, loss.time, loss.size) == (RpoBasis.UNKNOWN, None, None)


def test_what_was_said_long_ago_says_nothing() -> None:
    later = replace(WELL, at=seconds(60))
    assert lost(members(ESTATE), said=later)[CARTS_CACHE].basis is RpoBasis.UNKNOWN


def test_the_forecast_has_the_worst_loss_or_none() -> None:
    assert expected().rpo == timedelta()
    estate = shop(cache_acks=0)
    here = situation(estate, judged(estate))
    plan = plan_move(move(EAST, WEST), here, term=Term(2))
    behind = changed(changed(here.members, CARTS_CACHE, WEST, lag=seconds(2)), CARTS_CACHE, EUROPE, lag=seconds(5))
    said = forecast(plan, estate=estate, assessment=here.assessment, members=behind, durations={})
    assert said.rpo == seconds(2)
    unknown = {k: s for k, s in here.members.items() if k[0] == ORDERS_DB}
    assert forecast(plan, estate=estate, assessment=here.assessment, members=unknown, durations={}).rpo is None


def test_the_budgets_cover_every_phase_that_clients_wait_for() -> None:
    total = next(b for b in BUDGETS if b.name == "total")
    parts = [b for b in BUDGETS if b is not total]
    assert frozenset().union(*(b.phases for b in parts)) == total.phases
    assert Phase.RESTORE not in total.phases
    assert set(SHIPPED) == set(Verb)


def test_with_a_standby_away_the_forecast_is_as_good_once_the_set_has_followed() -> None:
    known = changed(members(ESTATE), ORDERS_DB, EUROPE, state=None)
    wide = losses_now(placed(ESTATE), estate=ESTATE, assessment=WELL, members=known)
    assert {loss.component: loss.basis for loss in wide}[ORDERS_DB] is RpoBasis.UNKNOWN
    narrow = replace(placed(ESTATE), sync={ORDERS_DB: (SyncSet(acks=1, standbys=(WEST,)),)})
    losses = losses_now(narrow, estate=ESTATE, assessment=WELL, members=known)
    assert {loss.component: loss.basis for loss in losses}[ORDERS_DB] is RpoBasis.QUORUM


def test_who_acknowledges_alone_promises_nothing() -> None:
    lonely = replace(placed(ESTATE), sync={})
    known = changed(members(ESTATE), ORDERS_DB, EAST, sync_acks=0)
    losses = losses_now(lonely, estate=ESTATE, assessment=WELL, members=known)
    said = next(loss for loss in losses if loss.component == ORDERS_DB)
    assert said.basis is RpoBasis.LAG
    assert "the promise to lose nothing is off" in said.why
