"""Fixed journals of runs on the lab's estate: what reports and lines are checked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.core.estate import (
    Component,
    ComponentId,
    Estate,
    GroupId,
    Objectives,
    Purpose,
    Region,
    RegionId,
    RegionRole,
    Replication,
    ReplicationMode,
    Service,
    ServiceId,
)
from evac.core.kinds import ServiceKind
from evac.core.observation import Instant, Json
from evac.core.plan import Action, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb
from evac.core.protection import NOBODY, Protect, plan_protect, say_set
from evac.core.run import Done, Event, Failed, Failure, Forced, Opened, Outcome, Receipt, RunId, Settled, Started

E1, W2, EU = RegionId("us-east-1"), RegionId("us-west-2"), RegionId("eu-west-1")
SHOP = GroupId("shop")
DB, LB, DNS, CACHE = (ComponentId(c) for c in ("orders-db", "shop-lb", "shop-dns", "carts-cache"))
BOOT = 5000.0
WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)


def estate() -> Estate:
    """Return the lab's shop in three regions."""
    places = {
        E1: (38.9, -77.4, "US", RegionRole.PRIMARY),
        W2: (45.8, -119.7, "US", RegionRole.SECONDARY),
        EU: (53.3, -6.3, "EU", RegionRole.SECONDARY),
    }
    regions = {
        r: Region(id=r, provider="aws", latitude=lat, longitude=lon, jurisdiction=law, role=role)
        for r, (lat, lon, law, role) in places.items()
    }
    promised = Objectives(rto=timedelta(minutes=5), rpo=timedelta(minutes=1), mtpd=timedelta(hours=1))

    def service(name: str, kind: ServiceKind, *needs: str) -> Service:
        return Service(
            id=ServiceId(name),
            kind=kind,
            tier=1,
            objectives=promised,
            group=SHOP,
            regions=(E1, W2, EU),
            needs=tuple(map(ServiceId, needs)),
        )

    services = [
        service("orders", ServiceKind.DATABASE),
        service("carts", ServiceKind.CACHE),
        service("shop", ServiceKind.API, "orders", "carts"),
    ]
    members: Mapping[RegionId, object] = {E1: None, W2: None, EU: None}
    sync = Replication(mode=ReplicationMode.SYNC, acks=1, lag_max=timedelta(seconds=10))
    components = [
        Component(
            id=DB,
            service=ServiceId("orders"),
            driver="postgresql",
            purpose=Purpose.STATE,
            members=members,
            replication=sync,
        ),
        Component(
            id=CACHE,
            service=ServiceId("carts"),
            driver="valkey",
            purpose=Purpose.STATE,
            members=members,
            replication=sync,
        ),
        Component(id=LB, service=ServiceId("shop"), driver="haproxy", purpose=Purpose.ROUTER, members=members),
        Component(id=DNS, service=ServiceId("shop"), driver="rfc2136", purpose=Purpose.ROUTER, members=members),
    ]
    return Estate(
        name="shop",
        regions=regions,
        services={s.id: s for s in services},
        components={c.id: c for c in components},
        probes=(),
        home={SHOP: E1},
    )


def at(seconds: float) -> Instant:
    """Return the instant so long after the first symptom."""
    return timedelta(seconds=BOOT + seconds)


def step(verb: Verb, component: ComponentId, region: RegionId, phase: Phase, *needs: Step, **changed: object) -> Step:
    """Return a step as planning names it."""
    args = changed.pop("args", {})
    assert isinstance(args, dict)
    made = Step(
        id=StepId(f"{verb}:{component}@{region}"),
        action=Action(component=component, region=region, verb=verb, term=Term(7), args=args),
        phase=phase,
        needs=tuple(n.id for n in needs),
        undoable=verb not in (Verb.PROMOTE, Verb.REJOIN, Verb.VERIFY),
        pivot=verb is Verb.PROMOTE,
        optional=bool(changed.pop("optional", False)),
    )
    assert not changed
    return made


def _sync(*standbys: RegionId) -> Mapping[ComponentId, tuple[SyncSet, ...]]:
    return {DB: (SyncSet(acks=1, standbys=standbys),)} if standbys else {}


