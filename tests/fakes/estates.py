"""Observations and situations by hand, for tests of the pure core: the shop's estate as seen from everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from evac.core.assessment import assess
from evac.core.decision import Move, View
from evac.core.detector import Detector, fold
from evac.core.estate import ComponentId, Estate, Purpose, RegionId, ServiceId
from evac.core.observation import Heartbeat, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.core.plan import Placement, RunKind
from evac.core.steps import Situation
from evac.core.targets import Members
from evac.core.verdict import Assessment
from evac.sim.estates import GROUP, placed


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def probed(
    at: float,
    vantage: RegionId,
    region: RegionId,
    service: ServiceId,
    *,
    ok: bool = True,
    as_client: bool = False,
    took: float = 0.1,
    reason: str = "",
    answered: bool = False,
) -> Probed:
    return Probed(
        at=seconds(at),
        vantage=vantage,
        service=service,
        region=region,
        ok=ok,
        took=seconds(took),
        reason=reason or ("" if ok else "no answer within 1 s"),
        as_client=as_client,
        answered=answered,
    )


def beat(at: float, *regions: RegionId) -> tuple[Heartbeat, ...]:
    return tuple(Heartbeat(at=seconds(at), region=r) for r in regions)


def sweep(
    estate: Estate,
    at: float,
    *,
    down: Collection[tuple[RegionId, RegionId, ServiceId]] = (),
    silent: Collection[RegionId] = (),
    answered: bool = False,
) -> Iterator[Observation]:
    """Everybody looks at everything once: all is well but what is `down` (seen from, seen region, service), which
    refuses where it is `answered`.
    """
    for vantage in estate.regions:
        if vantage not in silent:
            yield from beat(at, vantage)
        for region in estate.regions:
            for service in estate.services:
                ok = (vantage, region, service) not in down
                yield probed(at, vantage, region, service, ok=ok, answered=answered and not ok)


def everywhere(
    estate: Estate, region: RegionId, *, services: Iterable[ServiceId] | None = None, inside: bool = False
) -> set[tuple[RegionId, RegionId, ServiceId]]:
    """What is down when a region fails as seen from all outside vantage points, and from inside too if asked."""
    chosen = tuple(estate.services) if services is None else tuple(services)
    return {(v, region, s) for v in estate.regions if v != region or inside for s in chosen}


def watched(
    estate: Estate,
    *,
    rounds: int = 5,
    down: Collection[tuple[RegionId, RegionId, ServiceId]] = (),
    silent: Collection[RegionId] = (),
    before: int = 4,
) -> tuple[Detector, float]:
    """Return a detector after some rounds of all well and then some of trouble, and the moment of the last one."""
    detector = Detector(policy=estate.detection)
    step = estate.detection.interval.total_seconds()
    for count in range(before + rounds):
        sick = count >= before
        detector = fold(
            detector, *sweep(estate, count * step, down=down if sick else (), silent=silent if sick else ())
        )
    return detector, (before + rounds - 1) * step


def judged(
    estate: Estate,
    *,
    rounds: int = 8,
    down: Collection[tuple[RegionId, RegionId, ServiceId]] = (),
    silent: Collection[RegionId] = (),
) -> Assessment:
    """Return the assessment after trouble has lasted for some rounds."""
    detector, now = watched(estate, rounds=rounds, down=down, silent=silent)
    return assess(detector, now=seconds(now), estate=estate)


def all_well(estate: Estate) -> Assessment:
    """Return the assessment when every region is well and every door is open."""
    detector, now = watched(estate)
    doors = {(v, r) for v in estate.regions for r in estate.regions if v != r}
    opened = [
        probed(now + i / 10, v, r, s, as_client=True) for v, r in sorted(doors) for s in estate.services for i in (0, 1)
    ]
    return assess(fold(detector, *opened), now=seconds(now + 0.1), estate=estate)


def dead(estate: Estate, *regions: RegionId) -> Assessment:
    """Return the assessment when these regions are gone: seen down from everywhere, and silent."""
    down = {view for r in regions for view in everywhere(estate, r, inside=True)}
    return judged(estate, down=down, silent=regions)


def members(estate: Estate, placement: Placement | None = None) -> dict[tuple[ComponentId, RegionId], MemberSeen]:
    """Return everybody in the role that the placement says."""
    where = placement or placed(estate)
    return {
        (c.id, r): member(c.id, r, primary=where.primary)
        for c in estate.group_components(GROUP, Purpose.STATE)
        for r in c.members
    }


def member(component: ComponentId, region: RegionId, *, primary: RegionId, at: float = 0.0) -> MemberSeen:
    leads = region == primary
    state = MemberState(
        role=MemberRole.PRIMARY if leads else MemberRole.STANDBY,
        writable=leads,
        timeline=1,
        position=1000,
        upstream=None if leads else primary,
        streaming=True,
        lag=None if leads else timedelta(),
        sync_acks=1 if leads else 0,
    )
    return MemberSeen(at=seconds(at), component=component, region=region, state=state)


def changed(
    known: Members, component: ComponentId, region: RegionId, **changes: object
) -> dict[tuple[ComponentId, RegionId], MemberSeen]:
    """Return the members with some of one's state replaced; `state=None` makes it not answer."""
    seen = known[component, region]
    assert seen.state is not None
    if "state" in changes:
        return {**known, (component, region): replace(seen, state=None, reason="connection refused")}
    return {**known, (component, region): replace(seen, state=replace(seen.state, **changes))}  # type: ignore[arg-type]


def view(estate: Estate, assessment: Assessment, placement: Placement | None = None) -> View:
    where = placement or placed(estate)
    return View(estate=estate, assessment=assessment, members=members(estate, where), placements={where.group: where})


def situation(estate: Estate, assessment: Assessment, placement: Placement | None = None) -> Situation:
    where = placement or placed(estate)
    return Situation(estate=estate, assessment=assessment, members=members(estate, where), placement=where)


def move(source: RegionId, target: RegionId, *, kind: RunKind = RunKind.FAILOVER, accept_loss: bool = False) -> Move:
    return Move(group=GROUP, kind=kind, source=source, target=target, reasons=("said so",), accept_loss=accept_loss)
