"""The assessment: what several views together say of each region, with the evidence.

Intuition: nobody inside a burning house is asked whether it burns, and one neighbour's word is not enough. A region
is judged by the vantage points outside it; one to whom most of the world is silent is itself the patient; what nobody
has looked at lately is unknown, never down. The region's own agent is heard for one thing only: whether it is there.

| outside view | heartbeat | inside view | diagnosis |
| --- | --- | --- | --- |
| quorum down, none up | stale | any | unreachable (dead and cut off look alike) |
| quorum down, none up | fresh | well | ingress failed |
| quorum down, none up | fresh | bad | services down |
| minority down | any | any | link cut |
| one service down | fresh | bad | service down, and of whatever is gray beside it |
| one service down | fresh | well | ingress failed, for that service |
| quorum sees a service fail | otherwise | otherwise | unknown: more must be seen first |
| many client probes of a service fail, from a quorum | any | any | gray |
| many requests of real clients to a service fail, as a quorum's load balancers count | any | any | gray |
| many probes of all kinds and services, clients' too, fail and some pass, from a quorum | any | any | gray |
| an observer hears nothing from most regions, or its heartbeat is stale | any | any | that observer has no vote |

The table is `docs/design/safety.md` 1. What this is not: a decision to act (`deciding`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TypeAlias

from evac.core.detector import Cell, Detector
from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.gray import as_cell, carried_fail, clients_fail, lately, met_since, one_alone, one_outage, since_outage
from evac.core.making import maker
from evac.core.observation import Instant
from evac.core.scene import Pair, Scene, Views, all_down, heartbeat_age, is_fresh, lay_out
from evac.core.verdict import Assessment, Diagnosis, Evidence, Verdict, status_of

LOSSY_ANSWERS_MIN = 18
"""Fewer answers than this, of all probes together, do not show that a path loses packets."""
LOSSY_CLIENT_FAILURES_MIN = 2
"""So many client probes of the gray window must have failed as well before a path counts as lossy."""
LOSSY_AGAINST_OTHERS = 5
"""A path is lossy only if it fails so many times as often as all else its vantage point looks at: a vantage point
that finds everything worse has a problem of its own."""
ELSE_FAILING_MAX = 0.05
"""Where clients fail, and no more than this part of evac's kept-open probes, only the way in for clients is broken."""


def quorum(estate: Estate, region: RegionId) -> int:
    """Return how many outside vantage points must agree on a region: a majority, which of two is both."""
    outside = len(estate.regions) - 1
    return estate.detection.quorum or outside // 2 + 1


def assess(detector: Detector, *, now: Instant, estate: Estate) -> Assessment:
    """Return what the detector's views mean at `now`."""
    scene = lay_out(detector, now=now, estate=estate)
    return Assessment(at=now, verdicts={r: _judge(scene, r) for r in estate.regions}, voiceless=scene.voiceless)


def calm(detector: Detector, *, estate: Estate) -> bool:
    """Return whether no region fails for enough vantage points to say anything against it.

    Then no assessment, at whatever moment, can say more of a region than well, link cut or unknown, and nothing can be
    decided on it: a cheap question to ask before the dear one.
    """
    policy = detector.policy
    failed: dict[Pair, float] = {}
    for (vantage, region, as_client), known in detector.cells.lines().items():
        for cell in known.values():
            if cell.bad:
                enough = not cell.up or (as_client and clients_fail(cell, policy))
                counted = inf if enough else lately((cell,), policy, cell.last)[1]
                failed[vantage, region] = failed.get((vantage, region), 0.0) + counted
    for (vantage, _, region), counts in detector.carried.items():
        if vantage != region and carried_fail(counts, policy, counts[-1].at):
            failed[vantage, region] = inf
    sick = Counter(region for (_, region), count in failed.items() if count >= policy.lossy_failing * LOSSY_ANSWERS_MIN)
    return all(count < quorum(estate, region) for region, count in sick.items())


def answers(assessment: Assessment, region: RegionId, *, estate: Estate) -> bool:
    """Return whether a region's agent has been heard of lately, so that it can be given orders."""
    age = assessment.verdicts[region].heartbeat_age
    return age is not None and age <= estate.detection.heartbeat_stale


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What one region is judged on."""

    down: tuple[RegionId, ...]
    up: tuple[RegionId, ...]
    service_down: Mapping[ServiceId, tuple[RegionId, ...]]
    evidence: tuple[Evidence, ...]
    cells: tuple[Cell, ...]
    """The cells of the voters, for the times."""


_Services: TypeAlias = tuple[ServiceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    """What a region's own agent sees of the services that a quorum outside sees down."""

    views: Views
    down: _Services
    well: _Services
    """Those that were looked at since outside turned; what was not is in neither."""