def failover_plan(*, sync: bool = True) -> Plan:
    """Return the failover of the shop from us-east-1 to us-west-2."""
    refuse_w2 = step(Verb.REFUSE, DB, W2, Phase.FENCE, args={"old": E1})
    refuse_eu = step(Verb.REFUSE, DB, EU, Phase.FENCE, args={"old": E1})
    catch_up = step(Verb.CATCH_UP, DB, W2, Phase.PROMOTE, refuse_w2, refuse_eu)
    promote = step(Verb.PROMOTE, DB, W2, Phase.PROMOTE, refuse_w2, refuse_eu, catch_up, args={"old": E1})
    follow = step(Verb.FOLLOW, DB, EU, Phase.PROMOTE, promote, args={"primary": W2}, optional=True)
    weights = {"weights": {W2: 100, E1: 0, EU: 0}}
    shifts = [step(Verb.SHIFT, c, r, Phase.SHIFT, promote, args=weights) for c in (LB, DNS) for r in (W2, EU)]
    verify = step(Verb.VERIFY, DB, W2, Phase.VERIFY, promote, *shifts)
    standbys = (W2, EU) if sync else ()
    before = Placement(group=SHOP, primary=E1, term=Term(6), sync=_sync(*standbys))
    after = Placement(group=SHOP, primary=W2, term=Term(7), sync=_sync(EU) if sync else {}, awaiting_rejoin=(E1,))
    return Plan(
        kind=RunKind.FAILOVER,
        group=SHOP,
        source=E1,
        target=W2,
        term=Term(7),
        steps=(refuse_w2, refuse_eu, catch_up, promote, follow, *shifts, verify),
        before=before,
        after=after,
        notes=("shop-lb in us-east-1 cannot be reached: it is mended when the region answers",),
    )


DECISION: Mapping[str, Json] = {
    "group": "shop",
    "kind": "failover",
    "source": "us-east-1",
    "target": "us-west-2",
    "reasons": ["us-east-1 unreachable: 2 outside views agree, agent heartbeat stale", "us-west-2 scores 0.93"],
    "rejected": [{"region": "eu-west-1", "reason": "scores 0.81: 19 kB further behind"}],
    "evidence": [
        {
            "vantage": "eu-west-1",
            "view": "down",
            "votes": True,
            "why": "3 of 3 services fail; shop 3 in a row: no answer in 2.0 s",
        },
        {
            "vantage": "us-west-2",
            "view": "down",
            "votes": True,
            "why": "3 of 3 services fail; orders 3 in a row: connection timed out",
        },
    ],
    "symptom_at": BOOT,
    "decided_by": "evac",
    "accept_loss": False,
}


def opened(plan: Plan, run: str, after_s: float, decision: Mapping[str, Json], by: str = "evac") -> Opened:
    """Return a journal's first entry, so long after the symptom."""
    return Opened(
        run=RunId(run),
        at=at(after_s),
        wall=WALL,
        plan=plan,
        plan_hash="9f2c71d0",
        decided_by=by,
        symptom_at=at(0),
        decision=decision,
    )


def did(step: Step, begin: float, end: float, kind: str = "", /, **facts: Json) -> list[tuple[float, Event]]:
    """Return a step that was done at its first try."""
    receipt = Receipt(kind=kind or step.action.verb.value, facts=facts)
    return [
        (begin, Started(at=at(begin), step=step.id, attempt=1, term=step.action.term)),
        (end, Done(at=at(end), step=step.id, attempt=1, receipt=receipt)),
    ]


def in_time(*groups: list[tuple[float, Event]]) -> list[Event]:
    """Return entries in the order they were written."""
    return [event for _, event in sorted((pair for group in groups for pair in group), key=lambda pair: pair[0])]


def failover() -> tuple[Event, ...]:
    """Return a synchronous failover that went well, one router answering at its second try."""
    plan = failover_plan()
    refuse_w2, refuse_eu, catch_up, promote, follow, lb_w2, lb_eu, dns_w2, dns_eu, verify = plan.steps
    second: list[tuple[float, Event]] = [
        (1.762, Started(at=at(1.762), step=dns_eu.id, attempt=1, term=Term(7))),
        (
            1.812,
            Failed(
                at=at(1.812), step=dns_eu.id, attempt=1, failure=Failure.UNAVAILABLE, reason="eu-west-1:5353 timed out"
            ),
        ),
        (1.813, Started(at=at(1.813), step=dns_eu.id, attempt=2, term=Term(7))),
        (
            1.871,
            Done(
                at=at(1.871),
                step=dns_eu.id,
                attempt=2,
                receipt=Receipt(kind="shift", facts={"weights": {"us-west-2": 100}}),
            ),
        ),
    ]
    weights: dict[str, Json] = {"us-west-2": 100, "us-east-1": 0, "eu-west-1": 0}
    body = in_time(
        did(refuse_w2, 1.534, 1.571, "starved", position=50331648, timeline=1, term=7),
        did(refuse_eu, 1.534, 1.601, "starved", position=50312112, timeline=1, term=7),
        did(catch_up, 1.602, 1.624, position=50331648),
        did(promote, 1.625, 1.748, timeline=2, position=50331648, term=7),
        did(follow, 1.749, 2.204, timeline=2),
        did(lb_w2, 1.760, 1.803, weights=weights, before={"us-east-1": 100}),
        did(lb_eu, 1.761, 1.849, weights=weights, before={"us-east-1": 100}),
        did(dns_w2, 1.761, 1.794, weights=weights, before={"us-east-1": 100}),
        second,
        did(verify, 1.872, 2.011, took_s=0.139),
        [(2.206, Settled(at=at(2.206), wall=WALL + timedelta(seconds=2.206), outcome=Outcome.COMPLETED))],
    )
    return (opened(plan, "7", 1.531, DECISION), *body)


