"""The assessment: what several views together say of each region, with the evidence.

Intuition: nobody inside a burning house is asked whether it burns, and one neighbour's word is not enough. A region
is judged by the vantage points outside it; one that sees most of the world down is itself the patient; what nobody
has looked at lately is unknown, never down. The region's own agent is heard for one thing only: whether it is there.

| outside view | heartbeat | inside view | diagnosis |
| --- | --- | --- | --- |
| quorum down, none up | stale | any | unreachable (dead and cut off look alike) |
| quorum down, none up | fresh | well | ingress failed |
| quorum down, none up | fresh | bad | services down |
| minority down | any | any | link cut |
| one service down | fresh | bad | service down |
| one service down | fresh | well | ingress failed, for that service |
| quorum sees a service fail | otherwise | otherwise | unknown: more must be seen first |
| many client probes of a service fail, from a quorum | any | any | gray |
| an observer sees most regions down, or its heartbeat is stale | any | any | that observer has no vote |

The table is `docs/design/safety.md` 1. What this is not: a decision to act (`decision`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from evac.core.detector import Cell, Detector
from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.observation import Instant


class Diagnosis(StrEnum):
    """What is wrong with a region, in the words of the table."""

    WELL = "well"
    UNKNOWN = "unknown"
    LINK_CUT = "link-cut"
    GRAY = "gray"
    SERVICE_DOWN = "service-down"
    INGRESS_FAILED = "ingress-failed"
    SERVICES_DOWN = "services-down"
    UNREACHABLE = "unreachable"


class Status(StrEnum):
    """How available a region's services are: healthy >= 95 %, degraded >= 80, critical >= 50, failed below."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One vantage point's view of one region, as it counts: `view` is up, down, partly down or unknown."""

    vantage: RegionId
    view: str
    votes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What holds for a region, since when, and why. `services` are those that a quorum sees down there, or gray."""

    region: RegionId
    diagnosis: Diagnosis
    status: Status
    availability: float
    since: Instant
    """When the last of the conditions came true."""
    symptom_at: Instant
    """When the first sign of it was seen."""
    heartbeat_age: timedelta | None
    services: tuple[ServiceId, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All verdicts of one moment, and the observers that have no vote, each with the reason."""

    at: Instant
    verdicts: Mapping[RegionId, Verdict]
    voiceless: Mapping[RegionId, str]


def quorum(estate: Estate, region: RegionId) -> int:
    """Return how many outside vantage points must agree on a region: a majority, and two where two exist."""
    outside = len(estate.regions) - 1
    return estate.detection.quorum or max(outside // 2 + 1, min(2, outside))


def assess(detector: Detector, *, now: Instant, estate: Estate) -> Assessment:
    """Return what the detector's views mean at `now`."""
    views = _views(detector, estate, now)
    looks = {v: {r: views[v, r] for r in estate.regions if r != v} for v in estate.regions}
    voiceless = {v: why for v in estate.regions if (why := _voiceless(detector, v, looks[v], now))}
    verdicts = {r: _judge(detector, estate, r, looks, views[r, r], voiceless, now) for r in estate.regions}
    return Assessment(at=now, verdicts=verdicts, voiceless=voiceless)


def calm(detector: Detector) -> bool:
    """Return whether no cell is down and no client cell fails too often.

    Then no assessment, at whatever moment, can say more of a region than well or unknown: a cheap question to ask
    before the dear one.
    """
    limit = detector.policy.gray_failing
    return not any(c.up is False or (s.as_client and c.failing_share() >= limit) for s, c in detector.cells.items())


def heartbeat_age(detector: Detector, region: RegionId, now: Instant) -> timedelta | None:
    """Return how old a region's last heartbeat is, None if it never had one."""
    last = detector.heartbeats.get(region)
    return None if last is None else now - last


def answers(assessment: Assessment, region: RegionId, *, estate: Estate) -> bool:
    """Return whether a region's agent has been heard of lately, so that it can be given orders."""
    age = assessment.verdicts[region].heartbeat_age
    return age is not None and age <= estate.detection.heartbeat_stale


def _fresh(detector: Detector, region: RegionId, now: Instant) -> bool:
    age = heartbeat_age(detector, region, now)
    return age is not None and age <= detector.policy.heartbeat_stale


def _stale_after(detector: Detector) -> timedelta:
    """A view older than this is no view: three asks could have ended since."""
    return 3 * detector.policy.interval + detector.policy.timeout + detector.policy.client_timeout


Views = Mapping[ServiceId, Cell]
"""What one vantage point knows of one region, service by service; client probes are not among it."""


def _views(detector: Detector, estate: Estate, now: Instant) -> Mapping[tuple[RegionId, RegionId], Views]:
    """The known, fresh cells, by vantage point and region."""
    oldest = now - _stale_after(detector)
    views: dict[tuple[RegionId, RegionId], dict[ServiceId, Cell]] = {
        (v, r): {} for v in estate.regions for r in estate.regions
    }
    for sight, cell in detector.cells.items():
        pair = sight.vantage, sight.region
        if not sight.as_client and cell.up is not None and cell.last >= oldest and pair in views:
            views[pair][sight.service] = cell
    return views


def _all_down(views: Views) -> bool:
    return bool(views) and not any(cell.up for cell in views.values())


def _voiceless(detector: Detector, vantage: RegionId, looks: Mapping[RegionId, Views], now: Instant) -> str:
    """Why an observer has no vote; empty if it has one."""
    if not _fresh(detector, vantage, now):
        age = heartbeat_age(detector, vantage, now)
        return "never heard of" if age is None else f"silent for {age.total_seconds():.1f} s"
    down = [r for r, views in looks.items() if _all_down(views)]
    if 2 * len(down) > len(looks) + 1:
        return f"sees {len(down)} of {len(looks)} other regions down: the fault is its own"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What one region is judged on."""

    down: tuple[RegionId, ...]
    up: tuple[RegionId, ...]
    service_down: Mapping[ServiceId, tuple[RegionId, ...]]
    evidence: tuple[Evidence, ...]
    cells: tuple[Cell, ...]
    """The cells of the voters, for the times."""


def _hear(
    region: RegionId,
    looks: Mapping[RegionId, Mapping[RegionId, Views]],
    voiceless: Mapping[RegionId, str],
) -> _Bench:
    """Take the outside vantage points' votes on a region."""
    down: list[RegionId] = []
    up: list[RegionId] = []
    evidence: list[Evidence] = []
    cells: list[Cell] = []
    by_service: dict[ServiceId, list[RegionId]] = {}
    for vantage in sorted(v for v in looks if v != region):
        views = looks[vantage][region]
        failing = {s: c for s, c in views.items() if not c.up}
        view = (
            "unknown" if not views else "down" if len(failing) == len(views) else "up" if not failing else "partly down"
        )
        why = voiceless.get(vantage) or _say(views, failing)
        evidence.append(Evidence(vantage=vantage, view=view, votes=vantage not in voiceless, why=why))
        if vantage in voiceless or not views:
            continue
        cells += views.values()
        (down if view == "down" else up).append(vantage)
        for service in failing:
            by_service.setdefault(service, []).append(vantage)
    return _Bench(
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
    service, cell = max(failing.items(), key=lambda item: item[1].failures)
    return f"{len(failing)} of {len(views)} services fail; {service} {cell.failures} in a row: {cell.reason}"


def _judge(
    detector: Detector,
    estate: Estate,
    region: RegionId,
    looks: Mapping[RegionId, Mapping[RegionId, Views]],
    inside: Views,
    voiceless: Mapping[RegionId, str],
    now: Instant,
) -> Verdict:
    """Apply the table to one region."""
    bench = _hear(region, looks, voiceless)
    need = quorum(estate, region)
    gray = _gray(detector, region, voiceless, need, now)
    agreed = tuple(sorted(s for s, v in bench.service_down.items() if len(v) >= need))
    diagnosis = _diagnose(bench, inside, agreed, gray, need=need, fresh=_fresh(detector, region, now))
    sick = [c for cells in gray.values() for c in cells] if diagnosis is Diagnosis.GRAY else []
    availability = sum(bool(c.up) for c in bench.cells) / len(bench.cells) if bench.cells else None
    return Verdict(
        region=region,
        diagnosis=diagnosis,
        status=_status(availability),
        availability=availability if availability is not None else 0.0,
        since=_since(detector, bench, region, diagnosis, sick, now),
        symptom_at=_symptom(bench, sick, now),
        heartbeat_age=heartbeat_age(detector, region, now),
        services=tuple(sorted(gray)) if diagnosis is Diagnosis.GRAY else agreed,
        evidence=bench.evidence,
    )


def _diagnose(
    bench: _Bench,
    inside: Views,
    agreed: tuple[ServiceId, ...],
    gray: Mapping[ServiceId, tuple[Cell, ...]],
    *,
    need: int,
    fresh: bool,
) -> Diagnosis:
    """The table, row by row; the first that fits."""
    bad_inside = [s for s in agreed if (c := inside.get(s)) is not None and not c.up]
    well_inside = bool(agreed) and all((c := inside.get(s)) is not None and c.up for s in agreed)
    all_down = len(bench.down) >= need and not bench.up
    if all_down and not fresh:
        return Diagnosis.UNREACHABLE
    if all_down and _all_down(inside):
        return Diagnosis.SERVICES_DOWN
    if bad_inside and fresh:
        return Diagnosis.SERVICE_DOWN
    if gray:
        return Diagnosis.GRAY
    if well_inside and fresh:
        return Diagnosis.INGRESS_FAILED
    if agreed or not bench.cells:
        return Diagnosis.UNKNOWN
    return Diagnosis.LINK_CUT if bench.service_down else Diagnosis.WELL


def _gray(
    detector: Detector, region: RegionId, voiceless: Mapping[RegionId, str], need: int, now: Instant
) -> Mapping[ServiceId, tuple[Cell, ...]]:
    """The services of which clients fail too often from enough voters, with those voters' cells."""
    policy = detector.policy
    enough = max(4, int(policy.gray_window / max(policy.client_interval, policy.client_timeout)))
    sick: dict[ServiceId, list[Cell]] = {}
    for sight, cell in detector.cells.items():
        if not sight.as_client or sight.region != region or sight.vantage == region or sight.vantage in voiceless:
            continue
        fresh = now - cell.last <= _stale_after(detector)
        if fresh and len(cell.recent) >= enough and cell.failing_share() >= policy.gray_failing:
            sick.setdefault(sight.service, []).append(cell)
    return {service: tuple(cells) for service, cells in sick.items() if len(cells) >= need}


def _status(availability: float | None) -> Status:
    if availability is None:
        return Status.UNKNOWN
    for least, status in ((0.95, Status.HEALTHY), (0.8, Status.DEGRADED), (0.5, Status.CRITICAL)):
        if availability >= least:
            return status
    return Status.FAILED


def _since(
    detector: Detector,
    bench: _Bench,
    region: RegionId,
    diagnosis: Diagnosis,
    sick: Iterable[Cell],
    now: Instant,
) -> Instant:
    """When the last of the conditions behind a diagnosis came true."""
    match diagnosis:
        case Diagnosis.WELL | Diagnosis.LINK_CUT:
            return max((c.since for c in bench.cells), default=now)
        case Diagnosis.UNKNOWN:
            return now
        case Diagnosis.GRAY:
            return max(_latest_failure(c) for c in sick)
        case Diagnosis.UNREACHABLE:
            last = detector.heartbeats.get(region)
            turned = [] if last is None else [last + detector.policy.heartbeat_stale]
            return max([*_down_since(bench.cells), *turned], default=now)
        case Diagnosis.SERVICE_DOWN | Diagnosis.SERVICES_DOWN | Diagnosis.INGRESS_FAILED:
            return max(_down_since(bench.cells), default=now)


def _down_since(cells: Iterable[Cell]) -> list[Instant]:
    return [c.since for c in cells if not c.up]


def _latest_failure(cell: Cell) -> Instant:
    return max(at for at, ok in cell.recent if not ok)


def _symptom(bench: _Bench, sick: Iterable[Cell], now: Instant) -> Instant:
    """The first sign: the earliest start of a row of failures, or the first failure in a gray window."""
    rows = [c.first_failure for c in bench.cells if c.first_failure is not None]
    windows = [min(at for at, ok in c.recent if not ok) for c in sick]
    return min([*rows, *windows], default=now)
