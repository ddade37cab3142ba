"""Figures of hosts, as docs/how-to/triggers.md has them: a wanted service that an observer finds well or not.

It is nothing by itself, a trigger's reason after a while, and no reason to see the loss of its region any later.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Decision, Hold, Move
from evac.core.detector import Detector, fold
from evac.core.estate import Objectives, RegionId, Service, ServiceId
from evac.core.kinds import ServiceKind
from evac.core.observation import Observation
from evac.core.plan import RunKind
from evac.core.triggers import Triggers, advance
from evac.core.verdict import Diagnosis
from evac.sim.estates import EAST, GROUP, SHOP, THREE, placed, shop
from fakes.estates import beat, members, probed, seconds, view
from fakes.triggers import trigger

HOSTS = ServiceId("hosts")
_SHOP = shop()
_PROMISED = Objectives(rto=timedelta(hours=1), rpo=timedelta(hours=1), mtpd=timedelta(days=1))
_SERVICES = {
    **_SHOP.services,
    SHOP: replace(_SHOP.services[SHOP], wants=(*_SHOP.services[SHOP].wants, HOSTS)),
    HOSTS: Service(id=HOSTS, kind=ServiceKind.COMPUTE, tier=3, objectives=_PROMISED, group=GROUP, regions=THREE),
}
_WITH_HOSTS = replace(_SHOP, services=_SERVICES)
ESTATE = replace(_WITH_HOSTS, triggers=(trigger(_WITH_HOSTS, "!services.hosts.reachable", lasting=180),))


def decided(until: float, *, busy: tuple[RegionId, ...] = (), dead_at: float = 1e9) -> tuple[Diagnosis, Decision]:
    """What is made of hosts that are busy from 5 s on, or of a home that dies, seen once a second by observers."""
    detector, triggers = Detector(policy=ESTATE.detection), Triggers()
    for tick in range(int(2 * until) + 1):
        at = tick / 2
        gone = at >= dead_at
        seen: list[Observation] = [*beat(at, *(r for r in THREE if not (gone and r == EAST)))]
        seen += [replace(m, at=seconds(at)) for m in members(ESTATE).values() if not (gone and m.region == EAST)]
        for vantage in THREE:
            for region in THREE:
                for service in _SHOP.services:
                    seen.append(probed(at, vantage, region, service, ok=not (gone and EAST in (vantage, region))))
                if tick % 2 == 0 and not (gone and EAST in (vantage, region)):
                    well = region not in busy or at < 5
                    seen.append(probed(at, vantage, region, HOSTS, ok=well, as_client=True, took=0.0))
        detector = fold(detector, *seen)
        now = assess(detector, now=seconds(at), estate=ESTATE)
        placements = {GROUP: placed(ESTATE)}
        triggers = advance(triggers, detector=detector, assessment=now, estate=ESTATE, placements=placements)
    knows = replace(view(ESTATE, now), triggers=triggers.standings)
    (decision,) = decide(knows, now=now.at)
    return now.verdicts[EAST].diagnosis, decision


def test_busy_hosts_are_nothing_by_themselves_and_a_reason_after_a_while() -> None:
    _, decision = decided(100, busy=(EAST,))
    assert isinstance(decision, Hold)
    _, decision = decided(200, busy=(EAST,))
    assert isinstance(decision, Move)
    assert (decision.kind, decision.trigger is not None) == (RunKind.SWITCHOVER, True)


def test_no_group_is_moved_to_where_hosts_are_busy_as_well() -> None:
    _, decision = decided(200, busy=(EAST, RegionId("us-west-2")))
    assert isinstance(decision, Move)
    assert decision.target == "eu-west-1"


def test_the_loss_of_their_region_is_seen_as_soon_as_without_them() -> None:
    diagnosis, decision = decided(14, dead_at=10)
    assert diagnosis is Diagnosis.UNREACHABLE
    assert isinstance(decision, Move)
    assert decision.kind is RunKind.FAILOVER