def rejoin_plan(before: Placement) -> Plan:
    """Return the plan that makes us-east-1 a standby again."""
    stop = step(Verb.STOP, DB, E1, Phase.FENCE, args={"mode": "kill"})
    back = step(Verb.REJOIN, DB, E1, Phase.RESTORE, stop, args={"primary": W2})
    protect = step(Verb.PROTECT, DB, W2, Phase.RESTORE, back, args={"acks": 1, "standbys": [EU, E1]})
    return Plan(
        kind=RunKind.REJOIN,
        group=SHOP,
        source=E1,
        target=W2,
        term=Term(8),
        steps=(stop, back, protect),
        before=before,
        after=replace(before, term=Term(8), awaiting_rejoin=(), sync=_sync(EU, E1)),
    )


def rejoin(*, orphans: int = 0) -> tuple[Event, ...]:
    """Return the rejoin after the failover, with so many orphaned writes found."""
    plan = rejoin_plan(failover_plan().after)
    stop, back, protect = plan.steps
    reasons: Mapping[str, Json] = {"reasons": ["us-east-1 answers again since 5 s"], "region": "us-east-1"}
    kept: dict[str, Json] = (
        {"orphans_file": ".evac/kept/shop/orders-db/8.jsonl", "lost_bytes": 48200} if orphans else {}
    )
    body = in_time(
        did(stop, 40.10, 40.30, "stopped", position=50379848, clean=False),
        did(back, 40.31, 46.92, orphans=orphans, orphans_exact=True, method="rewind" if orphans else "follow", **kept),
        did(protect, 46.93, 47.01, acks=1, standbys=[EU, E1]),
        [(47.02, Settled(at=at(47.02), wall=WALL + timedelta(seconds=47), outcome=Outcome.COMPLETED))],
    )
    return (replace(opened(plan, "8", 40.05, reasons), symptom_at=at(40.05)), *body)


def asynchronous_failover() -> tuple[Event, ...]:
    """Return the failover of an asynchronous estate, forced by a person."""
    plan = failover_plan(sync=False)
    forced = [
        replace(s, action=replace(s.action, args={**s.action.args, "word": "alice"})) if s.pivot else s
        for s in plan.steps
    ]
    decision = {**DECISION, "decided_by": "alice", "accept_loss": True}
    first = replace(opened(replace(plan, steps=tuple(forced)), "7", 1.531, decision, by="alice"))
    lost = "lost of orders-db: the last 2 s (lag of the closest standby)"
    alone = "orders-db is asynchronous and us-east-1 cannot be reached: nothing proves it stopped"
    word = Forced(
        at=at(1.531),
        wall=WALL,
        person="alice",
        components=(DB,),
        reason="asked for by alice: the data centre burns",
        told=(lost,),
        risks=(alone, lost),
    )
    return (first, word, *failover()[1:])


def switchover_plan() -> Plan:
    """Return the planned switch of the database alone."""
    prepare = step(Verb.PREPARE, DB, E1, Phase.PREPARE, args={"target": W2})
    stop = step(Verb.STOP, DB, E1, Phase.FENCE, prepare, args={"mode": "clean", "target": W2})
    catch_up = step(Verb.CATCH_UP, DB, W2, Phase.PROMOTE, stop)
    promote = step(Verb.PROMOTE, DB, W2, Phase.PROMOTE, stop, catch_up)
    shift = step(Verb.SHIFT, LB, W2, Phase.SHIFT, promote, args={"weights": {W2: 100, E1: 0}})
    verify = step(Verb.VERIFY, DB, W2, Phase.VERIFY, promote, shift)
    back = step(Verb.REJOIN, DB, E1, Phase.RESTORE, verify, args={"primary": W2})
    before = Placement(group=SHOP, primary=E1, term=Term(6), sync=_sync(W2, EU))
    return Plan(
        kind=RunKind.SWITCHOVER,
        group=SHOP,
        source=E1,
        target=W2,
        term=Term(7),
        steps=(prepare, stop, catch_up, promote, shift, verify, back),
        before=before,
        after=replace(before, primary=W2, term=Term(7), sync=_sync(EU, E1)),
    )


