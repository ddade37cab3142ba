"""No expression makes of a minority's view a reason to act, and whatever is written for one ends in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from evac.config.conditions import Compiled, Refused, compiled
from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, Move
from evac.core.detector import Detector, fold
from evac.core.estate import Estate, RegionId
from evac.core.observation import Carried, Observation
from evac.core.plan import Placement, Term
from evac.core.traffic import Shift
from evac.core.trigger import Action
from evac.core.triggers import Triggers, advance
from evac.sim.estates import CARTS, FIVE, GROUP, NINE, ORDERS, SHOP, THREE, shop
from fakes.estates import beat, probed, seconds, view
from fakes.triggers import declared, trigger

properties = settings(deadline=None, max_examples=40)
FALSE_OF_WHAT_IS_WELL = (
    "!services.orders.reachable",
    "services.shop.error_rate > 0.0",
    "region.availability < 1.0",
    "services.shop.clients_failing > 0.0",
    'kinds.api.p95 > duration("300ms")',
    "!kinds.database.reachable",
    "kinds.cache.error_rate > 0.0",
    "!(services.carts.error_rate == 0.0)",
    "services.shop.p95 != duration('100ms')",
)
TOKENS = (
    *FALSE_OF_WHAT_IS_WELL,
    "&&",
    "||",
    "(",
    ")",
    "!",
    "region",
    "services.x",
    "duration(",
    "'",
    '"',
    "1",
    "5.0",
    ".",
    "[",
    "?",
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Estate, frozenset[RegionId]]:
    """An estate with some triggers for the region that is looked at, and a minority of its outside vantage points."""
    regions = draw(st.sampled_from((THREE, FIVE, NINE)))
    outside = len(regions) - 1
    liars = draw(st.sets(st.sampled_from(regions[1:]), max_size=max(1, (outside - 1) // 2)))
    estate = shop(regions)
    whens = draw(st.lists(st.sampled_from(FALSE_OF_WHAT_IS_WELL), min_size=1, max_size=4))
    joined = " || ".join(whens)
    action = draw(st.sampled_from(Action))
    asks = trigger(estate, joined, lasting=1, action=action, automatic=draw(st.booleans()))
    return replace(estate, triggers=(asks,)), frozenset(liars)


@properties
@given(worlds(), st.lists(st.tuples(st.booleans(), st.sampled_from((0.1, 0.9))), min_size=1, max_size=5), st.booleans())
def test_a_trigger_over_a_minoritys_facts_never_moves(
    world: tuple[Estate, frozenset[RegionId]], lies: list[tuple[bool, float]], quiet: bool
) -> None:
    estate, liars = world
    region = next(iter(estate.regions))
    where = Placement(group=GROUP, primary=region, term=Term(1))
    detector, triggers = Detector(policy=estate.detection), Triggers()
    for count in range(40):
        at = count / 2
        seen: list[Observation] = list(beat(at, *(r for r in estate.regions if not (quiet and r == region))))
        for vantage in estate.regions:
            ok, took = lies[count % len(lies)] if vantage in liars else (True, 0.1)
            for service, as_client in ((ORDERS, False), (CARTS, False), (SHOP, False), (SHOP, True)):
                seen.append(probed(at, vantage, region, service, ok=ok, as_client=as_client, took=took))
            failed = 0 if ok else 30
            window = timedelta(seconds=0.5)
            seen.append(
                Carried(
                    at=seconds(at),
                    vantage=vantage,
                    service=SHOP,
                    region=region,
                    window=window,
                    requests=30,
                    failed=failed,
                )
            )
        detector = fold(detector, *seen)
        now = assess(detector, now=seconds(at), estate=estate)
        triggers = advance(triggers, detector=detector, assessment=now, estate=estate, placements={GROUP: where})
        (standing,) = triggers.standings[GROUP]
        assert standing.true is not True
        knows = replace(view(estate, now, where), triggers=triggers.standings)
        assert not any(isinstance(d, Move | Shift | Ask) for d in decide(knows, now=now.at))


@properties
@given(st.text(max_size=40) | st.lists(st.sampled_from(TOKENS), max_size=8).map(" ".join))
def test_whatever_is_written_ends_in_an_expression_or_in_words(text: str) -> None:
    found = compiled(text, declared(shop()))
    match found:
        case Refused(reasons=reasons):
            assert reasons
            assert all(reasons)
        case Compiled():
            assert found.reads
            assert isinstance(found.condition({}), bool | str)