_make_bench, _make_inside = maker(_Bench), maker(_Inside)
_make_evidence, _make_verdict = maker(Evidence), maker(Verdict)


def _hear(scene: Scene, region: RegionId) -> _Bench:
    """Take the outside vantage points' votes on a region."""
    down: list[RegionId] = []
    up: list[RegionId] = []
    evidence: list[Evidence] = []
    cells: list[Cell] = []
    by_service: dict[ServiceId, list[RegionId]] = {}
    for vantage in sorted(v for v in scene.estate.regions if v != region):
        views = scene.views[vantage, region]
        failing = {s: c for s, c in views.items() if not c.up}
        view = (
            "unknown" if not views else "down" if len(failing) == len(views) else "up" if not failing else "partly down"
        )
        why = scene.voiceless.get(vantage) or _say(views, failing) + _say_of_clients(scene, vantage, region)
        evidence.append(_make_evidence(vantage=vantage, view=view, votes=vantage not in scene.voiceless, why=why))
        if vantage in scene.voiceless or not views:
            continue
        cells += views.values()
        (down if view == "down" else up).append(vantage)
        for service in failing:
            by_service.setdefault(service, []).append(vantage)
    return _make_bench(
        down=tuple(down),
        up=tuple(up),
        service_down={s: tuple(v) for s, v in by_service.items()},
        evidence=tuple(evidence),
        cells=tuple(cells),
    )


def _say(views: Views, failing: Views) -> str:
    if not views:
        return "has not looked lately"
    if not failing:
        return f"{len(views)} of {len(views)} services answer"
    service, cell = max(sorted(failing.items()), key=lambda item: item[1].failures)
    how = f"{cell.failures} in a row: {cell.reason}" if cell.failures else "answers again, not yet often enough"
    return f"{len(failing)} of {len(views)} services fail; {service} {how}"


def _say_of_clients(scene: Scene, vantage: RegionId, region: RegionId) -> str:
    """What load balancers there count of clients whom they send to a region, where too much of it fails."""
    counted = [c for by in scene.turned_away.get(region, {}).values() for c in by.get(vantage, ())]
    failed, requests = sum(c.failed for c in counted), sum(c.requests for c in counted)
    return f"; {failed} of {requests} requests of real clients fail" if failed else ""


def _judge(scene: Scene, region: RegionId) -> Verdict:
    """Apply the table to one region."""
    bench = _hear(scene, region)
    need = quorum(scene.estate, region)
    agreed = tuple(sorted(s for s, v in bench.service_down.items() if len(v) >= need))
    fresh = is_fresh(scene.detector, region, scene.now)
    inside = _look_inside(bench, scene.views[region, region], agreed)
    gray = _gray(scene, region, need, down=inside.down if fresh else ())
    diagnosis = _diagnose(bench, inside, agreed, gray, need=need, fresh=fresh)
    sick = [c for cells in gray.values() for c in cells] if diagnosis is Diagnosis.GRAY else []
    availability = sum(bool(c.up) for c in bench.cells) / len(bench.cells) if bench.cells else None
    symptom_at = _symptom(bench, sick, scene.now)
    services, down_inside, shut_out = _about(scene, region, diagnosis, agreed, gray, inside)
    still = {s: sum(scene.views[v, region][s].failures > 0 for v in bench.service_down[s]) for s in agreed}
    return _make_verdict(
        region=region,
        diagnosis=diagnosis,
        status=status_of(availability),
        availability=availability if availability is not None else 0.0,
        since=_since(scene, bench, region, diagnosis, symptom_at),
        symptom_at=symptom_at,
        heartbeat_age=heartbeat_age(scene.detector, region, scene.now),
        corroborated=diagnosis is not Diagnosis.INGRESS_FAILED or bool(gray),
        easing=bool(still) and max(still.values()) < need,
        services=services,
        down_inside=down_inside,
        shut_out=shut_out,
        gray=tuple(sorted(gray)),
        ailing=tuple(sorted({*gray, *bench.service_down})),
        evidence=bench.evidence,
        ingress_only=_only_the_way_in(scene, region, diagnosis, fresh=fresh),
        entered=_open_since(scene, region, need),
    )