ASKED: Mapping[str, Json] = {"reasons": ["asked by alice: patching us-east-1"], "rejected": [], "evidence": []}


def switchover() -> tuple[Event, ...]:
    """Return a planned switch that went well."""
    plan = switchover_plan()
    prepare, stop, catch_up, promote, shift, verify, back = plan.steps
    body = in_time(
        did(prepare, 0.02, 0.31),
        did(stop, 0.32, 0.49, "stopped", position=50331648, clean=True),
        did(catch_up, 0.50, 0.51, position=50331648),
        did(promote, 0.52, 0.64, timeline=2, position=50331648, term=7),
        did(shift, 0.65, 0.70, weights={"us-west-2": 100, "us-east-1": 0}, before={"us-east-1": 100}),
        did(verify, 0.71, 0.80, took_s=0.09),
        did(back, 0.81, 3.2, orphans=0, orphans_exact=True, method="follow"),
        [(3.21, Settled(at=at(3.21), wall=WALL + timedelta(seconds=3), outcome=Outcome.COMPLETED))],
    )
    return (opened(plan, "9", 0.01, ASKED, by="alice"), *body)


def rolled_back() -> tuple[Event, ...]:
    """Return a switch whose target did not catch up: the old primary was started again."""
    plan = switchover_plan()
    prepare, stop, catch_up, *_ = plan.steps
    body = in_time(
        did(prepare, 0.02, 0.31),
        did(stop, 0.32, 0.49, "stopped", position=50331648, clean=True),
        [
            (0.50, Started(at=at(0.50), step=catch_up.id, attempt=1, term=Term(7))),
            (
                0.90,
                Failed(at=at(0.90), step=catch_up.id, attempt=1, failure=Failure.REJECTED, reason="its disk is full"),
            ),
            (0.91, Started(at=at(0.91), step=stop.id, attempt=1, term=Term(7), undo=True)),
            (1.40, Done(at=at(1.40), step=stop.id, attempt=1, receipt=Receipt(kind="stop"), undo=True)),
            (
                1.41,
                Settled(
                    at=at(1.41), wall=WALL, outcome=Outcome.ROLLED_BACK, reasons=(f"{catch_up.id}: its disk is full",)
                ),
            ),
        ],
    )
    return (opened(plan, "10", 0.01, ASKED, by="alice"), *body)


def stuck() -> tuple[Event, ...]:
    """Return a failover whose promotion may have happened and cannot be seen."""
    plan = failover_plan()
    refuse_w2, refuse_eu, catch_up, promote, *_ = plan.steps
    reason = "evac@us-west-2:22 was lost while pg_ctl ran"
    body = in_time(
        did(refuse_w2, 1.534, 1.571, "starved", position=50331648, timeline=1, term=7),
        did(refuse_eu, 1.534, 1.601, "starved", position=50312112, timeline=1, term=7),
        did(catch_up, 1.602, 1.624, position=50331648),
        [
            (1.625, Started(at=at(1.625), step=promote.id, attempt=1, term=Term(7))),
            (31.7, Failed(at=at(31.7), step=promote.id, attempt=1, failure=Failure.INDETERMINATE, reason=reason)),
            (
                31.8,
                Settled(
                    at=at(31.8),
                    wall=WALL,
                    outcome=Outcome.STUCK,
                    reasons=(f"{promote.id} may have happened: {reason}",),
                ),
            ),
        ],
    )
    return (opened(plan, "11", 1.531, DECISION), *body)


def shift_plan(*, back: bool = False) -> Plan:
    """Return the shift of the shop's clients to us-west-2's door, or back."""
    source, target = (W2, E1) if back else (E1, W2)
    weights = {"weights": {target: 100, source: 0, EU: 0}}
    serves: dict[str, Json] = {"serves": E1}
    asked = [step(Verb.PREPARE, DNS, r, Phase.PREPARE, args=weights) for r in (W2, EU)]
    asked.append(step(Verb.PREPARE, LB, target, Phase.PREPARE, args=serves))
    turns = [step(Verb.SHIFT, DNS, r, Phase.SHIFT, *asked, args=weights) for r in (W2, EU)]
    proof = step(Verb.VERIFY, LB, target, Phase.VERIFY, *turns, args=serves)
    before = Placement(group=SHOP, primary=E1, term=Term(6), sync=_sync(W2, EU), entry=W2 if back else None)
    return Plan(
        kind=RunKind.SHIFT,
        group=SHOP,
        source=source,
        target=target,
        term=Term(7),
        steps=(*asked, *turns, proof),
        before=before,
        after=replace(before, term=Term(7), entry=None if back else W2),
    )


