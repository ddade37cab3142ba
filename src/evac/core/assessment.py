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
| many client probes fail, from a quorum | any | any | gray |
| an observer sees most regions down, or its heartbeat is stale | any | any | that observer has no vote |

The table is `docs/design/safety.md` 1. What this is not: a decision to act (`decision`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from evac.core.detector import Cell, Detector, Sight
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
    """What holds for a region, since when, and why. `services` are those that are down there."""

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
    looks = {v: {r: _views(detector, v, r, now) for r in estate.regions if r != v} for v in estate.regions}
    voiceless = {v: why for v in estate.regions if (why := _voiceless(detector, v, looks[v], now))}
    verdicts = {r: _judge(detector, estate, r, looks, voiceless, now) for r in estate.regions}
    return Assessment(at=now, verdicts=verdicts, voiceless=voiceless)


def heartbeat_age(detector: Detector, region: RegionId, now: Instant) -> timedelta | None:
    """Return how old a region's last heartbeat is, None if it never had one."""
    last = detector.heartbeats.get(region)
    return None if last is None else now - last


def _fresh(detector: Detector, region: RegionId, now: Instant) -> bool:
    age = heartbeat_age(detector, region, now)
    return age is not None and age <= detector.policy.heartbeat_stale


def _stale_after(detector: Detector) -> timedelta:
    """A view older than this is no view: three asks could have ended since."""
    return 3 * detector.policy.interval + detector.policy.timeout + detector.policy.client_timeout


def _views(detector: Detector, vantage: RegionId, region: RegionId, now: Instant) -> dict[ServiceId, Cell]:
    """The known, fresh cells of one vantage point on one region; client probes are not among them."""
    oldest = now - _stale_after(detector)
    return {
        sight.service: cell
        for sight, cell in detector.cells.items()
        if sight.vantage == vantage
        and sight.region == region
        and not sight.as_client
        and cell.up is not None
        and cell.last >= oldest
    }


def _all_down(views: Mapping[ServiceId, Cell]) -> bool:
    return bool(views) and not any(cell.up for cell in views.values())


def _voiceless(
    detector: Detector, vantage: RegionId, looks: Mapping[RegionId, Mapping[ServiceId, Cell]], now: Instant
) -> str:
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
    looks: Mapping[RegionId, Mapping[RegionId, Mapping[ServiceId, Cell]]],
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


def _say(views: Mapping[ServiceId, Cell], failing: Mapping[ServiceId, Cell]) -> str:
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
    looks: Mapping[RegionId, Mapping[RegionId, Mapping[ServiceId, Cell]]],
    voiceless: Mapping[RegionId, str],
    now: Instant,
) -> Verdict:
    """Apply the table to one region."""
    bench = _hear(region, looks, voiceless)
    inside = _views(detector, region, region, now)
    need = quorum(estate, region)
    fresh = _fresh(detector, region, now)
    gray_from = _gray_from(detector, estate, region, voiceless, now)
    agreed = tuple(sorted(s for s, v in bench.service_down.items() if len(v) >= need))
    inside_bad = tuple(s for s in agreed if (c := inside.get(s)) is not None and not c.up)
    if len(bench.down) >= need and not bench.up:
        if not fresh:
            diagnosis = Diagnosis.UNREACHABLE
        else:
            diagnosis = Diagnosis.SERVICES_DOWN if _all_down(inside) else _partial(inside, inside_bad, agreed)
    elif inside_bad and fresh:
        diagnosis = Diagnosis.SERVICE_DOWN
    elif len(gray_from) >= need:
        diagnosis = Diagnosis.GRAY
    elif agreed and fresh and all((c := inside.get(s)) is not None and c.up for s in agreed):
        diagnosis = Diagnosis.INGRESS_FAILED
    elif bench.down or bench.service_down:
        diagnosis = Diagnosis.LINK_CUT
    else:
        diagnosis = Diagnosis.WELL if bench.up else Diagnosis.UNKNOWN
    availability = _availability(bench, looks, region, voiceless)
    return Verdict(
        region=region,
        diagnosis=diagnosis,
        status=_status(availability),
        availability=availability if availability is not None else 0.0,
        since=_since(detector, bench, region, diagnosis, gray_from, now),
        symptom_at=_symptom(bench, gray_from, now),
        heartbeat_age=heartbeat_age(detector, region, now),
        services=agreed,
        evidence=bench.evidence,
    )


def _partial(
    inside: Mapping[ServiceId, Cell], inside_bad: tuple[ServiceId, ...], agreed: tuple[ServiceId, ...]
) -> Diagnosis:
    """All is down from outside, the agent lives, and not all is down from inside."""
    if inside_bad:
        return Diagnosis.SERVICE_DOWN
    if all((c := inside.get(s)) is not None and c.up for s in agreed):
        return Diagnosis.INGRESS_FAILED
    return Diagnosis.UNKNOWN


def _gray_from(
    detector: Detector, estate: Estate, region: RegionId, voiceless: Mapping[RegionId, str], now: Instant
) -> Mapping[Sight, Cell]:
    """The voters' client cells of which too many answers failed; one a vantage point."""
    policy = estate.detection
    enough = max(4, int(policy.gray_window / max(policy.client_interval, policy.client_timeout)))
    worst: dict[RegionId, tuple[Sight, Cell]] = {}
    for sight, cell in detector.cells.items():
        if not sight.as_client or sight.region != region or sight.vantage == region or sight.vantage in voiceless:
            continue
        if now - cell.last > _stale_after(detector) or len(cell.recent) < enough:
            continue
        if policy.gray_failing <= cell.failing_share() <= 1.0:
            worst[sight.vantage] = (sight, cell)
    return dict(worst.values())


def _availability(
    bench: _Bench,
    looks: Mapping[RegionId, Mapping[RegionId, Mapping[ServiceId, Cell]]],
    region: RegionId,
    voiceless: Mapping[RegionId, str],
) -> float | None:
    """Which part of (voter, service) pairs is up; None if nobody looked."""
    pairs = [c.up for v, views in looks.items() if v != region and v not in voiceless for c in views[region].values()]
    return sum(map(bool, pairs)) / len(pairs) if pairs else None


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
    gray_from: Mapping[Sight, Cell],
    now: Instant,
) -> Instant:
    """When the last of the conditions behind a diagnosis came true."""
    match diagnosis:
        case Diagnosis.WELL | Diagnosis.LINK_CUT:
            return max((c.since for c in bench.cells), default=now)
        case Diagnosis.UNKNOWN:
            return now
        case Diagnosis.GRAY:
            return max(_latest_failure(c) for c in gray_from.values())
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


def _symptom(bench: _Bench, gray_from: Mapping[Sight, Cell], now: Instant) -> Instant:
    """The first sign: the earliest start of a row of failures, or the first failure in a gray window."""
    rows = [c.first_failure for c in bench.cells if c.first_failure is not None]
    windows = [min(at for at, ok in c.recent if not ok) for c in gray_from.values()]
    return min([*rows, *windows], default=now)