def _diagnose(
    bench: _Bench,
    inside: _Inside,
    agreed: _Services,
    gray: Mapping[ServiceId, tuple[Cell, ...]],
    *,
    need: int,
    fresh: bool,
) -> Diagnosis:
    """The table, row by row; the first that fits."""
    outside_down = len(bench.down) >= need and not bench.up
    if outside_down and not fresh:
        return Diagnosis.UNREACHABLE
    if outside_down and all_down(inside.views):
        return Diagnosis.SERVICES_DOWN
    if inside.down and fresh:
        return Diagnosis.SERVICE_DOWN
    if agreed and inside.well == agreed and fresh and (outside_down or not gray):
        return Diagnosis.INGRESS_FAILED
    if gray:
        return Diagnosis.GRAY
    if agreed or not bench.cells:
        return Diagnosis.UNKNOWN
    return Diagnosis.LINK_CUT if bench.service_down else Diagnosis.WELL


def _look_inside(bench: _Bench, views: Views, agreed: _Services) -> _Inside:
    turned = max((c.since for c in bench.cells if not c.up), default=timedelta.max)
    seen = [(service, cell) for service in agreed if (cell := views.get(service)) is not None]
    down = tuple(service for service, cell in seen if not cell.up)
    well = tuple(service for service, cell in seen if cell.up and cell.last >= turned)
    return _make_inside(views=views, down=down, well=well)


def _about(
    scene: Scene,
    region: RegionId,
    diagnosis: Diagnosis,
    agreed: _Services,
    gray: Mapping[ServiceId, tuple[Cell, ...]],
    inside: _Inside,
) -> tuple[_Services, _Services, _Services]:
    """Return the services that a diagnosis is about, those of them that are down inside as well, and those that are
    well there. One service down must not hide that the clients of another one fail, at the door or on the way.
    """
    if diagnosis is Diagnosis.GRAY:
        return tuple(sorted(gray)), (), ()
    if diagnosis is not Diagnosis.SERVICE_DOWN:
        return agreed, inside.down, inside.well
    other = set(gray).difference(agreed, scene.turned_away.get(region, ()))
    met = [s for s in other if (cell := inside.views.get(s)) is not None and cell.up]
    shut_out = {*inside.well, *(met if _path_is_whole(scene, region, down=agreed) else ())}
    return tuple(sorted({*agreed, *gray})), inside.down, tuple(sorted(shut_out))


def _gray(scene: Scene, region: RegionId, need: int, *, down: _Services) -> Mapping[ServiceId, tuple[Cell, ...]]:
    """The services that fail too often for enough voters, with those voters' cells: for clients, real ones and evac's
    own, or for all probes. What clients met while the region was silent was an outage, which other rows judge, and so
    is what is `down` inside as well.
    """
    policy, heard_since = scene.detector.policy, scene.detector.fresh_since.get(region)
    sick: dict[ServiceId, dict[RegionId, list[Cell]]] = {}
    for (vantage, target), cells in scene.failing.items():
        if target != region or vantage == region or vantage in scene.voiceless:
            continue
        lossy = _lossy(scene, vantage, region, down=down)
        for sight, cell in cells.items():
            if sight.service in down:
                continue
            met = met_since(cell, heard_since) if sight.as_client and not lossy else cell
            if lossy or (sight.as_client and clients_fail(met, policy)):
                sick.setdefault(sight.service, {}).setdefault(vantage, []).append(met)
    for service, by_vantage in scene.turned_away.get(region, {}).items():
        for vantage, counts in by_vantage.items():
            sick.setdefault(service, {}).setdefault(vantage, []).append(as_cell(counts, policy))
    return {s: tuple(c for cells in by.values() for c in cells) for s, by in sick.items() if len(by) >= need}