SHUT: Mapping[str, Json] = {
    **DECISION,
    "reasons": ["clients of shop in us-east-1 fail too often, seen from a quorum", "us-west-2's door is open"],
    "rejected": [{"region": "eu-west-1", "reason": "is 5465 km from us-east-1, us-west-2 3517"}],
}


def _shifted(plan: Plan, begin: float) -> list[tuple[float, Event]]:
    """Return the steps of a shift, one after the other."""
    body: list[tuple[float, Event]] = []
    for turn, each in enumerate(plan.steps):
        facts: dict[str, Json] = {**each.action.args, **({"took_s": 0.2} if each.action.component == LB else {})}
        body += did(each, begin + turn / 10, begin + turn / 10 + 0.08, **facts)
    return body


def shift() -> tuple[Event, ...]:
    """Return a shift of traffic alone that went well."""
    plan = shift_plan()
    end: list[tuple[float, Event]] = [(7.2, Settled(at=at(7.2), wall=WALL, outcome=Outcome.COMPLETED))]
    return (opened(plan, "12", 6.1, SHUT), *in_time(_shifted(plan, 6.2), end))


def shift_back() -> tuple[Event, ...]:
    """Return the way back."""
    plan = shift_plan(back=True)
    reasons: Mapping[str, Json] = {"reasons": ["us-east-1's own door has been open for 5 s"]}
    end: list[tuple[float, Event]] = [(1.1, Settled(at=at(1.1), wall=WALL, outcome=Outcome.COMPLETED))]
    return (opened(plan, "13", 0.0, reasons), *in_time(_shifted(plan, 0.1), end))


def shift_turned_back() -> tuple[Event, ...]:
    """Return a shift that found the other door shut behind, before anything was changed."""
    plan = shift_plan()
    tried = plan.steps[2]
    why = "HAProxy at 10.77.2.1:9999 finds us-east-1 down"
    body = in_time(
        did(plan.steps[0], 6.2, 6.3),
        [
            (6.31, Started(at=at(6.31), step=tried.id, attempt=1, term=Term(7))),
            (6.4, Failed(at=at(6.4), step=tried.id, attempt=1, failure=Failure.REJECTED, reason=why)),
            (6.5, Settled(at=at(6.5), wall=WALL, outcome=Outcome.ROLLED_BACK, reasons=(f"{tried.id}: {why}",))),
        ],
    )
    return (opened(plan, "14", 6.1, SHUT), *body)


def protection(sync: SyncSet, *, away: Sequence[RegionId], by: str = "evac") -> tuple[Event, ...]:
    """Return the change of whom the database's primary waits for, because of those who are away."""
    before = Placement(group=SHOP, primary=E1, term=Term(6), sync=_sync(W2, EU))
    reasons = tuple(f"{r} has been away for 10 s: it does not answer (no answer in 2 s)" for r in away)
    what = f"orders-db in us-east-1 waits for {say_set(sync)}"
    change = Protect(group=SHOP, component=DB, region=E1, sync=sync, reasons=(what, *reasons), decided_by=by)
    plan = plan_protect(change, before, term=Term(7))
    (only,) = plan.steps
    body = in_time(
        did(only, 0.01, 0.19, acks=sync.acks, standbys=list(sync.standbys)),
        [(0.20, Settled(at=at(0.20), wall=WALL, outcome=Outcome.COMPLETED))],
    )
    return (opened(plan, "12", 0.005, {"reasons": list(change.reasons)}, by=by), *body)


def under_way() -> tuple[Event, ...]:
    """Return the failover's journal as it was in the middle."""
    return failover()[:7]


JOURNALS: Mapping[str, tuple[Event, ...]] = {
    "failover": failover(),
    "rejoin": rejoin(orphans=3),
    "asynchronous": asynchronous_failover(),
    "switchover": switchover(),
    "rolled-back": rolled_back(),
    "stuck": stuck(),
    "under-way": under_way(),
    "shift": shift(),
    "shift-back": shift_back(),
    "shift-turned-back": shift_turned_back(),
    "protect": protection(SyncSet(acks=1, standbys=(W2,)), away=(EU,)),
    "protect-widens": protection(SyncSet(acks=1, standbys=(W2, EU)), away=()),
    "degrade": protection(NOBODY, away=(W2, EU), by="alice"),
}
