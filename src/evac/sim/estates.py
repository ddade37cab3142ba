"""Small estates as values, for simulations and tests: the shop in three, five or nine regions.

Intuition: `orders` keeps what must not be lost (PostgreSQL, synchronous quorum), `carts` what may be (Valkey), `shop`
is what clients call; it needs the one and wants the other, so all three move together, as one group.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evac.core.estate import (
    Automation,
    Capacity,
    Component,
    ComponentId,
    Directs,
    Estate,
    GroupId,
    Objectives,
    Probe,
    Purpose,
    Region,
    RegionId,
    RegionRole,
    Replication,
    ReplicationMode,
    Service,
    ServiceId,
    WhenAlone,
)
from evac.core.kinds import ServiceKind
from evac.core.plan import Placement, SyncSet, Term
from evac.core.policy import Detection, Guard
from evac.core.timing import Holding

EAST, WEST, EUROPE = RegionId("us-east-1"), RegionId("us-west-2"), RegionId("eu-west-1")
THREE = (EAST, WEST, EUROPE)
FIVE = (*THREE, RegionId("ap-northeast-1"), RegionId("sa-east-1"))
NINE = (*FIVE, RegionId("westeurope"), RegionId("eastus"), RegionId("europe-west4"), RegionId("us-central1"))
GROUP = GroupId("shop")
ORDERS, CARTS, SHOP = ServiceId("orders"), ServiceId("carts"), ServiceId("shop")
ORDERS_DB, CARTS_CACHE = ComponentId("orders-db"), ComponentId("carts-cache")
ORDERS_LB = ComponentId("orders-lb")
SHOP_LB, SHOP_DNS = ComponentId("shop-lb"), ComponentId("shop-dns")

_WHERE: dict[str, tuple[str, float, float, str]] = {
    "us-east-1": ("aws", 38.9, -77.4, "US"),
    "us-west-2": ("aws", 45.8, -119.7, "US"),
    "eu-west-1": ("aws", 53.3, -6.3, "IE"),
    "ap-northeast-1": ("aws", 35.7, 139.7, "JP"),
    "sa-east-1": ("aws", -23.5, -46.6, "BR"),
    "westeurope": ("azure", 52.4, 4.9, "NL"),
    "eastus": ("azure", 37.4, -79.2, "US"),
    "europe-west4": ("gcp", 53.4, 6.8, "NL"),
    "us-central1": ("gcp", 41.3, -95.9, "US"),
}


def shop(
    regions: tuple[RegionId, ...] = THREE,
    *,
    acks: int = 1,
    cache_acks: int = 1,
    automation: Automation = Automation.AUTOMATIC,
    when_alone: WhenAlone = WhenAlone.WAIT,
    detection: Detection | None = None,
    held: Holding | None = None,
) -> Estate:
    """Return the shop's estate over these regions; its home is the first one.

    With `held`, `orders` is asynchronous and its primary under a lease.
    """
    services = (
        _service(ORDERS, ServiceKind.DATABASE, regions, automation=automation),
        _service(CARTS, ServiceKind.CACHE, regions, automation=automation),
        replace(_service(SHOP, ServiceKind.API, regions, automation=automation), needs=(ORDERS,), wants=(CARTS,)),
    )
    orders = _copies(ReplicationMode.SYNC, acks, when_alone)
    if held:
        orders = replace(_copies(ReplicationMode.ASYNC, 0), held=held)
    components = (
        replace(_component(ORDERS_DB, ORDERS, "postgresql", regions, replication=orders), relays=True),
        _component(CARTS_CACHE, CARTS, "valkey", regions, replication=_copies(ReplicationMode.ASYNC, cache_acks)),
        replace(_component(SHOP_LB, SHOP, "haproxy", regions), directs=Directs.WORK, verifiable=True),
        replace(_component(SHOP_DNS, SHOP, "rfc2136", regions), directs=Directs.ENTRY),
    )
    return Estate(
        name="shop",
        regions={r: _region(r, first=regions[0]) for r in regions},
        services={s.id: s for s in services},
        components={c.id: c for c in components},
        probes=tuple(
            Probe(kind="http", service=s, region=r, settings=None, as_client=as_client)
            for r in regions
            for s, as_client in ((ORDERS, False), (CARTS, False), (SHOP, False), (SHOP, True))
        ),
        home={GROUP: regions[0]},
        detection=detection or Detection(),
    )


def database_alone(
    regions: tuple[RegionId, ...],
    *,
    mode: ReplicationMode,
    acks: int,
    detection: Detection,
    held: Holding | None = None,
    routed: bool = False,
) -> Estate:
    """Return an estate of one database over these regions, for a simulated minute: whose guard is not on its guard for
    half an hour after a move, but for seconds. With `held` its primary is under a lease; if it is `routed`, a router in
    each region sends clients to it.
    """
    copies = replace(_copies(mode, acks), held=held)
    database = _component(ORDERS_DB, ORDERS, "model", regions, replication=copies)
    router = replace(_component(ORDERS_LB, ORDERS, "model", regions), directs=Directs.WORK)
    return Estate(
        name="orders",
        regions={r: _region(r, first=regions[0]) for r in regions},
        services={ORDERS: _service(ORDERS, ServiceKind.DATABASE, regions, automation=Automation.AUTOMATIC)},
        components={ORDERS_DB: database, **({ORDERS_LB: router} if routed else {})},
        probes=tuple(Probe(kind="model", service=ORDERS, region=r, settings=None) for r in regions),
        home={GROUP: regions[0]},
        detection=detection,
        guard=Guard(hold_down=timedelta(seconds=5), flap_half_life=timedelta(seconds=5)),
    )


def placed(estate: Estate, *, term: int = 1) -> Placement:
    """Return the placement when all is well: the primaries at home, everybody else standing by."""
    home = estate.home[GROUP]
    standbys = tuple(r for r in estate.regions if r != home)
    sync = {
        c.id: (SyncSet(acks=c.replication.acks, standbys=standbys),)
        for c in estate.components.values()
        if c.replication is not None and c.replication.acks
    }
    return Placement(group=GROUP, primary=home, term=Term(term), sync=sync)


def _region(region: RegionId, *, first: RegionId) -> Region:
    provider, latitude, longitude, jurisdiction = _WHERE[region]
    return Region(
        id=region,
        provider=provider,
        latitude=latitude,
        longitude=longitude,
        jurisdiction=jurisdiction,
        role=RegionRole.PRIMARY if region == first else RegionRole.SECONDARY,
        capacity=Capacity(requests_per_second=500.0),
    )


def _service(
    service: ServiceId, kind: ServiceKind, regions: tuple[RegionId, ...], *, automation: Automation
) -> Service:
    objectives = Objectives(rto=timedelta(minutes=5), rpo=timedelta(minutes=1), mtpd=timedelta(hours=1))
    return Service(
        id=service, kind=kind, tier=1, objectives=objectives, group=GROUP, regions=regions, automation=automation
    )


def _component(
    component: ComponentId,
    service: ServiceId,
    driver: str,
    regions: tuple[RegionId, ...],
    *,
    replication: Replication | None = None,
) -> Component:
    return Component(
        id=component,
        service=service,
        driver=driver,
        purpose=Purpose.STATE if replication else Purpose.ROUTER,
        members=dict.fromkeys(regions),
        replication=replication,
    )


def _copies(mode: ReplicationMode, acks: int, when_alone: WhenAlone = WhenAlone.WAIT) -> Replication:
    return Replication(mode=mode, acks=acks, lag_max=timedelta(seconds=10), when_alone=when_alone)