def _lossy(scene: Scene, vantage: RegionId, region: RegionId, *, down: _Services) -> bool:
    """Whether much, but not all, of what a vantage point asks of a region fails lately, and hardly anything else.

    It must fail in more than one service, if more are looked at: one that comes and goes says nothing of the path.
    Where there are client probes, they must have met it too: what no client feels is no reason to move. Those of what
    is `down` inside as well cannot say.
    """
    policy = scene.detector.policy
    every = scene.failing[vantage, region]
    looks = {sight: cell for sight, cell in every.items() if sight.service not in down}
    if not any(s.as_client for s in looks) and any(s.as_client for s in every):
        return False
    here = since_outage(tuple(looks.values()), policy)
    clients = [c.failed for s, c in zip(looks, here, strict=True) if s.as_client]
    if clients and max(clients) < LOSSY_CLIENT_FAILURES_MIN:
        return False
    if sum(c.failed for c in here) < policy.lossy_failing * LOSSY_ANSWERS_MIN or one_outage(here, policy, scene.now):
        return False
    answers, failed = lately(here, policy, scene.now)
    if answers < LOSSY_ANSWERS_MIN or failed < policy.lossy_failing * answers:
        return False
    by_service: dict[ServiceId, list[Cell]] = {}
    for sight, cell in zip(looks, here, strict=True):
        by_service.setdefault(sight.service, []).append(cell)
    if one_alone(by_service.values(), policy, scene.now):
        return False
    lines = scene.detector.cells.lines().items()
    elsewhere = (c for at, known in lines if at.vantage == vantage and at.region != region for c in known.values())
    others, others_failed = lately(elsewhere, policy, scene.now)
    return LOSSY_AGAINST_OTHERS * others_failed * answers <= failed * others


def _only_the_way_in(scene: Scene, region: RegionId, diagnosis: Diagnosis, *, fresh: bool) -> bool:
    """Whether nothing but the way in for clients is broken, so that another region's door would serve them.

    A path that loses packets is no such case: what another region carries on goes the same way. Nor is a service that
    fails those whom other regions' load balancers send to it: they did not come in by its door.
    """
    if diagnosis is not Diagnosis.GRAY:
        return diagnosis is Diagnosis.INGRESS_FAILED
    if scene.turned_away.get(region):
        return False
    inside = scene.views[region, region]
    return fresh and bool(inside) and all(c.up for c in inside.values()) and _path_is_whole(scene, region, down=())


def _path_is_whole(scene: Scene, region: RegionId, *, down: _Services) -> bool:
    """Whether hardly any kept-open probe of what is not `down` in a region fails for anybody with a vote, but for an
    outage that is over.
    """
    for (vantage, target), cells in scene.failing.items():
        if target != region or vantage == region or vantage in scene.voiceless:
            continue
        kept = [cell for sight, cell in cells.items() if not sight.as_client and sight.service not in down]
        failed, answers = sum(c.failed for c in kept), sum(len(c.recent) for c in kept)
        if failed > ELSE_FAILING_MAX * answers and not one_outage(kept, scene.detector.policy, scene.now):
            return False
    return True


def _open_since(scene: Scene, region: RegionId, need: int) -> Mapping[ServiceId, Instant]:
    """The services whose door a quorum comes in by, and since when enough of them have met no failure."""
    policy = scene.detector.policy
    found: dict[ServiceId, Instant] = {}
    for service, cells in scene.doors.get(region, {}).items():
        since = sorted(max([c.since, *c.bad]) for c in cells if c.up and not clients_fail(c, policy))
        if len(since) >= need:
            found[service] = since[need - 1]
    return found


def _since(scene: Scene, bench: _Bench, region: RegionId, diagnosis: Diagnosis, symptom_at: Instant) -> Instant:
    """When the last of the conditions behind a diagnosis came true. Gray has been so from its first sign on: its
    windows are its dwell.
    """
    match diagnosis:
        case Diagnosis.WELL | Diagnosis.LINK_CUT:
            return max((c.since for c in bench.cells), default=scene.now)
        case Diagnosis.UNKNOWN:
            return scene.now
        case Diagnosis.GRAY:
            return symptom_at
        case Diagnosis.UNREACHABLE:
            last = scene.detector.heartbeats.get(region)
            turned = [] if last is None else [last + scene.detector.policy.heartbeat_stale]
            return max([*_down_since(bench.cells), *turned])
        case Diagnosis.SERVICES_DOWN:
            return max(_down_since(bench.cells))
        case Diagnosis.SERVICE_DOWN | Diagnosis.INGRESS_FAILED:  # pragma: no branch (the union is closed)
            # Both rest on an agent that is heard: of one that is just back, nothing has been so for longer.
            return max([*_down_since(bench.cells), scene.detector.fresh_since[region]])


def _down_since(cells: Iterable[Cell]) -> list[Instant]:
    return [c.since for c in cells if not c.up]


def _symptom(bench: _Bench, sick: Iterable[Cell], now: Instant) -> Instant:
    """The first sign: the earliest start of a row of failures, or the first failure in a gray window."""
    rows = [c.first_failure for c in bench.cells if c.first_failure is not None]
    windows = [at for c in sick for at in c.bad]
    return min([*rows, *windows], default=now)
